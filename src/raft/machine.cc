#include "raft/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "raft/describe.h"

namespace etcd::raft {
namespace {

// A vote request that carries this was asked for by the leader itself, so its lease does not stand against it.
constexpr BytesView kTransferContext = "CampaignTransfer";

Message make(MessageType type, MemberId to) {
  Message message;
  message.type = type;
  message.to = to;
  return message;
}

MessageType response_to(MessageType vote) {
  return vote == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp;
}

bool is_vote(MessageType type) {
  return type == MessageType::kVote || type == MessageType::kPreVote;
}
bool is_vote_response(MessageType type) {
  return type == MessageType::kVoteResp || type == MessageType::kPreVoteResp;
}
bool is_from_leader(MessageType type) {
  return type == MessageType::kApp || type == MessageType::kHeartbeat || type == MessageType::kSnap;
}

/// Unset limits become ones that never bind, so that no comparison needs a special case.
Options settled(Options options) {
  if (options.uncommitted_bytes_max == 0) options.uncommitted_bytes_max = kNoLimit;
  if (options.applying_bytes_max == 0)
    options.applying_bytes_max = std::max<std::uint64_t>(1, options.message_bytes_max);
  return options;
}

std::unexpected<Error> dropped() {
  return failure(ErrorCode::kProposalDropped, "raft proposal dropped");
}

std::string hex_list(const IdSet& ids) {
  std::string text;
  for (const MemberId id : ids) fmt::format_to(std::back_inserter(text), "{}{:x}", text.empty() ? "" : ",", id);
  return text;
}

}  // namespace

Machine::Machine(const Options& options, const LogView& view, Rng rng)
    : notes_(options.note_level),
      id_(options.id),
      options_(settled(options)),
      rng_(rng),
      log_(view, notes_, options_.applying_bytes_max) {
  tracker_.inflight_messages_max = options_.inflight_messages_max;
  tracker_.inflight_bytes_max = options_.inflight_bytes_max;

  const LogView::InitialState state = view.initial_state();
  const EntryId last = log_.last_entry_id();
  auto configured = restore_config(tracker_, last.index, state.conf_state);
  CHECK(configured.has_value(), "unable to restore config {}: {}", describe(state.conf_state),
        configured.error().message);
  const ConfState now = switch_to(*std::move(configured));
  CHECK(equivalent(now, state.conf_state), "restored {} from {}", describe(now), describe(state.conf_state));

  term_ = state.hard_state.term;
  vote_ = state.hard_state.vote;
  // What was applied or compacted was committed, though a crash may have lost the commit index: it need not be synced.
  log_.load_committed(std::max({state.hard_state.commit, log_.committed(), options_.applied}));
  if (options_.applied > Index{}) log_.applied_to(options_.applied, 0);
  become_follower(term_, kNobody);
  notes_.info("newRaft {:x} [peers: [{}], term: {}, commit: {}, applied: {}, lastindex: {}, lastterm: {}]", id_,
              hex_list(tracker_.config.voters.ids()), term_.value, log_.committed().value, log_.applied().value,
              last.index.value, last.term.value);
}

void Machine::bootstrap(std::vector<Entry>&& entries) {
  become_follower(Term{1}, kNobody);
  const std::vector<Entry> changes = entries;
  log_.append(std::move(entries));
  log_.load_committed(changes.back().index);
  // Made effective right away, so that the member can campaign at once. The driver applies them again when they come
  // out of a Ready, which changes nothing more.
  for (const Entry& entry : changes) {
    const auto change = decode_conf_change(entry);
    CHECK(change.has_value(), "{}", change.error().message);
    apply_conf_change(*change);
  }
}

// ---- time ----

void Machine::draw_election_timeout() {
  randomized_election_ticks_ =
      options_.election_ticks + static_cast<int>(rng_.below(static_cast<std::uint64_t>(options_.election_ticks)));
}

void Machine::tick() {
  ++election_elapsed_;
  if (role_ != Role::kLeader) {
    if (promotable() && election_elapsed_ >= randomized_election_ticks_) {
      election_elapsed_ = 0;
      hup(options_.pre_vote ? Campaign::kPreElection : Campaign::kElection);
    }
    return;
  }
  ++heartbeat_elapsed_;
  if (election_elapsed_ >= options_.election_ticks) {
    election_elapsed_ = 0;
    if (options_.check_quorum) leader_check_quorum();
    // A transfer that took this long has failed; take proposals again (thesis 3.10).
    if (role_ == Role::kLeader) transferee_ = kNobody;
  }
  if (role_ == Role::kLeader && heartbeat_elapsed_ >= options_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    broadcast_heartbeat();
  }
}

// ---- roles ----

void Machine::reset(Term term) {
  if (term_ != term) {
    term_ = term;
    vote_ = kNobody;
  }
  leader_ = kNobody;
  election_elapsed_ = 0;
  heartbeat_elapsed_ = 0;
  draw_election_timeout();
  transferee_ = kNobody;
  tracker_.votes.clear();
  const Index last = log_.last_index();
  for (auto& [id, member] : tracker_.progress) {
    const bool is_learner = member.is_learner;
    member = Progress();
    member.next = last + 1;
    member.is_learner = is_learner;
    member.inflights = tracker_.new_inflights();
    if (id == id_) member.match = last;
  }
  pending_conf_index_ = {};
  uncommitted_bytes_ = 0;
  reads_.reset();
  postponed_reads_.clear();
}

void Machine::become_follower(Term term, MemberId leader) {
  reset(term);
  leader_ = leader;
  role_ = Role::kFollower;
  notes_.info("{:x} became follower at term {}", id_, term_.value);
}

void Machine::become_candidate() {
  CHECK(role_ != Role::kLeader, "member {:x}: leader cannot become candidate", id_);
  reset(Term{term_.value + 1});
  vote_ = id_;
  role_ = Role::kCandidate;
  notes_.info("{:x} became candidate at term {}", id_, term_.value);
}

void Machine::become_pre_candidate() {
  CHECK(role_ != Role::kLeader, "member {:x}: leader cannot become pre-candidate", id_);
  // Neither term nor vote change: that is the point of asking first.
  tracker_.votes.clear();
  leader_ = kNobody;
  role_ = Role::kPreCandidate;
  notes_.info("{:x} became pre-candidate at term {}", id_, term_.value);
}

void Machine::become_leader() {
  CHECK(role_ != Role::kFollower, "member {:x}: follower cannot become leader", id_);
  reset(term_);
  leader_ = id_;
  role_ = Role::kLeader;
  Progress* const own = tracker_.progress.find(id_);
  CHECK(own != nullptr, "member {:x} leads without being in the configuration", id_);
  own->become_replicate();
  own->recent_active = true;  // and stays so: the check of the quorum leaves it alone

  // The uncommitted tail may hold a change of configuration. Rather than look, take it that its last entry is one:
  // that only delays the next change until the tail is applied.
  pending_conf_index_ = log_.last_index();

  // An entry of the own term lets the tail be committed (Raft paper 5.4.2, 8).
  std::vector<Entry> first(1);
  const bool appended = append_entries(std::move(first));
  CHECK(appended, "member {:x}: empty entry was dropped", id_);
  notes_.info("{:x} became leader at term {}", id_, term_.value);
}

bool Machine::promotable() const {
  const Progress* const own = tracker_.progress.find(id_);
  return own != nullptr && !own->is_learner && !log_.has_unstable_snapshot();
}

void Machine::hup(Campaign kind) {
  if (role_ == Role::kLeader) {
    notes_.debug("{:x} ignoring MsgHup because already leader", id_);
    return;
  }
  if (!promotable()) {
    notes_.warning("{:x} is unpromotable and can not campaign", id_);
    return;
  }
  // A committed change that is not effective here yet could make this member count the wrong votes.
  if (has_unapplied_conf_changes()) {
    notes_.warning("{:x} cannot campaign at term {} since there are still pending configuration changes to apply", id_,
                   term_.value);
    return;
  }
  notes_.info("{:x} is starting a new election at term {}", id_, term_.value);
  campaign(kind);
}

bool Machine::has_unapplied_conf_changes() const {
  for (Index begin = log_.applied() + 1; begin <= log_.committed();) {
    const auto page = log_.slice(begin, log_.committed() + 1, options_.applying_bytes_max);
    if (!page.has_value() || page->empty()) return true;  // cannot be read just now, so do not rule it out
    for (const Entry& entry : *page) {
      if (entry.type != EntryType::kNormal) return true;
    }
    begin = begin + page->size();
  }
  return false;
}

void Machine::campaign(Campaign kind) {
  MessageType type = MessageType::kVote;
  Term term;
  if (kind == Campaign::kPreElection) {
    become_pre_candidate();
    type = MessageType::kPreVote;
    term = Term{term_.value + 1};  // the one it would campaign in
  } else {
    become_candidate();
    term = term_;
  }
  const EntryId last = log_.last_entry_id();
  for (const MemberId id : tracker_.config.voters.ids()) {
    if (id == id_) {
      // The own vote counts like any other: once it is saved, which is when this answer is delivered.
      Message own = make(response_to(type), id_);
      own.term = term;
      send(std::move(own));
      continue;
    }
    notes_.info("{:x} [logterm: {}, index: {}] sent {} request to {:x} at term {}", id_, last.term.value,
                last.index.value, name_of(type), id, term_.value);
    Message request = make(type, id);
    request.term = term;
    request.index = last.index;
    request.log_term = last.term;
    if (kind == Campaign::kTransfer) request.context = kTransferContext;
    send(std::move(request));
  }
}

void Machine::poll(const Message& vote) {
  if (vote.reject) {
    notes_.info("{:x} received {} rejection from {:x} at term {}", id_, name_of(vote.type), vote.from, term_.value);
  } else {
    notes_.info("{:x} received {} from {:x} at term {}", id_, name_of(vote.type), vote.from, term_.value);
  }
  tracker_.votes.record(vote.from, !vote.reject);
  const Tally tally = tracker_.tally_votes();
  notes_.info("{:x} has received {} {} votes and {} vote rejections", id_, tally.granted, name_of(vote.type),
              tally.rejected);
  switch (tally.result) {
    case VoteResult::kWon:
      if (role_ == Role::kPreCandidate) {
        campaign(Campaign::kElection);
      } else {
        become_leader();
        broadcast_append();
      }
      break;
    case VoteResult::kLost:
      // Not the message's term: a refused pre-vote may carry one that nobody is in.
      become_follower(term_, kNobody);
      break;
    case VoteResult::kPending: break;
  }
}

// ---- steps ----

Result<void> Machine::step(Message&& message) {
  if (message.term > term_) {
    bool ignore = false;
    step_higher_term(message, ignore);
    if (ignore) return {};
  } else if (message.term != Term{} && message.term < term_) {
    step_lower_term(message);
    return {};
  }

  switch (message.type) {
    case MessageType::kHup: hup(options_.pre_vote ? Campaign::kPreElection : Campaign::kElection); return {};
    case MessageType::kStorageAppendResp:
      if (message.index != Index{}) log_.stable_to({message.log_term, message.index});
      if (message.snapshot.has_value()) applied_snapshot(*message.snapshot);
      return {};
    case MessageType::kStorageApplyResp:
      if (!message.entries.empty()) {
        applied_to(message.entries.back().index, encoded_bytes(message.entries));
        uncommitted_bytes_ -= std::min(uncommitted_bytes_, payload_bytes(message.entries));
      }
      return {};
    case MessageType::kVote:
    case MessageType::kPreVote: step_vote(message); return {};
    default: break;
  }
  switch (role_) {
    case Role::kLeader: return step_leader(std::move(message));
    case Role::kFollower: return step_follower(std::move(message));
    case Role::kCandidate:
    case Role::kPreCandidate: return step_candidate(std::move(message));
  }
  return {};
}

void Machine::step_higher_term(const Message& message, bool& ignore) {
  if (is_vote(message.type)) {
    const bool forced = message.context == kTransferContext;
    const bool in_lease = options_.check_quorum && leader_ != kNobody && election_elapsed_ < options_.election_ticks;
    if (!forced && in_lease) {
      // The leader was heard within the shortest election time-out, so it lives: a member that was removed, or cut off,
      // must not depose it (Raft paper 6, end).
      const EntryId last = log_.last_entry_id();
      notes_.info(
          "{:x} [logterm: {}, index: {}, vote: {:x}] ignored {} from {:x} [logterm: {}, index: {}] at term {}: lease "
          "is "
          "not expired (remaining ticks: {})",
          id_, last.term.value, last.index.value, vote_, name_of(message.type), message.from, message.log_term.value,
          message.index.value, term_.value, options_.election_ticks - election_elapsed_);
      ignore = true;
      return;
    }
  }
  // A pre-vote asks about a term that nobody has entered, and a granted one answers about it.
  if (message.type == MessageType::kPreVote) return;
  if (message.type == MessageType::kPreVoteResp && !message.reject) return;
  notes_.info("{:x} [term: {}] received a {} message with higher term from {:x} [term: {}]", id_, term_.value,
              name_of(message.type), message.from, message.term.value);
  become_follower(message.term, is_from_leader(message.type) ? message.from : kNobody);
}

void Machine::step_lower_term(const Message& message) {
  if ((options_.check_quorum || options_.pre_vote) &&
      (message.type == MessageType::kHeartbeat || message.type == MessageType::kApp)) {
    // A leader of an older term still thinks it leads, while this member's term has run ahead. With these options a
    // vote request does not spread the newer term, so without this answer both would be stuck: the leader cannot reach
    // this member, and this member cannot win.
    send(make(MessageType::kAppResp, message.from));
  } else if (message.type == MessageType::kPreVote) {
    // Likewise: members with a newer term and an older log would wait for each other if this were dropped.
    const EntryId last = log_.last_entry_id();
    notes_.info("{:x} [logterm: {}, index: {}, vote: {:x}] rejected {} from {:x} [logterm: {}, index: {}] at term {}",
                id_, last.term.value, last.index.value, vote_, name_of(message.type), message.from,
                message.log_term.value, message.index.value, term_.value);
    Message answer = make(MessageType::kPreVoteResp, message.from);
    answer.term = term_;
    answer.reject = true;
    send(std::move(answer));
  } else if (message.type == MessageType::kStorageAppendResp) {
    if (message.index != Index{}) {
      // Entries of a later term may have replaced these in the meantime, here or in a write still under way.
      notes_.info("{:x} [term: {}] ignored entry appends from a {} message with lower term [term: {}]", id_,
                  term_.value, name_of(message.type), message.term.value);
    }
    // A snapshot is committed state, which no term changes.
    if (message.snapshot.has_value()) applied_snapshot(*message.snapshot);
  } else {
    notes_.info("{:x} [term: {}] ignored a {} message with lower term from {:x} [term: {}]", id_, term_.value,
                name_of(message.type), message.from, message.term.value);
  }
}

void Machine::step_vote(const Message& message) {
  // Learners vote too: one that was promoted may not know yet, and its vote may be the one that is missing. If the
  // candidate counts it, it is a voter (thesis 4.2.1 and etcd-io/raft raft.go).
  const bool free_to_vote = vote_ == message.from || (vote_ == kNobody && leader_ == kNobody) ||
                            (message.type == MessageType::kPreVote && message.term > term_);
  const EntryId last = log_.last_entry_id();
  const bool granted = free_to_vote && log_.is_up_to_date({message.log_term, message.index});
  notes_.info("{:x} [logterm: {}, index: {}, vote: {:x}] {} {} {} {:x} [logterm: {}, index: {}] at term {}", id_,
              last.term.value, last.index.value, vote_, granted ? "cast" : "rejected", name_of(message.type),
              granted ? "for" : "from", message.from, message.log_term.value, message.index.value, term_.value);
  Message answer = make(response_to(message.type), message.from);
  // A granted pre-vote names the term asked about: with our own, which may be older, it would be ignored.
  answer.term = granted ? message.term : term_;
  answer.reject = !granted;
  send(std::move(answer));
  if (granted && message.type == MessageType::kVote) {
    election_elapsed_ = 0;
    vote_ = message.from;
  }
}

Result<void> Machine::step_leader(Message&& message) {
  switch (message.type) {
    case MessageType::kBeat: broadcast_heartbeat(); return {};
    case MessageType::kCheckQuorum: leader_check_quorum(); return {};
    case MessageType::kProp: return leader_propose(std::move(message));
    case MessageType::kReadIndex: leader_read(std::move(message)); return {};
    case MessageType::kForgetLeader: return {};
    default: break;
  }
  Progress* const from = tracker_.progress.find(message.from);
  if (from == nullptr) {
    notes_.debug("{:x} no progress available for {:x}", id_, message.from);
    return {};
  }
  switch (message.type) {
    case MessageType::kAppResp: leader_app_response(message, *from); break;
    case MessageType::kHeartbeatResp: leader_heartbeat_response(message, *from); break;
    case MessageType::kSnapStatus: leader_snapshot_status(message, *from); break;
    case MessageType::kTransferLeader: leader_transfer(message, *from); break;
    case MessageType::kUnreachable:
      // What was sent ahead is probably lost.
      if (from->state == ProgressState::kReplicate) from->become_probe();
      notes_.debug("{:x} failed to send message to {:x} because it is unreachable [{}]", id_, message.from,
                   describe(*from));
      break;
    default: break;
  }
  return {};
}

Result<void> Machine::step_candidate(Message&& message) {
  switch (message.type) {
    case MessageType::kProp:
      notes_.info("{:x} no leader at term {}; dropping proposal", id_, term_.value);
      return dropped();
    case MessageType::kApp:
      become_follower(message.term, message.from);
      handle_append(std::move(message));
      break;
    case MessageType::kHeartbeat:
      become_follower(message.term, message.from);
      handle_heartbeat(std::move(message));
      break;
    case MessageType::kSnap:
      become_follower(message.term, message.from);
      handle_snapshot(std::move(message));
      break;
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      // A candidate may still get answers to its pre-vote, and must not count them.
      if ((message.type == MessageType::kPreVoteResp) == (role_ == Role::kPreCandidate)) poll(message);
      break;
    case MessageType::kTimeoutNow:
      notes_.debug("{:x} [term {} state {}] ignored MsgTimeoutNow from {:x}", id_, term_.value, name_of(role_),
                   message.from);
      break;
    default: break;
  }
  return {};
}

Result<void> Machine::step_follower(Message&& message) {
  switch (message.type) {
    case MessageType::kProp:
      if (leader_ == kNobody) {
        notes_.info("{:x} no leader at term {}; dropping proposal", id_, term_.value);
        return dropped();
      }
      if (options_.disable_proposal_forwarding) {
        notes_.info("{:x} not forwarding to leader {:x} at term {}; dropping proposal", id_, leader_, term_.value);
        return dropped();
      }
      message.to = leader_;
      send(std::move(message));
      break;
    case MessageType::kApp:
      election_elapsed_ = 0;
      leader_ = message.from;
      handle_append(std::move(message));
      break;
    case MessageType::kHeartbeat:
      election_elapsed_ = 0;
      leader_ = message.from;
      handle_heartbeat(std::move(message));
      break;
    case MessageType::kSnap:
      election_elapsed_ = 0;
      leader_ = message.from;
      handle_snapshot(std::move(message));
      break;
    case MessageType::kTransferLeader:
      if (leader_ == kNobody) {
        notes_.info("{:x} no leader at term {}; dropping leader transfer msg", id_, term_.value);
        break;
      }
      message.to = leader_;
      message.term = {};  // send() gives it ours, also when a peer forwarded it to us
      send(std::move(message));
      break;
    case MessageType::kForgetLeader:
      // A vote granted now could elect another leader while this one still trusts its lease.
      if (options_.read_only == ReadOnly::kLeaseBased) {
        notes_.error("ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
      } else if (leader_ != kNobody) {
        notes_.info("{:x} forgetting leader {:x} at term {}", id_, leader_, term_.value);
        leader_ = kNobody;
      }
      break;
    case MessageType::kTimeoutNow:
      notes_.info("{:x} [term {}] received MsgTimeoutNow from {:x} and starts an election to get leadership.", id_,
                  term_.value, message.from);
      // Never by pre-vote: the leader asked for it, so there is nothing to find out.
      hup(Campaign::kTransfer);
      break;
    case MessageType::kReadIndex:
      if (leader_ == kNobody) {
        notes_.info("{:x} no leader at term {}; dropping index reading msg", id_, term_.value);
        break;
      }
      message.to = leader_;
      send(std::move(message));
      break;
    case MessageType::kReadIndexResp:
      if (message.entries.size() != 1) {
        notes_.error("{:x} invalid format of MsgReadIndexResp from {:x}, entries count: {}", id_, message.from,
                     message.entries.size());
        break;
      }
      outbox_.read_states.push_back({message.index, std::move(message.entries.front().data)});
      break;
    default: break;
  }
  return {};
}

// ---- the leader's steps ----

void Machine::leader_check_quorum() {
  if (!tracker_.quorum_active()) {
    notes_.warning("{:x} stepped down to follower since quorum is not active", id_);
    become_follower(term_, kNobody);
  }
  for (auto& [id, member] : tracker_.progress) {
    if (id != id_) member.recent_active = false;
  }
}

Result<void> Machine::leader_propose(Message&& message) {
  CHECK(!message.entries.empty(), "{:x} stepped empty MsgProp", id_);
  if (tracker_.progress.find(id_) == nullptr) return dropped();  // removed while leading
  if (transferee_ != kNobody) {
    notes_.debug("{:x} [term {}] transfer leadership to {:x} is in progress; dropping proposal", id_, term_.value,
                 transferee_);
    return dropped();
  }
  const Index last = log_.last_index();
  for (std::size_t place = 0; place < message.entries.size(); ++place) {
    Entry& entry = message.entries[place];
    if (entry.type == EntryType::kNormal) continue;
    ETCD_TRY(const ConfChangeV2 change, decode_conf_change(entry));
    const bool joint = tracker_.config.voters.joint();
    const bool wants_to_leave = change.changes.empty();
    std::string objection;
    if (pending_conf_index_ > log_.applied()) {
      objection = fmt::format("possible unapplied conf change at index {} (applied to {})", pending_conf_index_.value,
                              log_.applied().value);
    } else if (joint && !wants_to_leave) {
      objection = "must transition out of joint config first";
    } else if (!joint && wants_to_leave) {
      objection = "not in joint state; refusing empty conf change";
    }
    if (objection.empty() || options_.disable_conf_change_validation) {
      pending_conf_index_ = last + (place + 1);
    } else {
      // Its place in the batch stays, so that the entries around it keep theirs.
      notes_.info("{:x} ignoring conf change {} at config {}: {}", id_, describe(change), describe(tracker_.config),
                  objection);
      entry = Entry();
    }
  }
  if (!append_entries(std::move(message.entries))) return dropped();
  broadcast_append();
  return {};
}

void Machine::leader_app_response(const Message& message, Progress& from) {
  from.recent_active = true;

  if (message.reject) {
    notes_.debug("{:x} received MsgAppResp(rejected, hint: (index {}, term {})) from {:x} for index {}", id_,
                 message.reject_hint.value, message.log_term.value, message.from, message.index.value);
    // The follower names an entry of its own, (hint, log_term), up to which the logs may agree. Where our term is above
    // log_term they cannot, for terms only grow along a log, and the follower's is still at log_term there. So skip to
    // our last entry whose term is not above it: one probe per term of our log instead of one per entry.
    //
    //     index      1 2 3 4 5 6 7 8 9
    //     ours       1 3 3 3 5 5 5 5 5     the probe behind 9 is rejected with hint 6, term 2;
    //     follower   1 1 1 1 2 2           6 to 2 cannot match, so the next probe is behind 1
    //
    // The follower does the same with our terms in handle_append().
    Index hint = message.reject_hint;
    if (message.log_term > Term{}) hint = log_.find_conflict_by_term(hint, message.log_term).index;
    if (from.maybe_decrease_to(message.index, hint)) {
      notes_.debug("{:x} decreased progress of {:x} to [{}]", id_, message.from, describe(from));
      if (from.state == ProgressState::kReplicate) from.become_probe();
      send_append(message.from);
    }
    return;
  }

  // A probing member that confirms what we know already is news as well: its probe arrived.
  const bool news =
      from.maybe_update(message.index) || (from.match == message.index && from.state == ProgressState::kProbe);
  if (!news) return;
  switch (from.state) {
    case ProgressState::kProbe: from.become_replicate(); break;
    case ProgressState::kSnapshot:
      // Whatever snapshot it got, and from whom: it is enough that our log goes on from where it is now.
      if (from.match + 1 >= log_.first_index()) {
        notes_.debug("{:x} recovered from needing snapshot, resumed sending replication messages to {:x} [{}]", id_,
                     message.from, describe(from));
        from.become_probe();
        from.become_replicate();
      }
      break;
    case ProgressState::kReplicate: from.inflights.free_to(message.index); break;
  }

  const bool own = message.from == id_;
  if (maybe_commit()) {
    release_postponed_reads();
    broadcast_append();
  } else if (!own && from.can_bump_commit(log_.committed())) {
    send_append(message.from);
  }
  if (!own) {
    // The window may have opened by more than one message.
    while (maybe_send_append(message.from, /*even_if_empty=*/false)) {
    }
  }
  if (message.from == transferee_ && from.match == log_.last_index()) {
    notes_.info("{:x} sent MsgTimeoutNow to {:x} after received MsgAppResp", id_, message.from);
    send_timeout_now(message.from);
  }
}

void Machine::leader_heartbeat_response(const Message& message, Progress& from) {
  from.recent_active = true;
  from.flow_paused = false;
  // Even with a full window this sends an empty append, so that a follower all of whose messages were lost recovers;
  // and a probing follower gets one although it lacks nothing, so that its answer ends the probing.
  if (from.match < log_.last_index() || from.state == ProgressState::kProbe) send_append(message.from);

  if (options_.read_only != ReadOnly::kSafe || message.context.empty()) return;
  reads_.acknowledge(message.from, message.context);
  answer_confirmed_reads();
}

void Machine::leader_snapshot_status(const Message& message, Progress& from) {
  if (from.state != ProgressState::kSnapshot) return;
  // become_probe() goes on behind the pending snapshot; one that failed must not count.
  if (message.reject) from.pending_snapshot = {};
  from.become_probe();
  notes_.debug("{:x} snapshot {}, resumed sending replication messages to {:x} [{}]", id_,
               message.reject ? "failed" : "succeeded", message.from, describe(from));
  // Sent: wait for the follower's own word. Failed: wait for a heartbeat interval.
  from.flow_paused = true;
}

void Machine::leader_transfer(const Message& message, const Progress& to) {
  if (to.is_learner) {
    notes_.debug("{:x} is learner. Ignored transferring leadership", id_);
    return;
  }
  const MemberId transferee = message.from;
  if (transferee_ != kNobody) {
    if (transferee_ == transferee) {
      notes_.info("{:x} [term {}] transfer leadership to {:x} is in progress, ignores request to same node {:x}", id_,
                  term_.value, transferee, transferee);
      return;
    }
    notes_.info("{:x} [term {}] abort previous transferring leadership to {:x}", id_, term_.value, transferee_);
    transferee_ = kNobody;
  }
  if (transferee == id_) {
    notes_.debug("{:x} is already leader. Ignored transferring leadership to self", id_);
    return;
  }
  notes_.info("{:x} [term {}] starts to transfer leadership to {:x}", id_, term_.value, transferee);
  election_elapsed_ = 0;  // it has one election time-out from now
  transferee_ = transferee;
  if (to.match == log_.last_index()) {
    send_timeout_now(transferee);
    notes_.info("{:x} sends MsgTimeoutNow to {:x} immediately as {:x} already has up-to-date log", id_, transferee,
                transferee);
  } else {
    send_append(transferee);
  }
}

// ---- the follower's steps ----

void Machine::handle_append(Message&& message) {
  Message answer = make(MessageType::kAppResp, message.from);
  answer.index = message.index;
  if (message.index < log_.committed()) {
    answer.index = log_.committed();
    send(std::move(answer));
    return;
  }
  const EntryId previous{message.log_term, message.index};
  if (const std::optional<Index> last = log_.maybe_append(previous, std::move(message.entries), message.commit)) {
    answer.index = *last;
    send(std::move(answer));
    return;
  }
  notes_.debug("{:x} [logterm: {}, index: {}] rejected MsgApp [logterm: {}, index: {}] from {:x}", id_,
               log_.term_or_zero(previous.index).value, previous.index.value, previous.term.value, previous.index.value,
               message.from);
  // The hint is our last entry that the leader's log may have as well: not behind the leader's, and not of a later term
  // than the leader has there. That skips a whole tail that some other leader left here, instead of entry by entry.
  //
  //     index      1 2 3 4 5 6 7 8 9
  //     leader     1 3 3 3 3 3 3 3 7     the probe behind 8 (term 3) is rejected with hint 3,
  //     ours       1 3 3 4 4 5 5 5 6     since 4 to 8 hold later terms than the leader can have there
  const EntryId hint = log_.find_conflict_by_term(std::min(previous.index, log_.last_index()), previous.term);
  answer.reject = true;
  answer.reject_hint = hint.index;
  answer.log_term = hint.term;
  send(std::move(answer));
}

void Machine::handle_heartbeat(Message&& message) {
  log_.commit_to(message.commit);
  Message answer = make(MessageType::kHeartbeatResp, message.from);
  answer.context = std::move(message.context);
  send(std::move(answer));
}

void Machine::handle_snapshot(Message&& message) {
  Snapshot snapshot = std::move(message.snapshot).value_or(Snapshot{});
  const EntryId covered{snapshot.metadata.term, snapshot.metadata.index};
  const bool restored = restore(std::move(snapshot));
  notes_.info("{:x} [commit: {}] {} snapshot [index: {}, term: {}]", id_, log_.committed().value,
              restored ? "restored" : "ignored", covered.index.value, covered.term.value);
  Message answer = make(MessageType::kAppResp, message.from);
  answer.index = restored ? log_.last_index() : log_.committed();
  send(std::move(answer));
}

bool Machine::restore(Snapshot&& snapshot) {
  const SnapshotMetadata metadata = snapshot.metadata;
  if (metadata.index <= log_.committed()) return false;
  CHECK(role_ == Role::kFollower, "member {:x} restores a snapshot as {}", id_, name_of(role_));

  const auto in = [&](const std::vector<MemberId>& ids) { return std::find(ids.begin(), ids.end(), id_) != ids.end(); };
  if (!in(metadata.conf_state.voters) && !in(metadata.conf_state.learners) &&
      !in(metadata.conf_state.voters_outgoing)) {
    notes_.warning("{:x} attempted to restore snapshot but it is not in the ConfState {}; should never happen", id_,
                   describe(metadata.conf_state));
    return false;
  }
  const EntryId last = log_.last_entry_id();
  if (log_.matches({metadata.term, metadata.index})) {
    // We have all that it covers, and maybe more; only the commit index is news.
    notes_.info(
        "{:x} [commit: {}, lastindex: {}, lastterm: {}] fast-forwarded commit to snapshot [index: {}, term: {}]", id_,
        log_.committed().value, last.index.value, last.term.value, metadata.index.value, metadata.term.value);
    log_.commit_to(metadata.index);
    return false;
  }
  log_.restore(std::move(snapshot));
  auto configured = restore_config(tracker_, log_.last_index(), metadata.conf_state);
  CHECK(configured.has_value(), "unable to restore config {}: {}", describe(metadata.conf_state),
        configured.error().message);
  tracker_.votes.clear();
  const ConfState now = switch_to(*std::move(configured));
  CHECK(equivalent(now, metadata.conf_state), "restored {} from {}", describe(now), describe(metadata.conf_state));
  notes_.info("{:x} [commit: {}, lastindex: {}, lastterm: {}] restored snapshot [index: {}, term: {}]", id_,
              log_.committed().value, log_.last_index().value, metadata.term.value, metadata.index.value,
              metadata.term.value);
  return true;
}

// ---- sending ----

void Machine::send(Message&& message) {
  if (message.from == kNobody) message.from = id_;
  if (is_vote(message.type) || is_vote_response(message.type)) {
    // These name the term of the campaign, which for a pre-vote is not ours. (A member that never was in a term refuses
    // a pre-vote with term 0.)
    CHECK(message.term != Term{} || message.reject, "term should be set when sending {}", name_of(message.type));
  } else {
    CHECK(message.term == Term{}, "term should not be set when sending {} (was {})", name_of(message.type),
          message.term.value);
    // Proposals and read requests are handed on, and hold in any term.
    if (message.type != MessageType::kProp && message.type != MessageType::kReadIndex) message.term = term_;
  }
  if (message.type == MessageType::kAppResp || is_vote_response(message.type)) {
    // What these promise must survive a crash, so they wait until all that is unstable now has been saved (thesis 3.8).
    // A refusal waits too: it is rare, and it may rest on an unsaved vote or entry.
    outbox_.after_append.push_back(std::move(message));
  } else {
    CHECK(message.to != id_, "message should not be self-addressed when sending {}", name_of(message.type));
    outbox_.now.push_back(std::move(message));
  }
}

bool Machine::maybe_send_append(MemberId to, bool even_if_empty) {
  Progress* const member = tracker_.progress.find(to);
  CHECK(member != nullptr, "no progress for member {:x}", to);
  if (member->paused()) return false;

  const Index previous = member->next - 1;
  const auto previous_term = log_.term(previous);
  if (!previous_term.has_value()) return maybe_send_snapshot(to, *member);

  std::vector<Entry> entries;
  // With a full window only empty messages go out. They prompt an answer, so that a follower whose messages were all
  // lost does not wait for ever.
  if (member->state != ProgressState::kReplicate || !member->inflights.full()) {
    auto found = log_.entries(member->next, options_.message_bytes_max);
    if (found.has_value()) {
      entries = *std::move(found);
    } else if (!even_if_empty) {
      return false;
    } else if (found.error().code == ErrorCode::kCompacted || found.error().code == ErrorCode::kSnapshotNeeded) {
      return maybe_send_snapshot(to, *member);
    } else {
      notes_.debug("{:x} cannot read entries from {} for {:x} just now: {}", id_, member->next.value, to,
                   found.error().message);
      return false;
    }
  }
  if (entries.empty() && !even_if_empty) return false;

  const std::uint64_t count = entries.size();
  const std::uint64_t bytes = payload_bytes(entries);
  Message message = make(MessageType::kApp, to);
  message.index = previous;
  message.log_term = *previous_term;
  message.entries = std::move(entries);
  message.commit = log_.committed();
  send(std::move(message));
  member->sent_entries(count, bytes);
  member->sent_commit = log_.committed();
  return true;
}

bool Machine::maybe_send_snapshot(MemberId to, Progress& member) {
  if (!member.recent_active) {
    notes_.debug("ignore sending snapshot to {:x} since it is not recently active", to);
    return false;
  }
  auto snapshot = log_.snapshot();
  if (!snapshot.has_value()) {
    notes_.debug("{:x} failed to send snapshot to {:x} because snapshot is temporarily unavailable", id_, to);
    return false;
  }
  CHECK(!snapshot->empty(), "need non-empty snapshot for member {:x}", to);
  const EntryId covered{snapshot->metadata.term, snapshot->metadata.index};
  notes_.debug("{:x} [firstindex: {}, commit: {}] sent snapshot[index: {}, term: {}] to {:x} [{}]", id_,
               log_.first_index().value, log_.committed().value, covered.index.value, covered.term.value, to,
               describe(member));
  member.become_snapshot(covered.index);
  notes_.debug("{:x} paused sending replication messages to {:x} [{}]", id_, to, describe(member));
  Message message = make(MessageType::kSnap, to);
  message.snapshot = *std::move(snapshot);
  send(std::move(message));
  return true;
}

void Machine::send_timeout_now(MemberId to) {
  send(make(MessageType::kTimeoutNow, to));
}

void Machine::broadcast_append() {
  for (const auto& [id, member] : tracker_.progress) {
    if (id != id_) send_append(id);
  }
}

void Machine::broadcast_heartbeat() {
  const Bytes context = reads_.heartbeat_context();
  for (auto& [id, member] : tracker_.progress) {
    if (id == id_) continue;
    // A follower may hold other entries behind its match index, so it must not commit beyond that.
    const Index commit = std::min(member.match, log_.committed());
    Message message = make(MessageType::kHeartbeat, id);
    message.commit = commit;
    message.context = context;
    send(std::move(message));
    member.sent_commit = commit;
  }
}

// ---- the log ----

bool Machine::append_entries(std::vector<Entry>&& entries) {
  const std::uint64_t bytes = payload_bytes(entries);
  // Empty entries always pass: a new leader's first one, and leaving a joint configuration. So does anything when
  // nothing is uncommitted, else a large command could never be proposed.
  if (uncommitted_bytes_ > 0 && bytes > 0 &&
      (bytes > options_.uncommitted_bytes_max || uncommitted_bytes_ > options_.uncommitted_bytes_max - bytes)) {
    notes_.warning("{:x} appending new entries to log would exceed uncommitted entry size limit; dropping proposal",
                   id_);
    return false;
  }
  uncommitted_bytes_ += bytes;
  Index next = log_.last_index() + 1;
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = next;
    ++next;
  }
  const Index last = log_.append(std::move(entries));
  // The leader acknowledges to itself once the entries are saved; until then they count for nobody.
  Message own = make(MessageType::kAppResp, id_);
  own.index = last;
  send(std::move(own));
  return true;
}

bool Machine::maybe_commit() {
  return log_.maybe_commit({term_, tracker_.committed()});
}

void Machine::applied_to(Index index, std::uint64_t bytes) {
  const Index applied = std::max(index, log_.applied());
  log_.applied_to(applied, bytes);
  if (!tracker_.config.auto_leave || applied < pending_conf_index_ || role_ != Role::kLeader) return;

  // The newest configuration is joint and wants to be left. The proposal's data is empty, so no limit refuses it; a
  // leadership transfer does, and then it is tried again with the next entry applied.
  Message leave = make(MessageType::kProp, kNobody);
  leave.entries.push_back(encode_conf_change({}));
  if (auto stepped = step(std::move(leave)); stepped.has_value()) {
    notes_.info("initiating automatic transition out of joint configuration {}", describe(tracker_.config));
  } else {
    notes_.debug("not initiating automatic transition out of joint configuration {}: {}", describe(tracker_.config),
                 stepped.error().message);
  }
}

void Machine::applied_snapshot(const Snapshot& snapshot) {
  log_.stable_snapshot_to(snapshot.metadata.index);
  applied_to(snapshot.metadata.index, 0);
}

ConfState Machine::apply_conf_change(const ConfChangeV2& change) {
  const Index last = log_.last_index();
  auto next = change.leaves_joint()   ? leave_joint(tracker_)
              : change.enters_joint() ? enter_joint(tracker_, last, change.auto_leave(), change.changes)
                                      : change_simple(tracker_, last, change.changes);
  CHECK(next.has_value(), "conf change {} does not fit {}: {}", describe(change), describe(tracker_.config),
        next.error().message);
  return switch_to(*std::move(next));
}

ConfState Machine::switch_to(Configured&& next) {
  tracker_.config = std::move(next.config);
  tracker_.progress = std::move(next.progress);
  if (notes_.wants(NoteLevel::kInfo)) {
    notes_.info("{:x} switched to configuration {}", id_, describe(tracker_.config));
  }
  ConfState now = tracker_.config.conf_state();
  const Progress* const own = tracker_.progress.find(id_);
  is_learner_ = own != nullptr && own->is_learner;

  if ((own == nullptr || is_learner_) && role_ == Role::kLeader) {
    // It may still lead until its successor is elected (thesis 4.2.2), or step down if so configured.
    if (options_.step_down_on_removal) become_follower(term_, kNobody);
    return now;
  }
  if (role_ != Role::kLeader || now.voters.empty()) return now;

  if (maybe_commit()) {
    release_postponed_reads();
    broadcast_append();
  } else {
    // New members need not wait for the next heartbeat or proposal.
    for (const auto& [id, member] : tracker_.progress) {
      if (id != id_) maybe_send_append(id, /*even_if_empty=*/false);
    }
  }
  answer_confirmed_reads();  // a smaller quorum may confirm what the larger one did not
  if (transferee_ != kNobody && !tracker_.config.voters.contains(transferee_)) transferee_ = kNobody;
  return now;
}

bool Machine::committed_in_this_term() const {
  return log_.term_or_zero(log_.committed()) == term_;
}

// ---- reads ----

void Machine::leader_read(Message&& request) {
  // Before it commits an entry of its term, a leader may not know of all that its predecessors committed (thesis 6.4).
  // That holds for a sole voter too: after a restart its commit index may lag behind what it had acknowledged.
  if (!committed_in_this_term()) {
    postponed_reads_.push_back(std::move(request));
    return;
  }
  if (tracker_.is_singleton() || options_.read_only == ReadOnly::kLeaseBased) {
    answer_read(std::move(request), log_.committed());
    return;
  }
  reads_.add(log_.committed(), std::move(request));
  reads_.acknowledge(id_, reads_.heartbeat_context());
  broadcast_heartbeat();
}

void Machine::release_postponed_reads() {
  if (postponed_reads_.empty() || !committed_in_this_term()) return;
  for (Message& request : std::exchange(postponed_reads_, {})) leader_read(std::move(request));
}

void Machine::answer_confirmed_reads() {
  if (reads_.empty()) return;
  for (WaitingRead& read : reads_.take_confirmed(tracker_.config.voters)) {
    answer_read(std::move(read.request), read.index);
  }
}

void Machine::answer_read(Message&& request, Index index) {
  if (request.from == kNobody || request.from == id_) {
    outbox_.read_states.push_back({index, std::move(request.entries.front().data)});
    return;
  }
  Message answer = make(MessageType::kReadIndexResp, request.from);
  answer.index = index;
  answer.entries = std::move(request.entries);
  send(std::move(answer));
}

void Machine::check_invariants() const {
  log_.check_invariants();
  const auto sound = check_config(tracker_.config, tracker_.progress);
  CHECK(sound.has_value(), "member {:x}: {}", id_, sound.error().message);
  for (const auto& [id, member] : tracker_.progress) member.check_invariants(id);
  CHECK((role_ == Role::kLeader) == (leader_ == id_), "member {:x}: role {}, leader {:x}", id_, name_of(role_),
        leader_);
  CHECK(role_ == Role::kFollower || role_ == Role::kPreCandidate || vote_ == id_, "member {:x}: {} voted for {:x}", id_,
        name_of(role_), vote_);
  CHECK(vote_ == kNobody || term_ != Term{}, "member {:x}: vote for {:x} in term 0", id_, vote_);
  if (role_ == Role::kLeader) {
    for (const auto& [id, member] : tracker_.progress) {
      CHECK(member.match <= log_.last_index(), "member {:x}: match {}, log ends with {}", id, member.match.value,
            log_.last_index().value);
    }
  }
}

}  // namespace etcd::raft
