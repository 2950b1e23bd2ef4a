// telemetry/rotating_file.h - a log file that is set aside when it has grown large, and a new one begun in its place.
//
//   etcd.log                               where lines go
//   etcd-2026-11-25T11-22-33.444.log       set aside at that time
//   etcd-2026-11-24T08-00-00.000.log.gz    set aside earlier, and compressed
//
// Life:    open() -> write()* -> destructor
// Thread:  any (guarded by mu_); compression and removal happen on a thread of its own, which the destructor ends.
// Owns:    the open file and that thread. Nobody else may set the file aside.
// Failure: no line is lost to a rotation that does not work out: the file goes on growing, and it is tried again later.
// Source:  natefinch/lumberjack v2.2, which upstream's --enable-log-rotation uses: the names, the limits and what they
//          count. There a line above the limit is dropped, and a second file of one millisecond replaces the first.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "base/result.h"
#include "base/time.h"
#include "telemetry/log.h"

namespace etcd::telemetry {

struct RotationOptions {
  std::uint64_t bytes_max = 100 << 20;  // of the file; a line longer than that gets one of its own
  Duration age_max{};                   // files set aside longer ago are removed; 0: however old
  std::size_t backups_max = 0;          // as are all but the newest; 0: however many
  bool local_time = false;              // names have the machine's time zone rather than UTC
  bool compress = false;                // with gzip, once set aside
};

class RotatingFile final : public Sink {
 public:
  /// Appends to the file at `path`, which is made when it is missing, with its folders. `wall` is asked on any thread.
  /// Errors: kIo.
  static Result<std::shared_ptr<RotatingFile>> open(std::string path, RotationOptions options,
                                                    std::function<WallTime()> wall);
  /// Leaves to the next open() what has not been compressed or removed yet.
  ~RotatingFile() override;
  RotatingFile(const RotatingFile&) = delete;
  RotatingFile& operator=(const RotatingFile&) = delete;

  /// Sets the file aside first if the line would make it larger than `bytes_max`.
  void write(std::string_view line) override;

  /// Returns once every file set aside so far has been looked at. For tests.
  void settle();

 private:
  RotatingFile(std::string path, RotationOptions options, std::function<WallTime()> wall, int descriptor,
               std::uint64_t bytes);

  void rotate();
  /// Where the file would go now: a name that nothing has yet.
  [[nodiscard]] std::string free_backup_path() const;
  void work(const std::stop_token& stop);
  void tidy(const std::stop_token& stop) const;

  const std::string path_;
  const RotationOptions options_;
  const std::function<WallTime()> wall_;

  std::mutex mu_;
  std::condition_variable_any changed_;
  int descriptor_;           // guarded by mu_
  std::uint64_t bytes_;      // guarded by mu_; in the file
  std::uint64_t rotate_at_;  // guarded by mu_; bytes_max, and more after a rotation that failed
  bool untidy_ = true;       // guarded by mu_; the thread has something to look at
  bool tidying_ = false;     // guarded by mu_

  std::jthread worker_;  // last: it ends before what it uses
};

}  // namespace etcd::telemetry
