// mvcc/metrics.h - what the keyspace and its watches count.
//
// Life:    made by server/ from its registry; StoreOptions takes a pointer. Must outlive the store and its watch groups.
// Thread:  any (counters). The store counts once for each publication, not for each key.
// Source:  etcd v3.7.1 server/storage/mvcc/metrics.go (names, buckets).
#pragma once
#include "telemetry/metrics.h"

namespace etcd::mvcc {

struct Metrics {
  explicit Metrics(telemetry::Registry& registry);

  telemetry::Counter& puts;
  telemetry::Counter& deletes;
  telemetry::Counter& transactions;  // of several operations
  telemetry::Gauge& put_bytes;       // keys and values

  telemetry::Gauge& watchers;
  telemetry::Gauge& slow_watchers;  // those that are not in sync
  telemetry::Counter& events;       // taken by watchers

  telemetry::Counter& compacted_records;
  telemetry::Gauge& last_compaction;  // Units: seconds since 1970
  telemetry::Histogram& compaction_slice_ms;
  telemetry::Histogram& compaction_total_ms;
};

}  // namespace etcd::mvcc
