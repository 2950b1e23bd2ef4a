// mvcc/view.h - reading one revision of the keyspace: point reads, ranges, counts, an ordered cursor, the revision log.
//
// Life:    Store::view() -> reads* -> destructor (unpins). Take a new one per request; one that is kept for long makes
//          the store hold back memory. A long read goes on in a newer view at the same revision.
// Thread:  taken on any thread, without a lock; each View on one thread at a time. Entries, cursors and borrowed bytes
//          that a View gave live as long as it does; an EntryRef lives on its own.
// Errors:  kCompacted: the revision asked for is older than the compacted one (equal is readable). kFutureRevision: it
//          does not exist yet. kCorrupt: a history record fails its checksum; the message names table and revision.
//          kIo from the engine.
//
// Reading the latest state never fails and touches memory only. Reading an older revision walks the same tree and, for
// a key written since, hops through its history records: O(log versions) each (links.h).
//
// Any entry may be a stub, whose large value is on the engine only: whoever needs the value calls load() before.
#pragma once
#include <absl/functional/function_ref.h>

#include <cstdint>

#include "base/result.h"
#include "mvcc/cause.h"
#include "mvcc/entry.h"
#include "mvcc/epochs.h"
#include "mvcc/history.h"
#include "mvcc/key_range.h"
#include "mvcc/tail.h"
#include "mvcc/tree.h"

namespace etcd::mvcc {

class Store;

struct RangeOptions {
  std::uint64_t limit = 0;    // at most so many keys; 0: all of them
  std::int64_t revision = 0;  // <= 0: the latest of this view
  bool keys_only = false;     // no value is needed: large ones are not read from history, their entries are stubs
};

/// Return false to stop. The entry is borrowed; EntryRef(&entry) keeps it.
using EntryVisitor = absl::FunctionRef<bool(const Entry& entry)>;
using RecordVisitor = absl::FunctionRef<bool(const HistoryRecord& record)>;

/// What View and WriteTxn have in common, so that a rule can be evaluated on either. Only live keys are shown: a
/// deleted key is as absent as one that never was.
class Reader {
 public:
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// The latest version of `key`, or null.
  [[nodiscard]] const Entry* get(BytesView key) const { return tree_.find_live(key); }
  /// The version of `key` at `revision` (<= 0: the latest), or null.
  [[nodiscard]] Result<EntryRef> get(BytesView key, std::int64_t revision) const;

  /// Shows the keys of `range` in byte order. Returns true when the limit cut off more of them.
  Result<bool> range(const KeyRange& range, const RangeOptions& options, EntryVisitor visit) const;

  /// `entry` with its value: itself, or the whole one for a stub, which is read from the engine.
  /// Shape:   `entry` was shown by this reader or another one of the store, or by an event.
  /// Errors:  kCompacted when a newer version has replaced it since this view was taken and compaction took it away;
  ///          never on a WriteTxn for what it shows. kCorrupt, kIo.
  [[nodiscard]] Result<EntryRef> load(const Entry& entry) const;

  /// How many keys `range` has. O(log n).
  [[nodiscard]] std::uint64_t count(const KeyRange& range) const { return tree_.count(range); }
  /// The same at `revision` (<= 0: the latest); the cost follows what was written since.
  [[nodiscard]] Result<std::uint64_t> count(const KeyRange& range, std::int64_t revision) const;

  /// A cursor over the latest live keys, at the first one >= `from`. On a WriteTxn a write ends its life.
  [[nodiscard]] Cursor cursor(BytesView from) const { return tree_.cursor(from); }
  /// As above over the deleted keys, too: as_of() tells what each was at an older revision, one at a time, so that the
  /// caller bounds how many are looked at.
  [[nodiscard]] Cursor cursor_all(BytesView from) const { return tree_.cursor_all(from); }
  /// What `newest`, which this reader's cursor showed, was at `revision`, which is not past this reader's: a version,
  /// maybe a stub, or null when the key was not alive.
  [[nodiscard]] Result<EntryRef> as_of(const Entry& newest, std::int64_t revision) const;
  /// The first live key of `range`, or null.
  [[nodiscard]] const Entry* first_in(const KeyRange& range) const;

  /// The revision below which nothing can be read; -1 when the store was never compacted.
  [[nodiscard]] std::int64_t compacted() const { return compacted_; }

  /// The revision log: shows every record with first <= main <= last in order, superseded ones and tombstones too, as
  /// far as they are not compacted away; who needs all of them asks Store::compacted() afterwards. Call it in pieces:
  /// each call holds one engine snapshot, so stop after some thousand records and go on behind the last one.
  Result<void> history(std::int64_t first, std::int64_t last, RecordVisitor visit) const;
  /// One version by its exact revision, or null when it is not there (compacted, or never was). A large value is left
  /// to load().
  [[nodiscard]] Result<EntryRef> version(Revision revision) const;

 protected:
  Reader(const Store& store, TreeView tree, const TailView& tail, std::int64_t readable, std::int64_t compacted)
      : store_(&store), tree_(tree), tail_(tail), readable_(readable), compacted_(compacted) {}
  Reader(Reader&&) = default;
  Reader& operator=(Reader&&) = default;
  ~Reader() = default;

  const Store* store_;
  TreeView tree_;
  TailView tail_;
  std::int64_t readable_;  // the newest revision that may be asked for
  std::int64_t compacted_;
  bool newer_ = false;  // the tree holds versions past readable_: a transaction's own

 private:
  class HistoryReads;
  [[nodiscard]] Result<void> check_readable(std::int64_t revision) const;
  [[nodiscard]] bool is_latest(std::int64_t revision) const {
    return revision <= 0 || (revision == readable_ && !newer_);
  }
};

/// A pinned revision.
class View final : public Reader {
 public:
  View(View&&) = default;
  View& operator=(View&&) = default;

  [[nodiscard]] std::int64_t revision() const { return readable_; }

 private:
  friend class Store;
  View(const Store& store, Epochs::Pin pin, TreeView tree, const TailView& tail, std::int64_t revision,
       std::int64_t compacted)
      : Reader(store, tree, tail, revision, compacted), pin_(std::move(pin)) {}

  Epochs::Pin pin_;
};

}  // namespace etcd::mvcc
