#include "api/admin/metrics.h"

#include <utility>

namespace etcd::api::admin {
namespace {

/// Go's client makes the series of 500 and 503, too; no answer of ours has such a code.
telemetry::Counter& make_scrape_counter(telemetry::Registry& registry) {
  telemetry::Family<telemetry::Counter>& codes = registry.counters(
      "promhttp_metric_handler_requests_total", "Requests for the metrics that were answered, by status.", {"code"});
  codes.with({"500"});
  codes.with({"503"});
  return codes.with({"200"});
}

}  // namespace

Metrics::Metrics(telemetry::Registry& registry)
    : health_successes(registry.counter("etcd_server_health_success", "Requests for /health that found it good.")),
      health_failures(registry.counter("etcd_server_health_failures", "Requests for /health that found it bad.")),
      checks(registry.gauges("etcd_server_healthcheck", "How each check of /livez and /readyz last ended; 1 is good.",
                             {"type", "name"})),
      checks_total(registry.counters("etcd_server_healthchecks_total", "Checks of /livez and /readyz that were made.",
                                     {"type", "name", "status"})),
      scrapes_now(registry.gauge("promhttp_metric_handler_requests_in_flight",
                                 "Requests for the metrics that are being answered.")),
      scrapes_answered(make_scrape_counter(registry)) {}

void MetricsHandler::handle(net::Request, std::shared_ptr<net::Exchange> exchange) {
  metrics_.scrapes_now.add(1);
  workers_.post([this, exchange = std::move(exchange)]() mutable {
    io::Executor& loop = exchange->executor();
    loop.post([this, exchange = std::move(exchange), text = registry_.text()]() mutable {
      net::Response response;
      response.headers.add("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
      response.body = std::move(text);
      exchange->send(std::move(response));
      metrics_.scrapes_now.add(-1);
      metrics_.scrapes_answered.add();
    });
  });
}

}  // namespace etcd::api::admin
