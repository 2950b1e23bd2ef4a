// net/loop.h - a loop with a thread of its own that waits for sockets, timers and other loops' tasks at once.
//
// Life:    constructor starts the thread -> post()*, sockets on context() -> stop() -> destructor
// Thread:  as io::Executor; stop() from outside the loop, once. What lives on context() belongs to the loop's thread.
// Owns:    one thread, its queue and its timers. Borrows nothing; the clock is the machine's.
//
// Waking a thread costs more than a request, so tasks wait in a queue of our own: the first one wakes the loop, and
// what comes before the loop has looked needs no further wake-up. The loop takes the queue as a whole. Between two such
// batches sockets get their turn.
//
//          post wakes           the loop takes the queue
//   asleep ----------> woken -----------------------------> running ---> queue empty: asleep
#pragma once
#include <memory>
#include <string>

#include "io/executor.h"

namespace boost::asio {
class io_context;
}

namespace etcd::net {

class Loop final : public io::Executor {
 public:
  /// `name` is the thread's, at most 15 characters.
  explicit Loop(const std::string& name);
  ~Loop() override;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void post(io::Task task) override;
  /// Inline on this loop's own thread, else as post(): an answer made on the net loop reaches its session at once.
  void dispatch(io::Task task) override;
  io::TimerId post_at(MonotonicTime when, io::Task task) override;
  bool cancel(io::TimerId timer) override;
  [[nodiscard]] bool is_current() const override;

  /// Runs what is queued, drops timers, ends the thread. Tasks given later are dropped. Stop the servers on it first.
  void stop();

  /// How often posts have woken the loop; the benches hold it against the number of posts.
  [[nodiscard]] std::uint64_t wakeups() const;

  /// For sockets, whose handlers run on the loop's thread between the tasks.
  [[nodiscard]] boost::asio::io_context& context();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace etcd::net
