// bench/executor_bench.cc - what it costs to hand a task from one loop to another, and how many threads wake up for it.
//
// A wake-up costs more than a whole request, hence the budget: at most two for a serial put, under 0.2 for a loaded
// one.
//
// rally             a task bounces between two loops; by post() each bounce wakes a thread, by dispatch() none
// hand_over         this thread gives an idle loop some tasks and waits until they have run
// put_hand_overs    the hand-overs of a put, as replica/replica.cc makes them, without the work: net -> replica -> disk
//                   -> replica -> apply -> net, for 1, 10 and 100 clients; a sleep stands for the sync
//
// Wake-ups are those of the loops' own threads (ThreadExecutor::wakeups()); CPU time is the whole process's.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>

#include "io/executor.h"
#include "io/thread_executor.h"

namespace etcd::bench {
namespace {

enum class Hand { kPost, kDispatch };

void give(io::Executor& loop, Hand hand, io::Task task) {
  if (hand == Hand::kPost) {
    loop.post(std::move(task));
  } else {
    loop.dispatch(std::move(task));
  }
}

/// One thread waits until another says so; it can be used again.
class Done {
 public:
  void set() {
    const std::scoped_lock lock(mu_);
    set_ = true;
    changed_.notify_one();
  }
  void wait() {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return set_; });
    set_ = false;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool set_ = false;
};

double ratio(std::uint64_t count, std::int64_t of) {
  return of == 0 ? 0 : static_cast<double>(count) / static_cast<double>(of);
}

/// Two loops and a ball. The ball is in one place at a time, so its fields need no lock.
class Rally {
 public:
  explicit Rally(Hand hand) : hand_(hand) {}
  ~Rally() {
    // A thread may still be leaving the other loop's dispatch(), so both end before either is destroyed.
    left_.stop();
    right_.stop();
  }
  Rally(const Rally&) = delete;
  Rally& operator=(const Rally&) = delete;

  void play(std::int64_t hops) {
    hops_left_ = hops;
    give(left_, hand_, [this] { hit(true); });
    done_.wait();
  }

  [[nodiscard]] std::uint64_t wakeups() const { return left_.wakeups() + right_.wakeups(); }

 private:
  void hit(bool at_left) {
    if (--hops_left_ == 0) {
      done_.set();
      return;
    }
    give(at_left ? right_ : left_, hand_, [this, at_left] { hit(!at_left); });
  }

  const Hand hand_;
  std::int64_t hops_left_ = 0;
  Done done_;
  io::ThreadExecutor left_{"left"};
  io::ThreadExecutor right_{"right"};
};

void rally(benchmark::State& state, Hand hand) {
  constexpr std::int64_t kHops = 1'000;
  Rally game(hand);
  const std::uint64_t before = game.wakeups();
  for (auto _ : state) game.play(kHops);
  const std::int64_t hops = state.iterations() * kHops;
  state.SetItemsProcessed(hops);
  state.counters["wakeups_per_hop"] = ratio(game.wakeups() - before, hops);
}
BENCHMARK_CAPTURE(rally, post, Hand::kPost)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(rally, dispatch, Hand::kDispatch)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void hand_over(benchmark::State& state, Hand hand) {
  Done done;
  io::ThreadExecutor loop("loop");
  const std::uint64_t before = loop.wakeups();
  for (auto _ : state) {
    std::int64_t left = state.range(0);  // of the loop alone, until done
    for (std::int64_t count = 0; count < state.range(0); ++count) {
      give(loop, hand, [&left, &done] {
        if (--left == 0) done.set();
      });
    }
    done.wait();
  }
  const std::int64_t tasks = state.iterations() * state.range(0);
  state.SetItemsProcessed(tasks);
  state.counters["wakeups_per_task"] = ratio(loop.wakeups() - before, tasks);
}
BENCHMARK_CAPTURE(hand_over, post, Hand::kPost)
    ->ArgName("tasks")
    ->Arg(1)
    ->Arg(16)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK_CAPTURE(hand_over, dispatch, Hand::kDispatch)
    ->ArgName("tasks")
    ->Arg(1)
    ->Arg(16)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

/// Clients that put one thing after another, and the loops that their puts walk through.
class PutPath {
 public:
  PutPath() = default;
  ~PutPath() {
    // A thread may be inside a loop that it borrowed: those that borrow end first, and all before one is destroyed.
    disk_.stop();
    net_.stop();
    replica_.stop();
    apply_.stop();
  }
  PutPath(const PutPath&) = delete;
  PutPath& operator=(const PutPath&) = delete;

  /// Returns once `puts` puts, of `clients` at a time, are answered.
  void run(std::int64_t clients, std::int64_t puts) {
    net_.post([this, clients, puts] {
      to_answer_ = puts;
      to_send_ = puts;
      send(clients);
    });
    done_.wait();
  }

  [[nodiscard]] std::uint64_t wakeups() const {
    return net_.wakeups() + replica_.wakeups() + disk_.wakeups() + apply_.wakeups();
  }
  [[nodiscard]] std::uint64_t syncs() const { return syncs_; }

 private:
  static constexpr std::chrono::microseconds kSync{100};

  void send(std::int64_t count) {  // net
    count = std::min(count, to_send_);
    to_send_ -= count;
    for (; count > 0; --count) {
      replica_.dispatch([this] { propose(); });
    }
  }

  void propose() {  // replica
    ++proposed_;
    if (std::exchange(pump_scheduled_, true)) return;
    replica_.post([this] { pump(); });
  }

  void pump() {  // replica
    pump_scheduled_ = false;
    {
      const std::scoped_lock lock(mu_);
      to_write_ += std::exchange(proposed_, 0);
      if (std::exchange(write_scheduled_, true)) return;
    }
    disk_.post([this] { write(); });
  }

  void write() {  // disk
    std::int64_t puts = 0;
    {
      const std::scoped_lock lock(mu_);
      write_scheduled_ = false;
      puts = std::exchange(to_write_, 0);
    }
    std::this_thread::sleep_for(kSync);
    ++syncs_;
    replica_.dispatch([this, puts] { apply_.dispatch([this, puts] { net_.post([this, puts] { answered(puts); }); }); });
  }

  void answered(std::int64_t puts) {  // net
    to_answer_ -= puts;
    if (to_answer_ == 0) {
      done_.set();
    } else {
      send(puts);
    }
  }

  Done done_;
  std::int64_t to_answer_ = 0;   // net
  std::int64_t to_send_ = 0;     // net
  std::int64_t proposed_ = 0;    // replica
  bool pump_scheduled_ = false;  // replica
  std::uint64_t syncs_ = 0;      // disk; others read it when nothing is under way

  std::mutex mu_;  // guards the two below
  std::int64_t to_write_ = 0;
  bool write_scheduled_ = false;

  io::ThreadExecutor net_{"net"};
  io::ThreadExecutor replica_{"replica"};
  io::ThreadExecutor disk_{"disk"};
  io::ThreadExecutor apply_{"apply"};
};

void put_hand_overs(benchmark::State& state) {
  const std::int64_t clients = state.range(0);
  const std::int64_t puts_per_run = 100 * clients;
  PutPath path;
  const std::uint64_t before = path.wakeups();
  for (auto _ : state) path.run(clients, puts_per_run);
  const std::int64_t puts = state.iterations() * puts_per_run;
  state.SetItemsProcessed(puts);
  state.counters["wakeups_per_put"] = ratio(path.wakeups() - before, puts);
  state.counters["syncs_per_put"] = ratio(path.syncs(), puts);
}
BENCHMARK(put_hand_overs)
    ->ArgName("clients")
    ->Arg(1)
    ->Arg(10)
    ->Arg(100)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace etcd::bench
