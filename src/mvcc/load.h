// mvcc/load.h - reads the newest version of every key off the engine, when a store is opened.
//
// Life:    load_live() or load_all() -> Loaded -> its entries go into the tree
// Thread:  the one that opens the store, while nobody writes; load_live() takes threads of its own when told so.
// Format:  docs/formats/store.md, "What a restart reads".
// Errors:  kCorrupt naming table and revision; kIo.
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "mvcc/entry.h"
#include "mvcc/live.h"

namespace etcd::mvcc {

struct LoadOptions {
  engine::TableId history = 0;
  std::uint64_t large_value_bytes = 0;  // values of more bytes are left out
  unsigned threads = 1;
};

/// What was read. Holds one count of each entry until `entries` is emptied by who takes them over.
struct Loaded {
  Loaded() = default;
  Loaded(Loaded&& other) noexcept
      : entries(std::exchange(other.entries, {})), deadlines(std::exchange(other.deadlines, {})) {}
  Loaded& operator=(Loaded&&) = delete;
  ~Loaded() {
    for (const Entry* entry : entries) EntryRef::adopt(entry);
  }

  std::vector<const Entry*> entries;  // the newest version of each key, tombstones too, in key order
  std::vector<EntryRef> deadlines;    // those that have one, in no order
};

/// Reads the records of the revisions that `live` names, and tells it how many there are in each.
Result<Loaded> load_live(const engine::Engine& engine, const LoadOptions& options, LiveMap& live);

/// Reads the whole history up to now and fills `live`, which is empty: for a store that has no map yet. Records up to
/// `finished`, the newest finished compaction, superseded nothing that is still there.
Result<Loaded> load_all(const engine::Snapshot& snapshot, const LoadOptions& options, std::int64_t finished,
                        LiveMap& live);

}  // namespace etcd::mvcc
