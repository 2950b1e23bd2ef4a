// service/service.h - what a member does for its clients: reads of its state, commands through the log.
//
// Life:    constructor -> calls -> close() once the replica has stopped
// Thread:  any; answers come on the executor that the caller names.
// Owns:    the waiting requests. Borrows replica, store, members, stats and clock, which must outlive it.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "apply/applier.h"
#include "apply/store_stats.h"
#include "base/ids.h"
#include "base/result.h"
#include "codec/proto/v2.pb.h"
#include "io/clock.h"
#include "io/executor.h"
#include "members/cluster_config.h"
#include "members/table.h"
#include "mvcc/store.h"
#include "replica/replica.h"
#include "service/request_ids.h"
#include "service/waiters.h"
#include "tree/event.h"
#include "tree/refusal.h"

namespace etcdserverpb {
class InternalRaftRequest;
}

namespace etcd::service {

struct Metrics;

struct ServiceOptions {
  ClusterId cluster = 0;
  MemberId member = 0;
  std::uint64_t request_bytes_max = 1'572'864;  // --max-request-bytes, of the encoded command
  Duration timeout = 7s;                        // 5 s + 2 election time-outs
  std::uint64_t tail_bytes_max = 256 << 20;     // of versions that the store has not committed; then no more are taken
  std::function<bool()> full = {};              // whether this member lacks room; called on any thread
  Metrics* metrics = nullptr;                   // null: nothing is counted. Must outlive the service
};

/// Where in the log an answer stands; X-Raft-Index and X-Raft-Term show it.
struct LogPlace {
  Index index;
  Term term;
};

/// Who leads, as far as this member knows.
struct Leadership {
  MemberId leader = 0;  // 0: nobody
  WallTime since;       // when this member learned of it
  Duration lasts{};     // how long ago that was, whatever has been done to the calendar meanwhile
};

struct Written {
  tree::Outcome<tree::Event> event;
  LogPlace place;
};

class Service {
 public:
  Service(replica::Replica& replica, mvcc::Store& store, members::Table& members, apply::StoreStats& stats,
          const io::Clock& clock, io::Executor& timer_loop, ServiceOptions options);

  /// The cluster's id as it is written everywhere: lower-case hex.
  [[nodiscard]] const std::string& cluster_hex() const { return cluster_hex_; }
  [[nodiscard]] MemberId member() const { return options_.member; }

  /// The state that this member has applied; never waits.
  [[nodiscard]] mvcc::View view() const { return store_.view(); }
  /// For watchers, which live on net loops.
  [[nodiscard]] mvcc::Store& store() { return store_; }
  [[nodiscard]] LogPlace place() const;
  [[nodiscard]] bool has_leader() const { return replica_.status().leader != 0; }
  [[nodiscard]] std::shared_ptr<const members::Membership> membership() const { return members_.current(); }
  [[nodiscard]] const io::Clock& clock() const { return clock_; }
  /// What /v2/stats/store shows. Reads and watchers are counted by whoever serves them.
  [[nodiscard]] apply::StoreStats& stats() const { return stats_; }
  /// When this member started.
  [[nodiscard]] WallTime started() const { return started_; }
  [[nodiscard]] Leadership leadership() const;
  [[nodiscard]] members::ClusterConfig cluster_config() const { return members_.current()->config; }
  /// The members in upstream's JSON form, which peers ask each other for: `[{"id":1,"peerURLs":[...],...}]`.
  [[nodiscard]] Bytes members_json() const;
  /// Calls `done` on `loop` with what raft knows of itself, in upstream's JSON form (raft_status.h).
  void raft_status(io::Executor& loop, std::move_only_function<void(Bytes json)> done);

  /// Begins to watch the time of those who wait.
  void start();

  /// Proposes a v2 command; `done` is called once, on `loop`, when it has been applied here or has failed.
  /// Errors: kTooLarge, kTimeout (it may yet be applied), kNoLeader, kStopped, kNoSpace (deletes still go),
  /// kTooManyRequests (the disk is far behind); texts as upstream's.
  void write(const etcdv2pb::Command& command, io::Executor& loop, std::move_only_function<void(Result<Written>)> done);

  /// Tells the cluster this member's name and client URLs.
  void publish(const std::string& name, const std::vector<std::string>& client_urls, io::Executor& loop,
               std::move_only_function<void(Result<void>)> done);
  /// Tells the members which version the whole cluster speaks; the leader's business.
  void set_cluster_version(const std::string& version, io::Executor& loop,
                           std::move_only_function<void(Result<void>)> done);

  /// Changes 0.4's size control. `done` is called on `loop` when it has been applied here, or has failed.
  void change_cluster_config(const members::ClusterConfigChange& change, io::Executor& loop,
                             std::move_only_function<void(Result<void>)> done);

  /// Changes to the membership: checked, and then refused with kUnimplemented until clusters of several members are
  /// built (issue 6).
  /// Errors: kInvalidArgument (peer_urls.h), kAlreadyExists for a peer URL that another member has, kNotFound for an
  /// unknown id; texts as upstream's.
  Result<members::Member> add_member(std::vector<std::string> peer_urls) const;
  Result<void> update_member(MemberId id, std::vector<std::string> peer_urls) const;
  Result<void> remove_member(MemberId id) const;

  /// The alarms that stand in the cluster.
  [[nodiscard]] members::Alarms& alarms() const { return replica_.alarms(); }
  /// Raises or clears an alarm of this member's; nobody is told what became of it but by the log.
  void propose_alarm(members::AlarmType type, bool raise);
  /// Compacts the history up to `revision`, likewise.
  void propose_compaction(std::int64_t revision);

  /// Calls `done` on `loop` once this member has applied all that was committed when this was called.
  /// Errors: kTimeout, kNoLeader, kStopped.
  void confirm_read(io::Executor& loop, std::move_only_function<void(Result<void>)> done);

  /// For the apply loop's listener.
  void applied(std::vector<apply::Outcome> outcomes) { waiters_.deliver(std::move(outcomes)); }
  /// For the replica loop's observer: who leads now; 0 for nobody.
  void leader_changed(MemberId leader);
  /// Answers all that wait: the member has stopped.
  void close();

  [[nodiscard]] std::size_t waiting() const { return waiters_.count(); }

 private:
  void arm_timer();
  /// Gives a command its id and puts it into the log, together with those that came in the same turn of `loop`.
  void send(etcdserverpb::InternalRaftRequest& request, io::Executor& loop, Answer answer);
  void propose_gathered();
  void propose_unwatched(const etcdserverpb::InternalRaftRequest& request);

  replica::Replica& replica_;
  mvcc::Store& store_;
  members::Table& members_;
  apply::StoreStats& stats_;
  const io::Clock& clock_;
  io::Executor& timer_loop_;
  const ServiceOptions options_;
  const std::string cluster_hex_;
  const WallTime started_;
  RequestIds ids_;
  mutable std::mutex leader_mu_;  // guards the three below, for the length of their copies
  MemberId leader_ = 0;
  WallTime leader_since_;
  MonotonicTime leader_since_monotonic_;
  Waiters waiters_;
  std::mutex gathered_mu_;                   // guards the one below, for the length of a push or a swap
  std::vector<replica::Proposal> gathered_;  // leave in one batch; not empty: a turn's end is awaited
  std::atomic<bool> closed_ = false;
};

}  // namespace etcd::service
