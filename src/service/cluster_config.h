// service/cluster_config.h - 0.4's cluster size control: how many members vote, and when standbys take their places.
//
// Thread:  any (values).
// Source:  etcd v0.4.6 server/cluster_config.go (names, order, defaults).
//
// It will be replicated state, set by the first member's flags; until then every cluster has the defaults.
#pragma once
#include <cstdint>

#include "base/bytes.h"

namespace etcd::service {

struct ClusterConfig {
  std::int64_t active_size = 9;        // members that vote
  std::int64_t remove_delay_s = 1800;  // how long a voter may be gone before a standby replaces it
  std::int64_t sync_interval_s = 5;    // how often a standby asks who is in the cluster

  friend bool operator==(const ClusterConfig&, const ClusterConfig&) = default;
};

/// `{"activeSize":9,"removeDelay":1800,"syncInterval":5}`.
Bytes to_json(const ClusterConfig& config);

}  // namespace etcd::service
