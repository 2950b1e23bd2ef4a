// mvcc/node_pool.h - memory for tree nodes: one size per kind, used again at once.
//
// Thread:  the writer's only.
//
// A put copies a path of nodes and lets go of the old one. They are larger than what malloc keeps at hand, and its long
// way round was a quarter of a put.
#pragma once
#include <array>
#include <cstddef>
#include <new>
#include <vector>

namespace etcd::mvcc {

class NodePool {
 public:
  enum Kind : std::size_t { kLeaf, kInner };

  NodePool() = default;
  ~NodePool() {
    for (auto& spare : spare_) {
      for (void* block : spare) ::operator delete(block);
    }
  }
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;

  /// `bytes` is always the same for one kind.
  void* take(Kind kind, std::size_t bytes) {
    auto& spare = spare_[kind];
    if (spare.empty()) return ::operator new(bytes);
    void* block = spare.back();
    spare.pop_back();
    return block;
  }
  void give_back(Kind kind, void* block) {
    constexpr std::size_t kSpareMax = 1024;
    if (spare_[kind].size() < kSpareMax) {
      spare_[kind].push_back(block);
    } else {
      ::operator delete(block);
    }
  }

 private:
  std::array<std::vector<void*>, 2> spare_;
};

}  // namespace etcd::mvcc
