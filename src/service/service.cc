#include "service/service.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "apply/no_space.h"
#include "codec/proto/raft_internal.pb.h"
#include "members/id.h"
#include "service/metrics.h"
#include "service/raft_status.h"
#include "tree/path.h"

namespace etcd::service {
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
Error too_large() {
  return {ErrorCode::kTooLarge, "etcdserver: request is too large"};
}

constexpr Duration kExpiryInterval = 250ms;  // how far past its time-out a request may wait

/// A path of n components makes n markers, each as long as the way to it; half a million of them would fill the memory.
bool makes_too_much(const etcdv2pb::Command& command) {
  constexpr std::uint64_t kMarkerBytesMax = 16 << 20;
  return tree::depth_of(command.path()) * std::uint64_t{command.path().size()} / 2 > kMarkerBytesMax;
}

/// For commands whose being applied is all there is to know.
Answer without_result(std::move_only_function<void(Result<void>)> done) {
  return [done = std::move(done)](Result<apply::Outcome> outcome) mutable {
    if (outcome) {
      done({});
    } else {
      done(std::unexpected(std::move(outcome).error()));
    }
  };
}

}  // namespace

Service::Service(replica::Replica& replica, mvcc::Store& store, members::Table& members, apply::StoreStats& stats,
                 const io::Clock& clock, io::Executor& timer_loop, ServiceOptions options)
    : replica_(replica),
      store_(store),
      members_(members),
      stats_(stats),
      clock_(clock),
      timer_loop_(timer_loop),
      options_(options),
      cluster_hex_(members::hex_id(options.cluster)),
      started_(clock.wall()),
      ids_(options.member, started_),
      leader_since_(started_),
      leader_since_monotonic_(clock.now()),
      waiters_(options.metrics != nullptr ? &options.metrics->proposals_failed : nullptr) {}

void Service::start() {
  arm_timer();
}

void Service::arm_timer() {
  timer_loop_.post_at(clock_.now() + kExpiryInterval, [this] {
    if (closed_) return;
    waiters_.expire(clock_.now(), timed_out());
    arm_timer();
  });
}

LogPlace Service::place() const {
  const replica::ReplicaStatus status = replica_.status();
  return {status.applied, status.term};
}

Leadership Service::leadership() const {
  const MonotonicTime now = clock_.now();
  const std::scoped_lock lock(leader_mu_);
  return {leader_, leader_since_, std::max(now - leader_since_monotonic_, Duration{})};
}

void Service::leader_changed(MemberId leader) {
  const WallTime wall = clock_.wall();
  const MonotonicTime now = clock_.now();
  const std::scoped_lock lock(leader_mu_);
  leader_ = leader;
  leader_since_ = wall;
  leader_since_monotonic_ = now;
}

void Service::send(etcdserverpb::InternalRaftRequest& request, io::Executor& loop, Answer answer) {
  const std::uint64_t id = ids_.next();
  request.mutable_header()->set_id(id);
  Bytes bytes = request.SerializeAsString();
  if (bytes.size() > options_.request_bytes_max) {
    loop.post([answer = std::move(answer)]() mutable { answer(std::unexpected(too_large())); });
    return;
  }
  waiters_.add(id, clock_.now() + options_.timeout, loop, std::move(answer));
  replica::Proposal proposal{SharedBytes(std::move(bytes)),
                             [this, id](Error error) { waiters_.fail(id, std::move(error)); }};
  {
    const std::scoped_lock lock(gathered_mu_);
    gathered_.push_back(std::move(proposal));
    if (gathered_.size() > 1) return;
  }
  // Behind the requests that this turn of the loop has still to read: one sync for all of them, not one for the first.
  loop.post([this] { propose_gathered(); });
}

void Service::propose_gathered() {
  std::vector<replica::Proposal> proposals;
  {
    const std::scoped_lock lock(gathered_mu_);
    proposals.swap(gathered_);
  }
  replica_.propose(std::move(proposals));
}

void Service::write(const etcdv2pb::Command& command, io::Executor& loop,
                    std::move_only_function<void(Result<Written>)> done) {
  std::optional<Error> refused;
  if (makes_too_much(command)) refused = too_large();
  const bool needs_room = apply::needs_room(command.verb());
  if (needs_room && options_.full && options_.full()) refused = apply::no_space();
  if (needs_room && store_.tail_bytes() > options_.tail_bytes_max) refused = too_many();
  if (refused) {
    loop.post(
        [done = std::move(done), error = *std::move(refused)]() mutable { done(std::unexpected(std::move(error))); });
    return;
  }
  etcdserverpb::InternalRaftRequest request;
  *request.mutable_v2_command() = command;
  send(request, loop, [done = std::move(done)](Result<apply::Outcome> outcome) mutable {
    if (!outcome) {
      done(std::unexpected(std::move(outcome).error()));
      return;
    }
    if (auto* error = std::get_if<Error>(&outcome->result)) {
      done(std::unexpected(std::move(*error)));
      return;
    }
    done(Written{std::get<tree::Outcome<tree::Event>>(std::move(outcome->result)), {outcome->index, outcome->term}});
  });
}

void Service::publish(const std::string& name, const std::vector<std::string>& client_urls, io::Executor& loop,
                      std::move_only_function<void(Result<void>)> done) {
  etcdserverpb::InternalRaftRequest request;
  auto& set = *request.mutable_cluster_member_attr_set();
  set.set_member_id(options_.member);
  set.mutable_member_attributes()->set_name(name);
  for (const std::string& url : client_urls) set.mutable_member_attributes()->add_client_urls(url);
  send(request, loop, without_result(std::move(done)));
}

void Service::set_cluster_version(const std::string& version, io::Executor& loop,
                                  std::move_only_function<void(Result<void>)> done) {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_cluster_version_set()->set_ver(version);
  send(request, loop, without_result(std::move(done)));
}

void Service::change_cluster_config(const members::ClusterConfigChange& change, io::Executor& loop,
                                    std::move_only_function<void(Result<void>)> done) {
  etcdserverpb::InternalRaftRequest request;
  etcdv2pb::ClusterConfigChange& asked = *request.mutable_v2_cluster_config();
  if (change.active_size) asked.set_active_size(*change.active_size);
  if (change.remove_delay_s) asked.set_remove_delay_s(*change.remove_delay_s);
  if (change.sync_interval_s) asked.set_sync_interval_s(*change.sync_interval_s);
  send(request, loop, without_result(std::move(done)));
}

void Service::propose_unwatched(const etcdserverpb::InternalRaftRequest& request) {
  replica_.propose(SharedBytes(request.SerializeAsString()), [](const Error&) {});
}

void Service::propose_alarm(members::AlarmType type, bool raise) {
  using etcdserverpb::AlarmRequest;
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header();  // without an id: nobody waits for the outcome
  AlarmRequest& alarm = *request.mutable_alarm();
  alarm.set_action(raise ? AlarmRequest::ACTIVATE : AlarmRequest::DEACTIVATE);
  alarm.set_memberid(options_.member);
  alarm.set_alarm(static_cast<etcdserverpb::AlarmType>(type));
  propose_unwatched(request);
}

void Service::propose_compaction(std::int64_t revision) {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header();
  request.mutable_compaction()->set_revision(revision);
  propose_unwatched(request);
}

void Service::confirm_read(io::Executor& loop, std::move_only_function<void(Result<void>)> done) {
  replica_.read_index([&loop, done = std::move(done)](Result<void> result) mutable {
    loop.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  });
}

void Service::raft_status(io::Executor& loop, std::move_only_function<void(Bytes json)> done) {
  replica_.raft_status([&loop, done = std::move(done)](const raft::Status& status) mutable {
    loop.post([done = std::move(done), json = raft_status_json(status)]() mutable { done(std::move(json)); });
  });
}

void Service::close() {
  closed_ = true;
  waiters_.close(stopped());
}

}  // namespace etcd::service
