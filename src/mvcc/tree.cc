#include "mvcc/tree.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "mvcc/limbo.h"
#include "mvcc/parallel.h"

namespace etcd::mvcc {

namespace {

constexpr std::uint32_t kLeafMax = 64;  // the live bitmap has a bit for each
constexpr std::uint32_t kInnerMax = 48;
constexpr std::uint32_t kLeafFill = 56;  // of a tree that is built at once: room for the first changes
constexpr std::uint32_t kInnerFill = 40;
// A child this small is joined with a neighbour if both fit into three quarters of a node.
constexpr std::uint32_t kLeafSmall = kLeafMax / 4;
constexpr std::uint32_t kInnerSmall = kInnerMax / 4;

struct Separator {
  Bytes key;
};

}  // namespace

struct TreeNode {
  TreeNode(bool is_leaf, std::uint64_t stamp) : batch(stamp), leaf(is_leaf) {}

  std::uint64_t batch;      // when it was made; invariant: it is changed in that batch only
  std::uint32_t count = 0;  // entries or children in use; invariant: > 0 once linked in
  bool leaf;
  std::size_t skip = 0;  // so many leading bytes are the same in all keys of the node
};

struct TreeLeaf : TreeNode {
  static constexpr NodePool::Kind kKind = NodePool::kLeaf;
  explicit TreeLeaf(std::uint64_t stamp) : TreeNode(true, stamp) {}
  TreeLeaf(const TreeLeaf& other, std::uint64_t stamp) : TreeNode(other), live(other.live) {
    batch = stamp;
    std::copy_n(other.heads, count, heads);
    std::copy_n(other.entries, count, entries);
  }

  std::uint64_t live = 0;  // bit i: entries[i] is no tombstone
  std::uint64_t heads[kLeafMax];
  const Entry* entries[kLeafMax];
};

struct TreeInner : TreeNode {
  static constexpr NodePool::Kind kKind = NodePool::kInner;
  explicit TreeInner(std::uint64_t stamp) : TreeNode(false, stamp) {}
  TreeInner(const TreeInner& other, std::uint64_t stamp) : TreeNode(other) {
    batch = stamp;
    std::copy_n(other.heads, count, heads);
    std::copy_n(other.separators, count, separators);
    std::copy_n(other.children, count, children);
    std::copy_n(other.live, count, live);
    std::copy_n(other.newest, count, newest);
  }

  // separators[i] parts children[i - 1] (keys below it) from children[i]; [0] of both is not used.
  std::uint64_t heads[kInnerMax];
  const Separator* separators[kInnerMax];
  TreeNode* children[kInnerMax];
  std::uint32_t live[kInnerMax];   // live keys below the child
  std::int64_t newest[kInnerMax];  // invariant: >= every mod_revision below the child
};

// Their memory goes back to the pool without a destructor.
static_assert(std::is_trivially_destructible_v<TreeLeaf> && std::is_trivially_destructible_v<TreeInner>);

namespace {

template <class Node, class... Arguments>
Node* make_node(NodePool& pool, Arguments&&... arguments) {
  return new (pool.take(Node::kKind, sizeof(Node))) Node(std::forward<Arguments>(arguments)...);
}

template <class Node>
void free_node(NodePool& pool, Node* node) {
  pool.give_back(Node::kKind, node);
}

const TreeLeaf& as_leaf(const TreeNode* node) {
  return *static_cast<const TreeLeaf*>(node);
}
const TreeInner& as_inner(const TreeNode* node) {
  return *static_cast<const TreeInner*>(node);
}
TreeLeaf& as_leaf(TreeNode* node) {
  return *static_cast<TreeLeaf*>(node);
}
TreeInner& as_inner(TreeNode* node) {
  return *static_cast<TreeInner*>(node);
}

std::size_t shared_prefix(BytesView left, BytesView right) {
  const std::size_t size = std::min(left.size(), right.size());
  std::size_t place = 0;
  while (place < size && left[place] == right[place]) ++place;
  return place;
}

/// The 8 bytes behind the first `skip`, as a number that orders as they do; zeros stand for bytes that are not there.
std::uint64_t head_of(BytesView key, std::size_t skip) {
  std::uint64_t raw = 0;
  if (key.size() >= skip + 8) {
    std::memcpy(&raw, key.data() + skip, 8);
  } else if (key.size() > skip) {
    std::memcpy(&raw, key.data() + skip, key.size() - skip);
  }
  return __builtin_bswap64(raw);
}

struct Place {
  std::uint32_t index;
  bool equal;
};

/// The first index in [first, count) whose key is >= `key`; `count` when there is none.
template <class KeyAt>
Place lower_bound(const std::uint64_t* heads, std::uint32_t first, std::uint32_t count, std::size_t skip, BytesView key,
                  KeyAt key_at) {
  if (first >= count) return {count, false};
  if (skip > 0) {
    const int order = key.substr(0, skip).compare(key_at(first).substr(0, std::min(key.size(), skip)));
    if (order < 0 || (order == 0 && key.size() < skip)) return {first, false};
    if (order > 0) return {count, false};
  }
  const std::uint64_t head = head_of(key, skip);
  const std::uint64_t* const end = heads + count;
  const std::uint64_t* const at = std::lower_bound(heads + first, end, head);
  if (at == end || *at != head) return {static_cast<std::uint32_t>(at - heads), false};
  // Heads alone do not tell: "a" and "a\0" have the same one, and so have keys that part later.
  auto low = static_cast<std::uint32_t>(at - heads);
  auto high = low + 1;
  while (high < count && heads[high] == head) ++high;
  const BytesView rest = key.substr(skip);
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    const int order = key_at(middle).substr(skip).compare(rest);
    if (order == 0) return {middle, true};
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return {low, false};
}

Place find_in(const TreeLeaf& leaf, BytesView key) {
  return lower_bound(leaf.heads, 0, leaf.count, leaf.skip, key,
                     [&leaf](std::uint32_t index) { return leaf.entries[index]->key(); });
}

/// The entry of exactly `key`, or null. Trusts that the key begins as its neighbours do, since the one entry that is
/// looked at tells if it does not: a point read touches no other.
const Entry* find_exactly(const TreeLeaf& leaf, BytesView key) {
  const std::uint64_t head = head_of(key, leaf.skip);
  const std::uint64_t* const end = leaf.heads + leaf.count;
  for (const std::uint64_t* at = std::lower_bound(leaf.heads, end, head); at != end && *at == head; ++at) {
    const Entry* entry = leaf.entries[at - leaf.heads];
    if (entry->key() == key) return entry;
  }
  return nullptr;
}

/// The child in whose stretch `key` lies.
std::uint32_t child_for(const TreeInner& inner, BytesView key) {
  const Place place = lower_bound(inner.heads, 1, inner.count, inner.skip, key,
                                  [&inner](std::uint32_t index) { return BytesView(inner.separators[index]->key); });
  return place.equal ? place.index : place.index - 1;
}

std::uint64_t mask_from(std::uint32_t slot) {
  return slot < 64 ? ~std::uint64_t{0} << slot : 0;
}
std::uint64_t mask_below(std::uint32_t slot) {
  return ~mask_from(slot);
}

std::uint32_t live_in(const TreeNode* node) {
  if (node->leaf) return static_cast<std::uint32_t>(std::popcount(as_leaf(node).live));
  const TreeInner& inner = as_inner(node);
  std::uint32_t live = 0;
  for (std::uint32_t child = 0; child < inner.count; ++child) live += inner.live[child];
  return live;
}

std::int64_t newest_in(const TreeNode* node) {
  std::int64_t newest = 0;
  if (node->leaf) {
    const TreeLeaf& leaf = as_leaf(node);
    for (std::uint32_t slot = 0; slot < leaf.count; ++slot) {
      newest = std::max(newest, leaf.entries[slot]->mod_revision());
    }
    return newest;
  }
  const TreeInner& inner = as_inner(node);
  for (std::uint32_t child = 0; child < inner.count; ++child) newest = std::max(newest, inner.newest[child]);
  return newest;
}

/// Finds anew what the keys have in common, and the heads behind it.
void refresh(TreeLeaf& leaf) {
  if (leaf.count == 0) return;
  leaf.skip = shared_prefix(leaf.entries[0]->key(), leaf.entries[leaf.count - 1]->key());
  for (std::uint32_t slot = 0; slot < leaf.count; ++slot)
    leaf.heads[slot] = head_of(leaf.entries[slot]->key(), leaf.skip);
}

void refresh(TreeInner& inner) {
  inner.skip = inner.count > 1 ? shared_prefix(inner.separators[1]->key, inner.separators[inner.count - 1]->key) : 0;
  for (std::uint32_t child = 1; child < inner.count; ++child) {
    inner.heads[child] = head_of(inner.separators[child]->key, inner.skip);
  }
}

/// The shortest key that is past `left` and not past `right`.
const Separator* separator_between(BytesView left, BytesView right) {
  return new Separator{Bytes(right.substr(0, shared_prefix(left, right) + 1))};
}

template <class T>
void insert_at(T* items, std::uint32_t count, std::uint32_t place, T item) {
  std::copy_backward(items + place, items + count, items + count + 1);
  items[place] = item;
}

template <class T>
void erase_at(T* items, std::uint32_t count, std::uint32_t place) {
  std::copy(items + place + 1, items + count, items + place);
}

/// `heads` are left to refresh().
void insert_child(TreeInner& inner, std::uint32_t place, const Separator* separator, TreeNode* child) {
  insert_at(inner.separators, inner.count, place, separator);
  insert_at(inner.children, inner.count, place, child);
  insert_at(inner.live, inner.count, place, live_in(child));
  insert_at(inner.newest, inner.count, place, newest_in(child));
  ++inner.count;
}

void erase_child(TreeInner& inner, std::uint32_t place) {
  erase_at(inner.separators, inner.count, place);
  erase_at(inner.children, inner.count, place);
  erase_at(inner.live, inner.count, place);
  erase_at(inner.newest, inner.count, place);
  --inner.count;
}

void move_children(TreeInner& from, std::uint32_t first, TreeInner& to) {
  const std::uint32_t moved = from.count - first;
  std::copy_n(from.separators + first, moved, to.separators + to.count);
  std::copy_n(from.children + first, moved, to.children + to.count);
  std::copy_n(from.live + first, moved, to.live + to.count);
  std::copy_n(from.newest + first, moved, to.newest + to.count);
  to.count += moved;
  from.count = first;
}

/// Entries and liveness from `first` on go behind those of `to`. Heads are left to refresh().
void move_entries(TreeLeaf& from, std::uint32_t first, TreeLeaf& to) {
  const std::uint32_t moved = from.count - first;
  std::copy_n(from.entries + first, moved, to.entries + to.count);
  if (moved > 0) to.live |= from.live >> first << to.count;
  to.count += moved;
  from.count = first;
  from.live &= mask_below(first);
}

void free_subtree(NodePool& pool, TreeNode* node) {
  if (node->leaf) {
    TreeLeaf& leaf = as_leaf(node);
    for (std::uint32_t slot = 0; slot < leaf.count; ++slot) EntryRef::adopt(leaf.entries[slot]);
    free_node(pool, &leaf);
    return;
  }
  TreeInner& inner = as_inner(node);
  for (std::uint32_t child = 0; child < inner.count; ++child) {
    if (child > 0) delete inner.separators[child];
    free_subtree(pool, inner.children[child]);
  }
  free_node(pool, &inner);
}

}  // namespace

// --- reading ---

const Entry* TreeView::find(BytesView key) const {
  const TreeNode* node = root_;
  if (node == nullptr) return nullptr;
  while (!node->leaf) {
    const TreeInner& inner = as_inner(node);
    node = inner.children[child_for(inner, key)];
  }
  return find_exactly(as_leaf(node), key);
}

namespace {

/// Live keys below `key`.
std::uint64_t rank_of(const TreeNode* node, BytesView key) {
  std::uint64_t rank = 0;
  while (!node->leaf) {
    const TreeInner& inner = as_inner(node);
    const std::uint32_t child = child_for(inner, key);
    for (std::uint32_t before = 0; before < child; ++before) rank += inner.live[before];
    node = inner.children[child];
  }
  const TreeLeaf& leaf = as_leaf(node);
  return rank + static_cast<std::uint64_t>(std::popcount(leaf.live & mask_below(find_in(leaf, key).index)));
}

struct CountAt {
  const KeyRange& range;
  std::int64_t revision;
  absl::FunctionRef<Result<bool>(const Entry&)> was_alive;

  /// `from_start`, `to_end`: the subtree's whole stretch on that side lies in the range.
  Result<std::uint64_t> count(const TreeNode* node, bool from_start, bool to_end) const {
    std::uint64_t alive = 0;
    if (node->leaf) {
      const TreeLeaf& leaf = as_leaf(node);
      for (std::uint32_t slot = from_start ? 0 : find_in(leaf, range.begin()).index; slot < leaf.count; ++slot) {
        const Entry& entry = *leaf.entries[slot];
        if (!to_end && range.is_past(entry.key())) break;
        if (entry.mod_revision() <= revision) {
          alive += entry.is_tombstone() ? 0 : 1;
        } else {
          ETCD_TRY(const bool was, was_alive(entry));
          alive += was ? 1 : 0;
        }
      }
      return alive;
    }
    const TreeInner& inner = as_inner(node);
    const std::uint32_t first = from_start ? 0 : child_for(inner, range.begin());
    for (std::uint32_t child = first; child < inner.count; ++child) {
      if (child > first && !to_end && range.is_past(inner.separators[child]->key)) break;
      const bool whole_start = from_start || child > first;
      // A child ends before the next separator; if even that key is in the range, all of the child is.
      const bool whole_end = to_end || (child + 1 < inner.count && !range.is_past(inner.separators[child + 1]->key));
      if (whole_start && whole_end && inner.newest[child] <= revision) {
        alive += inner.live[child];
        continue;
      }
      ETCD_TRY(const std::uint64_t in_child, count(inner.children[child], whole_start, whole_end));
      alive += in_child;
    }
    return alive;
  }
};

}  // namespace

std::uint64_t TreeView::count(const KeyRange& range) const {
  if (root_ == nullptr || range.is_empty()) return 0;
  if (range.is_one()) return find_live(range.begin()) != nullptr ? 1 : 0;
  const std::uint64_t before = range.begin().empty() ? 0 : rank_of(root_, range.begin());
  return (range.is_open() ? live_in(root_) : rank_of(root_, range.end())) - before;
}

Result<std::uint64_t> TreeView::count_at(const KeyRange& range, std::int64_t revision,
                                         absl::FunctionRef<Result<bool>(const Entry&)> was_alive) const {
  if (root_ == nullptr || range.is_empty()) return std::uint64_t{0};
  return CountAt{range, revision, was_alive}.count(root_, range.begin().empty(), range.is_open());
}

Cursor TreeView::cursor(BytesView from) const {
  Cursor cursor(root_, false);
  cursor.seek(from);
  return cursor;
}

Cursor TreeView::cursor_all(BytesView from) const {
  Cursor cursor(root_, true);
  cursor.seek(from);
  return cursor;
}

const Entry& Cursor::entry() const {
  return *leaf_->entries[slot_];
}

bool Cursor::wants(const TreeInner& node, std::uint32_t child) const {
  return tombstones_ || node.live[child] > 0;
}

void Cursor::seek(BytesView from) {
  depth_ = 0;
  leaf_ = nullptr;
  const TreeNode* node = root_;
  if (node == nullptr) return;
  while (!node->leaf) {
    const TreeInner& inner = as_inner(node);
    const std::uint32_t child = child_for(inner, from);
    path_[depth_++] = {&inner, child};
    if (!wants(inner, child)) {
      next_leaf();
      return;
    }
    node = inner.children[child];
  }
  leaf_ = &as_leaf(node);
  const std::uint32_t slot = find_in(*leaf_, from).index;
  const std::uint64_t wanted = (tombstones_ ? mask_below(leaf_->count) : leaf_->live) & mask_from(slot);
  if (wanted == 0) {
    next_leaf();
  } else {
    slot_ = static_cast<std::uint32_t>(std::countr_zero(wanted));
  }
}

void Cursor::next() {
  const std::uint64_t wanted = (tombstones_ ? mask_below(leaf_->count) : leaf_->live) & mask_from(slot_ + 1);
  if (wanted == 0) {
    next_leaf();
    return;
  }
  slot_ = static_cast<std::uint32_t>(std::countr_zero(wanted));
  // Entries lie anywhere in memory; a range is as fast as they arrive.
  constexpr std::uint32_t kAhead = 6;
  constexpr std::size_t kBytesAhead = 448;  // of an entry: a usual one whole
  if (slot_ + kAhead < leaf_->count) {
    const char* const ahead = reinterpret_cast<const char*>(leaf_->entries[slot_ + kAhead]);
    for (std::size_t place = 0; place < kBytesAhead; place += 64) __builtin_prefetch(ahead + place);
  }
}

void Cursor::next_leaf() {
  leaf_ = nullptr;
  for (; depth_ > 0; --depth_) {
    Step& step = path_[depth_ - 1];
    for (++step.child; step.child < step.node->count; ++step.child) {
      if (wants(*step.node, step.child)) {
        descend_first(step.node->children[step.child]);
        return;
      }
    }
  }
}

void Cursor::descend_first(const TreeNode* node) {
  while (!node->leaf) {
    const TreeInner& inner = as_inner(node);
    std::uint32_t child = 0;
    while (!wants(inner, child)) ++child;  // there is one, or the parent's count were 0
    path_[depth_++] = {&inner, child};
    node = inner.children[child];
  }
  leaf_ = &as_leaf(node);
  slot_ = static_cast<std::uint32_t>(std::countr_zero(tombstones_ ? mask_below(leaf_->count) : leaf_->live));
}

// --- writing ---

class Tree::Writer {
 public:
  Writer(Limbo& limbo, std::uint64_t batch) : limbo_(limbo), batch_(batch) {}

  struct Split {
    const Separator* separator = nullptr;
    TreeNode* right = nullptr;  // null: the node was not split
  };

  /// Returns the node that takes the place of `node`.
  TreeNode* put(TreeNode* node, const Entry* entry, const Entry*& replaced, Split& split) {
    return node->leaf ? put_in_leaf(as_leaf(node), entry, replaced, split)
                      : put_in_inner(as_inner(node), entry, replaced, split);
  }

  /// `key` is there. Returns the node that takes the place of `node`, or null when nothing is left of it.
  TreeNode* remove(TreeNode* node, BytesView key, const Entry*& removed) {
    if (node->leaf) {
      TreeLeaf& leaf = own(as_leaf(node));
      const std::uint32_t slot = find_in(leaf, key).index;
      removed = leaf.entries[slot];
      erase_at(leaf.entries, leaf.count, slot);
      erase_at(leaf.heads, leaf.count, slot);
      leaf.live = (leaf.live & mask_below(slot)) | (leaf.live >> 1 & mask_from(slot));
      if (--leaf.count > 0) return &leaf;
      discard(&leaf);
      return nullptr;
    }
    TreeInner& inner = own(as_inner(node));
    const std::uint32_t child = child_for(inner, key);
    inner.children[child] = remove(inner.children[child], key, removed);
    if (inner.children[child] == nullptr) {
      // The first child has no separator; its right neighbour, which becomes the first, gives up its own.
      if (inner.count > 1) limbo_.retire_object(inner.separators[std::max(child, 1u)]);
      erase_child(inner, child);
      if (inner.count == 0) {
        discard(&inner);
        return nullptr;
      }
      refresh(inner);
      return &inner;
    }
    inner.live[child] = live_in(inner.children[child]);
    join_small(inner, child);
    return &inner;
  }

  void discard(TreeNode* node) {
    if (node->leaf) {
      discard_typed(&as_leaf(node));
    } else {
      discard_typed(&as_inner(node));
    }
  }

 private:
  template <class Node>
  void discard_typed(Node* node) {
    if (node->batch == batch_) {
      free_node(limbo_.nodes(), node);  // no reader has seen it
    } else {
      limbo_.retire_node(node);
    }
  }

  template <class Node>
  Node& own(Node& node) {
    if (node.batch == batch_) return node;
    auto* copy = make_node<Node>(limbo_.nodes(), node, batch_);
    limbo_.retire_node(&node);
    return *copy;
  }

  TreeNode* put_in_leaf(TreeLeaf& shared, const Entry* entry, const Entry*& replaced, Split& split) {
    TreeLeaf& leaf = own(shared);
    const BytesView key = entry->key();
    const std::uint64_t alive = entry->is_tombstone() ? 0 : 1;
    const Place place = find_in(leaf, key);
    if (place.equal) {
      replaced = std::exchange(leaf.entries[place.index], entry);
      leaf.live = (leaf.live & ~(std::uint64_t{1} << place.index)) | alive << place.index;
      return &leaf;
    }
    if (leaf.count < kLeafMax) {
      insert_entry(leaf, place.index, entry, alive);
      return &leaf;
    }
    auto* right = make_node<TreeLeaf>(limbo_.nodes(), batch_);
    if (place.index == leaf.count) {
      // Keys that arrive in order leave full nodes behind.
      insert_entry(*right, 0, entry, alive);
    } else {
      move_entries(leaf, kLeafMax / 2, *right);
      refresh(leaf);
      refresh(*right);
      if (place.index <= leaf.count) {
        insert_entry(leaf, place.index, entry, alive);
      } else {
        insert_entry(*right, place.index - leaf.count, entry, alive);
      }
    }
    split.separator = separator_between(leaf.entries[leaf.count - 1]->key(), right->entries[0]->key());
    split.right = right;
    return &leaf;
  }

  static void insert_entry(TreeLeaf& leaf, std::uint32_t slot, const Entry* entry, std::uint64_t alive) {
    insert_at(leaf.entries, leaf.count, slot, entry);
    const BytesView key = entry->key();
    const bool fits = leaf.count > 0 && key.size() >= leaf.skip &&
                      key.substr(0, leaf.skip) == leaf.entries[slot == 0 ? 1 : 0]->key().substr(0, leaf.skip);
    if (fits) insert_at(leaf.heads, leaf.count, slot, head_of(key, leaf.skip));
    leaf.live = (leaf.live & mask_below(slot)) | alive << slot | (leaf.live & mask_from(slot)) << 1;
    ++leaf.count;
    if (!fits) refresh(leaf);
  }

  TreeNode* put_in_inner(TreeInner& shared, const Entry* entry, const Entry*& replaced, Split& split) {
    TreeInner& inner = own(shared);
    const std::uint32_t child = child_for(inner, entry->key());
    Split below;
    inner.children[child] = put(inner.children[child], entry, replaced, below);
    inner.live[child] = live_in(inner.children[child]);
    inner.newest[child] = std::max(inner.newest[child], entry->mod_revision());
    if (below.right == nullptr) return &inner;

    inner.newest[child] = newest_in(inner.children[child]);
    const std::uint32_t place = child + 1;
    if (inner.count < kInnerMax) {
      insert_child(inner, place, below.separator, below.right);
      refresh(inner);
      return &inner;
    }
    auto* right = make_node<TreeInner>(limbo_.nodes(), batch_);
    if (place == inner.count) {
      insert_child(*right, 0, below.separator, below.right);
    } else {
      move_children(inner, kInnerMax / 2, *right);
      if (place <= inner.count) {
        insert_child(inner, place, below.separator, below.right);
      } else {
        insert_child(*right, place - inner.count, below.separator, below.right);
      }
    }
    // The separator of the right node's first child goes up: it parts the two nodes.
    split.separator = std::exchange(right->separators[0], nullptr);
    split.right = right;
    refresh(inner);
    refresh(*right);
    return &inner;
  }

  void join_small(TreeInner& inner, std::uint32_t child) {
    const TreeNode* const small = inner.children[child];
    if (inner.count < 2 || small->count > (small->leaf ? kLeafSmall : kInnerSmall)) return;
    const std::uint32_t left = child > 0 ? child - 1 : 0;
    TreeNode* const right_node = inner.children[left + 1];
    const std::uint32_t both = inner.children[left]->count + right_node->count;
    if (both > (small->leaf ? kLeafMax : kInnerMax) * 3 / 4) return;
    const Separator* const between = inner.separators[left + 1];
    if (small->leaf) {
      TreeLeaf& joined = own(as_leaf(inner.children[left]));
      TreeLeaf& right = own(as_leaf(right_node));
      move_entries(right, 0, joined);
      refresh(joined);
      inner.children[left] = &joined;
      discard(&right);
      limbo_.retire_object(between);
    } else {
      TreeInner& joined = own(as_inner(inner.children[left]));
      TreeInner& right = own(as_inner(right_node));
      const std::uint32_t seam = joined.count;
      move_children(right, 0, joined);
      joined.separators[seam] = between;
      refresh(joined);
      inner.children[left] = &joined;
      discard(&right);
    }
    inner.live[left] += inner.live[left + 1];
    inner.newest[left] = std::max(inner.newest[left], inner.newest[left + 1]);
    erase_child(inner, left + 1);
    refresh(inner);
  }

  Limbo& limbo_;
  std::uint64_t batch_;
};

Tree::Tree(Limbo& limbo) : limbo_(limbo) {}

Tree::~Tree() {
  if (root_ != nullptr) free_subtree(limbo_.nodes(), root_);
}

const Entry* Tree::put(const Entry* entry) {
  if (root_ == nullptr) {
    auto* leaf = make_node<TreeLeaf>(limbo_.nodes(), batch_);
    leaf->entries[0] = entry;
    leaf->count = 1;
    leaf->live = entry->is_tombstone() ? 0 : 1;
    refresh(*leaf);
    root_ = leaf;
    ++entries_;
    return nullptr;
  }
  const Entry* replaced = nullptr;
  Writer::Split split;
  root_ = Writer(limbo_, batch_).put(root_, entry, replaced, split);
  if (split.right != nullptr) {
    auto* root = make_node<TreeInner>(limbo_.nodes(), batch_);
    insert_child(*root, 0, nullptr, root_);
    insert_child(*root, 1, split.separator, split.right);
    refresh(*root);
    root_ = root;
  }
  if (replaced == nullptr) ++entries_;
  return replaced;
}

const Entry* Tree::remove(BytesView key) {
  if (view().find(key) == nullptr) return nullptr;
  const Entry* removed = nullptr;
  Writer writer(limbo_, batch_);
  root_ = writer.remove(root_, key, removed);
  while (root_ != nullptr && !root_->leaf && root_->count == 1) {
    TreeNode* const only = as_inner(root_).children[0];
    writer.discard(root_);
    root_ = only;
  }
  --entries_;
  return removed;
}

void Tree::build(const std::vector<const Entry*>& sorted, unsigned threads) {
  CHECK(root_ == nullptr, "the tree holds {} entries", entries_);
  entries_ = sorted.size();
  std::vector<TreeNode*> level((sorted.size() + kLeafFill - 1) / kLeafFill);
  std::vector<const Separator*> separators(level.size());  // of each node of the level; the first has none
  for (TreeNode*& leaf : level) leaf = make_node<TreeLeaf>(limbo_.nodes(), batch_);
  run_on_threads(level.size() > 1 ? threads : 1, [&](unsigned thread) {
    const Part part(level.size(), thread, level.size() > 1 ? threads : 1);
    for (std::size_t place = part.begin; place < part.end; ++place) {
      const std::size_t from = place * kLeafFill;
      for (std::size_t ahead = from + kLeafFill; ahead < std::min(from + 2 * kLeafFill, sorted.size()); ++ahead) {
        __builtin_prefetch(sorted[ahead]);
        __builtin_prefetch(reinterpret_cast<const char*>(sorted[ahead]) + 64);
      }
      TreeLeaf& leaf = as_leaf(level[place]);
      leaf.count = static_cast<std::uint32_t>(std::min<std::size_t>(kLeafFill, sorted.size() - from));
      for (std::uint32_t slot = 0; slot < leaf.count; ++slot) {
        leaf.entries[slot] = sorted[from + slot];
        if (!sorted[from + slot]->is_tombstone()) leaf.live |= std::uint64_t{1} << slot;
      }
      refresh(leaf);
      if (from > 0) separators[place] = separator_between(sorted[from - 1]->key(), sorted[from]->key());
    }
  });
  while (level.size() > 1) {
    std::vector<TreeNode*> above;
    std::vector<const Separator*> separators_above;
    for (std::size_t from = 0; from < level.size(); from += kInnerFill) {
      auto* inner = make_node<TreeInner>(limbo_.nodes(), batch_);
      for (std::size_t child = from; child < std::min(from + kInnerFill, level.size()); ++child) {
        insert_child(*inner, inner->count, child == from ? nullptr : separators[child], level[child]);
      }
      refresh(*inner);
      separators_above.push_back(separators[from]);
      above.push_back(inner);
    }
    level = std::move(above);
    separators = std::move(separators_above);
  }
  if (!level.empty()) root_ = level.front();
}

// --- invariants ---

namespace {

struct Checker {
  std::uint64_t entries = 0;
  const Entry* last = nullptr;

  /// Returns the height. Every key lies in [low, high); a null bound is open.
  int check(const TreeNode* node, const Bytes* low, const Bytes* high, std::uint64_t batch) {
    CHECK(node->count > 0, "an empty node");
    CHECK(node->batch <= batch, "a node of batch {} in batch {}", node->batch, batch);
    if (node->leaf) {
      const TreeLeaf& leaf = as_leaf(node);
      CHECK(leaf.count <= kLeafMax && (leaf.live & mask_from(leaf.count)) == 0, "count {} live {:x}", leaf.count,
            leaf.live);
      for (std::uint32_t slot = 0; slot < leaf.count; ++slot) {
        const Entry* entry = leaf.entries[slot];
        const BytesView key = entry->key();
        CHECK(last == nullptr || last->key() < key, "order at {}", key);
        CHECK(low == nullptr || *low <= key, "{} lies before its node", key);
        CHECK(high == nullptr || key < *high, "{} lies behind its node", key);
        CHECK(key.size() >= leaf.skip && key.substr(0, leaf.skip) == leaf.entries[0]->key().substr(0, leaf.skip),
              "{} does not share {} bytes", key, leaf.skip);
        CHECK(leaf.heads[slot] == head_of(key, leaf.skip), "head of {}", key);
        CHECK(((leaf.live >> slot & 1) != 0) == !entry->is_tombstone(), "liveness of {}", key);
        last = entry;
        ++entries;
      }
      return 1;
    }
    const TreeInner& inner = as_inner(node);
    CHECK(inner.count <= kInnerMax, "{} children", inner.count);
    int height = 0;
    for (std::uint32_t child = 0; child < inner.count; ++child) {
      if (child > 0) {
        const Bytes& key = inner.separators[child]->key;
        CHECK(key.substr(0, inner.skip) == inner.separators[1]->key.substr(0, inner.skip), "separator {}", key);
        CHECK(inner.heads[child] == head_of(key, inner.skip), "head of separator {}", key);
      }
      const int below = check(inner.children[child], child > 0 ? &inner.separators[child]->key : low,
                              child + 1 < inner.count ? &inner.separators[child + 1]->key : high, batch);
      CHECK(height == 0 || below == height, "children of height {} and {}", height, below);
      height = below;
      CHECK(inner.live[child] == live_in(inner.children[child]), "live {} of {}", inner.live[child],
            live_in(inner.children[child]));
      CHECK(inner.newest[child] >= newest_in(inner.children[child]), "newest {} of {}", inner.newest[child],
            newest_in(inner.children[child]));
    }
    return height + 1;
  }
};

}  // namespace

void Tree::check_invariants() const {
  Checker checker;
  if (root_ != nullptr) {
    const int height = checker.check(root_, nullptr, nullptr, batch_);
    CHECK(height <= 16, "height {}", height);
  }
  CHECK(checker.entries == entries_, "{} entries, {} counted", checker.entries, entries_);
}

}  // namespace etcd::mvcc
