#include "raft/core.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "base/check.h"
#include "raft/conf_changer.h"
#include "raft/describe.h"
#include "raft/machine.h"

namespace etcd::raft {
namespace {

std::unexpected<Error> invalid(std::string why) {
  return failure(ErrorCode::kInvalidArgument, std::move(why));
}

/// True for types that a correct member never sends without a term.
bool needs_term(MessageType type) {
  switch (type) {
    case MessageType::kApp:
    case MessageType::kAppResp:
    case MessageType::kVote:
    case MessageType::kVoteResp:
    case MessageType::kSnap:
    case MessageType::kHeartbeat:
    case MessageType::kHeartbeatResp:
    case MessageType::kTimeoutNow:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVote: return true;
    default: return false;
  }
}

Result<void> check_entries(const Message& message) {
  Term term = message.log_term;
  Index index = message.index;
  for (const Entry& entry : message.entries) {
    if (entry.index != index + 1 || entry.term < term) {
      return invalid(fmt::format("MsgApp from {:x}: entry {}/{} behind {}/{}", message.from, entry.term.value,
                                 entry.index.value, term.value, index.value));
    }
    term = entry.term;
    index = entry.index;
  }
  if (term > message.term) {
    return invalid(
        fmt::format("MsgApp from {:x}: entry of term {} in term {}", message.from, term.value, message.term.value));
  }
  return {};
}

}  // namespace

Result<void> Options::check() const {
  if (id == 0) return invalid("id: cannot use none as id");
  if (is_storage_thread(id)) return invalid("id: cannot use local target as id");
  if (heartbeat_ticks <= 0) return invalid("heartbeat_ticks: must be greater than 0");
  if (election_ticks <= heartbeat_ticks) return invalid("election_ticks: must be greater than heartbeat_ticks");
  if (inflight_messages_max == 0) return invalid("inflight_messages_max: must be greater than 0");
  if (inflight_bytes_max != 0 && inflight_bytes_max < message_bytes_max) {
    return invalid("inflight_bytes_max: must be at least message_bytes_max");
  }
  if (read_only == ReadOnly::kLeaseBased && !check_quorum) {
    return invalid("check_quorum: must be enabled when read_only is lease based");
  }
  return {};
}

Core::Core(const Options& options, const LogView& log, Rng rng) : async_(options.async_storage_writes) {
  const auto sound = options.check();
  CHECK(sound.has_value(), "{}", sound.error().message);
  machine_ = std::make_unique<Machine>(options, log, rng);
  last_soft_state_ = machine_->soft_state();
  last_hard_state_ = machine_->hard_state();
}

Core::~Core() = default;
Core::Core(Core&&) noexcept = default;
Core& Core::operator=(Core&&) noexcept = default;

Result<void> Core::bootstrap(const std::vector<Peer>& peers) {
  if (peers.empty()) return invalid("must provide at least one peer to Bootstrap");
  if (machine_->log().view().last_index() != Index{}) {
    return failure(ErrorCode::kAlreadyExists, "can't bootstrap a nonempty Storage");
  }
  last_hard_state_ = {};  // so that the first Ready has one to save
  std::vector<Entry> entries;
  for (const Peer& peer : peers) {
    Entry entry = encode_conf_change(conf_change_v1(ConfChangeType::kAddNode, peer.id, peer.context));
    entry.term = Term{1};
    entry.index = Index{entries.size() + 1};
    entries.push_back(std::move(entry));
  }
  machine_->bootstrap(std::move(entries));
  return {};
}

// ---- what may happen ----

void Core::tick() {
  machine_->tick();
}

void Core::campaign() {
  Message message;
  message.type = MessageType::kHup;
  (void)machine_->step(std::move(message));
}

Result<void> Core::check_message(const Message& message) const {
  if (is_local(message.type) && !is_storage_thread(message.from)) {
    return invalid("raft: cannot step raft local message");
  }
  if (is_response(message.type) && !is_storage_thread(message.from) &&
      machine_->tracker().progress.find(message.from) == nullptr) {
    return failure(ErrorCode::kNotFound, "raft: cannot step as peer not found");
  }
  if (needs_term(message.type) && (message.term == Term{} || message.from == kNobody)) {
    return invalid(fmt::format("{} from {:x} without a term", name_of(message.type), message.from));
  }
  switch (message.type) {
    case MessageType::kApp: return check_entries(message);
    case MessageType::kAppResp:
      if (!message.reject && message.term == machine_->term() && is_leader() && message.index > last_index()) {
        return invalid(fmt::format("MsgAppResp from {:x} acknowledges {}, the log ends with {}", message.from,
                                   message.index.value, last_index().value));
      }
      return {};
    case MessageType::kSnap: {
      if (!message.snapshot.has_value() || message.snapshot->empty()) return {};  // is ignored
      const SnapshotMetadata& metadata = message.snapshot->metadata;
      const auto configured = restore_config(machine_->tracker(), metadata.index, metadata.conf_state);
      if (!configured.has_value()) {
        return invalid(fmt::format("MsgSnap from {:x} with {}: {}", message.from, describe(metadata.conf_state),
                                   configured.error().message));
      }
      if (!equivalent(configured->config.conf_state(), metadata.conf_state)) {
        return invalid(fmt::format("MsgSnap from {:x} with {}", message.from, describe(metadata.conf_state)));
      }
      return {};
    }
    case MessageType::kProp:
      if (message.entries.empty()) return invalid(fmt::format("empty MsgProp from {:x}", message.from));
      for (const Entry& entry : message.entries) {
        if (entry.type != EntryType::kNormal) ETCD_TRY_VOID(decode_conf_change(entry));
      }
      return {};
    case MessageType::kReadIndex:
      if (message.entries.size() != 1) {
        return invalid(fmt::format("MsgReadIndex from {:x} with {} entries", message.from, message.entries.size()));
      }
      return {};
    default: return {};
  }
}

Result<void> Core::step(Message message) {
  ETCD_TRY_VOID(check_message(message));
  return machine_->step(std::move(message));
}

Result<void> Core::propose(SharedBytes command) {
  Message message;
  message.type = MessageType::kProp;
  message.from = machine_->id();
  message.entries.emplace_back().data = std::move(command);
  return machine_->step(std::move(message));
}

Result<void> Core::propose_batch(std::vector<SharedBytes> commands) {
  CHECK(!commands.empty(), "member {:x}: empty batch", machine_->id());
  Message message;
  message.type = MessageType::kProp;
  message.from = machine_->id();
  message.entries.reserve(commands.size());
  for (SharedBytes& command : commands) message.entries.emplace_back().data = std::move(command);
  return machine_->step(std::move(message));
}

Result<void> Core::propose_conf_change(const ConfChangeV2& change) {
  if (change.v1 && (change.changes.size() != 1 || change.transition != ConfChangeTransition::kAuto)) {
    return invalid("v1 conf change can only have one operation and no transition");
  }
  Message message;
  message.type = MessageType::kProp;
  message.entries.push_back(encode_conf_change(change));
  return machine_->step(std::move(message));
}

ConfState Core::apply_conf_change(const ConfChangeV2& change) {
  return machine_->apply_conf_change(change);
}

void Core::read_index(SharedBytes context) {
  Message message;
  message.type = MessageType::kReadIndex;
  message.entries.emplace_back().data = std::move(context);
  (void)machine_->step(std::move(message));
}

void Core::transfer_leader(MemberId transferee) {
  Message message;
  message.type = MessageType::kTransferLeader;
  message.from = transferee;
  (void)machine_->step(std::move(message));
}

void Core::forget_leader() {
  Message message;
  message.type = MessageType::kForgetLeader;
  (void)machine_->step(std::move(message));
}

void Core::report_unreachable(MemberId id) {
  Message message;
  message.type = MessageType::kUnreachable;
  message.from = id;
  (void)machine_->step(std::move(message));
}

void Core::report_snapshot(MemberId id, SnapshotStatus status) {
  Message message;
  message.type = MessageType::kSnapStatus;
  message.from = id;
  message.reject = status == SnapshotStatus::kFailed;
  (void)machine_->step(std::move(message));
}

// ---- what follows from it ----

bool Core::has_ready() const {
  const Outbox& outbox = machine_->outbox();
  const Log& log = machine_->log();
  if (!outbox.now.empty() || !outbox.after_append.empty() || !outbox.read_states.empty()) return true;
  if (!log.next_unstable_entries().empty() || log.has_next_committed_entries(apply_unstable())) return true;
  if (log.next_unstable_snapshot() != nullptr || machine_->soft_state() != last_soft_state_) return true;
  const HardState hard_state = machine_->hard_state();
  return !hard_state.empty() && hard_state != last_hard_state_;
}

namespace {

/// Tells the machine that what the Ready holds, and all before it, has been saved.
///
/// It names the end of the log even when the Ready has no entries: an acknowledgement is dropped when the term has
/// moved on since (entries of the later term may be on their way to replace what it names), and every new term brings a
/// hard state to save, so that this one makes up for those dropped. Source: etcd-io/raft main rawnode.go
/// newStorageAppendRespMsg.
Message storage_append_response(const Machine& machine, const Ready& ready) {
  Message response;
  response.type = MessageType::kStorageAppendResp;
  response.to = machine.id();
  response.from = kAppendThread;
  response.term = machine.term();
  if (machine.log().has_unstable_entries()) {
    const EntryId last = machine.log().last_entry_id();
    response.index = last.index;
    response.log_term = last.term;
  }
  response.snapshot = ready.snapshot;
  return response;
}

Message storage_apply_response(const Machine& machine, const Ready& ready) {
  Message response;
  response.type = MessageType::kStorageApplyResp;
  response.to = machine.id();
  response.from = kApplyThread;
  response.entries = ready.committed_entries;
  return response;
}

}  // namespace

Ready Core::take_ready() {
  CHECK(steps_on_advance_.empty(), "member {:x}: take_ready() before advance()", machine_->id());
  Log& log = machine_->log();
  Outbox& outbox = machine_->outbox();
  Ready ready;

  const std::span<const Entry> entries = log.next_unstable_entries();
  ready.entries.assign(entries.begin(), entries.end());
  ready.committed_entries = log.next_committed_entries(apply_unstable());
  ready.read_states = std::exchange(outbox.read_states, {});
  if (const SoftState soft_state = machine_->soft_state(); soft_state != last_soft_state_) {
    ready.soft_state = soft_state;
    last_soft_state_ = soft_state;
  }
  const HardState hard_state = machine_->hard_state();
  ready.must_sync =
      !ready.entries.empty() || hard_state.vote != last_hard_state_.vote || hard_state.term != last_hard_state_.term;
  if (hard_state != last_hard_state_) {
    ready.hard_state = hard_state;
    last_hard_state_ = hard_state;
  }
  if (const Snapshot* const snapshot = log.next_unstable_snapshot(); snapshot != nullptr) ready.snapshot = *snapshot;

  ready.messages = std::exchange(outbox.now, {});
  std::vector<Message> after_append = std::exchange(outbox.after_append, {});
  const bool saves = !ready.entries.empty() || !ready.hard_state.empty() || ready.snapshot.has_value();
  const bool acknowledges = log.has_unstable_entries() || ready.snapshot.has_value();
  const bool applies = !ready.committed_entries.empty();

  if (async_) {
    if (saves || !after_append.empty()) {
      Message append;
      append.type = MessageType::kStorageAppend;
      append.to = kAppendThread;
      append.from = machine_->id();
      append.term = ready.hard_state.term;
      append.vote = ready.hard_state.vote;
      append.commit = ready.hard_state.commit;
      append.entries = ready.entries;
      append.snapshot = ready.snapshot;
      // The acknowledgement comes last: the leader's answer to itself before it looks up terms in the unstable log,
      // where that is cheap.
      append.responses = std::move(after_append);
      if (acknowledges) append.responses.push_back(storage_append_response(*machine_, ready));
      ready.messages.push_back(std::move(append));
    }
    if (applies) {
      Message apply;
      apply.type = MessageType::kStorageApply;
      apply.to = kApplyThread;
      apply.from = machine_->id();
      apply.entries = ready.committed_entries;
      apply.responses.push_back(storage_apply_response(*machine_, ready));
      ready.messages.push_back(std::move(apply));
    }
  } else {
    for (Message& message : after_append) {
      (message.to == machine_->id() ? steps_on_advance_ : ready.messages).push_back(std::move(message));
    }
    if (acknowledges) steps_on_advance_.push_back(storage_append_response(*machine_, ready));
    if (applies) steps_on_advance_.push_back(storage_apply_response(*machine_, ready));
  }

  log.accept_unstable();
  if (applies) {
    log.accept_applying(ready.committed_entries.back().index, encoded_bytes(ready.committed_entries), apply_unstable());
  }
  return ready;
}

void Core::advance() {
  CHECK(!async_, "member {:x}: advance() with asynchronous storage writes", machine_->id());
  std::vector<Message> steps = std::exchange(steps_on_advance_, {});
  for (Message& message : steps) (void)machine_->step(std::move(message));
}

bool Core::has_notes() const {
  return !machine_->notes().empty();
}
std::vector<Note> Core::take_notes() {
  return machine_->notes().take();
}

// ---- how it stands ----

MemberId Core::id() const {
  return machine_->id();
}
Term Core::term() const {
  return machine_->term();
}
Role Core::role() const {
  return machine_->role();
}
MemberId Core::leader() const {
  return machine_->leader();
}
MemberId Core::transferee() const {
  return machine_->transferee();
}
bool Core::is_learner() const {
  return machine_->is_learner();
}
Index Core::committed() const {
  return machine_->log().committed();
}
Index Core::applied() const {
  return machine_->log().applied();
}
Index Core::first_index() const {
  return machine_->log().first_index();
}
Index Core::last_index() const {
  return machine_->log().last_index();
}
HardState Core::hard_state() const {
  return machine_->hard_state();
}
ConfState Core::conf_state() const {
  return machine_->tracker().config.conf_state();
}
const Config& Core::config() const {
  return machine_->tracker().config;
}
const ProgressMap& Core::progress() const {
  return machine_->tracker().progress;
}
std::uint64_t Core::uncommitted_bytes() const {
  return machine_->uncommitted_bytes();
}

BasicStatus Core::basic_status() const {
  return {.id = id(),
          .hard_state = hard_state(),
          .soft_state = machine_->soft_state(),
          .applied = applied(),
          .transferee = transferee()};
}

Status Core::status() const {
  Status status;
  static_cast<BasicStatus&>(status) = basic_status();
  status.config = config();
  if (is_leader()) status.progress = progress();
  return status;
}

void Core::set_randomized_election_timeout(int ticks) {
  machine_->set_randomized_election_timeout(ticks);
}
int Core::randomized_election_timeout() const {
  return machine_->randomized_election_timeout();
}

void Core::check_invariants() const {
  machine_->check_invariants();
}

}  // namespace etcd::raft
