// members/table.h - the cluster's members as of the applied index: changed by committed entries only.
//
// Life:    load() -> add(), set_attributes() ... -> take_changes() once per batch
// Thread:  apply loop only, but for current(): any thread.
// Owns:    the members in memory. What changed goes into the engine's batch together with the applied index.
// Format:  tables `members` and `cluster`, keys and values as upstream's buckets: a hex id and the member's JSON; the
//          cluster's version under `clusterVersion`, 0.4's size control under `sizeControl` (docs/formats/store.md).
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "engine/engine.h"
#include "members/cluster_config.h"
#include "members/member.h"

namespace etcd::members {

struct TableOptions {
  engine::TableId members = 0;  // where `members` stands in the list the engine was opened with
  engine::TableId removed = 0;  // likewise `members_removed`
  engine::TableId cluster = 0;  // likewise `cluster`
};

struct Membership {
  std::map<MemberId, Member> members;
  std::set<MemberId> removed;   // ids that may never come back
  std::string cluster_version;  // "3.7.0"; empty until the leader has set it
  ClusterConfig config;         // 0.4's size control
};

class Table {
 public:
  /// Errors: kCorrupt naming table and key; kIo.
  static Result<std::unique_ptr<Table>> load(const engine::Engine& engine, const TableOptions& options);

  /// Adds a member, or promotes a learner that is there.
  /// Errors: kAlreadyExists for an id or a peer URL in use; kNotFound for an id that was removed; for a promotion
  /// kNotFound, and kInvalidArgument when it votes already. Nothing is changed then; texts as upstream's.
  Result<void> add(Member member);
  /// Takes a member out for good: its id may never come back. Errors: kNotFound.
  Result<void> remove(MemberId id);
  /// Gives a member other peer URLs. Errors: kNotFound; kAlreadyExists for a URL that another member has.
  Result<void> update(MemberId id, std::vector<std::string> peer_urls);
  /// Name and client URLs, as the member itself publishes them after its start. An unknown id is ignored.
  void set_attributes(MemberId id, std::string name, std::vector<std::string> client_urls);
  void set_cluster_version(std::string version);
  void change_config(const ClusterConfigChange& change);

  /// The members now. Shared: readers keep the one they took, the table makes another for each change.
  [[nodiscard]] std::shared_ptr<const Membership> current() const;

  /// Appends what changed since the last call to `batch`.
  void take_changes(engine::Batch& batch);

 private:
  explicit Table(const TableOptions& options);
  /// Changes a copy and puts it in the place of the current one.
  template <class Change>
  void change(Change&& how);

  const TableOptions options_;
  /// Whether another member than `id` has one of these peer URLs.
  [[nodiscard]] bool in_use(MemberId id, const std::vector<std::string>& peer_urls) const;

  std::set<MemberId> dirty_;
  bool version_dirty_ = false;
  bool config_dirty_ = false;
  mutable std::mutex mu_;                      // guards current_ alone, for the length of a pointer's copy
  std::shared_ptr<const Membership> current_;  // shared with every reader that took it
};

}  // namespace etcd::members
