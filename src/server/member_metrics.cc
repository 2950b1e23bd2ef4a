#include "server/member_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/version.h"
#include "mvcc/key_range.h"

namespace etcd::server {
namespace {

using telemetry::Buckets;
using telemetry::Kind;
using telemetry::Registry;

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

double number(const std::atomic<std::uint64_t>& value) {
  return number(value.load(std::memory_order_relaxed));
}

/// What is true by its label and never changes.
void show_label(Registry& registry, const char* name, const char* help, const char* label, std::string value) {
  registry.gauges(name, help, {label}).with({std::move(value)}).set(1);
}

/// "3.7.0" is shown as "3.7".
std::string major_minor(const std::string& version) {
  return version.substr(0, version.find('.', version.find('.') + 1));
}

}  // namespace

MemberMetrics::MemberMetrics()
    : mvcc_metrics(registry),
      lease_metrics(registry),
      apply_metrics(registry),
      replica_metrics(registry),
      service_metrics(registry),
      admin_metrics(registry) {}

void MemberMetrics::show(const config::Options& options, const engine::Engine& engine, replica::Replica& replica,
                         const service::Service& service, const apply::StoreStats& stats,
                         const io::Directory& directory) {
  show_options(options);
  show_room(options, directory, replica);
  show_raft(replica, service);
  show_store(engine, replica);
  show_v2(stats);
  show_process();
  show_unused();
}

void MemberMetrics::show_options(const config::Options& options) {
  show_label(registry, "etcd_server_version", "The version of this member.", "server_version", kServerVersion);
  telemetry::Family<telemetry::Gauge>& gates = registry.gauges(
      "etcd_server_feature_enabled", "What --feature-gates comes to: 1 is on, 0 off.", {"name", "stage"});
  for (const auto& gate : options.feature_gates.states()) {
    gates.with({std::string(gate.name), std::string(gate.stage)}).set(gate.on ? 1 : 0);
  }
}

void MemberMetrics::show_room(const config::Options& options, const io::Directory& directory,
                              replica::Replica& replica) {
  const std::int64_t quota = options.quota_backend_bytes;
  registry.collect(Kind::kGauge, "etcd_server_quota_backend_bytes",
                   "How large the store may grow: --quota-backend-bytes, or else its file system.",
                   [&directory, quota] {
                     if (quota > 0) return static_cast<double>(quota);
                     const auto space = directory.space();
                     return space ? number(space->total_bytes) : 0;
                   });
  telemetry::Family<telemetry::Gauge>& alarms =
      registry.gauges("etcd_debugging_server_alarms", "1 for an alarm that stands.", {"server_id", "alarm_type"});
  registry.before_text([this, &replica, &alarms] {
    const auto show = [&alarms](const members::Alarm& alarm, double value) {
      alarms
          .with({fmt::format("{:x}", alarm.member), alarm.type == members::AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT"})
          .set(value);
    };
    std::vector<members::Alarm> now = replica.alarms().all();
    for (const members::Alarm& alarm : alarms_) show(alarm, 0);
    for (const members::Alarm& alarm : now) show(alarm, 1);
    alarms_ = std::move(now);
  });
}

void MemberMetrics::show_raft(replica::Replica& replica, const service::Service& service) {
  show_label(registry, "etcd_server_id", "The id of this member.", "server_id", fmt::format("{:x}", replica.member()));
  registry.collect(Kind::kGauge, "etcd_server_has_leader", "1 when this member knows a leader, else 0.",
                   [&replica] { return replica.status().leader != 0 ? 1 : 0; });
  registry.collect(Kind::kGauge, "etcd_server_is_leader", "1 when this member leads, else 0.",
                   [&replica] { return replica.status().leader == replica.member() ? 1 : 0; });
  registry.collect(Kind::kGauge, "etcd_server_is_learner", "1 when this member does not vote, else 0.", [&replica] {
    const auto membership = replica.members().current();
    const auto own = membership->members.find(replica.member());
    return own != membership->members.end() && own->second.learner ? 1 : 0;
  });
  registry.collect(Kind::kGauge, "etcd_server_proposals_committed_total", "The index of the newest committed entry.",
                   [&replica] { return number(replica.status().committed.value); });
  registry.collect(Kind::kGauge, "etcd_server_proposals_applied_total", "The index of the newest applied entry.",
                   [&replica] { return number(replica.status().applied.value); });
  registry.collect(Kind::kGauge, "etcd_server_proposals_pending", "Proposals whose outcome is awaited here.",
                   [&service] { return number(service.waiting()); });
  telemetry::Family<telemetry::Gauge>& version =
      registry.gauges("etcd_cluster_version", "The version that the cluster speaks.", {"cluster_version"});
  registry.before_text([this, &replica, &version] {
    std::string now = replica.members().current()->cluster_version;
    if (now == cluster_version_ || now.empty()) return;
    if (!cluster_version_.empty()) version.with({major_minor(cluster_version_)}).set(0);
    cluster_version_ = std::move(now);
    version.with({major_minor(cluster_version_)}).set(1);
  });
  registry.collect(Kind::kGauge, "etcd_disk_wal_write_bytes_total", "Bytes written to the log.",
                   [&replica] { return number(replica.wal_bytes_written()); });
}

void MemberMetrics::show_store(const engine::Engine& engine, replica::Replica& replica) {
  registry.collect(Kind::kGauge, "etcd_mvcc_db_total_size_in_bytes", "What the store takes on disk.",
                   [&engine] { return number(engine.usage().bytes_file); });
  registry.collect(Kind::kGauge, "etcd_mvcc_db_total_size_in_use_in_bytes", "What of that holds data.",
                   [&engine] { return number(engine.usage().bytes_in_use); });
  registry.collect(Kind::kGauge, "etcd_mvcc_db_open_read_transactions", "Readers of the store on disk.",
                   [&engine] { return number(engine.usage().snapshots); });
  mvcc::Store& store = replica.store();
  registry.collect(Kind::kGauge, "etcd_debugging_mvcc_keys_total", "Keys that there are, markers of v2 among them.",
                   [&store] { return number(store.view().count(mvcc::KeyRange::from(""))); });
  registry.collect(Kind::kGauge, "etcd_debugging_mvcc_current_revision", "The newest revision that can be read.",
                   [&store] { return static_cast<double>(store.published_revision()); });
  registry.collect(Kind::kGauge, "etcd_debugging_mvcc_compact_revision",
                   "The revision that the store is compacted to; -1 before the first compaction.",
                   [&store] { return static_cast<double>(store.compacted()); });
}

void MemberMetrics::show_v2(const apply::StoreStats& stats) {
  using Pair = apply::StoreStats::Pair;
  using Place = Pair apply::StoreStats::*;
  static constexpr std::pair<const char*, Place> kWrites[] = {
      {"create", &apply::StoreStats::creates},
      {"set", &apply::StoreStats::sets},
      {"update", &apply::StoreStats::updates},
      {"delete", &apply::StoreStats::deletes},
      {"compareAndSwap", &apply::StoreStats::compare_and_swaps},
      {"compareAndDelete", &apply::StoreStats::compare_and_deletes},
  };
  // As upstream has it, the totals count failures, too; and a series is there from its first event on.
  const auto collect_writes = [&](const char* name, const char* help, bool all) {
    registry.collect(Kind::kCounter, name, help, {"action"}, [&stats, all](const Registry::Emit& emit) {
      for (const auto& [action, place] : kWrites) {
        const Pair& pair = stats.*place;
        const double count = number(pair.fail) + (all ? number(pair.success) : 0);
        if (count > 0) emit({action}, count);
      }
    });
  };
  const auto collect_reads = [&](const char* name, const char* help, bool all) {
    registry.collect(Kind::kCounter, name, help, {"action"}, [&stats, all](const Registry::Emit& emit) {
      const auto count_of = [all](const Pair& pair) { return number(pair.fail) + (all ? number(pair.success) : 0); };
      const double recursive = count_of(stats.recursive_gets);  // first: each is counted as a get before
      const double others = std::max(0.0, count_of(stats.gets) - recursive);
      if (others > 0) emit({"get"}, others);
      if (recursive > 0) emit({"getRecursive"}, recursive);
    });
  };
  collect_writes("etcd_debugging_store_writes_total", "v2 writes that were applied.", true);
  collect_writes("etcd_debugging_store_writes_failed_total", "v2 writes that their conditions refused.", false);
  collect_reads("etcd_debugging_store_reads_total", "v2 reads by clients of this member.", true);
  collect_reads("etcd_debugging_store_reads_failed_total", "v2 reads of what is not there.", false);
  registry.collect(Kind::kCounter, "etcd_debugging_store_expires_total", "v2 nodes whose time ran out.",
                   [&stats] { return number(stats.expirations); });
  registry.collect(Kind::kCounter, "etcd_debugging_server_lease_expired_total", "Leases whose time ran out.",
                   [&stats] { return number(stats.expirations); });
  registry.collect(Kind::kCounter, "etcd_debugging_store_watch_requests_total", "v2 watches that were asked for.",
                   [&stats] { return number(stats.watch_requests); });
  registry.collect(Kind::kGauge, "etcd_debugging_store_watchers", "v2 watches that there are.",
                   [&stats] { return number(stats.watchers); });
  registry.collect(Kind::kCounter, "etcd_mvcc_range_total", "Reads of keys by clients of this member.",
                   [&stats] { return number(stats.gets.success) + number(stats.gets.fail); });
}

void MemberMetrics::show_process() {
  registry.before_text([this] { process_ = read_process_figures(); });
  const auto show_figure = [this](Kind kind, const char* name, const char* help, auto figure) {
    registry.collect(kind, name, help, [this, figure] { return static_cast<double>(process_.*figure); });
  };
  show_figure(Kind::kGauge, "os_fd_used", "File descriptors that are open.", &ProcessFigures::open_descriptors);
  show_figure(Kind::kGauge, "os_fd_limit", "File descriptors that may be open.", &ProcessFigures::descriptors_max);
  show_figure(Kind::kCounter, "process_cpu_seconds_total", "Time on processors, for the program and for the kernel.",
              &ProcessFigures::cpu_seconds);
  show_figure(Kind::kGauge, "process_open_fds", "File descriptors that are open.", &ProcessFigures::open_descriptors);
  show_figure(Kind::kGauge, "process_max_fds", "File descriptors that may be open.", &ProcessFigures::descriptors_max);
  show_figure(Kind::kGauge, "process_resident_memory_bytes", "Memory that lies in RAM.",
              &ProcessFigures::resident_bytes);
  show_figure(Kind::kGauge, "process_virtual_memory_bytes", "Address space that is taken.",
              &ProcessFigures::virtual_bytes);
  show_figure(Kind::kGauge, "process_virtual_memory_max_bytes", "Address space that may be taken.",
              &ProcessFigures::virtual_bytes_max);
  show_figure(Kind::kGauge, "process_start_time_seconds", "When the process started, in seconds since 1970.",
              &ProcessFigures::start_time_seconds);
  show_figure(Kind::kCounter, "process_network_receive_bytes_total", "Bytes that came over the network.",
              &ProcessFigures::network_bytes_received);
  show_figure(Kind::kCounter, "process_network_transmit_bytes_total", "Bytes that went over the network.",
              &ProcessFigures::network_bytes_sent);
}

/// What this member cannot do yet, or has no need to, it has done zero times; dashboards find the name. A line moves to
/// its room's metrics.h together with the feature.
void MemberMetrics::show_unused() {
  constexpr Buckets kFromMillisecond{.start = 0.001, .factor = 2, .count = 14};
  constexpr Buckets kFromTenth{.start = 0.1, .factor = 2, .count = 10};
  constexpr Buckets kHash{.start = 0.01, .factor = 2, .count = 15};

  registry.counter("etcd_server_heartbeat_send_failures_total", "Heartbeats that left too late.");
  registry.counter("etcd_server_learner_promote_successes", "Learners that were given a vote.");
  registry.gauge("etcd_server_snapshot_apply_in_progress_total", "1 while a leader's snapshot is taken in.");
  registry.counter("etcd_network_client_grpc_received_bytes_total", "Bytes of gRPC requests from clients.");
  registry.counter("etcd_network_client_grpc_sent_bytes_total", "Bytes of gRPC answers to clients.");

  registry.histogram("etcd_disk_backend_defrag_duration_seconds", "How long defragmentations took.",
                     {.start = 0.1, .factor = 2, .count = 13});
  registry.gauge("etcd_disk_defrag_inflight", "1 while the store is defragmented.");
  registry.histogram("etcd_disk_backend_snapshot_duration_seconds", "How long sending the whole store took.",
                     {.start = 0.01, .factor = 2, .count = 17});
  registry.histogram("etcd_mvcc_hash_duration_seconds", "How long hashing the whole store took.", kHash);
  registry.histogram("etcd_mvcc_hash_rev_duration_seconds", "How long hashing the store at a revision took.", kHash);
  registry.histogram("etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                     "How long compacting the index kept others waiting; here the index is compacted with the rest.",
                     {.start = 0.5, .factor = 2, .count = 14});
  registry.gauge("etcd_debugging_mvcc_pending_events_total",
                 "Events that are queued for watchers; here nothing is, a slow one reads the history.");
  registry.gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams of the v3 API.");

  registry.histogram("etcd_snap_db_fsync_duration_seconds", "How long syncs of a received store took.",
                     kFromMillisecond);
  registry.histogram("etcd_snap_db_save_total_duration_seconds", "How long saving a received store took.", kFromTenth);
  registry.histogram("etcd_snap_fsync_duration_seconds", "How long syncs of snapshot files took.", kFromMillisecond);
  registry.histogram("etcd_debugging_snap_save_marshalling_duration_seconds", "How long encoding snapshots took.",
                     kFromMillisecond);
  registry.histogram("etcd_debugging_snap_save_total_duration_seconds", "How long saving snapshots took.",
                     kFromMillisecond);

  registry.histogram("etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
                     "How long sending a batch of v3 watch events took.", kFromMillisecond);
  registry.histogram("etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
                     "How long that took for each event.", kFromMillisecond);
  registry.histogram("etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
                     "How long sending an answer about a v3 watch took.", kFromMillisecond);
  registry.histogram("etcd_debugging_server_watch_send_loop_progress_duration_seconds",
                     "How long sending a progress notice of a v3 watch took.", kFromMillisecond);
}

}  // namespace etcd::server
