// base/ids.h - the numbers that several rooms name things by, each a type of its own.
//
// Thread:  any (values).
// Source:  Raft paper figure 2 (term, index); etcd v3.7.1 api/mvccpb/kv.proto (revision).
#pragma once
#include <compare>
#include <cstdint>
#include <functional>

namespace etcd {

/// A whole number that can be compared with its own kind only, so that no call can pass a term for an index.
template <class Tag>
struct Ordinal {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(Ordinal, Ordinal) = default;
};

using Term = Ordinal<struct TermTag>;    // Raft's logical time; 0 before the first election
using Index = Ordinal<struct IndexTag>;  // a place in the Raft log; the first entry is at 1

using MemberId = std::uint64_t;   // printed as lower-case hex without padding; 0 means nobody
using ClusterId = std::uint64_t;  // likewise
using LeaseId = std::int64_t;     // 0 means no lease

constexpr Index operator+(Index index, std::uint64_t count) {
  return Index{index.value + count};
}
constexpr Index operator-(Index index, std::uint64_t count) {
  return Index{index.value - count};
}
constexpr std::uint64_t operator-(Index left, Index right) {
  return left.value - right.value;
}
constexpr Index& operator++(Index& index) {
  ++index.value;
  return index;
}

/// A point in the history of the keyspace: `main` numbers the write, `sub` the operation within it.
struct Revision {
  std::int64_t main = 0;
  std::int64_t sub = 0;
  friend constexpr auto operator<=>(const Revision&, const Revision&) = default;
};

}  // namespace etcd

template <class Tag>
struct std::hash<etcd::Ordinal<Tag>> {
  std::size_t operator()(etcd::Ordinal<Tag> ordinal) const noexcept {
    return std::hash<std::uint64_t>{}(ordinal.value);
  }
};
