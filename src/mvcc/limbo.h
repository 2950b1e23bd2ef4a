// mvcc/limbo.h - where the writer puts what readers may still be looking at, until no pin is that old.
//
// Life:    retire()* -> seal(n) when state n, which reaches none of it, is about to be published -> collect()*
// Thread:  the writer's only.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "mvcc/entry.h"
#include "mvcc/node_pool.h"

namespace etcd::mvcc {

class Limbo {
 public:
  Limbo() = default;
  /// Frees everything; no reader may be left.
  ~Limbo();
  Limbo(const Limbo&) = delete;
  Limbo& operator=(const Limbo&) = delete;

  /// Gives back one count of `entry` when its time has come.
  void retire(const Entry* entry) {
    pending_bytes_ += entry->footprint();
    pending_.push_back({entry, [](const void* object, NodePool&) { static_cast<const Entry*>(object)->release(); }});
  }
  template <class T>
  void retire_object(const T* object) {
    pending_bytes_ += sizeof(T);
    pending_.push_back({object, [](const void* erased, NodePool&) { delete static_cast<const T*>(erased); }});
  }
  /// A node of the tree, whose memory goes back to nodes().
  template <class Node>
  void retire_node(const Node* node) {
    pending_bytes_ += sizeof(Node);
    pending_.push_back(
        {node, [](const void* erased, NodePool& pool) { pool.give_back(Node::kKind, const_cast<void*>(erased)); }});
  }
  [[nodiscard]] NodePool& nodes() { return nodes_; }

  /// All that was retired so far is not reached from state `number` on.
  void seal(std::uint64_t number);
  /// Frees what was sealed at or before `oldest`, the smallest number any reader has pinned.
  void collect(std::uint64_t oldest);

  /// Memory that waits here, sealed or not.
  [[nodiscard]] std::uint64_t bytes() const { return pending_bytes_ + sealed_bytes_; }

 private:
  struct Item {
    const void* object;
    void (*free)(const void*, NodePool&);
  };
  struct Sealed {
    std::uint64_t number;
    std::uint64_t bytes;
    std::vector<Item> items;
  };

  NodePool nodes_;  // lives here because Limbo outlives the tree
  std::vector<Item> pending_;
  std::uint64_t pending_bytes_ = 0;
  std::deque<Sealed> sealed_;  // numbers ascend
  std::uint64_t sealed_bytes_ = 0;
};

}  // namespace etcd::mvcc
