// base/time.h - durations and the two kinds of instants, which cannot be mixed up.
//
// Thread:  any (values).
// Units:   nanoseconds, all of them.
#pragma once
#include <chrono>
#include <compare>
#include <cstdint>

namespace etcd {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;  // NOLINT: 100ms reads better than any spelling without it

/// An instant of the clock that only runs forward; its zero means nothing outside this process.
struct MonotonicTime {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(MonotonicTime, MonotonicTime) = default;
};

/// An instant of the calendar, since 1970-01-01T00:00:00Z. It may jump by days; nothing may depend on its order.
struct WallTime {
  std::int64_t ns = 0;
  friend constexpr auto operator<=>(WallTime, WallTime) = default;
};

constexpr MonotonicTime operator+(MonotonicTime time, Duration step) {
  return {time.ns + step.count()};
}
constexpr Duration operator-(MonotonicTime left, MonotonicTime right) {
  return Duration(left.ns - right.ns);
}
constexpr WallTime operator+(WallTime time, Duration step) {
  return {time.ns + step.count()};
}
constexpr Duration operator-(WallTime left, WallTime right) {
  return Duration(left.ns - right.ns);
}

}  // namespace etcd
