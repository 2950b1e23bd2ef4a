#include "raft/inflights.h"

#include <algorithm>

#include "base/check.h"

namespace etcd::raft {

void Inflights::add(Index last, std::uint64_t bytes) {
  CHECK(!full(), "window of {} messages and {} bytes is full", count_max_, bytes_max_);
  if (count_ == ring_.size()) {
    std::vector<Flight> larger(std::max<std::size_t>(4, ring_.size() * 2));
    for (std::uint32_t position = 0; position < count_; ++position) larger[position] = at(position);
    ring_ = std::move(larger);
    start_ = 0;
  }
  DCHECK(count_ == 0 || at(count_ - 1).last <= last, "{} after {}", last.value, at(count_ - 1).last.value);
  at(count_) = {last, bytes};
  ++count_;
  bytes_ += bytes;
}

void Inflights::free_to(Index index) {
  while (count_ > 0 && at(0).last <= index) {
    bytes_ -= at(0).bytes;
    ++start_;
    --count_;
  }
}

void Inflights::reset() {
  start_ = 0;
  count_ = 0;
  bytes_ = 0;
}

}  // namespace etcd::raft
