#include "raft/unstable.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace etcd::raft {

std::optional<Index> Unstable::first_index() const {
  if (!snapshot_.has_value()) return std::nullopt;
  return snapshot_->metadata.index + 1;
}

std::optional<Index> Unstable::last_index() const {
  if (!entries_.empty()) return offset_ + (entries_.size() - 1);
  if (snapshot_.has_value()) return snapshot_->metadata.index;
  return std::nullopt;
}

std::optional<Term> Unstable::term(Index index) const {
  if (index < offset_) {
    if (snapshot_.has_value() && snapshot_->metadata.index == index) return snapshot_->metadata.term;
    return std::nullopt;
  }
  const std::uint64_t place = index - offset_;
  if (place >= entries_.size()) return std::nullopt;
  return entries_[place].term;
}

std::span<const Entry> Unstable::next_entries() const {
  return std::span(entries_).subspan(offset_in_progress_ - offset_);
}

const Snapshot* Unstable::next_snapshot() const {
  return snapshot_.has_value() && !snapshot_in_progress_ ? &*snapshot_ : nullptr;
}

void Unstable::accept_in_progress() {
  offset_in_progress_ = offset_ + entries_.size();
  if (snapshot_.has_value()) snapshot_in_progress_ = true;
}

void Unstable::stable_to(EntryId last) {
  const std::optional<Term> ours = term(last.index);
  if (!ours.has_value()) {
    notes_.info("entry at index {} missing from unstable log; ignoring", last.index.value);
    return;
  }
  if (last.index < offset_) {
    notes_.info("entry at index {} matched unstable snapshot; ignoring", last.index.value);
    return;
  }
  if (*ours != last.term) {
    // Replaced while the write was under way.
    notes_.info("entry at (index,term)=({},{}) mismatched with entry at ({},{}) in unstable log; ignoring",
                last.index.value, last.term.value, last.index.value, ours->value);
    return;
  }
  const auto count = static_cast<std::ptrdiff_t>(last.index - offset_ + 1);
  entries_.erase(entries_.begin(), entries_.begin() + count);
  offset_ = last.index + 1;
  offset_in_progress_ = std::max(offset_in_progress_, offset_);
}

void Unstable::stable_snapshot_to(Index index) {
  if (!snapshot_.has_value() || snapshot_->metadata.index != index) return;
  snapshot_.reset();
  snapshot_in_progress_ = false;
}

void Unstable::restore(Snapshot snapshot) {
  offset_ = snapshot.metadata.index + 1;
  offset_in_progress_ = offset_;
  entries_.clear();
  snapshot_ = std::move(snapshot);
  snapshot_in_progress_ = false;
}

void Unstable::truncate_and_append(std::vector<Entry>&& entries) {
  const Index first = entries.front().index;
  const Index end = offset_ + entries_.size();
  CHECK(first <= end, "entry {} behind a gap: the log ends before {}", first.value, end.value);
  if (first < end) {
    if (first <= offset_) {
      notes_.info("replace the unstable entries from index {}", first.value);
      entries_.clear();
      offset_ = first;
      offset_in_progress_ = first;
    } else {
      notes_.info("truncate the unstable entries before index {}", first.value);
      entries_.resize(first - offset_);
      offset_in_progress_ = std::min(offset_in_progress_, first);
    }
  }
  if (entries_.empty() && entries_.capacity() < entries.size()) {
    entries_ = std::move(entries);
  } else {
    entries_.insert(entries_.end(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
  }
}

std::span<const Entry> Unstable::slice(Index begin, Index end) const {
  CHECK(offset_ <= begin && begin <= end && end <= offset_ + entries_.size(), "[{}, {}) of unstable [{}, {})",
        begin.value, end.value, offset_.value, (offset_ + entries_.size()).value);
  return std::span(entries_).subspan(begin - offset_, end - begin);
}

void Unstable::check_invariants() const {
  CHECK(offset_ <= offset_in_progress_, "offset {} in progress {}", offset_.value, offset_in_progress_.value);
  CHECK(offset_in_progress_ <= offset_ + entries_.size(), "in progress {} end {}", offset_in_progress_.value,
        (offset_ + entries_.size()).value);
  for (std::size_t place = 0; place < entries_.size(); ++place) {
    CHECK(entries_[place].index == offset_ + place, "entry {} at place {} from {}", entries_[place].index.value, place,
          offset_.value);
    CHECK(place == 0 || entries_[place - 1].term <= entries_[place].term, "entry {}: term {} after {}",
          entries_[place].index.value, entries_[place].term.value, entries_[place - 1].term.value);
  }
  CHECK(!snapshot_.has_value() || snapshot_->metadata.index < offset_, "snapshot {} offset {}",
        snapshot_->metadata.index.value, offset_.value);
}

}  // namespace etcd::raft
