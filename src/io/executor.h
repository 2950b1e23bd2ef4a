// io/executor.h - a loop: runs the tasks it is given one after another, never two at a time.
//
// Thread:  post, dispatch, post_at and cancel from any thread; tasks run one at a time, each seeing what earlier ones
// did.
//
// Which thread runs a loop is wiring (docs/ARCHITECTURE.md, "Loops"). A thread wake-up costs more than a whole request,
// so dispatch() may run the task on the calling thread when the loop is idle.
#pragma once
#include <cstdint>
#include <functional>

#include "base/time.h"

namespace etcd::io {

using Task = std::move_only_function<void()>;
using TimerId = std::uint64_t;  // never 0

class Executor {
 public:
  virtual ~Executor() = default;

  /// Runs `task` later, behind all that was given before; never on the stack of this call.
  virtual void post(Task task) = 0;

  /// As post(), but when the loop is idle the task may run before this call returns. Never call it holding a lock.
  virtual void dispatch(Task task) = 0;

  /// Runs `task` once `when` has come, by the clock that this executor runs on.
  virtual TimerId post_at(MonotonicTime when, Task task) = 0;

  /// Forgets a timer. Returns false when it ran already or is about to; a caller on the same loop can rely on either.
  virtual bool cancel(TimerId timer) = 0;

  /// True on the stack of one of this loop's tasks.
  [[nodiscard]] virtual bool is_current() const = 0;
};

}  // namespace etcd::io
