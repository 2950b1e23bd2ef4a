// mvcc/epochs.h - lets readers look at what the writer publishes without a lock, and tells the writer what it may free.
//
// Life:    Epochs -> pin()* by readers, oldest_pin() by the writer -> destructor, once every Pin is gone
// Thread:  pin() and a Pin's destructor on any thread; advance() and oldest_pin() on the writer's.
//
//    reader                                  writer (numbers each published state n)
//    1  e = number now                       1  publish state n
//    2  slot := e          (seq_cst)         2  advance(n)
//    3  load the published state             3  free what state n no longer reaches
//                                               once every slot is empty or >= n
//
// Why it holds: a state loaded in step 3 is never older than e. Either the writer's look at the slots sees the pin, and
// keeps all that state e reaches; or the pin came later in the single order of these operations, and then step 3 sees
// the newest state, which reaches nothing that was freed.
// Source: Fraser, "Practical lock-freedom" (2004), section 5.2.3, with the grace period counted in published states.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

namespace etcd::mvcc {

class Epochs {
 private:
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> number{0};  // 0: empty
  };
  static constexpr std::size_t kSlots = 64;
  struct Block {
    std::array<Slot, kSlots> slots;
    std::atomic<Block*> next{nullptr};
  };

 public:
  Epochs() = default;
  ~Epochs();
  Epochs(const Epochs&) = delete;
  Epochs& operator=(const Epochs&) = delete;

  /// One slot, taken for as long as this lives. Move-only; a default one holds nothing.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(slot_, other.slot_);
      return *this;
    }
    ~Pin() {
      if (slot_ != nullptr) slot_->number.store(0, std::memory_order_release);
    }

   private:
    friend class Epochs;
    explicit Pin(Slot* slot) : slot_(slot) {}
    Slot* slot_ = nullptr;
  };

  /// Steps 1 and 2 above. Never waits: a thread tries the slot it had last, then the others, then adds a block.
  Pin pin();

  void advance(std::uint64_t number) { number_.store(number, std::memory_order_seq_cst); }
  /// The smallest number pinned, or `none` when nobody reads.
  [[nodiscard]] std::uint64_t oldest_pin(std::uint64_t none) const;

 private:
  std::atomic<std::uint64_t> number_{1};
  Block first_;
};

}  // namespace etcd::mvcc
