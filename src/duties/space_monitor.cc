#include "duties/space_monitor.h"

#include <algorithm>
#include <utility>

namespace etcd::duties {

SpaceMonitor::SpaceMonitor(SpaceMonitorOptions options, const io::Clock& clock, io::Executor& loop, Ports ports)
    : options_(options), clock_(clock), loop_(loop), ports_(std::move(ports)) {}

void SpaceMonitor::start() {
  loop_.post([this] {
    look();
    arm();
  });
}

void SpaceMonitor::stop() {
  loop_.post([this] { stopped_ = true; });
}

void SpaceMonitor::look_soon() {
  loop_.post([this] { look(); });
}

void SpaceMonitor::arm() {
  loop_.post_at(clock_.now() + options_.interval, [this] {
    if (stopped_) return;
    look();
    arm();
  });
}

void SpaceMonitor::look() {
  if (stopped_) return;
  const Use use = ports_.use();
  bool short_of_room = false;
  bool has_room = true;
  if (const auto space = ports_.space()) {
    const std::uint64_t reserve = std::clamp(space->total_bytes / 20, options_.reserve_least, options_.reserve_most);
    const std::uint64_t room = space->free_bytes + use.free_bytes;
    short_of_room = room < reserve;
    has_room = room > reserve + reserve / 2;
  }
  if (options_.quota_bytes != 0) {
    short_of_room = short_of_room || use.bytes > options_.quota_bytes;
    has_room = has_room && use.bytes < options_.quota_bytes / 10 * 9;
  }
  if (short_of_room) full_.store(true, std::memory_order_release);
  if (has_room) full_.store(false, std::memory_order_release);
  const bool raised = ports_.raised();
  // Asked again at each look until it stands: a proposal may come to nothing.
  if (full() && !raised) ports_.alarm(true);
  if (has_room && raised) ports_.alarm(false);
}

}  // namespace etcd::duties
