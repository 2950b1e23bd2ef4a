#include "raft/progress.h"

#include <algorithm>

#include "base/check.h"

namespace etcd::raft {

void Progress::reset_state(ProgressState to) {
  flow_paused = false;
  pending_snapshot = {};
  state = to;
  inflights.reset();
}

void Progress::become_probe() {
  // Out of kSnapshot, the snapshot is taken to have arrived: the next entry to try is the one behind it.
  const Index arrived = state == ProgressState::kSnapshot ? pending_snapshot : Index{};
  reset_state(ProgressState::kProbe);
  next = std::max(match, arrived) + 1;
  sent_commit = std::min(sent_commit, next - 1);
}

void Progress::become_replicate() {
  reset_state(ProgressState::kReplicate);
  next = match + 1;
}

void Progress::become_snapshot(Index snapshot) {
  reset_state(ProgressState::kSnapshot);
  pending_snapshot = snapshot;
  next = snapshot + 1;
  sent_commit = snapshot;
}

void Progress::sent_entries(std::uint64_t count, std::uint64_t bytes) {
  CHECK(state != ProgressState::kSnapshot, "sent entries while a snapshot is under way");
  if (state == ProgressState::kProbe) {
    if (count > 0) flow_paused = true;
    return;
  }
  if (count > 0) {
    next = next + count;
    inflights.add(next - 1, bytes);
  }
  // Once the window is full, what is sent is a probe: another one only after the next sign of life.
  flow_paused = inflights.full();
}

bool Progress::maybe_update(Index index) {
  if (index <= match) return false;
  match = index;
  next = std::max(next, index + 1);
  flow_paused = false;
  return true;
}

bool Progress::maybe_decrease_to(Index rejected, Index hint) {
  if (state == ProgressState::kReplicate) {
    if (rejected <= match) return false;
    next = match + 1;
    sent_commit = std::min(sent_commit, next - 1);
    return true;
  }
  // While probing there is one message on its way, so only its answer can be news.
  if (next != rejected + 1) return false;
  next = std::max(std::min(rejected, hint + 1), match + 1);
  sent_commit = std::min(sent_commit, next - 1);
  flow_paused = false;
  return true;
}

void Progress::check_invariants(MemberId id) const {
  CHECK(match < next, "member {:x}: match {} next {}", id, match.value, next.value);
  CHECK(state == ProgressState::kReplicate || inflights.count() == 0, "member {:x}: {} in flight outside replicate", id,
        inflights.count());
}

namespace {

template <class Items>
auto place_of(Items& items, MemberId id) {
  return std::lower_bound(items.begin(), items.end(), id,
                          [](const ProgressMap::Item& item, MemberId wanted) { return item.first < wanted; });
}

}  // namespace

Progress* ProgressMap::find(MemberId id) {
  const auto place = place_of(items_, id);
  return place != items_.end() && place->first == id ? &place->second : nullptr;
}

const Progress* ProgressMap::find(MemberId id) const {
  const auto place = place_of(items_, id);
  return place != items_.end() && place->first == id ? &place->second : nullptr;
}

Progress& ProgressMap::put(MemberId id, Progress progress) {
  auto place = place_of(items_, id);
  if (place != items_.end() && place->first == id) {
    place->second = std::move(progress);
  } else {
    place = items_.emplace(place, id, std::move(progress));
  }
  return place->second;
}

void ProgressMap::erase(MemberId id) {
  const auto place = place_of(items_, id);
  if (place != items_.end() && place->first == id) items_.erase(place);
}

}  // namespace etcd::raft
