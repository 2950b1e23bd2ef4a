#include "mvcc/tail.h"

#include <memory>
#include <utility>

#include "base/check.h"
#include "mvcc/limbo.h"

namespace etcd::mvcc {

std::uint64_t TailView::lower_bound(Revision revision) const {
  std::uint64_t low = begin;
  std::uint64_t high = end;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (at(middle).entry->revision() < revision) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

const TailSlot* TailView::find(Revision revision) const {
  const std::uint64_t place = lower_bound(revision);
  if (place == end) return nullptr;
  const TailSlot& slot = at(place);
  return slot.entry->revision() == revision ? &slot : nullptr;
}

Tail::Tail(Limbo& limbo) : limbo_(limbo), directory_(new TailDirectory) {}

Tail::~Tail() {
  for (std::uint64_t place = begin_; place < end_; ++place) limbo_.retire(slot(place).entry);
  for (TailChunk* chunk : directory_->chunks) delete chunk;
  delete directory_;
}

TailSlot& Tail::slot(std::uint64_t place) {
  return directory_->chunks[place / TailChunk::kSlots - directory_->first]->slots[place % TailChunk::kSlots];
}

void Tail::replace_directory(TailDirectory* next) {
  limbo_.retire_object(std::exchange(directory_, next));
}

void Tail::append(EntryRef entry) {
  const std::uint64_t chunk = end_ / TailChunk::kSlots;
  if (directory_->chunks.empty() || chunk == directory_->first + directory_->chunks.size()) {
    auto next = std::make_unique<TailDirectory>(*directory_);
    if (next->chunks.empty()) next->first = chunk;
    next->chunks.push_back(new TailChunk);
    replace_directory(next.release());
  }
  DCHECK(end_ == begin_ || slot(end_ - 1).entry->revision() < entry->revision(), "tail out of order at {}.{}",
         entry->revision().main, entry->revision().sub);
  bytes_ += entry->footprint();
  TailSlot& free = slot(end_++);
  free.entry = entry.detach();
  free.cause = nullptr;
}

void Tail::set_cause(std::uint64_t place, SharedCause cause) {
  CHECK(place >= begin_ && place < end_, "place {} of [{}, {})", place, begin_, end_);
  slot(place).cause = std::move(cause);
}

void Tail::truncate(std::uint64_t end) {
  CHECK(end >= begin_ && end <= end_, "truncate to {} of [{}, {})", end, begin_, end_);
  while (end_ > end) {
    TailSlot& last = slot(--end_);
    bytes_ -= last.entry->footprint();
    limbo_.retire(std::exchange(last.entry, nullptr));
    last.cause = nullptr;
  }
}

void Tail::drop(std::int64_t revision) {
  // The slots keep their pointers, since readers of older states look at them; only the counts are given back, when
  // nobody is left who does.
  while (begin_ < end_ && slot(begin_).entry->mod_revision() <= revision) {
    const Entry* entry = slot(begin_++).entry;
    bytes_ -= entry->footprint();
    limbo_.retire(entry);
  }
  const std::uint64_t first = begin_ / TailChunk::kSlots;
  if (directory_->chunks.empty() || first == directory_->first) return;
  auto next = std::make_unique<TailDirectory>();
  next->first = first;
  for (std::size_t place = 0; place < directory_->chunks.size(); ++place) {
    if (directory_->first + place < first) {
      limbo_.retire_object(directory_->chunks[place]);
    } else {
      next->chunks.push_back(directory_->chunks[place]);
    }
  }
  replace_directory(next.release());
}

}  // namespace etcd::mvcc
