// replica/replica.h - drives raft: proposals and messages in; log writes, messages and applies out, in the right order.
//
// Life:    bootstrap() or restart() -> start() -> propose(), read_index() ... -> stop() -> destructor
// Thread:  start, propose, read_index, stop and status from any thread; everything else on the replica loop.
// Owns:    the raft core, the log in memory, the WAL, the applier. Borrows loops, engine, clock, transport, observer
//          and directory, which must outlive it; the loops must have stopped before it goes.
// Durable: an acknowledgement leaves only after the WAL has synced the entry at a quorum (Raft paper figure 2, thesis
//          3.8). The leader's messages leave before its own sync (thesis 10.2.1).
//
//        propose                     commands, hard state        one sync for all that came meanwhile
//   any ---------> replica loop ------------------------> disk loop ------------------------+
//                   |  ^    ^                                                               |
//   messages        |  |    +--- responses: entries are durable <---------------------------+
//   transport <-----+  |
//                   |  +-------- responses: entries are applied <-----------+
//                   +----------> apply loop: committed entries -> Applier --+--> Observer::applied, Waiters
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "apply/applier.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/file.h"
#include "members/member.h"
#include "raft/core.h"
#include "replica/entry_codec.h"
#include "replica/log_store.h"
#include "replica/transport.h"
#include "telemetry/log.h"
#include "wal/log.h"

namespace etcd::replica {

struct Metrics;

struct ReplicaOptions {
  Duration heartbeat = 100ms;  // one tick of raft's clock
  int election_ticks = 10;     // --election-timeout / --heartbeat-interval
  bool pre_vote = true;
  Duration request_timeout = 7s;               // 5 s + 2 election time-outs: how long a proposal waits for a leader
  std::uint64_t log_memory_bytes = 64 << 20;   // of entries that are applied and kept for followers
  std::uint64_t unapplied_entries_max = 5000;  // past this, proposals are refused
  std::uint64_t snapshot_count = 10'000;       // --snapshot-count: entries between two marks in the WAL
  std::uint64_t snapshot_bytes = 64 << 20;     // likewise, in bytes of the WAL: large values come to few entries
  std::uint64_t catchup_entries = 5000;        // kept in the WAL behind a mark, for followers
  std::size_t wal_files_max = 5;               // --max-wals: at most so many files are kept for them; 0: any number
  wal::LogOptions wal;
  apply::ApplierOptions applier;
  Metrics* metrics = nullptr;  // null: nothing is counted. Must outlive the replica
};

/// The loops; all may be one.
struct Loops {
  io::Executor& replica;
  io::Executor& disk;
  io::Executor& apply;
  io::Executor& store;
  io::Executor* workers = nullptr;  // prepares WAL segments; null: they are made when needed
};

/// Whoever runs the member. Each call says on which loop.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Apply loop: outcomes of commands, in log order; their effects can be read.
  virtual void applied(std::vector<apply::Outcome> outcomes) = 0;
  /// Replica loop: who leads now; kNobody when unknown.
  virtual void leader_changed(MemberId leader) = 0;
  /// Apply loop: the store found no room for a batch, which will be tried again.
  virtual void no_space() = 0;
  /// Any loop, at least once: the member cannot go on and must be stopped. It acknowledges nothing any more.
  virtual void failed(const Error& error) = 0;
};

struct Parts {
  io::Directory& wal_directory;
  engine::Engine& engine;
  const io::Clock& clock;
  Loops loops;
  Transport& transport;
  Observer& observer;
  telemetry::Logger logger;
  Rng rng;
};

/// A command for the log, and who is told when raft does not take it.
struct Proposal {
  SharedBytes command;
  std::move_only_function<void(Error)> refused;
};

/// A state at a moment, for headers, health and metrics.
struct ReplicaStatus {
  Term term;
  Index committed;
  Index applied;
  MemberId leader = raft::kNobody;
};

class Replica final : private apply::Listener {
 public:
  /// Starts a member of a new cluster: writes the WAL with one conf change per initial member.
  /// Durable: once returned. Errors: kAlreadyExists when the directory holds a log; kNoSpace, kIo.
  static Result<std::unique_ptr<Replica>> bootstrap(Parts parts, ReplicaOptions options, Metadata who,
                                                    std::vector<members::Member> initial);

  /// Starts a member from what its directory and engine hold.
  /// Errors: kCorrupt naming file and offset, or where log and store do not fit; kLocked; kIo.
  static Result<std::unique_ptr<Replica>> restart(Parts parts, ReplicaOptions options);

  ~Replica() override;
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  [[nodiscard]] MemberId member() const { return who_.member; }
  [[nodiscard]] ClusterId cluster() const { return who_.cluster; }
  [[nodiscard]] mvcc::Store& store() { return applier_->store(); }
  [[nodiscard]] members::Table& members() { return applier_->members(); }
  [[nodiscard]] members::Alarms& alarms() { return applier_->alarms(); }
  /// Apply loop only.
  [[nodiscard]] lease::ExpiryIndex& expiry() { return applier_->expiry(); }
  [[nodiscard]] ReplicaStatus status() const;

  /// Begins to tick. A sole voter campaigns at once: there is nobody to disturb.
  void start();

  /// Puts a command into the log. Its outcome comes through Observer::applied; `refused` is called instead, on the
  /// replica loop, when raft did not take it. Without a leader it is held for `request_timeout`.
  /// Errors to `refused`: kTooManyRequests, kTimeout, kStopped; texts as upstream's.
  void propose(SharedBytes command, std::move_only_function<void(Error)> refused);
  /// Puts several into the log, in this order, with one hand-over between the loops.
  void propose(std::vector<Proposal> proposals);

  /// Calls `done`, on the replica loop, once everything that was committed when this was called has been applied here.
  /// Source: Raft thesis 6.4. Reads that come while a round is under way share the next one.
  /// Errors: kTimeout, kStopped.
  void read_index(std::move_only_function<void(Result<void>)> done);

  /// A message from a peer.
  void receive(raft::Message message);

  /// Stops proposing and ticking, saves what is applied, then calls `done` on the replica loop. Orderly: a restart
  /// finds nothing to replay.
  void stop(std::function<void()> done);

  /// Calls `done`, on the replica loop, with the whole state of the core, for /debug/vars.
  void raft_status(std::move_only_function<void(const raft::Status&)> done);

  /// Syncs of the WAL so far, for the benches, and bytes written to it.
  [[nodiscard]] std::uint64_t wal_syncs() const { return wal_->syncs(); }
  [[nodiscard]] std::uint64_t wal_bytes_written() const { return wal_->bytes_written(); }

 private:
  struct Held {
    MonotonicTime deadline;
    SharedBytes command;
    std::move_only_function<void(Error)> refused;
  };
  struct Read {
    MonotonicTime deadline;
    std::move_only_function<void(Result<void>)> done;
  };

  Replica(Parts parts, ReplicaOptions options, Metadata who);

  Result<void> open_core(raft::HardState hard_state, std::vector<raft::Entry> entries);
  void arm_tick();
  void tick();

  // Replica loop.
  void campaign_alone();
  void take_proposal(MonotonicTime deadline, Proposal proposal);
  void propose_now(MonotonicTime deadline, SharedBytes command, std::move_only_function<void(Error)> refused);
  void schedule_pump();
  void pump();
  void take(raft::Ready ready);
  void expire(MonotonicTime now);
  void begin_read_round();
  void ask_read_round();
  void finish_reads();
  void append(raft::Message message);
  void appended(std::vector<raft::Message> done);
  void apply(raft::Message message);
  void applied_entries(std::vector<raft::Message> done, const std::vector<apply::ConfChange>& changes);
  void deliver(std::vector<raft::Message>& responses);
  void durable_at(Index index);
  /// The first entry that stays in the WAL when all up to `applied` is in the store.
  [[nodiscard]] Index keep_for_followers(Index applied) const;
  /// Nobody else is in the cluster.
  [[nodiscard]] bool alone() const;
  void log_notes();
  /// Whoever waits for a leader or for a read learns that the member has stopped.
  void refuse_waiting();

  // Disk loop.
  void append_pending();
  Result<void> write(const raft::Message& message);
  Result<void> sync_wal();

  // Apply loop.
  void apply_pending();
  void applied(std::vector<apply::Outcome> outcomes) override;
  void durable(Index index) override;
  void no_space(const Error& error) override;
  void alarm_changed(const members::Alarm& alarm, bool raised) override;
  void failed(const Error& error) override;

  /// Any loop: nothing is acknowledged from here on.
  void fail(const Error& error);

  Parts parts_;
  const ReplicaOptions options_;
  Metadata who_;  // set before anything runs
  std::unique_ptr<wal::Log> wal_;
  std::unique_ptr<apply::Applier> applier_;
  std::unique_ptr<LogStore> log_;
  std::unique_ptr<raft::Core> core_;

  // Replica loop.
  bool pump_scheduled_ = false;
  bool stopping_ = false;
  bool campaigned_ = false;   // the first chance to campaign alone has passed
  raft::HardState appended_;  // the newest hard state that was handed to the disk loop
  MemberId leader_ = raft::kNobody;
  std::deque<Held> held_;                                            // waiting for a leader, oldest first
  std::vector<Read> reads_next_;                                     // wait for the next round to begin
  std::vector<Read> reads_asked_;                                    // wait for this round's index
  std::deque<std::pair<Index, std::vector<Read>>> reads_confirmed_;  // wait for apply to reach the index
  std::uint64_t read_round_ = 0;                                     // the context of the newest round
  MonotonicTime read_retry_;                                         // when to ask again
  Index marked_;                                                     // the newest snapshot record in the WAL
  std::uint64_t marked_bytes_ = 0;                                   // written to the WAL when it was made

  std::mutex append_mu_;                       // guards the two below; never held with another
  std::vector<raft::Message> append_pending_;  // storage messages for the disk loop, in order
  bool append_scheduled_ = false;
  std::mutex apply_mu_;                       // guards the two below; never held with another
  std::vector<raft::Message> apply_pending_;  // likewise for the apply loop
  bool apply_scheduled_ = false;
  Bytes entry_buffer_;  // disk loop only

  std::atomic<std::uint64_t> status_term_ = 0;
  std::atomic<std::uint64_t> status_committed_ = 0;
  std::atomic<std::uint64_t> status_applied_ = 0;
  std::atomic<std::uint64_t> status_leader_ = raft::kNobody;
  std::atomic<bool> dead_ = false;  // a failure was reported: acknowledge nothing any more
};

}  // namespace etcd::replica
