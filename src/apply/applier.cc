#include "apply/applier.h"

#include <fmt/format.h>

#include <utility>

#include "apply/metrics.h"
#include "apply/no_space.h"
#include "apply/tables.h"
#include "base/check.h"
#include "codec/proto/raft.pb.h"
#include "codec/proto/raft_internal.pb.h"
#include "codec/wire.h"
#include "tree/path.h"
#include "tree/write.h"

namespace etcd::apply {
namespace {

constexpr BytesView kAppliedKey = "applied";

Bytes encode_applied(Index index, Term term) {
  Bytes out;
  codec::append_varint_field(out, 1, index.value);
  codec::append_varint_field(out, 2, term.value);
  return out;
}

Operation operation_of(etcdv2pb::Command::Verb verb) {
  using etcdv2pb::Command;
  switch (verb) {
    case Command::CREATE_IN_ORDER: return Operation::kPost;
    case Command::DELETE:
    case Command::COMPARE_AND_DELETE: return Operation::kDelete;
    case Command::EXPIRE: return Operation::kSync;
    default: return Operation::kPut;
  }
}

std::string entry_name(const CommittedEntry& entry) {
  return fmt::format("log entry {} of term {}", entry.index.value, entry.term.value);
}

}  // namespace

Applier::Applier(engine::Engine& engine, const io::Clock& clock, io::Executor& apply_loop, io::Executor& store_loop,
                 Listener& listener, ApplierOptions options)
    : engine_(engine),
      clock_(clock),
      apply_loop_(apply_loop),
      store_loop_(store_loop),
      listener_(listener),
      options_(options) {}

Result<std::unique_ptr<Applier>> Applier::open(engine::Engine& engine, const io::Clock& clock, io::Executor& apply_loop,
                                               io::Executor& store_loop, Listener& listener, ApplierOptions options) {
  std::unique_ptr<Applier> applier(new Applier(engine, clock, apply_loop, store_loop, listener, options));
  std::vector<mvcc::EntryRef> deadlines;
  ETCD_TRY(applier->store_, mvcc::Store::open(engine, clock,
                                              {.history = kHistoryTable,
                                               .meta = kMvccTable,
                                               .live = kLiveTable,
                                               .metrics = options.mvcc_metrics,
                                               .load_threads = options.load_threads},
                                              &deadlines));
  ETCD_TRY(applier->members_,
           members::Table::load(engine,
                                {.members = kMembersTable, .removed = kMembersRemovedTable, .cluster = kClusterTable}));
  ETCD_TRY(applier->alarms_, members::Alarms::load(engine, kAlarmsTable));
  ETCD_TRY(const auto snapshot, engine.snapshot());
  ETCD_TRY(const auto applied, snapshot->get(kAppliedTable, kAppliedKey));
  if (applied) {
    codec::FieldReader reader(*applied);
    while (reader.next()) {
      if (reader.field() == 1) applier->applied_ = Index{reader.varint()};
      if (reader.field() == 2) applier->applied_term_ = Term{reader.varint()};
    }
    if (!reader.ok()) return failure(ErrorCode::kCorrupt, "table applied: value does not decode");
  }
  applier->load_expiry(deadlines);
  applier->expiry_.measure(options.lease_metrics);  // what was there before is not granted again
  applier->durable_ = applier->handed_over_ = applier->applied_;
  applier->arm_slice();  // a compaction may have been under way
  return applier;
}

Result<std::vector<ConfChange>> Applier::apply(std::span<const CommittedEntry> entries) {
  std::vector<ConfChange> conf_changes;
  std::vector<Outcome> outcomes;
  if (dead_) return std::unexpected(*dead_);
  if (stopped_) return conf_changes;
  if (options_.metrics != nullptr) command_began_ = clock_.now();
  for (const CommittedEntry& entry : entries) {
    if (entry.index <= applied_) {
      // A restart hands over again what the engine had already; raft still wants to hear of its conf changes.
      if (entry.kind != CommittedEntry::Kind::kCommand) {
        conf_changes.push_back({entry.index, entry.kind, entry.data, true, {}});
      }
      continue;
    }
    CHECK(entry.index == applied_ + 1, "applied {}, then {}", applied_.value, entry.index.value);
    if (entry.kind != CommittedEntry::Kind::kCommand) {
      conf_changes.push_back(apply_conf_change(entry, outcomes));
    } else if (!entry.data.empty()) {
      if (const auto good = apply_command(entry, outcomes); !good) {
        fail(good.error());
        return std::unexpected(*dead_);
      }
    }
    applied_ = entry.index;
    applied_term_ = entry.term;
    pending_bytes_ += entry.data.size();
  }
  store_->publish();
  if (!outcomes.empty()) listener_.applied(std::move(outcomes));
  consider_commit();
  return conf_changes;
}

Result<void> Applier::apply_command(const CommittedEntry& entry, std::vector<Outcome>& outcomes) {
  etcdserverpb::InternalRaftRequest request;
  if (!request.ParseFromArray(entry.data.view().data(), static_cast<int>(entry.data.size()))) {
    return failure(ErrorCode::kCorrupt, fmt::format("{} is no command", entry_name(entry)));
  }
  Outcome outcome;
  outcome.request_id = request.id() != 0 ? request.id() : request.header().id();
  outcome.term = entry.term;
  outcome.index = entry.index;
  if (request.has_v2_command()) {
    ETCD_TRY_VOID(apply_tree_command(entry, request.v2_command(), outcome));
  } else {
    ETCD_TRY_VOID(apply_cluster_command(entry, request, outcome));
  }
  outcomes.push_back(std::move(outcome));
  return {};
}

Result<void> Applier::apply_tree_command(const CommittedEntry& entry, const etcdv2pb::Command& command,
                                         Outcome& outcome) {
  if (!etcdv2pb::Command::Verb_IsValid(command.verb()) || !tree::is_clean(command.path())) {
    return failure(ErrorCode::kUnimplemented, fmt::format("{}: unknown v2 command", entry_name(entry)));
  }
  if (alarms_->active(members::AlarmType::kNoSpace) && needs_room(command.verb())) {
    measure(operation_of(command.verb()), false);
    outcome.result = no_space();
    return {};
  }
  mvcc::WriteTxn txn = store_->begin();
  ETCD_TRY(tree::Outcome<tree::Event> event, tree::write(txn, command));
  if (event) {
    txn.commit();
    note_expiry(*event);
  } else {
    txn.abort();
  }
  if (options_.stats != nullptr) options_.stats->count_command(command, event);
  measure(operation_of(command.verb()), event.has_value());
  outcome.result = std::move(event);
  return {};
}

Result<void> Applier::apply_cluster_command(const CommittedEntry& entry,
                                            const etcdserverpb::InternalRaftRequest& request, Outcome& outcome) {
  if (request.has_cluster_member_attr_set()) {
    const auto& set = request.cluster_member_attr_set();
    members_->set_attributes(
        set.member_id(), set.member_attributes().name(),
        {set.member_attributes().client_urls().begin(), set.member_attributes().client_urls().end()});
    measure(Operation::kClusterMemberAttrSet, true);
  } else if (request.has_cluster_version_set()) {
    members_->set_cluster_version(request.cluster_version_set().ver());
    measure(Operation::kClusterVersionSet, true);
  } else if (request.has_v2_cluster_config()) {
    const etcdv2pb::ClusterConfigChange& asked = request.v2_cluster_config();
    members::ClusterConfigChange change;
    if (asked.has_active_size()) change.active_size = asked.active_size();
    if (asked.has_remove_delay_s()) change.remove_delay_s = asked.remove_delay_s();
    if (asked.has_sync_interval_s()) change.sync_interval_s = asked.sync_interval_s();
    members_->change_config(change);
    measure(Operation::kPut, true);
  } else if (request.has_compaction()) {
    const auto compacted = store_->compact(request.compaction().revision());
    if (compacted) {
      arm_slice();
    } else {
      outcome.result = compacted.error();
    }
    measure(Operation::kCompaction, true);
  } else if (request.has_alarm()) {
    apply_alarm(request.alarm());
    measure(Operation::kAlarm, true);
  } else {
    return failure(ErrorCode::kUnimplemented,
                   fmt::format("{} holds a command that this version does not know", entry_name(entry)));
  }
  return {};
}

void Applier::apply_alarm(const etcdserverpb::AlarmRequest& request) {
  using etcdserverpb::AlarmRequest;
  const auto type = static_cast<members::AlarmType>(request.alarm());
  const members::Alarm alarm{request.memberid(), type};
  if (type != members::AlarmType::kNoSpace && type != members::AlarmType::kCorrupt) return;
  if (request.action() == AlarmRequest::ACTIVATE) {
    if (alarms_->activate(alarm)) listener_.alarm_changed(alarm, true);
  } else if (request.action() == AlarmRequest::DEACTIVATE) {
    if (alarms_->deactivate(alarm)) listener_.alarm_changed(alarm, false);
  }
}

void Applier::measure(Operation operation, bool success) {
  if (options_.metrics == nullptr) return;
  // The next command begins where this one ends: one look at the clock for each.
  const MonotonicTime began = std::exchange(command_began_, clock_.now());
  const Duration took = command_began_ - began;
  options_.metrics->applied(operation, success, took);
  if (took > options_.slow_apply) options_.metrics->slow_applies.add();
}

void Applier::note_expiry(const tree::Event& event) {
  if (event.node.deadline.ns != 0) {
    expiry_.set(event.node.path, event.node.deadline, event.ttl, clock_.now());
  } else if (event.previous && event.previous->dir && event.action != mvcc::Action::kUpdate) {
    expiry_.forget_subtree(event.node.path);
  } else if (event.previous) {
    expiry_.forget(event.node.path);
  }
}

void Applier::load_expiry(const std::vector<mvcc::EntryRef>& deadlines) {
  for (const mvcc::EntryRef& entry : deadlines) {
    const mvcc::Attributes attributes = entry->attributes();
    const BytesView key = entry->key();
    expiry_.set(key.ends_with('/') ? key.substr(0, key.size() - 1) : key, attributes.deadline, attributes.ttl,
                clock_.now());
  }
}

ConfChange Applier::apply_conf_change(const CommittedEntry& entry, std::vector<Outcome>& outcomes) {
  ConfChange change{entry.index, entry.kind, entry.data, true, {}};
  Outcome outcome{.request_id = 0, .term = entry.term, .index = entry.index, .result = {}};
  if (auto accepted = accept_conf_change(entry, outcome.request_id); !accepted) {
    change.accepted = false;
    change.refusal = accepted.error();
    outcome.result = std::move(accepted).error();
  }
  if (outcome.request_id != 0) outcomes.push_back(std::move(outcome));
  return change;
}

Result<void> Applier::accept_conf_change(const CommittedEntry& entry, std::uint64_t& request_id) {
  raftpb::ConfChange change;
  if (entry.kind != CommittedEntry::Kind::kConfChange ||
      !change.ParseFromArray(entry.data.view().data(), static_cast<int>(entry.data.size()))) {
    return failure(ErrorCode::kUnimplemented, fmt::format("{}: unknown conf change", entry_name(entry)));
  }
  request_id = change.id();
  if (change.type() == raftpb::ConfChangeRemoveNode) return members_->remove(change.node_id());
  ETCD_TRY(members::Member member, members::member_from_json(change.context()));
  if (member.id != change.node_id()) {
    return failure(ErrorCode::kInvalidArgument,
                   fmt::format("{}: two ids, {:x} and {:x}", entry_name(entry), change.node_id(), member.id));
  }
  switch (change.type()) {
    case raftpb::ConfChangeAddNode:
    case raftpb::ConfChangeAddLearnerNode:
      member.learner = change.type() == raftpb::ConfChangeAddLearnerNode;
      return members_->add(std::move(member));
    case raftpb::ConfChangeUpdateNode: return members_->update(member.id, std::move(member.peer_urls));
    default:
      return failure(ErrorCode::kUnimplemented,
                     fmt::format("{}: conf change of type {}", entry_name(entry), static_cast<int>(change.type())));
  }
}

void Applier::fail(const Error& error) {
  if (dead_) return;
  dead_ = error;
  listener_.failed(error);
}

void Applier::arm_slice() {
  if (slice_armed_) return;
  slice_armed_ = true;
  apply_loop_.post_at(clock_.now() + options_.slice_pause, [this] {
    slice_armed_ = false;
    compact_slice();
  });
}

void Applier::compact_slice() {
  slice_waits_ = false;
  if (dead_ || stopped_) return;
  if (compaction_.operations().size() >= options_.slice_erasures_max) {
    slice_waits_ = true;  // the engine is behind
    return;
  }
  const auto state = store_->compact_slice(compaction_, options_.slice);
  if (!state) {
    fail(state.error());
    return;
  }
  if (*state == mvcc::CompactionState::kMore) arm_slice();
  if (*state == mvcc::CompactionState::kWaiting) slice_waits_ = true;
  consider_commit();
}

bool Applier::has_changes() const {
  return handed_over_ != applied_ || !compaction_.empty();
}

void Applier::consider_commit() {
  if (in_flight_ || dead_ || !has_changes()) return;
  if (pending_bytes_ >= options_.batch_bytes || stopped_ ||
      compaction_.operations().size() >= options_.slice_erasures_max) {
    hand_over();
    return;
  }
  if (timer_) return;
  timer_ = apply_loop_.post_at(clock_.now() + options_.batch_interval, [this] {
    timer_.reset();
    if (!in_flight_ && !dead_ && has_changes()) hand_over();
  });
}

void Applier::hand_over() {
  if (timer_) {
    apply_loop_.cancel(*timer_);
    timer_.reset();
  }
  // Shared by the task that commits it and the one that retries. The erasures go first: see mvcc/store.h.
  auto batch = std::make_shared<engine::Batch>(std::exchange(compaction_, {}));
  const std::int64_t revision = store_->take_changes(*batch);
  members_->take_changes(*batch);
  alarms_->take_changes(*batch);
  batch->put(kAppliedTable, Bytes(kAppliedKey), SharedBytes(encode_applied(applied_, applied_term_)));
  pending_bytes_ = 0;
  handed_over_ = applied_;
  in_flight_ = true;
  commit(std::move(batch), revision, applied_);
}

void Applier::commit(std::shared_ptr<engine::Batch> batch, std::int64_t revision, Index index) {
  store_loop_.post([this, batch = std::move(batch), revision, index]() mutable {
    const MonotonicTime began = options_.metrics != nullptr ? clock_.now() : MonotonicTime{};
    Result<void> result = engine_.commit(*batch);
    if (options_.metrics != nullptr) options_.metrics->backend_commit.observe(clock_.now() - began);
    apply_loop_.post([this, result = std::move(result), batch = std::move(batch), revision, index]() mutable {
      committed(result, std::move(batch), revision, index);
    });
  });
}

void Applier::committed(const Result<void>& result, std::shared_ptr<engine::Batch> batch, std::int64_t revision,
                        Index index) {
  if (!result && result.error().code == ErrorCode::kNoSpace && !stopped_) {
    listener_.no_space(result.error());
    apply_loop_.post_at(clock_.now() + options_.retry, [this, batch = std::move(batch), revision, index]() mutable {
      commit(std::move(batch), revision, index);
    });
    return;
  }
  in_flight_ = false;
  if (!result && result.error().code == ErrorCode::kNoSpace) {
    // We are stopping: nothing is lost, since a restart finds all of it in the log.
    listener_.no_space(result.error());
    std::exchange(stopped_, [] {})();
    return;
  }
  if (!result) {
    fail(result.error());
  } else {
    store_->committed(revision);
    durable_ = index;
    listener_.durable(index);
    if (slice_waits_) arm_slice();
    consider_commit();
  }
  if (stopped_ && !in_flight_) std::exchange(stopped_, [] {})();
}

void Applier::stop(std::function<void()> done) {
  stopped_ = std::move(done);
  consider_commit();
  if (!in_flight_) std::exchange(stopped_, [] {})();
}

}  // namespace etcd::apply
