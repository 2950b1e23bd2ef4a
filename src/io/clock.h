// io/clock.h - the door to time: one clock that only runs forward, one that shows the calendar.
//
// Thread:  any.
// Order and time-outs use now(); wall() is for display and for deadlines that must survive a restart.
#pragma once
#include "base/time.h"

namespace etcd::io {

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual MonotonicTime now() const = 0;
  [[nodiscard]] virtual WallTime wall() const = 0;
};

/// The machine's own clocks. Source: clock_gettime(2), CLOCK_MONOTONIC and CLOCK_REALTIME.
class RealClock final : public Clock {
 public:
  [[nodiscard]] MonotonicTime now() const override;
  [[nodiscard]] WallTime wall() const override;
};

}  // namespace etcd::io
