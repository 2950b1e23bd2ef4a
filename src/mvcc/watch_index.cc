#include "mvcc/watch_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace etcd::mvcc {

struct WatchIndex::Node {
  Bytes begin;
  Bytes end;  // meaningless when open
  bool open;
  std::uint64_t priority;
  std::vector<WatcherId> watchers;
  NodePtr left;
  NodePtr right;
  const Node* furthest;  // the node of this subtree whose range ends last

  [[nodiscard]] bool ends_before(const Node& other) const {
    if (open || other.open) return !open;
    return end < other.end;
  }
  /// `key` lies at or behind the end.
  [[nodiscard]] bool is_past(BytesView key) const { return !open && key >= end; }

  /// The tree's order: by begin, then by end.
  [[nodiscard]] int compare(const KeyRange& range) const {
    if (const int order = BytesView(begin).compare(range.begin()); order != 0) return order;
    if (open || range.is_open()) return static_cast<int>(open) - static_cast<int>(range.is_open());
    return BytesView(end).compare(range.end());
  }
  [[nodiscard]] KeyRange range() const { return open ? KeyRange::from(begin) : KeyRange::between(begin, end); }
};

namespace {

template <class Node>
void update(Node& node) {
  node.furthest = &node;
  for (const auto* child : {&node.left, &node.right}) {
    if (*child && node.furthest->ends_before(*(*child)->furthest)) node.furthest = (*child)->furthest;
  }
}

/// Parts a tree into what is before `range` and what is behind; it is not in there.
template <class NodePtr>
std::pair<NodePtr, NodePtr> split(NodePtr root, const KeyRange& range) {
  if (!root) return {};
  if (root->compare(range) < 0) {
    auto [left, right] = split(std::move(root->right), range);
    root->right = std::move(left);
    update(*root);
    return {std::move(root), std::move(right)};
  }
  auto [left, right] = split(std::move(root->left), range);
  root->left = std::move(right);
  update(*root);
  return {std::move(left), std::move(root)};
}

template <class NodePtr>
NodePtr merge(NodePtr left, NodePtr right) {
  if (!left) return right;
  if (!right) return left;
  if (left->priority > right->priority) {
    left->right = merge(std::move(left->right), std::move(right));
    update(*left);
    return left;
  }
  right->left = merge(std::move(left), std::move(right->left));
  update(*right);
  return right;
}

template <class NodePtr>
NodePtr insert(NodePtr root, NodePtr fresh) {
  if (!root || fresh->priority > root->priority) {
    auto [left, right] = split(std::move(root), fresh->range());
    fresh->left = std::move(left);
    fresh->right = std::move(right);
    update(*fresh);
    return fresh;
  }
  NodePtr& side = root->compare(fresh->range()) < 0 ? root->right : root->left;
  side = insert(std::move(side), std::move(fresh));
  update(*root);
  return root;
}

template <class NodePtr>
NodePtr erase(NodePtr root, const KeyRange& range) {
  const int order = root->compare(range);
  if (order == 0) return merge(std::move(root->left), std::move(root->right));
  NodePtr& side = order < 0 ? root->right : root->left;
  side = erase(std::move(side), range);
  update(*root);
  return root;
}

template <class Node>
void find_in(const Node* node, BytesView key, absl::FunctionRef<void(WatcherId)> hit) {
  while (node != nullptr && !node->furthest->is_past(key)) {
    find_in(node->left.get(), key, hit);
    if (key < node->begin) return;
    if (!node->is_past(key)) {
      for (const WatcherId watcher : node->watchers) hit(watcher);
    }
    node = node->right.get();
  }
}

void erase_one(std::vector<WatcherId>& watchers, WatcherId watcher) {
  const auto place = std::ranges::find(watchers, watcher);
  CHECK(place != watchers.end(), "watcher {} is not under this range", watcher);
  *place = watchers.back();
  watchers.pop_back();
}

template <class Node>
void check(const Node* node, std::uint64_t priority_max) {
  if (node == nullptr) return;
  CHECK(node->priority <= priority_max, "priority {} over {}", priority_max, node->priority);
  CHECK(!node->watchers.empty(), "a range without watchers");
  CHECK(!node->left || node->left->compare(node->range()) < 0, "order at {}", node->begin);
  CHECK(!node->right || node->right->compare(node->range()) > 0, "order at {}", node->begin);
  for (const auto* child : {&node->left, &node->right}) {
    if (!*child) continue;
    check(child->get(), node->priority);
    CHECK(!node->furthest->ends_before(*(*child)->furthest), "furthest end at {}", node->begin);
  }
  CHECK(!node->furthest->ends_before(*node), "furthest end at {}", node->begin);
}

}  // namespace

WatchIndex::WatchIndex() = default;
WatchIndex::~WatchIndex() = default;

void WatchIndex::add(const KeyRange& range, WatcherId watcher) {
  if (range.is_one()) {
    keys_[range.begin()].push_back(watcher);
    return;
  }
  for (Node* node = root_.get(); node != nullptr;) {
    const int order = node->compare(range);
    if (order == 0) {
      node->watchers.push_back(watcher);
      return;
    }
    node = order < 0 ? node->right.get() : node->left.get();
  }
  auto fresh = std::make_unique<Node>();
  fresh->begin = range.begin();
  fresh->open = range.is_open();
  if (!fresh->open) fresh->end = range.end();
  fresh->priority = rng_.next();
  fresh->watchers.push_back(watcher);
  fresh->furthest = fresh.get();
  root_ = insert(std::move(root_), std::move(fresh));
}

void WatchIndex::remove(const KeyRange& range, WatcherId watcher) {
  if (range.is_one()) {
    const auto place = keys_.find(range.begin());
    CHECK(place != keys_.end(), "nobody watches {}", range.begin());
    erase_one(place->second, watcher);
    if (place->second.empty()) keys_.erase(place);
    return;
  }
  Node* node = root_.get();
  while (node != nullptr) {
    const int order = node->compare(range);
    if (order == 0) break;
    node = order < 0 ? node->right.get() : node->left.get();
  }
  CHECK(node != nullptr, "nobody watches the range from {}", range.begin());
  erase_one(node->watchers, watcher);
  if (!node->watchers.empty()) return;
  // `range` may be borrowed from the node that goes.
  const Bytes begin = node->begin;
  const Bytes end = node->end;
  root_ = erase(std::move(root_), node->open ? KeyRange::from(begin) : KeyRange::between(begin, end));
}

void WatchIndex::find(BytesView key, absl::FunctionRef<void(WatcherId)> hit) const {
  if (const auto place = keys_.find(key); place != keys_.end()) {
    for (const WatcherId watcher : place->second) hit(watcher);
  }
  find_in(root_.get(), key, hit);
}

void WatchIndex::check_invariants() const {
  check(root_.get(), ~std::uint64_t{0});
}

}  // namespace etcd::mvcc
