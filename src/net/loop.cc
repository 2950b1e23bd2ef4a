#include "net/loop.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "io/clock.h"
#include "net/session.h"

namespace etcd::net {
namespace {

thread_local const Loop* current_loop = nullptr;

constexpr int kBatchesPerTurn = 4;

}  // namespace

struct Loop::State {
  void drain();
  /// Sets the timer to the first entry of timers; loop's thread only.
  void arm();
  void fire();

  io::RealClock clock;
  mutable std::mutex mu;
  // Guarded by mu, up to stopping.
  std::vector<io::Task> queue;  // in order; drain() takes it whole
  std::map<std::pair<MonotonicTime, io::TimerId>, io::Task> timers;
  std::map<io::TimerId, MonotonicTime> timer_times;
  io::TimerId next_timer = 1;
  std::uint64_t wakeups = 0;
  bool wake_pending = false;  // a drain() is on its way, or running
  bool stopping = false;

  // Behind the queue, since handlers that die with the context may still post.
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context.get_executor()};
  boost::asio::steady_timer timer{context};
  MonotonicTime armed_at = kNever;  // what the timer waits for; loop's thread only
  std::thread thread;
};

Loop::Loop(const std::string& name) : state_(std::make_unique<State>()) {
  state_->thread = std::thread([this] {
    current_loop = this;
    state_->context.run();
    current_loop = nullptr;
  });
  pthread_setname_np(state_->thread.native_handle(), name.substr(0, 15).c_str());
}

Loop::~Loop() {
  stop();
}

void Loop::post(io::Task task) {
  State* const state = state_.get();
  {
    const std::scoped_lock lock(state->mu);
    if (state->stopping) return;
    state->queue.push_back(std::move(task));
    if (state->wake_pending) return;
    state->wake_pending = true;
    ++state->wakeups;
  }
  boost::asio::post(state->context, [state] { state->drain(); });
}

void Loop::dispatch(io::Task task) {
  if (is_current()) {
    task();
  } else {
    post(std::move(task));
  }
}

io::TimerId Loop::post_at(MonotonicTime when, io::Task task) {
  State* const state = state_.get();
  io::TimerId id = 0;
  {
    const std::scoped_lock lock(state->mu);
    id = state->next_timer++;
    if (state->stopping) return id;
    const auto [at, fresh] = state->timers.emplace(std::pair(when, id), std::move(task));
    state->timer_times.emplace(id, when);
    if (at != state->timers.begin()) return id;
  }
  if (is_current()) {
    state->arm();
  } else {
    boost::asio::post(state->context, [state] { state->arm(); });
  }
  return id;
}

bool Loop::cancel(io::TimerId timer) {
  io::Task dropped;  // destroyed outside the lock
  const std::scoped_lock lock(state_->mu);
  const auto time = state_->timer_times.find(timer);
  if (time == state_->timer_times.end()) return false;
  const auto entry = state_->timers.find(std::pair(time->second, timer));
  dropped = std::move(entry->second);
  state_->timers.erase(entry);
  state_->timer_times.erase(time);
  return true;
}

bool Loop::is_current() const {
  return current_loop == this;
}

std::uint64_t Loop::wakeups() const {
  const std::scoped_lock lock(state_->mu);
  return state_->wakeups;
}

boost::asio::io_context& Loop::context() {
  return state_->context;
}

void Loop::stop() {
  {
    const std::scoped_lock lock(state_->mu);
    state_->stopping = true;
  }
  if (!state_->thread.joinable()) return;
  CHECK(!is_current(), "a loop cannot stop itself");
  State* const state = state_.get();
  boost::asio::post(state->context, [state] {
    for (;;) {
      std::vector<io::Task> tasks;
      {
        const std::scoped_lock lock(state->mu);
        tasks.swap(state->queue);
      }
      if (tasks.empty()) break;
      for (io::Task& task : tasks) {
        task();
        task = nullptr;
      }
    }
    state->context.stop();
  });
  state->thread.join();
  std::map<std::pair<MonotonicTime, io::TimerId>, io::Task> dropped;  // destroyed outside the lock
  const std::scoped_lock lock(state->mu);
  dropped.swap(state->timers);
  state->timer_times.clear();
}

void Loop::State::drain() {
  std::vector<io::Task> tasks;
  for (int batch = 0; batch < kBatchesPerTurn; ++batch) {
    {
      const std::scoped_lock lock(mu);
      if (queue.empty()) {
        // The emptied vector goes back, so that a busy loop does not allocate for its queue.
        queue.swap(tasks);
        wake_pending = false;
        return;
      }
      tasks.swap(queue);
    }
    for (io::Task& task : tasks) {
      task();
      task = nullptr;
    }
    tasks.clear();
  }
  boost::asio::post(context, [this] { drain(); });
}

void Loop::State::arm() {
  MonotonicTime first = kNever;
  {
    const std::scoped_lock lock(mu);
    if (!timers.empty()) first = timers.begin()->first.first;
  }
  if (first == armed_at || first == kNever) return;
  armed_at = first;
  // The steady clock is CLOCK_MONOTONIC, and so is ours. Setting the time ends the wait before.
  timer.expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(first.ns)));
  timer.async_wait([this](const boost::system::error_code& failure) {
    if (!failure) fire();
  });
}

void Loop::State::fire() {
  armed_at = kNever;
  const MonotonicTime now = clock.now();
  for (;;) {
    io::Task task;
    {
      const std::scoped_lock lock(mu);
      if (timers.empty() || timers.begin()->first.first > now) break;
      const auto first = timers.begin();
      task = std::move(first->second);
      timer_times.erase(first->first.second);
      timers.erase(first);
    }
    task();
  }
  arm();
}

}  // namespace etcd::net
