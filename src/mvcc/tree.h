// mvcc/tree.h - the newest version of every key in byte order: a copy-on-write B-tree that counts what is alive.
//
// Life:    Tree -> build() or put()/remove()* -> seal() before each publication ... -> destructor, readers gone
// Thread:  the Tree is the writer's; a TreeView and its cursors may be used on any thread while the root is pinned.
// Owns:    its nodes and one count of each entry in it. What a change replaces goes to Limbo.
//
//                        inner node                        Per child: a separator (the shortest key that parts it from
//              +------+------+------+-----+                its left neighbour), how many live keys it holds, and the
//              | live | live | live |     |                newest revision in it. So a count adds up one path, dead
//              | new  | new  | new  |     |                stretches are skipped, and a count at an old revision
//              +--+---+--+---+--+---+-----+                looks only into what changed since.
//                 |      |      |
//        leaf +---v--------------+                         Per entry: the 8 bytes of its key behind what all keys of
//             | heads   | entries|                         the node have in common, so that a search touches two
//             | live bitmap      |                         entries, not six.
//             +------------------+
//
// Deleted keys stay as tombstone entries until compaction takes them out. A node made since the last seal() is nobody
// else's and is changed in place; any other is copied first, up to the root.
// Source: Bayer and McCreight's B-tree in its copy-on-write form (Rodeh, "B-trees, shadowing, and clones", 2008); key
// heads after Bohannon et al., "Main-memory index structures with fixed-size partial keys" (SIGMOD 2001).
#pragma once
#include <absl/functional/function_ref.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "mvcc/entry.h"
#include "mvcc/key_range.h"

namespace etcd::mvcc {

class Limbo;
struct TreeNode;
struct TreeLeaf;
struct TreeInner;

/// Walks entries in key order. Invalid once past the last one.
class Cursor {
 public:
  [[nodiscard]] bool valid() const { return leaf_ != nullptr; }
  [[nodiscard]] const Entry& entry() const;
  [[nodiscard]] BytesView key() const { return entry().key(); }
  void next();
  /// Goes to the first entry >= `from`, which may lie in either direction.
  void seek(BytesView from);

 private:
  friend class TreeView;
  static constexpr std::size_t kDepthMax = 16;
  struct Step {
    const TreeInner* node;
    std::uint32_t child;
  };
  Cursor(const TreeNode* root, bool tombstones) : root_(root), tombstones_(tombstones) {}
  void descend_first(const TreeNode* node);
  void next_leaf();
  [[nodiscard]] bool wants(const TreeInner& node, std::uint32_t child) const;

  const TreeNode* root_;
  bool tombstones_;  // show them, too
  std::uint32_t depth_ = 0;
  std::array<Step, kDepthMax> path_;
  const TreeLeaf* leaf_ = nullptr;
  std::uint32_t slot_ = 0;
};

class TreeView {
 public:
  TreeView() = default;
  explicit TreeView(const TreeNode* root) : root_(root) {}

  [[nodiscard]] const TreeNode* root() const { return root_; }

  /// The newest version of `key`, a tombstone too, or null.
  [[nodiscard]] const Entry* find(BytesView key) const;
  [[nodiscard]] const Entry* find_live(BytesView key) const {
    const Entry* entry = find(key);
    return entry != nullptr && !entry->is_tombstone() ? entry : nullptr;
  }
  /// Live keys in `range`.
  [[nodiscard]] std::uint64_t count(const KeyRange& range) const;
  /// Live keys in `range` as of `revision`; asks `was_alive` about each entry that is newer than that.
  Result<std::uint64_t> count_at(const KeyRange& range, std::int64_t revision,
                                 absl::FunctionRef<Result<bool>(const Entry&)> was_alive) const;

  /// At the first live entry >= `from`.
  [[nodiscard]] Cursor cursor(BytesView from) const;
  /// As above, tombstones too.
  [[nodiscard]] Cursor cursor_all(BytesView from) const;

 private:
  const TreeNode* root_ = nullptr;
};

class Tree {
 public:
  explicit Tree(Limbo& limbo);
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  [[nodiscard]] TreeView view() const { return TreeView(root_); }
  [[nodiscard]] std::uint64_t entries() const { return entries_; }

  /// Puts `entry` in the place of its key and takes over one count of it. Returns the entry that was there before, with
  /// its count, or null: the caller retires it, or puts it back.
  const Entry* put(const Entry* entry);
  /// Takes out the entry of `key` and returns it with its count; null when there is none.
  const Entry* remove(BytesView key);
  /// From now on readers may see the nodes made so far.
  void seal() { ++batch_; }

  /// Fills an empty tree; takes over one count of each. `sorted` is in strictly ascending key order.
  void build(const std::vector<const Entry*>& sorted, unsigned threads = 1);

  /// Order, heads, counts, depth, newest revisions. O(n).
  void check_invariants() const;

 private:
  class Writer;
  Limbo& limbo_;
  TreeNode* root_ = nullptr;
  std::uint64_t batch_ = 1;  // nodes stamped with it are changed in place
  std::uint64_t entries_ = 0;
};

}  // namespace etcd::mvcc
