// replica/metrics.h - what the replica and its log count and time.
//
// Life:    made by server/ from its registry; ReplicaOptions takes a pointer. Must outlive the replica.
// Thread:  any (counters). The log is timed once for each batch of entries.
// Source:  etcd v3.7.1 server/etcdserver/metrics.go, server/etcdserver/v3_server.go, server/storage/wal/metrics.go
//          (names, buckets).
#pragma once
#include "telemetry/metrics.h"

namespace etcd::replica {

struct Metrics {
  explicit Metrics(telemetry::Registry& registry);

  telemetry::Counter& leader_changes;       // a leader that follows none or another one
  telemetry::Counter& slow_read_indexes;    // linearizable reads whose time ran out
  telemetry::Counter& failed_read_indexes;  // those that ended because the member did
  telemetry::Histogram& wal_write;          // seconds for a batch of entries, without the sync
  telemetry::Histogram& wal_sync;           // seconds
};

}  // namespace etcd::replica
