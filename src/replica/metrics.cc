#include "replica/metrics.h"

namespace etcd::replica {

Metrics::Metrics(telemetry::Registry& registry)
    : leader_changes(registry.counter("etcd_server_leader_changes_seen_total", "How often there was a new leader.")),
      slow_read_indexes(registry.counter("etcd_server_slow_read_indexes_total",
                                         "Linearizable reads that no leader confirmed in time.")),
      failed_read_indexes(registry.counter("etcd_server_read_indexes_failed_total",
                                           "Linearizable reads that failed for another reason.")),
      wal_write(registry.histogram("etcd_disk_wal_write_duration_seconds",
                                   "How long a batch of entries took to write to the log, before its sync.",
                                   {.start = 0.001, .factor = 2, .count = 14})),
      wal_sync(registry.histogram("etcd_disk_wal_fsync_duration_seconds",
                                  "How long the log took to be on stable storage.",
                                  {.start = 0.001, .factor = 2, .count = 14})) {}

}  // namespace etcd::replica
