#include "io/thread_executor.h"

#include <pthread.h>

#include <utility>

#include "base/check.h"

namespace etcd::io {

ThreadExecutor::ThreadExecutor(const std::string& name) {
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

ThreadExecutor::~ThreadExecutor() {
  stop();
}

void ThreadExecutor::post(Task task) {
  const std::scoped_lock lock(mu_);
  if (stopping_) return;
  queue_.push_back(std::move(task));
  // A runner sees the task when it looks at the queue again; an idle loop needs its thread.
  if (!running_ && own_thread_asleep_ && !wake_pending_) {
    wake_pending_ = true;
    wake_.notify_one();
  }
}

void ThreadExecutor::dispatch(Task task) {
  std::unique_lock lock(mu_);
  if (stopping_) return;
  if (running_ || !queue_.empty()) {
    queue_.push_back(std::move(task));
    if (!running_ && own_thread_asleep_ && !wake_pending_) {
      wake_pending_ = true;
      wake_.notify_one();
    }
    return;
  }
  running_ = true;
  runner_ = std::this_thread::get_id();
  lock.unlock();
  task();
  task = nullptr;  // what the task owned goes while the token is still held
  lock.lock();
  drain(lock, borrowed_tasks_max);
  running_ = false;
  runner_ = std::thread::id();
  if ((!queue_.empty() || stopping_) && own_thread_asleep_ && !wake_pending_) {
    wake_pending_ = true;
    wake_.notify_one();
  }
}

TimerId ThreadExecutor::post_at(MonotonicTime when, Task task) {
  const std::scoped_lock lock(mu_);
  const TimerId timer = next_timer_++;
  if (stopping_) return timer;
  const bool first = timers_.empty() || when < timers_.begin()->first.first;
  timers_.emplace(std::pair(when, timer), std::move(task));
  timer_times_.emplace(timer, when);
  if (first && own_thread_asleep_ && !wake_pending_) {  // it sleeps for longer than this timer allows
    wake_pending_ = true;
    wake_.notify_one();
  }
  return timer;
}

bool ThreadExecutor::cancel(TimerId timer) {
  Task dropped;  // destroyed outside the lock
  const std::scoped_lock lock(mu_);
  const auto at = timer_times_.find(timer);
  if (at == timer_times_.end()) return false;
  const auto entry = timers_.find(std::pair(at->second, timer));
  dropped = std::move(entry->second);
  timers_.erase(entry);
  timer_times_.erase(at);
  return true;
}

bool ThreadExecutor::is_current() const {
  const std::scoped_lock lock(mu_);
  return running_ && runner_ == std::this_thread::get_id();
}

std::uint64_t ThreadExecutor::wakeups() const {
  const std::scoped_lock lock(mu_);
  return wakeups_;
}

void ThreadExecutor::drain(std::unique_lock<std::mutex>& lock, std::size_t tasks_max) {
  std::size_t ran = 0;
  while (!queue_.empty() && ran < tasks_max) {
    std::vector<Task> tasks = std::exchange(queue_, {});
    lock.unlock();
    for (Task& task : tasks) {
      task();
      task = nullptr;
    }
    ran += tasks.size();
    lock.lock();
    // The emptied vector goes back, so that a busy loop does not allocate for its queue.
    if (queue_.empty()) {
      tasks.clear();
      queue_ = std::move(tasks);
    }
  }
}

void ThreadExecutor::run() {
  std::unique_lock lock(mu_);
  for (;;) {
    if (!running_) {
      while (!timers_.empty() && timers_.begin()->first.first <= clock_.now()) {
        auto first = timers_.begin();
        timer_times_.erase(first->first.second);
        queue_.push_back(std::move(first->second));
        timers_.erase(first);
      }
      if (!queue_.empty()) {
        running_ = true;
        runner_ = std::this_thread::get_id();
        drain(lock, SIZE_MAX);
        running_ = false;
        runner_ = std::thread::id();
        continue;
      }
      if (stopping_) return;
    }
    own_thread_asleep_ = true;
    if (timers_.empty() || running_) {
      // While another thread holds the token it looks after the queue, and wakes us when it leaves work behind; due
      // timers then wait for it, at most for `borrowed_tasks_max` tasks, hence the short sleep.
      if (running_ && !timers_.empty()) {
        wake_.wait_for(lock, std::chrono::milliseconds(1));
      } else {
        wake_.wait(lock, [this] { return wake_pending_; });
      }
    } else {
      const Duration until = timers_.begin()->first.first - clock_.now();
      wake_.wait_for(lock, until, [this] { return wake_pending_; });
    }
    own_thread_asleep_ = false;
    wake_pending_ = false;
    ++wakeups_;
  }
}

void ThreadExecutor::stop() {
  {
    const std::scoped_lock lock(mu_);
    if (stopping_ && !thread_.joinable()) return;
    stopping_ = true;
    wake_pending_ = true;
    wake_.notify_one();
  }
  CHECK(std::this_thread::get_id() != thread_.get_id(), "a loop cannot stop itself");
  if (thread_.joinable()) thread_.join();
  std::map<std::pair<MonotonicTime, TimerId>, Task> dropped;  // destroyed outside the lock
  const std::scoped_lock lock(mu_);
  dropped.swap(timers_);
  timer_times_.clear();
}

}  // namespace etcd::io
