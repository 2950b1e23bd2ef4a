// io/thread_executor.h - a loop with a thread of its own, which other threads may borrow.
//
// Life:    constructor starts the thread -> post()* -> stop() -> destructor
// Thread:  as io::Executor; stop() from outside the loop, once.
// Owns:    one thread, its queue and its timers. Borrows nothing; the clock is the machine's.
//
// The loop is a token: whoever holds it runs tasks. dispatch() on an idle loop takes the token, runs the task on the
// calling thread and puts the token back, so that no thread wakes up. Its own thread takes over when the borrower has
// run `borrowed_tasks_max` tasks and more have come, so that a borrower is never kept for long.
//
//        post, dispatch           dispatch on idle               queue empty
//   idle ---------------> queued ------------------> running --------------------> idle
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/clock.h"
#include "io/executor.h"

namespace etcd::io {

class ThreadExecutor final : public Executor {
 public:
  /// `name` is the thread's, at most 15 characters.
  explicit ThreadExecutor(const std::string& name);
  ~ThreadExecutor() override;
  ThreadExecutor(const ThreadExecutor&) = delete;
  ThreadExecutor& operator=(const ThreadExecutor&) = delete;

  void post(Task task) override;
  void dispatch(Task task) override;
  TimerId post_at(MonotonicTime when, Task task) override;
  bool cancel(TimerId timer) override;
  [[nodiscard]] bool is_current() const override;

  /// Runs what is queued, drops timers, ends the thread. Tasks given later are dropped.
  void stop();

  /// How often this loop's own thread has been woken; the benches hold it against the budget.
  [[nodiscard]] std::uint64_t wakeups() const;

 private:
  void run();
  /// Runs tasks until the queue is empty or `tasks_max` have run; the caller holds the token and `lock`.
  void drain(std::unique_lock<std::mutex>& lock, std::size_t tasks_max);

  static constexpr std::size_t borrowed_tasks_max = 16;

  RealClock clock_;
  mutable std::mutex mu_;
  std::condition_variable wake_;
  // All below is guarded by mu_.
  std::vector<Task> queue_;  // in order; drain() takes it whole
  std::map<std::pair<MonotonicTime, TimerId>, Task> timers_;
  std::map<TimerId, MonotonicTime> timer_times_;
  TimerId next_timer_ = 1;
  std::thread::id runner_;  // who holds the token; none when idle
  bool running_ = false;    // the token is held
  bool own_thread_asleep_ = false;
  bool wake_pending_ = false;  // the own thread has been notified and has not yet come
  bool stopping_ = false;
  std::uint64_t wakeups_ = 0;
  std::thread thread_;
};

}  // namespace etcd::io
