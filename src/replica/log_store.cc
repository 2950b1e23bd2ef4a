#include "replica/log_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "replica/entry_codec.h"

namespace etcd::replica {

LogStore::LogStore(const wal::Log& wal, raft::HardState hard_state, raft::ConfState conf_state, Index applied,
                   std::vector<raft::Entry> entries)
    : wal_(wal), hard_state_(hard_state), conf_state_(std::move(conf_state)), memory_first_(applied + 1) {
  for (raft::Entry& entry : entries) {
    CHECK(entry.index == memory_first_ + memory_.size(), "entry {} in the place of {}", entry.index.value,
          memory_first_.value + memory_.size());
    bytes_ += entry.data.size();
    memory_.push_back(std::move(entry));
  }
  if (applied == Index{0}) term_before_ = Term{0};
}

Index LogStore::first_index() const {
  return std::max(wal_.first(), compacted_ + 1);
}

Result<std::vector<raft::Entry>> LogStore::entries(Index begin, Index end, std::uint64_t bytes_max) const {
  CHECK(begin < end && end <= last_index() + 1, "entries [{}, {}) of a log that ends at {}", begin.value, end.value,
        last_index().value);
  if (begin < first_index()) {
    return failure(ErrorCode::kCompacted, fmt::format("log entry {} is compacted", begin.value));
  }
  std::vector<raft::Entry> entries;
  std::uint64_t bytes = 0;
  Index next = begin;
  if (next < memory_first_) {
    ETCD_TRY(const std::vector<wal::EntryRecord> records, wal_.read(next, std::min(end, memory_first_), bytes_max));
    for (const wal::EntryRecord& record : records) {
      ETCD_TRY(raft::Entry entry, decode_entry(record.data));
      bytes += raft::encoded_bytes(entry);
      if (!entries.empty() && bytes > bytes_max) return entries;
      entries.push_back(std::move(entry));
    }
    next = entries.back().index + 1;
    if (next < std::min(end, memory_first_)) return entries;
  }
  for (; next < end; ++next) {
    const raft::Entry& entry = memory_[next - memory_first_];
    bytes += raft::encoded_bytes(entry);
    if (!entries.empty() && bytes > bytes_max) break;
    entries.push_back(entry);
  }
  return entries;
}

Result<Term> LogStore::term(Index index) const {
  if (index > last_index()) return failure(ErrorCode::kUnavailable, fmt::format("no log entry {}", index.value));
  if (index >= memory_first_) return memory_[index - memory_first_].term;
  if (index + 1 == memory_first_ && term_before_) return *term_before_;
  if (index == Index{0}) return Term{0};
  if (index + 1 < first_index())
    return failure(ErrorCode::kCompacted, fmt::format("log entry {} is compacted", index.value));
  ETCD_TRY(const std::vector<wal::EntryRecord> records, wal_.read(index, index + 1, 1));
  ETCD_TRY(const raft::Entry entry, decode_entry(records.front().data));
  if (index + 1 == memory_first_) term_before_ = entry.term;
  return entry.term;
}

Result<raft::Snapshot> LogStore::snapshot() const {
  return failure(ErrorCode::kUnavailable, "no snapshot is ready");
}

void LogStore::append(std::span<const raft::Entry> entries) {
  if (entries.empty()) return;
  const Index first = entries.front().index;
  CHECK(first >= memory_first_ && first <= last_index() + 1, "append at {} to a log in memory from {} to {}",
        first.value, memory_first_.value, last_index().value);
  while (last_index() >= first) {
    bytes_ -= memory_.back().data.size();
    memory_.pop_back();
  }
  for (const raft::Entry& entry : entries) {
    bytes_ += entry.data.size();
    memory_.push_back(entry);
  }
}

void LogStore::trim(Index applied, std::uint64_t bytes_max) {
  while (!memory_.empty() && memory_first_ <= applied && bytes_ > bytes_max) {
    bytes_ -= memory_.front().data.size();
    term_before_ = memory_.front().term;
    memory_.pop_front();
    ++memory_first_;
  }
}

}  // namespace etcd::replica
