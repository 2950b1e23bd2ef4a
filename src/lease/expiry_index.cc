#include "lease/expiry_index.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "lease/metrics.h"

namespace etcd::lease {

namespace {

/// A TTL may be longer than the clock counts; such a node is never due.
MonotonicTime after(MonotonicTime now, Duration ttl) {
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  return ttl.count() > kEnd - now.ns ? MonotonicTime{kEnd} : now + ttl;
}

/// What is left until `deadline`; a wall clock before 1970 must not make it wrap around.
Duration left_until(WallTime deadline, WallTime wall) {
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  return wall.ns < 0 && deadline.ns > kEnd + wall.ns ? Duration(kEnd) : deadline - wall;
}

}  // namespace

void ExpiryIndex::set(BytesView path, WallTime deadline, Duration ttl, MonotonicTime now) {
  const bool renewed = erase(path);
  const Node node{deadline, ttl, after(now, ttl)};
  order_.emplace(node.due, node.deadline, Bytes(path));
  nodes_.emplace(Bytes(path), node);
  if (metrics_ == nullptr) return;
  if (renewed) {
    metrics_->renewed.add();
  } else {
    metrics_->granted.add();
    metrics_->ttl.observe(ttl);
  }
}

bool ExpiryIndex::erase(BytesView path) {
  const auto at = nodes_.find(path);
  if (at == nodes_.end()) return false;
  order_.erase(Place{at->second.due, at->second.deadline, at->first});
  nodes_.erase(at);
  return true;
}

void ExpiryIndex::forget(BytesView path) {
  if (erase(path) && metrics_ != nullptr) metrics_->revoked.add();
}

void ExpiryIndex::forget_subtree(BytesView directory) {
  forget(directory);
  const Bytes prefix = Bytes(directory) + "/";
  for (auto at = nodes_.lower_bound(prefix); at != nodes_.end() && at->first.starts_with(prefix);) {
    order_.erase(Place{at->second.due, at->second.deadline, at->first});
    at = nodes_.erase(at);
    if (metrics_ != nullptr) metrics_->revoked.add();
  }
}

void ExpiryIndex::restart(MonotonicTime now, WallTime wall) {
  order_.clear();
  for (auto& [path, node] : nodes_) {
    node.due = after(now, std::clamp(left_until(node.deadline, wall), Duration::zero(), node.ttl));
    order_.emplace(node.due, node.deadline, path);
  }
}

std::vector<Due> ExpiryIndex::take_due(MonotonicTime now, std::size_t count_max, Duration retry) {
  std::vector<Due> due;
  while (due.size() < count_max && !order_.empty() && std::get<MonotonicTime>(*order_.begin()) <= now) {
    auto place = order_.extract(order_.begin());
    auto& [when, deadline, path] = place.value();
    due.push_back({path, deadline});
    when = nodes_.at(path).due = now + retry;
    order_.insert(std::move(place));
  }
  // What ran out within one look is handed out by deadline, whatever the small differences of when it was applied.
  std::sort(due.begin(), due.end(), [](const Due& one, const Due& two) {
    return std::tie(one.deadline, one.path) < std::tie(two.deadline, two.path);
  });
  return due;
}

std::optional<MonotonicTime> ExpiryIndex::next_due() const {
  if (order_.empty()) return std::nullopt;
  return std::get<MonotonicTime>(*order_.begin());
}

void ExpiryIndex::check_invariants() const {
  CHECK(nodes_.size() == order_.size(), "{} nodes in {} places", nodes_.size(), order_.size());
  for (const auto& [path, node] : nodes_) {
    CHECK(order_.contains(Place{node.due, node.deadline, path}), "{} has no place", path);
  }
}

}  // namespace etcd::lease
