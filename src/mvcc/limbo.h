// mvcc/limbo.h - where the writer puts what readers may still be looking at, until no pin is that old.
//
// Life:    retire()* -> seal(n) when state n, which reaches none of it, is about to be published -> collect()*
// Thread:  the writer's only.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "mvcc/entry.h"

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
    pending_.push_back({entry, [](const void* object) { static_cast<const Entry*>(object)->release(); }});
  }
  template <class T>
  void retire_object(const T* object) {
    pending_bytes_ += sizeof(T);
    pending_.push_back({object, [](const void* erased) { delete static_cast<const T*>(erased); }});
  }

  /// All that was retired so far is not reached from state `number` on.
  void seal(std::uint64_t number);
  /// Frees what was sealed at or before `oldest`, the smallest number any reader has pinned.
  void collect(std::uint64_t oldest);

  /// Memory that waits here, sealed or not.
  [[nodiscard]] std::uint64_t bytes() const { return pending_bytes_ + sealed_bytes_; }

 private:
  struct Item {
    const void* object;
    void (*free)(const void*);
  };
  struct Sealed {
    std::uint64_t number;
    std::uint64_t bytes;
    std::vector<Item> items;
  };

  std::vector<Item> pending_;
  std::uint64_t pending_bytes_ = 0;
  std::deque<Sealed> sealed_;  // numbers ascend
  std::uint64_t sealed_bytes_ = 0;
};

}  // namespace etcd::mvcc
