// mvcc/live.h - which revisions hold the newest version of some key: all that a restart has to read of the history.
//
// Life:    LiveMap -> load() or discard() -> { add(), remove() }* -> take_changes() ...
// Thread:  the writer's only; live_in() on several threads while nobody changes it.
// Format:  docs/formats/store.md, table `live`.
//
//      revisions   0 ......... 4095 | 4096 ....... 8191 | 8192 ...
//      bits        00110100 ... 001 | (none: no block)  | 1111 ...     1: a record of this revision is the newest of
//                                                                      its key, be it a tombstone
//
// A revision with several records has one bit. How many of them are newest is counted in memory, so that the bit goes
// with the last one; which of them it is does not matter, since whoever reads the revision meets the newer version of
// the same key, too.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/engine.h"

namespace etcd::mvcc {

/// The bits of the revisions [number * kRevisions, (number + 1) * kRevisions).
struct LiveBlock {
  static constexpr std::int64_t kRevisions = 4096;
  static constexpr std::size_t kWords = 64;

  std::array<std::uint64_t, kWords> words{};

  [[nodiscard]] std::uint64_t count() const {
    std::uint64_t bits = 0;
    for (const std::uint64_t word : words) bits += static_cast<std::uint64_t>(std::popcount(word));
    return bits;
  }
  friend bool operator==(const LiveBlock&, const LiveBlock&) = default;
};

/// A row of the table.
Bytes live_key(std::int64_t number);
Bytes encode_live_block(std::int64_t number, const LiveBlock& block);
/// Errors: kCorrupt, naming table and revisions.
Result<std::pair<std::int64_t, LiveBlock>> decode_live_block(BytesView key, BytesView value);

class LiveMap {
 public:
  /// Reads the whole table. Errors: kCorrupt, kIo.
  Result<void> load(const engine::Snapshot& snapshot, engine::TableId table);
  /// The table is not to be trusted: every row that it has goes with the next changes. Errors: kIo.
  Result<void> discard(const engine::Snapshot& snapshot, engine::TableId table);
  /// After load(): `revision` was found with `records` records, more than one, any of which may be newest.
  void found(std::int64_t revision, std::uint32_t records) { records_[revision] = records; }
  /// Of those that found() told of, one is not the newest of its key. False when the map says that it is.
  bool found_dead(std::int64_t revision);

  /// A record of `revision` has become the newest of its key.
  void add(std::int64_t revision);
  /// One of them is so no longer.
  void remove(std::int64_t revision);

  [[nodiscard]] bool changed() const { return !changed_.empty() || !stale_.empty(); }
  /// Writes the blocks that have changed; what is empty is erased.
  void take_changes(engine::Batch& batch, engine::TableId table);

  /// Revisions with a bit.
  [[nodiscard]] std::uint64_t bits() const { return bits_; }
  /// Records that are the newest of their key, in `revision`.
  [[nodiscard]] std::uint32_t live_in(std::int64_t revision) const;
  /// The numbers of the blocks that hold bits, in order.
  [[nodiscard]] std::vector<std::int64_t> blocks() const;
  /// One of them.
  [[nodiscard]] const LiveBlock& block(std::int64_t number) const { return *blocks_.at(number).block; }

 private:
  struct Slot {
    std::unique_ptr<LiveBlock> block;
    bool changed = false;
  };
  /// The word with the bit of `revision`, in a block that will be written.
  std::uint64_t& change(std::int64_t revision);

  absl::flat_hash_map<std::int64_t, Slot> blocks_;
  std::vector<std::int64_t> changed_;                         // numbers of blocks since the last take_changes()
  std::vector<Bytes> stale_;                                  // keys of rows that discard() found
  absl::flat_hash_map<std::int64_t, std::uint32_t> records_;  // by revision; invariant: > 1, and the bit is set
  std::uint64_t bits_ = 0;
};

}  // namespace etcd::mvcc
