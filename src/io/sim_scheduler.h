// io/sim_scheduler.h - simulated time and loops: every task of every loop in one thread, in an order set by a seed.
//
// Life:    SimScheduler(seed) -> executors from new_executor() -> run_one()* or run_until()
// Thread:  one thread owns it all.
// Owns:    the virtual clock, the executors' queues and timers. Executors are borrowed and live as long as it.
//
// Tasks of one loop keep their order; which loop goes next is drawn at random, as is whether dispatch() runs inline, so
// that code cannot rely on either. Time moves only when nothing is left to run.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/clock.h"
#include "io/executor.h"

namespace etcd::io {

class SimScheduler {
 public:
  explicit SimScheduler(std::uint64_t seed);
  ~SimScheduler();
  SimScheduler(const SimScheduler&) = delete;
  SimScheduler& operator=(const SimScheduler&) = delete;

  /// A new loop; `name` is for messages.
  Executor& new_executor(const std::string& name);
  /// Drops every task and timer of a loop, and all that it is given later: its member has lost power.
  void kill(Executor& executor);

  /// The virtual clock; wall time starts at 2026-01-01 and may be moved apart from the monotonic one.
  [[nodiscard]] const Clock& clock() const;
  void jump_wall(Duration step);

  /// Runs one task, or moves time to the next timer. Returns false when there is neither.
  bool run_one();
  /// Runs until `done()` or until `limit` of virtual time has passed. Returns what `done()` says at the end.
  bool run_until(const std::function<bool()>& done, Duration limit);

  [[nodiscard]] std::uint64_t tasks_run() const { return tasks_run_; }

 private:
  class Loop;
  class VirtualClock;

  Rng rng_;
  std::unique_ptr<VirtualClock> clock_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::uint64_t tasks_run_ = 0;
  Loop* current_ = nullptr;  // whose task is on the stack, innermost
};

}  // namespace etcd::io
