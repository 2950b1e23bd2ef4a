// service/metrics.h - what becomes of clients' proposals, counted.
//
// Life:    made by server/ from its registry; ServiceOptions takes a pointer. Must outlive the service.
// Thread:  any (counters).
// Source:  etcd v3.7.1 server/etcdserver/metrics.go (names).
#pragma once
#include "telemetry/metrics.h"

namespace etcd::service {

struct Metrics {
  explicit Metrics(telemetry::Registry& registry)
      : proposals_failed(registry.counter("etcd_server_proposals_failed_total",
                                          "Proposals that were refused, or not applied in time.")) {}

  telemetry::Counter& proposals_failed;
};

}  // namespace etcd::service
