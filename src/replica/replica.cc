#include "replica/replica.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "codec/proto/raft.pb.h"
#include "replica/metrics.h"

namespace etcd::replica {
namespace {

// Texts as upstream's, which clients know (etcd v3.7.1 server/etcdserver/errors/errors.go).
Error timed_out() {
  return {ErrorCode::kTimeout, "etcdserver: request timed out"};
}
Error stopped() {
  return {ErrorCode::kStopped, "etcdserver: server stopped"};
}
Error too_many() {
  return {ErrorCode::kTooManyRequests, "etcdserver: too many requests"};
}

constexpr Duration kReadRetry = 500ms;  // upstream's time-out of one round

Bytes round_context(std::uint64_t round) {
  Bytes out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(round >> shift));
  return out;
}

apply::CommittedEntry committed_entry(const raft::Entry& entry) {
  using Kind = apply::CommittedEntry::Kind;
  const Kind kind = entry.type == raft::EntryType::kNormal       ? Kind::kCommand
                    : entry.type == raft::EntryType::kConfChange ? Kind::kConfChange
                                                                 : Kind::kConfChangeV2;
  return {entry.term, entry.index, kind, entry.data};
}

raft::ConfState conf_state_of(const members::Membership& membership) {
  raft::ConfState state;
  for (const auto& [id, member] : membership.members) (member.learner ? state.learners : state.voters).push_back(id);
  return state;
}

raft::Entry bootstrap_entry(const members::Member& member, Index index) {
  raft::Entry entry = raft::encode_conf_change(
      raft::conf_change_v1(raft::ConfChangeType::kAddNode, member.id, members::to_json(member)));
  entry.term = Term{1};
  entry.index = index;
  return entry;
}

}  // namespace

Replica::Replica(Parts parts, ReplicaOptions options, Metadata who)
    : parts_(std::move(parts)), options_(options), who_(who) {}

Replica::~Replica() = default;

Result<std::unique_ptr<Replica>> Replica::bootstrap(Parts parts, ReplicaOptions options, Metadata who,
                                                    std::vector<members::Member> initial) {
  std::sort(initial.begin(), initial.end(), [](const auto& one, const auto& two) { return one.id < two.id; });
  std::vector<raft::Entry> entries;
  std::vector<wal::EntryRecord> records;
  for (const members::Member& member : initial) {
    entries.push_back(bootstrap_entry(member, Index{entries.size() + 1}));
    records.push_back({entries.back().index, {}});
    append_entry(records.back().data, entries.back());
  }
  const raft::HardState state{.term = Term{1}, .vote = raft::kNobody, .commit = Index{entries.size()}};
  std::unique_ptr<Replica> replica(new Replica(std::move(parts), options, who));
  Replica& self = *replica;
  ETCD_TRY(self.applier_, apply::Applier::open(self.parts_.engine, self.parts_.clock, self.parts_.loops.apply,
                                               self.parts_.loops.store, self, options.applier));
  if (self.applier_->applied() != Index{0}) {
    return failure(ErrorCode::kCorrupt,
                   fmt::format("{} holds no log, but the store beside it has applied entry {} of one",
                               self.parts_.wal_directory.path(), self.applier_->applied().value));
  }
  ETCD_TRY(self.wal_, wal::Log::create(self.parts_.wal_directory, encode_metadata(who.member, who.cluster), options.wal,
                                       self.parts_.loops.workers, records, encode_hard_state(state)));
  ETCD_TRY_VOID(self.open_core(state, std::move(entries)));
  return replica;
}

Result<std::unique_ptr<Replica>> Replica::restart(Parts parts, ReplicaOptions options) {
  std::unique_ptr<Replica> replica(new Replica(std::move(parts), options, Metadata{}));
  Replica& self = *replica;
  const io::Directory& directory = self.parts_.wal_directory;
  ETCD_TRY(self.applier_, apply::Applier::open(self.parts_.engine, self.parts_.clock, self.parts_.loops.apply,
                                               self.parts_.loops.store, self, options.applier));
  const Index applied = self.applier_->applied();
  const Index from{applied.value - std::min(applied.value, options.catchup_entries)};
  ETCD_TRY(wal::Log::Opened opened,
           wal::Log::open(self.parts_.wal_directory, from, applied, options.wal, self.parts_.loops.workers));
  self.wal_ = std::move(opened.log);
  if (opened.recovered.torn) {
    self.parts_.logger.warn("cut a torn tail off the write-ahead log",
                            {telemetry::field("where", *opened.recovered.torn)});
  }
  ETCD_TRY(const Metadata who, decode_metadata(opened.recovered.metadata));
  self.who_ = who;
  ETCD_TRY(raft::HardState state, decode_hard_state(opened.recovered.state));
  if (self.wal_->first() > applied + 1) {
    return failure(ErrorCode::kCorrupt,
                   fmt::format("{}: the log begins with entry {}, but the store has applied entry {} only",
                               directory.path(), self.wal_->first().value, applied.value));
  }
  if (self.wal_->end() <= applied) {
    return failure(ErrorCode::kCorrupt, fmt::format("{}: the log ends before entry {}, which the store has applied",
                                                    directory.path(), applied.value));
  }
  std::vector<raft::Entry> entries;
  for (const wal::EntryRecord& record : opened.recovered.entries) {
    ETCD_TRY(raft::Entry entry, decode_entry(record.data));
    entries.push_back(std::move(entry));
  }
  // A commit index alone is not synced, so the log may know of less than the store has.
  state.commit = std::max(state.commit, applied);
  if (state.commit >= self.wal_->end()) {
    return failure(ErrorCode::kCorrupt, fmt::format("{}: the log ends before entry {}, which it says is committed",
                                                    directory.path(), state.commit.value));
  }
  ETCD_TRY_VOID(self.open_core(state, std::move(entries)));
  return replica;
}

Result<void> Replica::open_core(raft::HardState hard_state, std::vector<raft::Entry> entries) {
  const Index applied = applier_->applied();
  marked_ = applied;
  appended_ = hard_state;
  log_ = std::make_unique<LogStore>(*wal_, hard_state, conf_state_of(*applier_->members().current()), applied,
                                    std::move(entries));
  raft::Options options;
  options.id = who_.member;
  options.election_ticks = options_.election_ticks;
  options.heartbeat_ticks = 1;
  options.applied = applied;
  options.async_storage_writes = true;
  options.message_bytes_max = 1 << 20;
  options.applying_bytes_max = 64 << 20;
  options.uncommitted_bytes_max = 256 << 20;
  options.inflight_messages_max = 512;
  options.check_quorum = true;
  options.pre_vote = options_.pre_vote;
  ETCD_TRY_VOID(options.check());
  core_ = std::make_unique<raft::Core>(options, *log_, parts_.rng.fork());
  status_term_ = hard_state.term.value;
  status_committed_ = hard_state.commit.value;
  status_applied_ = applied.value;
  return {};
}

ReplicaStatus Replica::status() const {
  return {Term{status_term_}, Index{status_committed_}, Index{status_applied_}, status_leader_};
}

void Replica::start() {
  parts_.loops.replica.post([this] {
    arm_tick();
    pump();
    campaign_alone();
  });
}

void Replica::campaign_alone() {
  // Not before its own configuration is applied: a conf change that is still to come may add others.
  if (campaigned_ || core_->applied() < core_->committed()) return;
  campaigned_ = true;
  const raft::ConfState state = core_->conf_state();
  if (state.voters == std::vector<MemberId>{who_.member} && state.voters_outgoing.empty()) {
    core_->campaign();
    pump();
  }
}

void Replica::arm_tick() {
  if (stopping_ || dead_) return;
  parts_.loops.replica.post_at(parts_.clock.now() + options_.heartbeat, [this] {
    arm_tick();
    tick();
  });
}

void Replica::tick() {
  if (stopping_ || dead_) return;
  core_->tick();
  const MonotonicTime now = parts_.clock.now();
  expire(now);
  if (!reads_asked_.empty() && now >= read_retry_) ask_read_round();
  pump();
}

void Replica::expire(MonotonicTime now) {
  while (!held_.empty() && held_.front().deadline <= now) {
    held_.front().refused(timed_out());
    held_.pop_front();
  }
  for (auto* reads : {&reads_next_, &reads_asked_}) {
    std::erase_if(*reads, [&](Read& read) {
      if (read.deadline > now) return false;
      if (options_.metrics != nullptr) options_.metrics->slow_read_indexes.add();
      read.done(std::unexpected(timed_out()));
      return true;
    });
  }
  if (reads_asked_.empty() && !reads_next_.empty()) begin_read_round();
}

void Replica::propose(SharedBytes command, std::move_only_function<void(Error)> refused) {
  parts_.loops.replica.dispatch([this, command = std::move(command), refused = std::move(refused)]() mutable {
    take_proposal(parts_.clock.now() + options_.request_timeout, {std::move(command), std::move(refused)});
  });
}

void Replica::propose(std::vector<Proposal> proposals) {
  parts_.loops.replica.dispatch([this, proposals = std::move(proposals)]() mutable {
    const MonotonicTime deadline = parts_.clock.now() + options_.request_timeout;
    for (Proposal& proposal : proposals) take_proposal(deadline, std::move(proposal));
  });
}

void Replica::take_proposal(MonotonicTime deadline, Proposal proposal) {
  if (stopping_ || dead_) {
    proposal.refused(stopped());
  } else if (core_->committed() - core_->applied() > options_.unapplied_entries_max) {
    proposal.refused(too_many());
  } else {
    propose_now(deadline, std::move(proposal.command), std::move(proposal.refused));
  }
}

void Replica::propose_now(MonotonicTime deadline, SharedBytes command, std::move_only_function<void(Error)> refused) {
  if (core_->propose(command).has_value()) {
    schedule_pump();
    return;
  }
  // No leader, or leadership is being handed over: it waits for the next one.
  held_.push_back({deadline, std::move(command), std::move(refused)});
}

void Replica::read_index(std::move_only_function<void(Result<void>)> done) {
  parts_.loops.replica.dispatch([this, done = std::move(done)]() mutable {
    if (stopping_ || dead_) {
      done(std::unexpected(stopped()));
      return;
    }
    reads_next_.push_back({parts_.clock.now() + options_.request_timeout, std::move(done)});
    if (reads_asked_.empty()) begin_read_round();
  });
}

void Replica::begin_read_round() {
  // Only reads that were queued before the round's context leaves may count on its answer (thesis 6.4).
  reads_asked_ = std::exchange(reads_next_, {});
  ask_read_round();
}

void Replica::ask_read_round() {
  ++read_round_;
  read_retry_ = parts_.clock.now() + kReadRetry;
  core_->read_index(SharedBytes(round_context(read_round_)));
  schedule_pump();
}

void Replica::finish_reads() {
  const Index applied = core_->applied();
  while (!reads_confirmed_.empty() && reads_confirmed_.front().first <= applied) {
    std::vector<Read> reads = std::move(reads_confirmed_.front().second);
    reads_confirmed_.pop_front();
    for (Read& read : reads) read.done({});
  }
}

void Replica::receive(raft::Message message) {
  parts_.loops.replica.dispatch([this, message = std::move(message)]() mutable {
    if (stopping_ || dead_) return;
    // A message that no correct member sends, or one from a stranger, changes nothing; raft assumes loss.
    if (const auto stepped = core_->step(std::move(message)); !stepped) {
      parts_.logger.debug("dropped a message", {telemetry::field("error", stepped.error().message)});
    }
    schedule_pump();
  });
}

void Replica::schedule_pump() {
  // Behind whatever else is queued, so that proposals that came together leave together.
  if (pump_scheduled_) return;
  pump_scheduled_ = true;
  parts_.loops.replica.post([this] { pump(); });
}

void Replica::pump() {
  pump_scheduled_ = false;
  if (dead_) return;
  while (core_->has_ready()) take(core_->take_ready());
  if (core_->has_notes()) log_notes();
  status_term_ = core_->term().value;
  status_committed_ = core_->committed().value;
}

void Replica::take(raft::Ready ready) {
  if (ready.soft_state && ready.soft_state->leader != leader_) {
    leader_ = ready.soft_state->leader;
    status_leader_ = leader_;
    parts_.observer.leader_changed(leader_);
    if (leader_ != raft::kNobody) {
      if (options_.metrics != nullptr) options_.metrics->leader_changes.add();
      for (Held& held : std::exchange(held_, {})) {
        propose_now(held.deadline, std::move(held.command), std::move(held.refused));
      }
      if (!reads_asked_.empty()) ask_read_round();  // the old leader's answer may never come
    }
  }
  for (const raft::ReadState& state : ready.read_states) {
    if (state.context.view() != round_context(read_round_)) continue;  // an older round's answer proves less
    reads_confirmed_.emplace_back(state.index, std::exchange(reads_asked_, {}));
    if (!reads_next_.empty()) begin_read_round();
  }
  if (!ready.read_states.empty()) finish_reads();

  std::vector<raft::Message> outgoing;
  for (raft::Message& message : ready.messages) {
    if (message.to == raft::kAppendThread) {
      append(std::move(message));
    } else if (message.to == raft::kApplyThread) {
      apply(std::move(message));
    } else {
      outgoing.push_back(std::move(message));
    }
  }
  if (!outgoing.empty()) parts_.transport.send(std::move(outgoing));
}

void Replica::append(raft::Message message) {
  // A commit index alone need not be durable: it goes out with the next entries, and wakes nobody.
  const raft::HardState state{message.term, message.vote, message.commit};  // empty: unchanged
  const bool can_wait = message.entries.empty() && !message.snapshot && message.responses.empty() &&
                        state.term == appended_.term && state.vote == appended_.vote;
  if (!state.empty()) appended_ = state;
  {
    const std::scoped_lock lock(append_mu_);
    append_pending_.push_back(std::move(message));
    if (can_wait || append_scheduled_) return;
    append_scheduled_ = true;
  }
  parts_.loops.disk.post([this] { append_pending(); });
}

void Replica::append_pending() {
  std::vector<raft::Message> messages;
  {
    const std::scoped_lock lock(append_mu_);
    append_scheduled_ = false;
    messages.swap(append_pending_);
  }
  if (dead_) return;
  for (const raft::Message& message : messages) {
    if (const auto written = write(message); !written) return fail(written.error());
  }
  if (const auto synced = sync_wal(); !synced) return fail(synced.error());
  parts_.loops.replica.dispatch([this, messages = std::move(messages)]() mutable { appended(std::move(messages)); });
}

Result<void> Replica::write(const raft::Message& message) {
  if (message.snapshot) return failure(ErrorCode::kUnimplemented, "a snapshot from a leader cannot be taken in yet");
  for (const raft::Entry& entry : message.entries) {
    entry_buffer_.clear();
    append_entry(entry_buffer_, entry);
    ETCD_TRY_VOID(wal_->append_entry(entry.index, entry_buffer_));
  }
  const raft::HardState state{message.term, message.vote, message.commit};
  if (!state.empty()) ETCD_TRY_VOID(wal_->append_state(encode_hard_state(state)));
  return {};
}

Result<void> Replica::sync_wal() {
  if (options_.metrics == nullptr) return wal_->sync();
  const MonotonicTime began = parts_.clock.now();
  ETCD_TRY_VOID(wal_->flush());
  const MonotonicTime written = parts_.clock.now();
  ETCD_TRY_VOID(wal_->sync());
  options_.metrics->wal_write.observe(written - began);
  options_.metrics->wal_sync.observe(parts_.clock.now() - written);
  return {};
}

void Replica::appended(std::vector<raft::Message> done) {
  if (dead_) return;
  for (raft::Message& message : done) {
    log_->append(message.entries);
    deliver(message.responses);
  }
  pump();
}

void Replica::deliver(std::vector<raft::Message>& responses) {
  std::vector<raft::Message> outgoing;
  for (raft::Message& response : responses) {
    if (response.to != who_.member) {
      outgoing.push_back(std::move(response));
      continue;
    }
    const auto stepped = core_->step(std::move(response));
    CHECK(stepped.has_value(), "own response refused: {}", stepped.error().message);
  }
  if (!outgoing.empty()) parts_.transport.send(std::move(outgoing));
}

void Replica::apply(raft::Message message) {
  {
    const std::scoped_lock lock(apply_mu_);
    apply_pending_.push_back(std::move(message));
    if (apply_scheduled_) return;
    apply_scheduled_ = true;
  }
  parts_.loops.apply.dispatch([this] { apply_pending(); });
}

void Replica::apply_pending() {
  std::vector<raft::Message> messages;
  {
    const std::scoped_lock lock(apply_mu_);
    apply_scheduled_ = false;
    messages.swap(apply_pending_);
  }
  if (dead_) return;
  std::vector<apply::CommittedEntry> entries;
  for (const raft::Message& message : messages) {
    for (const raft::Entry& entry : message.entries) entries.push_back(committed_entry(entry));
  }
  auto changes = applier_->apply(entries);
  if (!changes) return;  // the listener has been told
  status_applied_ = applier_->applied().value;
  parts_.loops.replica.dispatch([this, messages = std::move(messages), changes = *std::move(changes)]() mutable {
    applied_entries(std::move(messages), changes);
  });
}

void Replica::applied_entries(std::vector<raft::Message> done, const std::vector<apply::ConfChange>& changes) {
  if (dead_) return;
  for (const apply::ConfChange& applied : changes) {
    const raft::Entry entry{{},
                            applied.index,
                            applied.kind == apply::CommittedEntry::Kind::kConfChange ? raft::EntryType::kConfChange
                                                                                     : raft::EntryType::kConfChangeV2,
                            applied.data};
    Result<raft::ConfChangeV2> change = raft::decode_conf_change(entry);
    if (!change) return fail(change.error());
    if (!applied.accepted) {
      parts_.logger.warn("a conf change was refused", {telemetry::field("index", applied.index),
                                                       telemetry::field("error", applied.refusal.message)});
      for (raft::ConfChangeSingle& single : change->changes) single.node_id = 0;
    }
    core_->apply_conf_change(*change);
  }
  for (raft::Message& message : done) deliver(message.responses);
  log_->trim(core_->applied(), alone() ? 0 : options_.log_memory_bytes);
  finish_reads();
  pump();
  if (!campaigned_) campaign_alone();
}

void Replica::log_notes() {
  for (const raft::Note& note : core_->take_notes()) {
    const auto level = note.level == raft::NoteLevel::kDebug     ? telemetry::Level::kDebug
                       : note.level == raft::NoteLevel::kInfo    ? telemetry::Level::kInfo
                       : note.level == raft::NoteLevel::kWarning ? telemetry::Level::kWarn
                                                                 : telemetry::Level::kError;
    parts_.logger.log(level, note.text);
  }
}

void Replica::applied(std::vector<apply::Outcome> outcomes) {
  if (!dead_) parts_.observer.applied(std::move(outcomes));
}

void Replica::durable(Index index) {
  parts_.loops.replica.dispatch([this, index] { durable_at(index); });
}

void Replica::durable_at(Index index) {
  if (dead_ || stopping_ || index <= marked_) return;
  const std::uint64_t bytes = wal_->bytes_written();
  if (index - marked_ < options_.snapshot_count && bytes - marked_bytes_ < options_.snapshot_bytes) return;
  const Result<Term> term = log_->term(index);
  if (!term) return;  // it is asked again after the next batch
  marked_ = index;
  marked_bytes_ = bytes;
  const Index keep = keep_for_followers(index);
  log_->compact(keep);
  Bytes record = encode_snapshot_record(index, *term, core_->conf_state());
  parts_.loops.disk.post([this, index, keep, record = std::move(record)] {
    if (dead_) return;
    auto done = wal_->append_snapshot(index, record);
    if (done) done = sync_wal();
    if (done) done = wal_->release(keep);
    if (!done) fail(done.error());
  });
}

Index Replica::keep_for_followers(Index applied) const {
  if (alone()) return applied;
  const Index keep{applied.value - std::min(applied.value, options_.catchup_entries)};
  if (options_.wal_files_max == 0) return keep;
  return std::min(applied, std::max(keep, wal_->first_of_newest(options_.wal_files_max)));
}

bool Replica::alone() const {
  const raft::ConfState state = core_->conf_state();
  return state.voters.size() + state.learners.size() + state.voters_outgoing.size() <= 1;
}

void Replica::no_space(const Error& error) {
  parts_.logger.error("the store has no room; trying again", {telemetry::field("error", error.message)});
  parts_.observer.no_space();
}

void Replica::alarm_changed(const members::Alarm& alarm, bool raised) {
  parts_.logger.warn(raised ? "alarm raised" : "alarm cleared",
                     {telemetry::field("raised-by", telemetry::hex(alarm.member)),
                      telemetry::field("alarm", alarm.type == members::AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT")});
}

void Replica::failed(const Error& error) {
  fail(error);
}

void Replica::fail(const Error& error) {
  dead_ = true;
  parts_.observer.failed(error);
  parts_.loops.replica.post([this] { refuse_waiting(); });
}

void Replica::refuse_waiting() {
  for (Held& held : std::exchange(held_, {})) held.refused(stopped());
  const auto refuse = [this](std::vector<Read> reads) {
    if (options_.metrics != nullptr) options_.metrics->failed_read_indexes.add(reads.size());
    for (Read& read : reads) read.done(std::unexpected(stopped()));
  };
  for (auto* reads : {&reads_next_, &reads_asked_}) refuse(std::exchange(*reads, {}));
  for (auto& [index, reads] : std::exchange(reads_confirmed_, {})) refuse(std::move(reads));
}

void Replica::raft_status(std::move_only_function<void(const raft::Status&)> done) {
  parts_.loops.replica.post([this, done = std::move(done)]() mutable { done(core_->status()); });
}

void Replica::stop(std::function<void()> done) {
  parts_.loops.replica.post([this, done = std::move(done)]() mutable {
    stopping_ = true;
    refuse_waiting();
    // What is in the queues of disk and apply goes first: each posts its results before it sees what follows here.
    parts_.loops.disk.post([this, done = std::move(done)]() mutable {
      append_pending();
      parts_.loops.apply.post([this, done = std::move(done)]() mutable {
        apply_pending();
        applier_->stop([this, done = std::move(done)] { parts_.loops.replica.post(done); });
      });
    });
  });
}

}  // namespace etcd::replica
