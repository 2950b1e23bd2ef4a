// api/admin/metrics.h - GET /metrics, and what this room itself counts.
//
// Life:    Metrics is made by server/ from its registry and outlives the handlers.
// Thread:  any net loop; the text is made on the workers, since it looks through /proc.
// Source:  etcd v3.7.1 server/etcdserver/api/etcdhttp/{metrics,health}.go; client_golang promhttp (content type, its own
//          metrics).
#pragma once
#include <memory>

#include "io/executor.h"
#include "net/http.h"
#include "telemetry/metrics.h"

namespace etcd::api::admin {

struct Metrics {
  explicit Metrics(telemetry::Registry& registry);

  telemetry::Counter& health_successes;  // of /health
  telemetry::Counter& health_failures;
  telemetry::Family<telemetry::Gauge>& checks;          // by type and name: how the newest one ended
  telemetry::Family<telemetry::Counter>& checks_total;  // by type, name and status

  telemetry::Gauge& scrapes_now;
  telemetry::Counter& scrapes_answered;
};

/// Any method: everything that the registry knows, as text. Whatever form is asked for, this is the one that comes.
class MetricsHandler final : public net::Handler {
 public:
  MetricsHandler(telemetry::Registry& registry, Metrics& metrics, io::Executor& workers)
      : registry_(registry), metrics_(metrics), workers_(workers) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  telemetry::Registry& registry_;
  Metrics& metrics_;
  io::Executor& workers_;
};

}  // namespace etcd::api::admin
