#include "io/clock.h"

#include <ctime>

namespace etcd::io {
namespace {

std::int64_t read_clock(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

MonotonicTime RealClock::now() const {
  return {read_clock(CLOCK_MONOTONIC)};
}
WallTime RealClock::wall() const {
  return {read_clock(CLOCK_REALTIME)};
}

}  // namespace etcd::io
