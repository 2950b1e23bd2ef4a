// io/sim_disk.h - a simulated disk that forgets what was not synced, tears writes, fills up and fails.
//
// Life:    SimDisk(seed) -> open_directory() -> writes, syncs ... crash() -> open_directory() again ...
// Thread:  one thread owns it all.
// Owns:    every directory and file on it. Handles borrow it; after crash() old handles answer kIo to every call.
// Source:  Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), for what a crash may leave.
//
// After a crash each file holds what was synced, plus any subset of the later writes in units of one 512-byte sector;
// a name that was made, renamed or removed since the directory's last sync may be in its old or its new place.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/file.h"

namespace etcd::io {

class SimDisk {
 public:
  explicit SimDisk(std::uint64_t seed);
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  /// The directory of that path, made when it does not exist.
  std::unique_ptr<Directory> open_directory(const std::string& path);

  /// Power fails: see above. The disk can be opened again at once.
  void crash();

  /// After `calls` further calls that change the disk, every call answers kIo until crash(): power has gone in between.
  void fail_after(std::uint64_t calls);
  /// The next sync answers kIo and leaves what it should have synced unsynced.
  void fail_next_sync();
  /// Bytes the disk holds at most; past it writes answer kNoSpace.
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }

  /// Bytes that its files hold now.
  [[nodiscard]] std::uint64_t used() const;
  /// Changing calls so far; a test walks crash points by this number.
  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  [[nodiscard]] bool powered() const { return !power_gone_; }

  /// A file's content now, for tests that damage it. Null when there is none. `path` is directory path + "/" + name.
  Bytes* content(const std::string& path);
  /// Replaces what is on stable storage by what is there now, so that damage done through content() survives a crash.
  void settle();

 private:
  struct Node;
  struct Folder;
  class SimFile;
  class SimDirectory;

  /// Counts a changing call; kIo when power has gone.
  Result<void> change();

  Rng rng_;
  std::map<std::string, std::shared_ptr<Folder>> folders_;  // shared: handles opened before a crash still point here
  std::uint64_t epoch_ = 0;                                 // counts crashes; a handle of an older one is dead
  std::uint64_t calls_ = 0;
  std::optional<std::uint64_t> fail_at_;
  bool power_gone_ = false;
  bool fail_sync_ = false;
  std::uint64_t capacity_ = UINT64_MAX;
};

}  // namespace etcd::io
