// mvcc/watch.h - one loop's watchers: each hears every change to its keys once, in order, without a gap.
//
// Life:    WatchGroup -> watch(), resume(), cancel() ... -> destructor, on its loop
// Thread:  its loop only. Catch-up reads run on `workers` and touch nothing of the group.
// Owns:    the watchers. Store and executors must outlive the group and whatever it posted; a Receiver its watchers.
// Knows no protocol: api/v2 and api/v3 each are a Receiver.
//
//                      watch(start > published)
//       +-----------------------------------------------+
//       |                                               v
//    watch() -- start <= published --> unsynced ---> synced ----+  each batch that apply posts
//                                        ^   | caught up   ^    |
//                            resume(id)  |   |             +----+
//                                        |   | receiver is full |
//                                        |   v                  v
//                                       victim <----------------+        kCompacted from unsynced: told, and gone
//
// An unsynced watcher is a cursor on the revision log: nothing is queued for it but its next revision. One pass at a
// time reads the log for all unsynced watchers of the group and stops at some revisions' worth. A victim is a watcher
// whose receiver refused a delivery; it waits for resume() and then catches up like any other, so a slow watcher costs
// memory nowhere.
//
// Why nothing is missed when a watcher joins: the sink is wanted before the published revision r is read, so every
// batch past r will come; those up to r are dropped by the watcher's own next revision (min_rev).
#pragma once
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "io/executor.h"
#include "mvcc/events.h"
#include "mvcc/key_range.h"
#include "mvcc/store.h"
#include "mvcc/watch_index.h"

namespace etcd::mvcc {

struct WatchDelivery {
  std::int64_t store_revision;           // the store's as of this delivery; at least that of the last event
  std::span<const Event* const> events;  // never empty; (main, sub) ascending, a revision's events together
};

class WatchReceiver {
 public:
  virtual ~WatchReceiver() = default;
  /// Takes the events of one revision (live), or of several (catching up). Events are borrowed for the call; copying
  /// one takes three counts. Returns false to take none of it: the same events come again after resume(). May call
  /// watch(), cancel() and resume() of the group.
  virtual bool deliver(WatcherId watcher, const WatchDelivery& delivery) = 0;
  /// The watcher's next revision is compacted; the watcher is gone.
  virtual void compacted(WatcherId watcher, std::int64_t compacted_revision) = 0;
  /// The revision log cannot be read (kCorrupt, kIo); the watcher is gone.
  virtual void failed(WatcherId watcher, const Error& error) = 0;
};

struct WatchOptions {
  std::int64_t start_revision = 0;  // 0: from the next revision on
  bool previous = false;  // fill Event::previous when reading history; live events always have it. Null if compacted
  bool puts = true;
  bool deletes = true;
};

/// Bounds of one catch-up pass.
struct CatchUpLimits {
  std::size_t watchers = 512;       // served by one pass
  std::int64_t revisions = 1000;    // read by one pass
  std::uint64_t bytes = 4'000'000;  // of matching events, about; a revision is never split
};

class WatchGroup {
 public:
  WatchGroup(Store& store, io::Executor& loop, io::Executor& workers, CatchUpLimits limits = {});
  ~WatchGroup();
  WatchGroup(const WatchGroup&) = delete;
  WatchGroup& operator=(const WatchGroup&) = delete;

  /// Starts a watcher of every key that lies in any of `ranges` (copied). Its first delivery comes after this returned.
  WatcherId watch(std::span<const KeyRange> ranges, const WatchOptions& options, WatchReceiver& receiver);
  WatcherId watch(const KeyRange& range, const WatchOptions& options, WatchReceiver& receiver) {
    return watch(std::span(&range, 1), options, receiver);
  }
  /// No delivery comes after this. An unknown id is fine.
  void cancel(WatcherId watcher);
  /// The receiver has room again. Fine for any watcher, known or not.
  void resume(WatcherId watcher);

  /// True when the watcher has been offered everything up to synced_revision().
  [[nodiscard]] bool is_synced(WatcherId watcher) const;
  /// True when the watcher's start lies past the published revision, so that it has nothing to be in sync with yet.
  [[nodiscard]] bool is_future(WatcherId watcher) const;
  /// Every synced watcher has been offered all its events up to this revision: what a progress notice may claim.
  [[nodiscard]] std::int64_t synced_revision() const { return synced_revision_; }
  [[nodiscard]] std::size_t size() const { return watchers_.size(); }
  [[nodiscard]] std::size_t unsynced() const { return unsynced_.size(); }

  void check_invariants() const;

 private:
  enum class Phase : std::uint8_t { kSynced, kUnsynced, kVictim };
  struct OwnedRange {
    explicit OwnedRange(const KeyRange& range);
    [[nodiscard]] KeyRange view() const;
    enum class Kind : std::uint8_t { kOne, kBetween, kFrom } kind;
    Bytes begin;
    Bytes end;
  };
  using OwnedRanges = std::vector<OwnedRange>;
  struct Watcher {
    std::shared_ptr<const OwnedRanges> ranges;  // shared with a pass under way
    WatchOptions options;
    WatchReceiver* receiver;
    std::int64_t next_revision;  // everything before it was offered, or is not wanted
    Phase phase;
    std::vector<const Event*> matched;  // scratch of offer(); empty between calls

    [[nodiscard]] bool wants(const Event& event) const {
      return event.revision() >= next_revision && (event.is_delete() ? options.deletes : options.puts);
    }
  };
  struct Pass;

  void take_batch(const SharedEventBatch& batch);
  void offer(std::span<const Event> revision_events);
  /// Hands over `events` of one revision, or of more up to `through`. False when the watcher is now gone or a victim.
  bool deliver(WatcherId id, std::span<const Event* const> events, std::int64_t through, std::int64_t store_revision);
  bool replay_recent(WatcherId id);
  void set_phase(WatcherId id, Watcher& watcher, Phase phase);
  void start_pass();
  void finish_pass(Pass& pass);
  static void run_pass(const Store& store, Pass& pass);
  [[nodiscard]] Watcher* find(WatcherId id);

  Store& store_;
  io::Executor& loop_;
  io::Executor& workers_;
  CatchUpLimits limits_;
  std::shared_ptr<EventSink> sink_;     // shared with the store and with batches under way
  std::shared_ptr<WatchGroup*> alive_;  // shared with passes under way; null inside once the group is gone

  absl::flat_hash_map<WatcherId, std::unique_ptr<Watcher>> watchers_;
  WatchIndex index_;  // of the synced ones
  absl::flat_hash_set<WatcherId> unsynced_;
  WatcherId last_id_ = 0;
  std::int64_t synced_revision_ = 0;
  std::vector<WatcherId> touched_;  // scratch of offer()

  bool pass_running_ = false;
  std::vector<SharedEventBatch> recent_;  // what came since the running pass started
  bool recent_complete_ = true;           // false when there was too much of it
};

}  // namespace etcd::mvcc
