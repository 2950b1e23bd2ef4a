// lease/expiry_index.h - the implicit leases of v2 nodes with a TTL: who runs out, and in which order.
//
// Thread:  apply loop only.
// Owns:    one entry for each node with a TTL.
// Source:  DESIGN "Time": expiry is the leader's, by its monotonic clock, so that no wall clock that is wrong by days
//          lets a node die early.
//
// A node is due its TTL after it was applied here. After a restart or an election nobody knows when that was; then it
// is due after clamp(deadline - wall clock, 0, TTL).
#pragma once
#include <absl/container/btree_map.h>
#include <absl/container/btree_set.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace etcd::lease {

struct Metrics;

/// One node whose time is up, or was handed out as such.
struct Due {
  Bytes path;
  WallTime deadline;  // which of its deadlines: a later write gives another one

  friend bool operator==(const Due&, const Due&) = default;
};

class ExpiryIndex {
 public:
  /// Counts what happens from now on; null: nothing. `metrics` must outlive the index.
  void measure(Metrics* metrics) { metrics_ = metrics; }

  /// The node has got this deadline, `ttl` from now; any earlier one is forgotten.
  void set(BytesView path, WallTime deadline, Duration ttl, MonotonicTime now);
  /// The node has no TTL any more, or is gone.
  void forget(BytesView path);
  /// A directory is gone with all that was in it.
  void forget_subtree(BytesView directory);

  /// This member leads from now on: when everything is due is worked out anew, and what was handed out is open again.
  void restart(MonotonicTime now, WallTime wall);

  /// Hands out at most `count_max` nodes that are due, in the order of (deadline, path). Each is handed out once, until
  /// `retry` has passed without it being set or forgotten: its expiry may have got lost.
  std::vector<Due> take_due(MonotonicTime now, std::size_t count_max, Duration retry);

  /// When take_due() has something next; nothing when no node has a TTL.
  [[nodiscard]] std::optional<MonotonicTime> next_due() const;
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

  void check_invariants() const;

 private:
  /// True when the node had a TTL.
  bool erase(BytesView path);

  struct Node {
    WallTime deadline;
    Duration ttl;
    MonotonicTime due;
  };
  using Place = std::tuple<MonotonicTime, WallTime, Bytes>;

  absl::btree_map<Bytes, Node, std::less<>> nodes_;  // invariant: one place in order_ for each
  absl::btree_set<Place> order_;
  Metrics* metrics_ = nullptr;
};

}  // namespace etcd::lease
