// mvcc/watch_index.h - which watchers want to hear of a key: single keys by hash, ranges by an interval tree.
//
// Thread:  one owner at a time.
//
// Equal ranges share one node, so ten thousand watchers of one prefix cost one step in the tree.
// Source: interval trees as augmented search trees, CLRS 14.3; balanced as a treap (Seidel and Aragon, 1996).
#pragma once
#include <absl/container/flat_hash_map.h>
#include <absl/functional/function_ref.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"
#include "mvcc/key_range.h"

namespace etcd::mvcc {

using WatcherId = std::uint64_t;  // never 0

class WatchIndex {
 public:
  WatchIndex();
  ~WatchIndex();
  WatchIndex(const WatchIndex&) = delete;
  WatchIndex& operator=(const WatchIndex&) = delete;

  /// One watcher may stand under several ranges, and several times under one; then remove() it as often.
  void add(const KeyRange& range, WatcherId watcher);
  void remove(const KeyRange& range, WatcherId watcher);
  /// Calls `hit` for each watcher whose range holds `key`; once per range that does, in no particular order.
  void find(BytesView key, absl::FunctionRef<void(WatcherId)> hit) const;
  [[nodiscard]] bool empty() const { return keys_.empty() && root_ == nullptr; }

  void check_invariants() const;

 private:
  struct Node;
  using NodePtr = std::unique_ptr<Node>;
  // Debian builds abseil with a string_view of its own, which would mean a copy for each look-up.
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(BytesView key) const { return std::hash<BytesView>{}(key); }
  };

  absl::flat_hash_map<Bytes, std::vector<WatcherId>, KeyHash, std::equal_to<>> keys_;
  NodePtr root_;
  Rng rng_{0x7EA9};  // shapes the treap only
};

}  // namespace etcd::mvcc
