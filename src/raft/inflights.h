// raft/inflights.h - which append messages to one follower are on their way, by count and by bytes.
//
// Thread:  the core's loop only (values).
// Source:  etcd-io/raft main tracker/inflights.go.
#pragma once
#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace etcd::raft {

/// A ring of (last index, bytes), oldest first. Its buffer grows as needed, up to the window's size.
class Inflights {
 public:
  /// A window of `count_max` messages and, unless 0, `bytes_max` bytes; the message that crosses the latter still fits.
  explicit Inflights(std::uint32_t count_max = 0, std::uint64_t bytes_max = 0)
      : count_max_(count_max), bytes_max_(bytes_max) {}

  /// A message whose last entry is at `last` was sent. Checks: not full(), and `last` never decreases.
  void add(Index last, std::uint64_t bytes);

  /// All messages that end at or before `index` arrived.
  void free_to(Index index);

  void reset();

  [[nodiscard]] bool full() const { return count_ == count_max_ || (bytes_max_ != 0 && bytes_ >= bytes_max_); }
  [[nodiscard]] std::uint32_t count() const { return count_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  struct Flight {
    Index last;
    std::uint64_t bytes = 0;
  };

  [[nodiscard]] Flight& at(std::uint32_t position) { return ring_[(start_ + position) & (ring_.size() - 1)]; }

  std::uint32_t count_max_;
  std::uint64_t bytes_max_;
  std::uint32_t start_ = 0;
  std::uint32_t count_ = 0;   // invariant: count_ <= count_max_
  std::uint64_t bytes_ = 0;   // sum over the ring
  std::vector<Flight> ring_;  // size is 0 or a power of two
};

}  // namespace etcd::raft
