// apply/applier.h - the state machine: takes committed entries in order, changes the store, answers who waits.
//
// Life:    open() -> apply()* ... -> stop() -> destructor
// Thread:  apply loop only, but for the readers' parts of store() and members(): any thread.
// Owns:    the store, the members, and the batch that is under way to the engine. Borrows engine, clock, loops and
//          listener, which must outlive it.
// Durable: a batch holds all tables as of one applied index. Until the engine has it, the Raft log is what survives;
//          restart replays it from the applied index. Invariant: committed applied index <= durable WAL index, since
//          only committed entries come here.
//
//      entries --apply()--> memory --publish--> readers, then outcomes to the listener
//                              |
//                              +--at 8 MB or 1 s--> one Batch --store loop--> engine, synced --> durable()
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "apply/store_stats.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/engine.h"
#include "io/clock.h"
#include "io/executor.h"
#include "lease/expiry_index.h"
#include "members/alarms.h"
#include "members/table.h"
#include "mvcc/store.h"
#include "tree/event.h"
#include "tree/refusal.h"

namespace etcd::mvcc {
struct Metrics;
}
namespace etcd::lease {
struct Metrics;
}

namespace etcdserverpb {
class AlarmRequest;
class InternalRaftRequest;
}  // namespace etcdserverpb
namespace etcdv2pb {
class Command;
}

namespace etcd::apply {

class Metrics;
enum class Operation : std::uint8_t;

/// An entry of the Raft log that a quorum has on disk.
struct CommittedEntry {
  enum class Kind : std::uint8_t { kCommand, kConfChange, kConfChangeV2 };
  Term term;
  Index index;
  Kind kind = Kind::kCommand;
  SharedBytes data;  // empty: a new leader's first entry
};

/// What became of one command: nothing for commands without an answer of their own, an Error for one that the state did
/// not allow (kNoSpace under the alarm; kCompacted, kFutureRevision of a compaction).
struct Outcome {
  std::uint64_t request_id = 0;
  Term term;
  Index index;
  std::variant<std::monostate, tree::Outcome<tree::Event>, Error> result;
};

/// A conf change that was validated against the members; raft takes it as it is, or as one that changes nothing.
struct ConfChange {
  Index index;
  CommittedEntry::Kind kind = CommittedEntry::Kind::kConfChange;
  SharedBytes data;
  bool accepted = false;
  Error refusal;  // why not
};

/// Whoever drives apply. Called on the apply loop.
class Listener {
 public:
  virtual ~Listener() = default;
  /// Outcomes of one call of apply(), in log order; readers see their effects already.
  virtual void applied(std::vector<Outcome> outcomes) = 0;
  /// Everything up to `index` has become durable in the engine.
  virtual void durable(Index index) = 0;
  /// The engine has no room; the batch is tried again every `ApplierOptions::retry`.
  virtual void no_space(const Error& error) = 0;
  /// An alarm was raised or cleared, by this member or another one.
  virtual void alarm_changed(const members::Alarm& alarm, bool raised) = 0;
  /// The member cannot go on: the engine failed, or the log holds a command that this version does not know.
  virtual void failed(const Error& error) = 0;
};

struct ApplierOptions {
  std::uint64_t batch_bytes = 8 << 20;  // a batch goes to the engine at this size,
  Duration batch_interval = 1s;         // or this long after its first change
  Duration retry = 1s;                  // after kNoSpace
  // Compaction goes in slices between commands, each so short, and so seldom, that a put at the 99th percentile does not
  // notice; a batch with many erasures goes to the engine by itself.
  mvcc::SliceBudget slice{.time = 500us, .records = 2000};
  Duration slice_pause = 20ms;
  std::size_t slice_erasures_max = 10'000;  // handed over before more are collected
  unsigned load_threads = 1;                // that open() reads the store on
  StoreStats* stats = nullptr;              // counts the v2 commands; null: nobody does. Must outlive the applier
  Duration slow_apply = 100ms;              // --warning-apply-duration
  Metrics* metrics = nullptr;               // this and the two below: null, or else must outlive the applier
  mvcc::Metrics* mvcc_metrics = nullptr;
  lease::Metrics* lease_metrics = nullptr;
};

class Applier {
 public:
  /// Loads what the engine holds. Errors: kCorrupt, kIo, naming the table.
  static Result<std::unique_ptr<Applier>> open(engine::Engine& engine, const io::Clock& clock, io::Executor& apply_loop,
                                               io::Executor& store_loop, Listener& listener, ApplierOptions options);

  /// Applies entries, which follow the last one without a gap; those at or before applied() are skipped. Publishes the
  /// new state, then tells the listener. Returns the conf changes among them, for raft.
  /// Errors: kUnimplemented for a command of an unknown kind, kCorrupt for one that does not decode; the listener has
  /// been told and every later call fails alike.
  Result<std::vector<ConfChange>> apply(std::span<const CommittedEntry> entries);

  [[nodiscard]] Index applied() const { return applied_; }
  [[nodiscard]] Term applied_term() const { return applied_term_; }
  /// The newest index that the engine has.
  [[nodiscard]] Index durable() const { return durable_; }

  [[nodiscard]] mvcc::Store& store() { return *store_; }
  [[nodiscard]] members::Table& members() { return *members_; }
  [[nodiscard]] members::Alarms& alarms() { return *alarms_; }
  /// Apply loop only: the nodes that have a TTL.
  [[nodiscard]] lease::ExpiryIndex& expiry() { return expiry_; }

  /// Hands over what is left and calls `done` once the engine has it, or has failed. Nothing is applied afterwards.
  void stop(std::function<void()> done);

 private:
  Applier(engine::Engine& engine, const io::Clock& clock, io::Executor& apply_loop, io::Executor& store_loop,
          Listener& listener, ApplierOptions options);

  Result<void> apply_command(const CommittedEntry& entry, std::vector<Outcome>& outcomes);
  /// The others, by kind. Errors: kUnimplemented for a command of an unknown kind.
  Result<void> apply_tree_command(const CommittedEntry& entry, const etcdv2pb::Command& command, Outcome& outcome);
  Result<void> apply_cluster_command(const CommittedEntry& entry, const etcdserverpb::InternalRaftRequest& request,
                                     Outcome& outcome);
  void apply_alarm(const etcdserverpb::AlarmRequest& request);
  /// Counts the command that has just ended.
  void measure(Operation operation, bool success);
  /// Tells raft what to do, and whoever waits for the request that it names what became of it.
  ConfChange apply_conf_change(const CommittedEntry& entry, std::vector<Outcome>& outcomes);
  Result<void> accept_conf_change(const CommittedEntry& entry, std::uint64_t& request_id);
  void fail(const Error& error);
  void note_expiry(const tree::Event& event);
  void load_expiry(const std::vector<mvcc::EntryRef>& deadlines);
  /// Goes on with the scheduled compaction after a pause, unless a slice is waiting already.
  void arm_slice();
  void compact_slice();
  [[nodiscard]] bool has_changes() const;
  /// Hands the pending changes over when they are due and no batch is under way.
  void consider_commit();
  void hand_over();
  void commit(std::shared_ptr<engine::Batch> batch, std::int64_t revision, Index index);
  void committed(const Result<void>& result, std::shared_ptr<engine::Batch> batch, std::int64_t revision, Index index);

  engine::Engine& engine_;
  const io::Clock& clock_;
  io::Executor& apply_loop_;
  io::Executor& store_loop_;
  Listener& listener_;
  const ApplierOptions options_;

  std::unique_ptr<mvcc::Store> store_;
  std::unique_ptr<members::Table> members_;
  std::unique_ptr<members::Alarms> alarms_;
  lease::ExpiryIndex expiry_;

  Index applied_;  // invariant: durable_ <= applied_
  Term applied_term_;
  Index durable_;
  MonotonicTime command_began_;      // for metrics
  std::uint64_t pending_bytes_ = 0;  // of commands applied since the last hand-over
  Index handed_over_;                // the index of the newest batch that left
  bool in_flight_ = false;           // a batch is at the store loop
  engine::Batch compaction_;         // erasures of slices since the last hand-over
  bool slice_armed_ = false;
  bool slice_waits_ = false;          // for the engine to have more of the history
  std::optional<io::TimerId> timer_;  // armed while changes wait for their second to pass
  std::optional<Error> dead_;
  std::function<void()> stopped_;  // set by stop()
};

}  // namespace etcd::apply
