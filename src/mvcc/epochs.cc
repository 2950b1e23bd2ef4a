#include "mvcc/epochs.h"

#include <algorithm>
#include <memory>

namespace etcd::mvcc {

namespace {

// Threads start at different slots, so that two of them rarely meet on one cache line.
std::size_t slot_hint() {
  static std::atomic<std::size_t> threads{0};
  thread_local const std::size_t hint = threads.fetch_add(1, std::memory_order_relaxed) * 4;
  return hint;
}

}  // namespace

Epochs::~Epochs() {
  Block* block = first_.next.load(std::memory_order_acquire);
  while (block != nullptr) {
    const std::unique_ptr<Block> owner(block);
    block = owner->next.load(std::memory_order_acquire);
  }
}

Epochs::Pin Epochs::pin() {
  const std::uint64_t number = number_.load(std::memory_order_acquire);
  const std::size_t hint = slot_hint();
  for (Block* block = &first_;;) {
    for (std::size_t step = 0; step < kSlots; ++step) {
      Slot& slot = block->slots[(hint + step) % kSlots];
      std::uint64_t empty = 0;
      if (slot.number.load(std::memory_order_relaxed) == 0 &&
          slot.number.compare_exchange_strong(empty, number, std::memory_order_seq_cst)) {
        return Pin(&slot);
      }
    }
    Block* next = block->next.load(std::memory_order_seq_cst);
    if (next == nullptr) {
      auto fresh = std::make_unique<Block>();
      if (block->next.compare_exchange_strong(next, fresh.get(), std::memory_order_seq_cst)) next = fresh.release();
    }
    block = next;
  }
}

std::uint64_t Epochs::oldest_pin(std::uint64_t none) const {
  std::uint64_t oldest = none;
  for (const Block* block = &first_; block != nullptr; block = block->next.load(std::memory_order_seq_cst)) {
    for (const Slot& slot : block->slots) {
      const std::uint64_t number = slot.number.load(std::memory_order_seq_cst);
      if (number != 0) oldest = std::min(oldest, number);
    }
  }
  return oldest;
}

}  // namespace etcd::mvcc
