#include "raft/memory_log.h"

#include <utility>

#include "base/check.h"

namespace etcd::raft {
namespace {

std::unexpected<Error> compacted() {
  return failure(ErrorCode::kCompacted, "requested index is unavailable due to compaction");
}
std::unexpected<Error> unavailable() {
  return failure(ErrorCode::kUnavailable, "requested entry at index is unavailable");
}
std::unexpected<Error> out_of_date() {
  return failure(ErrorCode::kOutOfRange, "requested index is older than the existing snapshot");
}

}  // namespace

LogView::InitialState MemoryLog::initial_state() const {
  return {hard_state_, snapshot_.metadata.conf_state};
}

Result<std::vector<Entry>> MemoryLog::entries(Index begin, Index end, std::uint64_t bytes_max) const {
  if (begin < first_index()) return compacted();
  if (begin >= end || end > last_index() + 1) return unavailable();
  std::vector<Entry> found;
  std::uint64_t bytes = 0;
  for (Index index = begin; index < end; ++index) {
    const Entry& entry = log_[index - first_index()];
    bytes += encoded_bytes(entry);
    if (!found.empty() && bytes > bytes_max) break;
    found.push_back(entry);
  }
  return found;
}

Result<Term> MemoryLog::term(Index index) const {
  if (index < before_first_.index) return compacted();
  if (index > last_index()) return unavailable();
  return index == before_first_.index ? before_first_.term : log_[index - first_index()].term;
}

Result<Snapshot> MemoryLog::snapshot() const {
  return snapshot_;
}

void MemoryLog::append(std::span<const Entry> entries) {
  while (!entries.empty() && entries.front().index < first_index()) entries = entries.subspan(1);
  if (entries.empty()) return;
  const Index first = entries.front().index;
  CHECK(first <= last_index() + 1, "missing log entry [last: {}, append at: {}]", last_index().value, first.value);
  while (last_index() >= first) log_.pop_back();
  log_.insert(log_.end(), entries.begin(), entries.end());
}

Result<void> MemoryLog::apply_snapshot(Snapshot snapshot) {
  if (!snapshot_.empty() && snapshot_.metadata.index >= snapshot.metadata.index) return out_of_date();
  before_first_ = {snapshot.metadata.term, snapshot.metadata.index};
  snapshot_ = std::move(snapshot);
  log_.clear();
  return {};
}

Result<Snapshot> MemoryLog::create_snapshot(Index index, ConfState conf_state, SharedBytes data) {
  if (index <= snapshot_.metadata.index) return out_of_date();
  auto at = term(index);
  if (!at.has_value()) return std::unexpected(std::move(at).error());
  snapshot_ = {.data = std::move(data), .metadata = {.conf_state = std::move(conf_state), .index = index, .term = *at}};
  return snapshot_;
}

Result<void> MemoryLog::compact(Index index) {
  if (index <= before_first_.index) return compacted();
  if (index > last_index()) return unavailable();
  const Term at = log_[index - first_index()].term;
  log_.erase(log_.begin(), log_.begin() + static_cast<std::ptrdiff_t>(index - before_first_.index));
  before_first_ = {at, index};
  return {};
}

void MemoryLog::check_invariants() const {
  Place last = before_first_;
  for (const Entry& entry : log_) {
    CHECK(entry.index == last.index + 1, "entry {} follows entry {}", entry.index.value, last.index.value);
    CHECK(entry.term >= last.term, "entry {}: term {} after {}", entry.index.value, entry.term.value, last.term.value);
    last = {entry.term, entry.index};
  }
}

}  // namespace etcd::raft
