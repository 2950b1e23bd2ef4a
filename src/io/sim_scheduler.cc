#include "io/sim_scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace etcd::io {

class SimScheduler::VirtualClock final : public Clock {
 public:
  [[nodiscard]] MonotonicTime now() const override { return now_; }
  [[nodiscard]] WallTime wall() const override { return WallTime{now_.ns} + wall_offset_; }

  MonotonicTime now_{};
  Duration wall_offset_{1'767'225'600'000'000'000};  // 2026-01-01T00:00:00Z
};

class SimScheduler::Loop final : public Executor {
 public:
  Loop(SimScheduler& scheduler, std::string name) : scheduler_(scheduler), name_(std::move(name)) {}

  void post(Task task) override {
    if (!dead_) queue_.push_back(std::move(task));
  }

  void dispatch(Task task) override {
    if (dead_) return;
    if (busy_ || !queue_.empty() || scheduler_.rng_.chance(1, 2)) {
      queue_.push_back(std::move(task));
      return;
    }
    run(std::move(task));
  }

  TimerId post_at(MonotonicTime when, Task task) override {
    const TimerId timer = next_timer_++;
    if (!dead_) timers_.emplace(std::pair(when, timer), std::move(task));
    return timer;
  }

  bool cancel(TimerId timer) override {
    const auto at =
        std::find_if(timers_.begin(), timers_.end(), [&](const auto& entry) { return entry.first.second == timer; });
    if (at == timers_.end()) return false;
    timers_.erase(at);
    return true;
  }

  [[nodiscard]] bool is_current() const override { return scheduler_.current_ == this; }

  void run(Task task) {
    CHECK(!busy_, "loop {} runs two tasks at once", name_);
    Loop* const outer = std::exchange(scheduler_.current_, this);
    busy_ = true;
    ++scheduler_.tasks_run_;
    task();
    busy_ = false;
    scheduler_.current_ = outer;
  }

  SimScheduler& scheduler_;
  std::string name_;
  std::deque<Task> queue_;
  std::map<std::pair<MonotonicTime, TimerId>, Task> timers_;
  TimerId next_timer_ = 1;
  bool busy_ = false;
  bool dead_ = false;
};

SimScheduler::SimScheduler(std::uint64_t seed) : rng_(seed), clock_(std::make_unique<VirtualClock>()) {}

SimScheduler::~SimScheduler() {
  for (const auto& loop : loops_) kill(*loop);
}

Executor& SimScheduler::new_executor(const std::string& name) {
  return *loops_.emplace_back(std::make_unique<Loop>(*this, name));
}

void SimScheduler::kill(Executor& executor) {
  auto& loop = static_cast<Loop&>(executor);
  loop.dead_ = true;
  // What the tasks own may post to this loop while it goes; by then the loop takes nothing.
  const auto queue = std::exchange(loop.queue_, {});
  const auto timers = std::exchange(loop.timers_, {});
}

const Clock& SimScheduler::clock() const {
  return *clock_;
}

void SimScheduler::jump_wall(Duration step) {
  clock_->wall_offset_ += step;
}

bool SimScheduler::run_one() {
  std::size_t ready = 0;
  for (const auto& loop : loops_) ready += loop->queue_.empty() ? 0 : 1;
  if (ready == 0) {
    Loop* next = nullptr;
    for (const auto& loop : loops_) {
      if (!loop->timers_.empty() &&
          (next == nullptr || loop->timers_.begin()->first.first < next->timers_.begin()->first.first)) {
        next = loop.get();
      }
    }
    if (next == nullptr) return false;
    const auto first = next->timers_.begin();
    clock_->now_ = std::max(clock_->now_, first->first.first);
    next->queue_.push_back(std::move(first->second));
    next->timers_.erase(first);
    return true;
  }
  std::size_t place = rng_.below(ready);
  for (std::size_t index = 0; index < loops_.size(); ++index) {
    Loop& loop = *loops_[index];
    if (loop.queue_.empty() || place-- > 0) continue;
    Task task = std::move(loop.queue_.front());
    loop.queue_.pop_front();
    loop.run(std::move(task));
    return true;
  }
  return false;
}

bool SimScheduler::run_until(const std::function<bool()>& done, Duration limit) {
  const MonotonicTime end = clock_->now_ + limit;
  while (!done() && clock_->now_ <= end) {
    if (!run_one()) break;
  }
  return done();
}

}  // namespace etcd::io
