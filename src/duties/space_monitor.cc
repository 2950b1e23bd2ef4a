#include "duties/space_monitor.h"

#include <algorithm>
#include <utility>

namespace etcd::duties {
namespace {

constexpr std::uint64_t kBytesPerMillisecond = 500'000;  // as fast as a log and a store may grow

}  // namespace

SpaceMonitor::SpaceMonitor(SpaceMonitorOptions options, const io::Clock& clock, io::Executor& loop, Ports ports)
    : options_(options), clock_(clock), loop_(loop), ports_(std::move(ports)) {}

void SpaceMonitor::start() {
  loop_.post([this] { arm(look()); });
}

void SpaceMonitor::stop() {
  loop_.post([this] { stopped_ = true; });
}

void SpaceMonitor::look_soon() {
  loop_.post([this] { look(); });
}

void SpaceMonitor::arm(Duration pause) {
  loop_.post_at(clock_.now() + pause, [this] {
    if (!stopped_) arm(look());
  });
}

Duration SpaceMonitor::look() {
  if (stopped_) return options_.interval_most;
  const Use use = ports_.use();
  bool short_of_room = false;
  bool has_room = true;
  std::uint64_t spare = UINT64_MAX;  // before something has to be done
  if (const auto space = ports_.space()) {
    const std::uint64_t reserve = std::clamp(space->total_bytes / 20, options_.reserve_least, options_.reserve_most);
    const std::uint64_t free_bytes = space->free_bytes + use.free_bytes;
    const std::uint64_t room = free_bytes - std::min(free_bytes, use.pending_bytes);
    spare = room - std::min(room, reserve);
    short_of_room = room < reserve;
    has_room = room > reserve + reserve / 2;
  }
  if (options_.quota_bytes != 0) {
    const std::uint64_t bytes = use.bytes + use.pending_bytes;
    short_of_room = short_of_room || bytes > options_.quota_bytes;
    has_room = has_room && bytes < options_.quota_bytes / 10 * 9;
    spare = std::min(spare, options_.quota_bytes - std::min(options_.quota_bytes, bytes));
  }
  if (short_of_room) full_.store(true, std::memory_order_release);
  if (has_room) full_.store(false, std::memory_order_release);
  const bool raised = ports_.raised();
  // Asked again at each look until it stands: a proposal may come to nothing.
  if (full() && !raised) ports_.alarm(true);
  if (has_room && raised) ports_.alarm(false);
  if (full() || raised) return options_.interval_least;
  // In milliseconds first: what a large disk spares would overflow a Duration.
  const auto most = static_cast<std::uint64_t>(options_.interval_most / 1ms);
  const Duration until_full = std::chrono::milliseconds(std::min(spare / kBytesPerMillisecond, most));
  return std::max(until_full, options_.interval_least);
}

}  // namespace etcd::duties
