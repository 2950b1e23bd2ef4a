// raft/core.h - one member's view of the Raft protocol: tick, message and proposal in; a bundle of duties out.
//
// Life:    a Core starts as a follower from what its LogView holds. The driver then loops:
//
//            tick() / step() / propose() ...        something happened
//            while (has_ready()) take_ready()       what follows from it
//
//          Synchronous form: save entries, hard state and snapshot of the Ready (synced when must_sync), then send its
//          messages, then apply its committed entries, then advance(); no second take_ready() before that.
//
//          Asynchronous form (Options::async_storage_writes): the Ready's messages include one to kAppendThread and one
//          to kApplyThread where there is such work. All other messages may leave at once, before anything is saved.
//          Each storage message holds `responses`, which are delivered when its work is done: those to this member by
//          step(), the others by the network. Work for one thread is done in order and never dropped; nothing waits
//          for anything else. A snapshot may overtake entries that wait to be applied: the driver skips those that its
//          state machine then holds already (their changes of configuration too), and delivers the responses as usual.
//          advance() is not called.
//
// Thread:  one loop only (replica).
// Owns:    its state. Borrows the LogView, which must outlive it.
// Time:    counted in tick()s; what a tick lasts is the driver's business.
// Errors:  a broken invariant (a commit index behind the log's end, two leaders in one term) is a CHECK.
// Source:  Raft paper (Ongaro, Ousterhout 2014), Ongaro's thesis; behaviour of etcd-io/raft main, rawnode.go.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "raft/log_view.h"
#include "raft/message.h"
#include "raft/note.h"
#include "raft/progress.h"
#include "raft/tracker.h"

namespace etcd::raft {

class Machine;

enum class Role : std::uint8_t { kFollower = 0, kCandidate = 1, kLeader = 2, kPreCandidate = 3 };

enum class ReadOnly : std::uint8_t {
  kSafe,        // a majority confirms the leader after each read was asked for
  kLeaseBased,  // the leader trusts its lease: wrong when clocks drift without bound; needs check_quorum
};

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

struct Options {
  MemberId id = 0;
  int election_ticks = 10;  // a follower campaigns after election_ticks to 2 * election_ticks - 1 of silence
  int heartbeat_ticks = 1;  // a leader's heartbeats are this far apart; less than election_ticks
  Index applied;  // on restart: what the state machine holds; entries up to it are not handed out again. May be ahead
                  // of the saved commit index, not of the saved log.
  bool async_storage_writes = false;

  std::uint64_t message_bytes_max = kNoLimit;  // encoded entries in one kApp; 0: one entry per message
  std::uint64_t applying_bytes_max = 0;        // encoded entries handed out and not yet applied; 0: message_bytes_max
  std::uint64_t uncommitted_bytes_max = 0;     // commands in the leader's uncommitted tail; 0: no limit
  std::uint32_t inflight_messages_max = 256;   // unacknowledged kApp per follower
  std::uint64_t inflight_bytes_max = 0;        // commands in them; 0: no limit, else at least message_bytes_max

  bool check_quorum = false;  // a leader that hears no majority for election_ticks steps down (thesis 6.2)
  bool pre_vote = false;      // a campaign first asks whether it could win (thesis 9.6)
  ReadOnly read_only = ReadOnly::kSafe;
  bool disable_proposal_forwarding = false;
  bool disable_conf_change_validation = false;  // accept changes that do not fit the current configuration
  bool step_down_on_removal = false;            // a leader steps down once removed or made a learner

  NoteLevel note_level = NoteLevel::kInfo;  // notes below it are not made

  /// Errors: kInvalidArgument, naming the field.
  [[nodiscard]] Result<void> check() const;
};

/// What is worth telling but not worth saving.
struct SoftState {
  MemberId leader = kNobody;
  Role role = Role::kFollower;

  friend bool operator==(const SoftState&, const SoftState&) = default;
};

/// The answer to read_index(): once the state machine has applied `index`, the read named `context` is linearizable.
struct ReadState {
  Index index;
  SharedBytes context;

  friend bool operator==(const ReadState&, const ReadState&) = default;
};

/// Duties, in the order in which they are done. See the life of a Core above.
struct Ready {
  std::optional<SoftState> soft_state;   // present when it changed
  HardState hard_state;                  // to be saved; empty when it did not change
  std::vector<ReadState> read_states;    // answers to read_index()
  std::vector<Entry> entries;            // to be saved; they replace what is saved from the first one's index on
  std::optional<Snapshot> snapshot;      // to be saved and to become the state machine's state
  std::vector<Entry> committed_entries;  // to be applied, behind those handed out before
  std::vector<Message> messages;         // to be sent; in the asynchronous form also the storage messages
  bool must_sync = false;                // entries, hard state must be durable; false: a changed commit index only
};

struct BasicStatus {
  MemberId id = 0;
  HardState hard_state;
  SoftState soft_state;
  Index applied;
  MemberId transferee = kNobody;  // who leadership is being handed to
};

struct Status : BasicStatus {
  Config config;
  ProgressMap progress;  // the leader's view of all members; empty elsewhere
};

struct Peer {
  MemberId id = 0;
  Bytes context;
};

enum class SnapshotStatus : std::uint8_t { kFinished, kFailed };

class Core {
 public:
  /// Checks: options.check() holds, and the log view is consistent with its hard state.
  Core(const Options& options, const LogView& log, Rng rng);
  ~Core();
  Core(Core&&) noexcept;
  Core& operator=(Core&&) noexcept;

  /// Writes the first entries of a new cluster, one v1 change per peer, committed in term 1.
  /// Errors: kInvalidArgument without peers; kAlreadyExists when the log is not empty.
  Result<void> bootstrap(const std::vector<Peer>& peers);

  // ---- what may happen ----

  /// One unit of logical time has passed.
  void tick();

  /// Starts an election unless this member leads or may not.
  void campaign();

  /// Takes a message from a peer or from the own storage threads.
  /// Errors: kInvalidArgument when no correct member could have sent it (nothing changed);
  ///         kNotFound when it answers us but comes from nobody in the configuration (nothing changed);
  ///         kProposalDropped as propose().
  Result<void> step(Message message);

  /// Puts a command into the log, or sends it to the leader. It may still get lost; when it is committed,
  /// it appears in Ready::committed_entries.
  /// Errors: kProposalDropped without a leader, during a leadership transfer, over uncommitted_bytes_max, when
  /// forwarding
  ///         is disabled, or when this member leads but was removed.
  Result<void> propose(SharedBytes command);
  /// Several commands at once: all or none, next to each other in the log, and in one message. Not empty.
  Result<void> propose_batch(std::vector<SharedBytes> commands);

  /// As propose(), for a change of configuration. One that does not fit is replaced by an empty entry (a note tells).
  /// Errors: kProposalDropped as propose(); kInvalidArgument for a v1 change that does not hold exactly one step.
  Result<void> propose_conf_change(const ConfChangeV2& change);

  /// Makes a committed change effective; called when the driver applies its entry. To refuse a change, pass it with
  /// node ids of 0, or do not call.
  /// Checks: the change fits, as it did when it was proposed.
  ConfState apply_conf_change(const ConfChangeV2& change);

  /// Asks for a linearizable read. The answer is a ReadState with the same context in a later Ready; it may get lost
  /// with messages or leadership, so the driver asks again after a time-out.
  /// Source: Raft thesis 6.4; an acknowledgement counts only if it was asked for after the read.
  void read_index(SharedBytes context);

  void transfer_leader(MemberId transferee);  // thesis 3.10; gives up after election_ticks
  void forget_leader();  // a follower stops following without campaigning, so that it may grant a vote at once
  void report_unreachable(MemberId id);                      // a message to `id` did not get through
  void report_snapshot(MemberId id, SnapshotStatus status);  // how sending a snapshot to `id` ended

  // ---- what follows from it ----

  /// True when take_ready() would give something.
  [[nodiscard]] bool has_ready() const;

  /// The duties since the last call. See the life of a Core above.
  Ready take_ready();

  /// Synchronous form only: the last Ready has been saved and applied.
  void advance();

  /// Lines for the log since the last call, oldest first; kept up to a bound.
  [[nodiscard]] bool has_notes() const;
  std::vector<Note> take_notes();

  // ---- how it stands ----

  [[nodiscard]] MemberId id() const;
  [[nodiscard]] Term term() const;
  [[nodiscard]] Role role() const;
  [[nodiscard]] bool is_leader() const { return role() == Role::kLeader; }
  [[nodiscard]] MemberId leader() const;  // kNobody when unknown
  [[nodiscard]] MemberId transferee() const;
  [[nodiscard]] bool is_learner() const;
  [[nodiscard]] Index committed() const;
  [[nodiscard]] Index applied() const;
  [[nodiscard]] Index first_index() const;
  [[nodiscard]] Index last_index() const;  // includes what is not saved yet
  [[nodiscard]] HardState hard_state() const;
  [[nodiscard]] ConfState conf_state() const;
  [[nodiscard]] const Config& config() const;
  [[nodiscard]] const ProgressMap& progress() const;      // meaningful on the leader
  [[nodiscard]] std::uint64_t uncommitted_bytes() const;  // an estimate; leader only
  [[nodiscard]] BasicStatus basic_status() const;
  [[nodiscard]] Status status() const;

  /// For tests: the time-out drawn at the last change of role; drawn anew at the next one.
  void set_randomized_election_timeout(int ticks);
  [[nodiscard]] int randomized_election_timeout() const;

  void check_invariants() const;

 private:
  [[nodiscard]] bool apply_unstable() const { return !async_; }
  [[nodiscard]] Result<void> check_message(const Message& message) const;

  std::unique_ptr<Machine> machine_;  // apart, so that a reader of this header needs the header only
  bool async_;
  SoftState last_soft_state_;              // as of the last Ready
  HardState last_hard_state_;              // likewise
  std::vector<Message> steps_on_advance_;  // synchronous form: what advance() tells the machine
};

}  // namespace etcd::raft
