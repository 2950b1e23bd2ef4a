// mvcc/store.h - the keyspace: its latest state in memory, its history on the engine, one writer, any number of
// readers.
//
// Life:    open() -> { begin() -> commit() }* -> publish() -> take_changes() ... committed() ... -> destructor, when no
//          View, WriteTxn or posted event batch uses it any more
// Thread:  apply loop only, but for view(), published_revision(), compacted(), tail_bytes(), held_back_bytes(),
//          add_sink() and remove_sink(): any thread. The engine and the clock must outlive this.
// Durable: nothing by itself. The caller commits the batches that take_changes() and compact_slice() filled, in the
//          order in which they were filled, and reports back with committed(). After a crash the store is as of the
//          newest committed batch.
// Format:  docs/formats/store.md. The story, with drawings: src/mvcc/README.md.
//
// One batch of apply, from commands to durable:
//
//     WriteTxn txn = store.begin();                      // once per command
//     if (const Entry* old = txn.get(key)) ...           // sees its own writes and those of earlier commands
//     txn.put(key, value, {.lease = 7});
//     txn.commit();
//     ...
//     store.publish();                                   // once per batch: readers and watchers see it
//     engine::Batch batch;
//     const std::int64_t revision = store.take_changes(batch);
//     batch.put(...);                                    // applied index, leases, ... of the same moment
//     // store loop: engine.commit(batch); then back on the apply loop:
//     store.committed(revision);
#pragma once
#include <absl/container/flat_hash_set.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "engine/engine.h"
#include "io/clock.h"
#include "io/executor.h"
#include "mvcc/cause.h"
#include "mvcc/epochs.h"
#include "mvcc/events.h"
#include "mvcc/limbo.h"
#include "mvcc/live.h"
#include "mvcc/tail.h"
#include "mvcc/tree.h"
#include "mvcc/view.h"

namespace etcd::mvcc {

struct Loaded;
struct Metrics;

struct StoreOptions {
  engine::TableId history = 0;  // where kHistoryTable stands in the list the engine was opened with
  engine::TableId meta = 1;     // likewise kMetaTable
  engine::TableId live = 2;     // likewise kLiveTable
  Metrics* metrics = nullptr;   // for the store and its watch groups, which it must outlive; null: nothing is counted
  // A value of more bytes than this leaves memory once the engine has committed its version; Reader::load() brings it
  // back. 0: every value that is not empty leaves; UINT64_MAX: all stay.
  std::uint64_t large_value_bytes = 16 << 10;
  unsigned load_threads = 1;  // that open() works on; all have ended when it returns
};

struct PutOptions {
  LeaseId lease = 0;  // 0: none
  Attributes attributes{};
};

/// How far one compaction slice may go; whichever comes first ends it.
struct SliceBudget {
  Duration time = 10ms;            // by the store's clock
  std::uint64_t records = 50'000;  // history records looked at; the only bound where the clock stands still (sim/)
};

enum class CompactionState : std::uint8_t {
  kIdle,     // nothing is scheduled, or what was scheduled is finished
  kMore,     // call compact_slice() again
  kWaiting,  // the next records are not committed yet; call again after committed()
};

/// One loop's ear for event batches. Batches arrive on `loop` in order and without a gap while it is wanted.
class EventSink {
 public:
  EventSink(io::Executor& loop, std::function<void(const SharedEventBatch&)> take)
      : loop_(loop), take_(std::move(take)) {}

  /// From any View taken after want(true) on, no batch of a later revision is missed. On `loop` only.
  void want(bool wanted) { wanted_.store(wanted, std::memory_order_seq_cst); }
  /// Batches that are under way are dropped from now on. On `loop` only; the owner of what `take` uses calls it.
  void close() {
    want(false);
    take_ = nullptr;
  }

 private:
  friend class Store;
  io::Executor& loop_;
  std::function<void(const SharedEventBatch&)> take_;  // empty once closed; touched on loop_ only
  std::atomic<bool> wanted_{false};
};

class WriteTxn;

class Store {
 public:
  /// Loads the latest state. An empty engine gives revision 1, never compacted. Large values are neither read nor
  /// checked now, but when load() or an old revision asks for them (docs/formats/store.md).
  /// Shape:  `deadlines`, where somebody wants them, gets the live keys that have a deadline, in no order.
  /// Errors: kCorrupt naming table and revision; kIo.
  static Result<std::unique_ptr<Store>> open(engine::Engine& engine, const io::Clock& clock,
                                             const StoreOptions& options = {},
                                             std::vector<EntryRef>* deadlines = nullptr);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // --- any thread ---

  /// Pins the published state.
  [[nodiscard]] View view() const;
  [[nodiscard]] std::int64_t published_revision() const { return published_revision_.load(std::memory_order_seq_cst); }
  /// The scheduled compaction's revision as published, whether or not it is finished; -1 when there was none.
  [[nodiscard]] std::int64_t compacted() const { return published_compacted_.load(std::memory_order_seq_cst); }
  /// Memory held by versions that are not committed yet; the cap on proposals looks at it.
  [[nodiscard]] std::uint64_t tail_bytes() const { return tail_bytes_.load(std::memory_order_relaxed); }
  /// Memory that only old readers keep from being freed, as of the newest publish() or committed().
  [[nodiscard]] std::uint64_t held_back_bytes() const { return held_back_bytes_.load(std::memory_order_relaxed); }
  void add_sink(std::shared_ptr<EventSink> sink);
  void remove_sink(const std::shared_ptr<EventSink>& sink);
  /// Where watch groups count; null: nowhere.
  [[nodiscard]] Metrics* metrics() const { return options_.metrics; }

  // --- apply loop ---

  /// Starts a command. One at a time; publish(), take_changes(), compact() and compact_slice() not before it ended.
  WriteTxn begin();
  /// Of the newest committed transaction, published or not.
  [[nodiscard]] std::int64_t revision() const { return revision_; }
  /// Shows all committed transactions to readers, by one atomic store, and posts their events to the sinks. Does
  /// nothing when there is nothing new.
  void publish();
  /// Appends what was published since the last call (history records, the map of what is newest, current revision,
  /// compaction marks) to `batch`; everything committed must be published.
  /// Returns the revision that the batch brings; hand that to committed() once the batch is durable.
  std::int64_t take_changes(engine::Batch& batch);
  /// The engine has durably committed all that take_changes() gave up to `revision`: forget it here, large values of
  /// newest versions too. Readers who come after the next publication find stubs in their place.
  void committed(std::int64_t revision);

  /// Schedules a compaction: from the next publish() on, older revisions than `revision` cannot be read.
  /// Errors: kCompacted when revision <= the last one scheduled, kFutureRevision when it does not exist yet.
  Result<void> compact(std::int64_t revision);
  /// Goes on with the scheduled compaction: publishes it, deletes superseded records through `batch`, takes dead
  /// tombstones out of the tree. Hand over `batch` no later than any batch that take_changes() fills after this call.
  /// Errors: kCorrupt, kIo. Nothing is lost by one; the compaction stays where it was.
  Result<CompactionState> compact_slice(engine::Batch& batch, const SliceBudget& budget = {});
  /// The newest compaction whose records are all gone, as far as batches were handed out; -1: none.
  [[nodiscard]] std::int64_t compaction_finished() const { return finished_; }

  /// Order and counts of the tree, tail and live map against it, marks against each other. O(n).
  void check_invariants() const;

 private:
  friend class WriteTxn;
  friend class Reader;

  /// What readers see; replaced as a whole.
  struct State {
    TreeView tree;
    TailView tail;
    std::int64_t revision;
    std::int64_t compacted;
  };
  struct Change {
    const Entry* entry;     // in the tail
    const Entry* previous;  // what it replaced in the tree, with its count until the batch is published; may be null
  };

  Store(engine::Engine& engine, const io::Clock& clock, const StoreOptions& options);
  Result<void> load(std::vector<EntryRef>* deadlines);
  Result<void> load_marks(const engine::Snapshot& snapshot);
  /// Reads live_, and what it names; or the whole history, if there is no map of all of it.
  Result<Loaded> load_entries(const engine::Snapshot& snapshot);
  void publish_state(const State& state);
  /// Frees what no reader has pinned any more.
  void collect();
  [[nodiscard]] bool is_large(const Entry& entry) const;
  /// Puts stubs in the place of the large ones among the tree's entries that are in the tail up to `revision`.
  void leave_out_large_values(std::int64_t revision);
  [[nodiscard]] SharedEventBatch events_of_changes() const;
  void count_changes() const;
  Result<CompactionState> run_slice(engine::Batch& batch, const SliceBudget& budget);
  /// Writes what has changed of live_, and the mark that says that it is complete.
  void take_live(engine::Batch& batch);
  /// The record of the tombstone `at` goes; `newest` is the version of its key in the tree.
  void erase_tombstone(Revision at, const Entry* newest);
  /// Whether the oldest version that take_changes() has not given yet stands right on top of `at`, in the chain of
  /// `newest`, which is one of those.
  [[nodiscard]] bool newest_on_disk(Revision at, const Entry& newest) const;
  /// Looks at records from walk_ on. Returns true when the walk went past target_.
  Result<bool> walk_history(engine::Batch& batch, const SliceBudget& budget);

  engine::Engine& engine_;
  const io::Clock& clock_;
  StoreOptions options_;

  mutable Epochs epochs_;
  Limbo limbo_;
  Tree tree_;
  Tail tail_;
  bool in_txn_ = false;
  std::int64_t revision_ = 1;        // of the newest committed transaction; invariant: published <= revision_
  std::vector<Change> changes_;      // since the last publish(), those of an open transaction too
  bool tree_changed_ = false;        // by compaction or by stubs, since the last publish()
  std::uint64_t published_end_ = 0;  // of the tail; invariant: begin <= taken_ <= published_end_ <= end
  std::uint64_t taken_ = 0;          // place in the tail up to which take_changes() has gone
  std::int64_t taken_revision_ = 1;
  std::int64_t committed_ = 1;  // the newest revision that is durable
  LiveMap live_;                // as of the batches that were filled so far
  // Tombstones that compaction has erased while they were the newest of their key on disk, though no longer in memory.
  absl::flat_hash_set<std::pair<std::int64_t, std::int64_t>> erased_early_;

  std::int64_t scheduled_ = -1;  // invariant: finished_ <= scheduled_ <= revision_
  std::int64_t finished_ = -1;
  std::int64_t target_ = -1;                       // what the running walk compacts to; -1 when none runs
  Revision walk_;                                  // the next record it looks at
  bool schedule_taken_ = true;                     // the scheduled mark has gone into a batch
  std::uint64_t erased_ = 0;                       // records that compaction has deleted
  std::optional<MonotonicTime> compaction_began_;  // for metrics; nothing when no walk is under way

  std::uint64_t number_ = 1;  // of the published state
  std::atomic<const State*> state_{nullptr};
  std::atomic<std::int64_t> published_revision_{1};
  std::atomic<std::int64_t> published_compacted_{-1};
  std::atomic<std::uint64_t> tail_bytes_{0};
  std::atomic<std::uint64_t> held_back_bytes_{0};

  std::mutex sinks_mu_;                            // guards sinks_; taken by nobody who holds another lock
  std::vector<std::shared_ptr<EventSink>> sinks_;  // shared with their loops and with batches under way
};

/// One command's writes. What it reads is the state after all earlier commands and its own writes so far. Exactly one
/// of commit() and abort() ends it; the destructor of an open one aborts.
///
/// Entries it gives out live at least until the next publish(); a cursor until the next write.
class WriteTxn final : public Reader {
 public:
  WriteTxn(WriteTxn&& other) noexcept;
  WriteTxn& operator=(WriteTxn&&) = delete;
  ~WriteTxn();

  /// The revision before this command: what a reply shows when nothing is written.
  [[nodiscard]] std::int64_t base_revision() const { return readable_; }
  /// The revision this command gets if it writes anything.
  [[nodiscard]] std::int64_t revision() const { return readable_ + 1; }
  [[nodiscard]] bool changed() const { return sub_ > 0; }

  /// Writes a version of `key`, which is not empty. Returns it.
  /// By rule (not checked here) no command both deletes and puts one key: upstream cannot load such a history.
  const Entry* put(BytesView key, BytesView value, const PutOptions& options = {});
  /// Deletes `key`. Returns the version that was there, or null, and then nothing is written.
  const Entry* erase(BytesView key);
  /// Why this command writes; the last call counts. Kept only if something is written.
  void set_cause(Cause cause) { cause_ = std::move(cause); }

  /// Returns the new revision, or nothing when nothing was written.
  std::optional<std::int64_t> commit();
  /// Leaves no trace.
  void abort();

 private:
  friend class Store;
  explicit WriteTxn(Store& store);
  const Entry* write(EntryRef entry);

  Store* writer_;  // null once ended
  Cause cause_;
  std::int64_t sub_ = 0;       // operations so far
  std::size_t first_change_;   // where this command's begin in Store::changes_
  std::uint64_t first_place_;  // and in the tail
};

}  // namespace etcd::mvcc
