#include "duties/compactor.h"

#include <algorithm>
#include <utility>

namespace etcd::duties {
namespace {

constexpr Duration kIntervalMax = std::chrono::hours(1);
constexpr int kLooksPerInterval = 10;
constexpr Duration kRevisionInterval = std::chrono::minutes(5);

}  // namespace

Compactor::Compactor(CompactorOptions options, const io::Clock& clock, io::Executor& loop, Ports ports)
    : options_(options), clock_(clock), loop_(loop), ports_(std::move(ports)) {}

Duration Compactor::interval() const {
  return options_.mode == CompactorOptions::Mode::kRevision ? kRevisionInterval
                                                            : std::min(options_.period, kIntervalMax);
}

Duration Compactor::step() const {
  return options_.mode == CompactorOptions::Mode::kRevision
             ? kRevisionInterval
             : std::max(interval() / kLooksPerInterval, Duration(std::chrono::milliseconds(1)));
}

void Compactor::start() {
  loop_.post([this] {
    if (options_.mode == CompactorOptions::Mode::kRevision ? options_.revisions == 0 : options_.period == Duration{}) {
      return;
    }
    last_ = clock_.now();
    if (options_.mode == CompactorOptions::Mode::kPeriodic) noted_.push_back(ports_.revision());
    arm();
  });
}

void Compactor::leader_changed(bool leads) {
  loop_.post([this, leads] { leads_ = leads; });
}

void Compactor::stop() {
  loop_.post([this] { stopped_ = true; });
}

void Compactor::arm() {
  loop_.post_at(clock_.now() + step(), [this] { look(); });
}

void Compactor::look() {
  if (stopped_) return;
  if (options_.mode == CompactorOptions::Mode::kRevision) {
    look_revision();
  } else {
    look_periodic();
  }
  arm();
}

void Compactor::look_periodic() {
  noted_.push_back(ports_.revision());
  const auto looks = static_cast<std::size_t>(options_.period / step()) + 1;
  while (noted_.size() > looks) noted_.pop_front();
  const MonotonicTime now = clock_.now();
  const std::int64_t to = noted_.front();
  if (noted_.size() < looks || now - last_ < (compacted_once_ ? interval() : options_.period)) return;
  if (!leads_ || to == last_revision_) return;
  last_ = now;
  last_revision_ = to;
  compacted_once_ = true;
  ports_.compact(to);
}

void Compactor::look_revision() {
  const std::int64_t to = ports_.revision() - options_.revisions;
  if (!leads_ || to <= 0 || to == last_revision_) return;
  last_revision_ = to;
  ports_.compact(to);
}

}  // namespace etcd::duties
