// duties/space_monitor.h - a member's duty to say in time that it runs out of space, and that there is room again.
//
// Life:    constructor -> start() -> stop()
// Thread:  full() and look_soon() from any; the rest on `loop`, which may block on the file system.
// Owns:    a timer. Borrows clock and loop, which must outlive it.
// Source:  etcd v3.7.1 server/storage/quota.go (what a quota counts, the alarm); the rest is ours: upstream notices a
//          full file system only when a write has failed, and an operator clears its alarm.
//
// Room is what the file system has left plus what the store's file has free inside, less what is on its way there. The
// alarm is raised while there is still enough of it for what goes on under the alarm: deletes, compaction, expiry and the
// batches on their way. How soon it looks again follows from how fast a disk could be filled.
//
//   room < reserve, or used + tail > quota  -------> alarm raised
//   room > 1.5 reserve, and used + tail < 0.9 quota -------> cleared, if this member raised it
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "base/time.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/file.h"

namespace etcd::duties {

struct SpaceMonitorOptions {
  std::uint64_t quota_bytes = 0;              // --quota-backend-bytes; 0: none
  Duration interval_least = 50ms;             // between two looks
  Duration interval_most = 1s;                // likewise, where there is much room
  std::uint64_t reserve_least = 32ull << 20;  // the reserve is a twentieth of the file system within these bounds
  std::uint64_t reserve_most = 1ull << 30;
};

class SpaceMonitor {
 public:
  struct Use {
    std::uint64_t bytes = 0;          // of data in the store's file
    std::uint64_t free_bytes = 0;     // inside that file, to be used again
    std::uint64_t pending_bytes = 0;  // of data that are on their way there
  };
  /// What it works with. All are called on `loop`.
  struct Ports {
    std::function<Result<io::Space>()> space;  // of the file system; an error counts as room
    std::function<Use()> use;
    std::function<bool()> raised;           // whether this member's alarm stands
    std::function<void(bool raise)> alarm;  // proposes to raise or to clear it; need not tell what became of it
  };

  SpaceMonitor(SpaceMonitorOptions options, const io::Clock& clock, io::Executor& loop, Ports ports);

  void start();
  void stop();

  /// Whether there was too little room at the last look: what adds to the store should not be proposed.
  [[nodiscard]] bool full() const { return full_.load(std::memory_order_acquire); }
  /// Somebody found no space.
  void look_soon();

 private:
  /// Returns when to look again.
  Duration look();
  void arm(Duration pause);

  const SpaceMonitorOptions options_;
  const io::Clock& clock_;
  io::Executor& loop_;
  const Ports ports_;
  std::atomic<bool> full_ = false;
  bool stopped_ = false;  // on loop_
};

}  // namespace etcd::duties
