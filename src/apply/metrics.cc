#include "apply/metrics.h"

#include <utility>

namespace etcd::apply {
namespace {

struct Labels {
  const char* version;
  const char* operation;
};

Labels labels_of(Operation operation) {
  switch (operation) {
    case Operation::kPut: return {"v2", "PUT"};
    case Operation::kPost: return {"v2", "POST"};
    case Operation::kDelete: return {"v2", "DELETE"};
    case Operation::kSync: return {"v2", "SYNC"};
    case Operation::kClusterMemberAttrSet: return {"v3", "ClusterMemberAttrSet"};
    case Operation::kClusterVersionSet: return {"v3", "ClusterVersionSet"};
    case Operation::kCompaction: return {"v3", "Compaction"};
    case Operation::kAlarm: return {"v3", "Alarm"};
  }
  return {"v3", "unknown"};
}

}  // namespace

Metrics::Metrics(telemetry::Registry& registry)
    : slow_applies(registry.counter("etcd_server_slow_apply_total",
                                    "Commands that took longer to apply than --warning-apply-duration.")),
      backend_commit(registry.histogram("etcd_disk_backend_commit_duration_seconds",
                                        "How long the store took to make a batch of changes durable.",
                                        {.start = 0.001, .factor = 2, .count = 14})),
      durations_(registry.histograms("etcd_server_apply_duration_seconds", "How long commands took to apply.",
                                     {"version", "op", "success"}, {.start = 0.0001, .factor = 2, .count = 20})) {}

void Metrics::applied(Operation operation, bool success, Duration took) {
  telemetry::Histogram*& histogram = used_[std::to_underlying(operation)][success ? 1 : 0];
  if (histogram == nullptr) {
    const Labels labels = labels_of(operation);
    histogram = &durations_.with({labels.version, labels.operation, success ? "true" : "false"});
  }
  histogram->observe(took);
}

}  // namespace etcd::apply
