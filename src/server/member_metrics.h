// server/member_metrics.h - everything that one member measures: each room's own metrics, and what is asked at scrape.
//
// Life:    MemberMetrics, before the rooms -> show(), once they are there -> registry.text() ...
// Thread:  constructor and show() before the first text(); the rest as telemetry::Registry.
// Owns:    the registry. show() keeps references to what it is given, which must live as long as text() is called.
// Source:  docs/metrics.md lists what is shown, and what is not.
#pragma once
#include <string>

#include "api/admin/metrics.h"
#include "apply/metrics.h"
#include "apply/store_stats.h"
#include "config/options.h"
#include "engine/engine.h"
#include "io/file.h"
#include "lease/metrics.h"
#include "members/alarms.h"
#include "mvcc/metrics.h"
#include "replica/metrics.h"
#include "replica/replica.h"
#include "server/process.h"
#include "service/metrics.h"
#include "service/service.h"
#include "telemetry/metrics.h"

namespace etcd::server {

class MemberMetrics {
 public:
  MemberMetrics();

  /// Adds what the objects of a member know by themselves.
  void show(const config::Options& options, const engine::Engine& engine, replica::Replica& replica,
            const service::Service& service, const apply::StoreStats& stats, const io::Directory& directory);

  telemetry::Registry registry;  // before what is made from it
  mvcc::Metrics mvcc_metrics;
  lease::Metrics lease_metrics;
  apply::Metrics apply_metrics;
  replica::Metrics replica_metrics;
  service::Metrics service_metrics;
  api::admin::Metrics admin_metrics;

 private:
  void show_options(const config::Options& options);
  void show_room(const config::Options& options, const io::Directory& directory, replica::Replica& replica);
  void show_raft(replica::Replica& replica, const service::Service& service);
  void show_store(const engine::Engine& engine, replica::Replica& replica);
  void show_v2(const apply::StoreStats& stats);
  void show_process();
  void show_unused();

  ProcessFigures process_;              // as of the text that is being made
  std::string cluster_version_;         // likewise
  std::vector<members::Alarm> alarms_;  // likewise
};

}  // namespace etcd::server
