#include "lease/metrics.h"

namespace etcd::lease {

Metrics::Metrics(telemetry::Registry& registry)
    : granted(registry.counter("etcd_debugging_lease_granted_total", "Leases granted, TTLs of v2 nodes among them.")),
      revoked(registry.counter("etcd_debugging_lease_revoked_total", "Leases that ended, at their time or before.")),
      renewed(registry.counter("etcd_debugging_lease_renewed_total", "Leases that were given more time.")),
      ttl(registry.histogram("etcd_debugging_lease_ttl_total", "TTLs of granted leases, in seconds.",
                             {.start = 1, .factor = 2, .count = 24})) {}

}  // namespace etcd::lease
