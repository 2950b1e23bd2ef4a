// service/waiters.h - who waits for which command: filled by net loops, answered by the apply loop.
//
// Thread:  any (guarded by mu_). Callbacks run on the executor they were given with.
//
// Every request waits equally long, so those that run out stand at the front of one queue.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "apply/applier.h"
#include "base/result.h"
#include "base/time.h"
#include "io/executor.h"
#include "telemetry/metrics.h"

namespace etcd::service {

/// What a waiting request gets: the command's outcome, or why there is none.
using Answer = std::move_only_function<void(Result<apply::Outcome>)>;

class Waiters {
 public:
  /// `failures` counts requests that got an error while the member ran; null: nobody does. Must outlive this.
  explicit Waiters(telemetry::Counter* failures = nullptr) : failures_(failures) {}

  /// Registers a request before it is proposed. `answer` is called once, on `loop`.
  void add(std::uint64_t id, MonotonicTime deadline, io::Executor& loop, Answer answer);

  /// Answers those of `outcomes` that somebody waits for here; each loop is woken once.
  void deliver(std::vector<apply::Outcome> outcomes);
  /// Answers one with an error.
  void fail(std::uint64_t id, Error error);
  /// Answers all whose deadline has passed.
  void expire(MonotonicTime now, const Error& error);
  /// Answers everybody; whoever comes later is answered at once.
  void close(const Error& error);

  [[nodiscard]] std::size_t count() const;

 private:
  struct Waiter {
    io::Executor* loop;
    Answer answer;
  };

  std::optional<Waiter> take(std::uint64_t id);
  void count_failures(std::size_t count) {
    if (failures_ != nullptr && count > 0) failures_->add(count);
  }
  static void answer(Waiter waiter, Result<apply::Outcome> result);

  telemetry::Counter* const failures_;
  mutable std::mutex mu_;  // guards all below; never held while a callback runs or a loop is posted to
  absl::flat_hash_map<std::uint64_t, Waiter> waiting_;
  std::deque<std::pair<MonotonicTime, std::uint64_t>> deadlines_;  // in order; answered ones stay until they come up
  std::optional<Error> closed_;
};

}  // namespace etcd::service
