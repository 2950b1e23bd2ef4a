// apply/metrics.h - how long commands take to apply, and batches to become durable.
//
// Life:    made by server/ from its registry; ApplierOptions takes a pointer. Must outlive the applier.
// Thread:  applied() on the apply loop only; backend_commit any.
// Source:  etcd v3.7.1 server/etcdserver/txn/metrics.go, server/storage/backend/metrics.go (names, buckets); etcd
//          v3.5.21 server/etcdserver/apply_v2.go (labels of v2 commands).
#pragma once
#include <array>
#include <cstdint>

#include "telemetry/metrics.h"

namespace etcd::apply {

/// What a command is called in the label `op`: v2 ones by the HTTP method that brings them.
enum class Operation : std::uint8_t {
  kPut,
  kPost,
  kDelete,
  kSync,  // a node's time is up; upstream's word for that
  kClusterMemberAttrSet,
  kClusterVersionSet,
  kCompaction,
  kAlarm,
};

class Metrics {
 public:
  explicit Metrics(telemetry::Registry& registry);

  /// Counts one command that was applied, or refused by its rules.
  void applied(Operation operation, bool success, Duration took);

  telemetry::Counter& slow_applies;
  telemetry::Histogram& backend_commit;  // seconds

 private:
  static constexpr std::size_t kOperations = 8;

  telemetry::Family<telemetry::Histogram>& durations_;
  // Those of durations_ that have been used: each is made when it is first needed, so that none without a value shows.
  std::array<std::array<telemetry::Histogram*, 2>, kOperations> used_{};
};

}  // namespace etcd::apply
