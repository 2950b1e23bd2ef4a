// lease/metrics.h - what happens to leases, counted; the TTL of a v2 node is one.
//
// Life:    made by server/ from its registry; ExpiryIndex::measure() takes a pointer. Must outlive the index.
// Thread:  any (counters).
// Source:  etcd v3.7.1 server/lease/metrics.go (names, buckets).
#pragma once
#include "telemetry/metrics.h"

namespace etcd::lease {

struct Metrics {
  explicit Metrics(telemetry::Registry& registry);

  telemetry::Counter& granted;
  telemetry::Counter& revoked;  // ended, be it before or at their time
  telemetry::Counter& renewed;
  telemetry::Histogram& ttl;  // of those granted
};

}  // namespace etcd::lease
