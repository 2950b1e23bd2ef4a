// raft/machine.h - the Raft state machine: what each message and each tick does to one member.
//
// Life:    made by Core from a LogView; then step() and tick(). What follows collects in the outbox and in the log, and
//          Core hands it out.
// Thread:  the core's loop only.
// Owns:    everything but the LogView.
// Source:  Raft paper 5 and 6; thesis 3.10 (transfer), 4.2 (removal, votes), 6.2 (check quorum), 6.4 (reads),
//          9.6 (pre-vote); etcd-io/raft main raft.go.
//
//                      time-out                     majority grants
//           follower ────────────> (pre-)candidate ────────────────> leader
//             ^  ^                  │ a leader appears, or            │
//             │  └──────────────────┘ a majority refuses              │
//             └───────────────────────────────────────────────────────┘
//               a higher term appears; no majority answers; removed
//
// With pre-vote a candidate first asks as pre-candidate, in the next term but without entering it.
#pragma once
#include <span>
#include <vector>

#include "raft/conf_changer.h"
#include "raft/core.h"
#include "raft/log.h"
#include "raft/read_queue.h"

namespace etcd::raft {

/// What is to leave this member.
struct Outbox {
  std::vector<Message> now;           // to other members, before anything is saved
  std::vector<Message> after_append;  // once all that is unstable now has been saved; may be to this member itself
  std::vector<ReadState> read_states;
};

class Machine {
 public:
  /// Checks: as Core's.
  Machine(const Options& options, const LogView& view, Rng rng);

  Machine(const Machine&) = delete;  // the log refers to the notes
  Machine& operator=(const Machine&) = delete;

  void tick();
  Result<void> step(Message&& message);
  ConfState apply_conf_change(const ConfChangeV2& change);

  /// A fresh cluster: these entries are in the log and committed, in term 1.
  void bootstrap(std::vector<Entry>&& entries);

  [[nodiscard]] MemberId id() const { return id_; }
  [[nodiscard]] Term term() const { return term_; }
  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] MemberId leader() const { return leader_; }
  [[nodiscard]] MemberId transferee() const { return transferee_; }
  [[nodiscard]] bool is_learner() const { return is_learner_; }
  [[nodiscard]] std::uint64_t uncommitted_bytes() const { return uncommitted_bytes_; }
  [[nodiscard]] SoftState soft_state() const { return {leader_, role_}; }
  [[nodiscard]] HardState hard_state() const { return {term_, vote_, log_.committed()}; }
  [[nodiscard]] const Tracker& tracker() const { return tracker_; }
  [[nodiscard]] const Log& log() const { return log_; }
  [[nodiscard]] Log& log() { return log_; }
  [[nodiscard]] Outbox& outbox() { return outbox_; }
  [[nodiscard]] const Outbox& outbox() const { return outbox_; }
  [[nodiscard]] Notes& notes() { return notes_; }
  [[nodiscard]] const Notes& notes() const { return notes_; }

  void set_randomized_election_timeout(int ticks) { randomized_election_ticks_ = ticks; }
  [[nodiscard]] int randomized_election_timeout() const { return randomized_election_ticks_; }

  void check_invariants() const;

 private:
  enum class Campaign { kPreElection, kElection, kTransfer };

  // ---- roles ----
  void reset(Term term);
  void become_follower(Term term, MemberId leader);
  void become_candidate();
  void become_pre_candidate();
  void become_leader();
  void hup(Campaign kind);
  void campaign(Campaign kind);
  void poll(const Message& vote);
  [[nodiscard]] bool promotable() const;
  [[nodiscard]] bool has_unapplied_conf_changes() const;

  // ---- steps ----
  void step_higher_term(const Message& message, bool& ignore);
  void step_lower_term(const Message& message);
  void step_vote(const Message& message);
  Result<void> step_leader(Message&& message);
  Result<void> step_candidate(Message&& message);
  Result<void> step_follower(Message&& message);
  Result<void> leader_propose(Message&& message);
  void leader_check_quorum();
  void leader_app_response(const Message& message, Progress& from);
  void leader_heartbeat_response(const Message& message, Progress& from);
  void leader_snapshot_status(const Message& message, Progress& from);
  void leader_transfer(const Message& message, const Progress& to);
  void handle_append(Message&& message);
  void handle_heartbeat(Message&& message);
  void handle_snapshot(Message&& message);
  bool restore(Snapshot&& snapshot);

  // ---- sending ----
  void send(Message&& message);
  void send_append(MemberId to) { maybe_send_append(to, /*even_if_empty=*/true); }
  bool maybe_send_append(MemberId to, bool even_if_empty);
  bool maybe_send_snapshot(MemberId to, Progress& member);
  void send_timeout_now(MemberId to);
  void broadcast_append();
  void broadcast_heartbeat();

  // ---- log ----
  bool append_entries(std::vector<Entry>&& entries);
  bool maybe_commit();
  void applied_to(Index index, std::uint64_t bytes);
  void applied_snapshot(const Snapshot& snapshot);
  ConfState switch_to(Configured&& next);
  [[nodiscard]] bool committed_in_this_term() const;

  // ---- reads ----
  void leader_read(Message&& request);
  void release_postponed_reads();
  void answer_confirmed_reads();
  void answer_read(Message&& request, Index index);

  void draw_election_timeout();

  Notes notes_;
  const MemberId id_;
  const Options options_;
  Rng rng_;

  Term term_;
  MemberId vote_ = kNobody;
  Log log_;
  Tracker tracker_;
  Role role_ = Role::kFollower;
  MemberId leader_ = kNobody;
  MemberId transferee_ = kNobody;
  bool is_learner_ = false;
  Outbox outbox_;

  // Only one change of configuration may be in the log and not yet applied. This is at or behind the newest one's
  // index; another may be proposed once it is applied.
  Index pending_conf_index_;
  std::uint64_t uncommitted_bytes_ = 0;  // leader: commands in the uncommitted tail; never too high, maybe too low

  ReadQueue reads_;
  std::vector<Message> postponed_reads_;  // until the leader has committed an entry of its term

  // Leader: ticks since the last check of the quorum. Others: since the leader was heard, a vote was granted, or a
  // campaign began.
  int election_elapsed_ = 0;
  int heartbeat_elapsed_ = 0;          // leader only
  int randomized_election_ticks_ = 0;  // in [election_ticks, 2 * election_ticks)
};

}  // namespace etcd::raft
