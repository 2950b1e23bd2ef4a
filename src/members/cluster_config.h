// members/cluster_config.h - 0.4's cluster size control: how many members vote, and when standbys take their places.
//
// Thread:  any (values).
// Source:  etcd v0.4.6 server/cluster_config.go (names, order, defaults, lower bounds).
// Format:  the JSON below, in table `cluster` under `sizeControl` (docs/formats/store.md).
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace etcd::members {

struct ClusterConfig {
  std::int64_t active_size = 9;  // members that vote; at least 3
  double remove_delay_s = 1800;  // how long a voter may be gone before a standby replaces it; at least 2
  double sync_interval_s = 5;    // how often a standby asks who is in the cluster; at least 1

  friend bool operator==(const ClusterConfig&, const ClusterConfig&) = default;
};

/// A change of some of the numbers, as a client asks for it.
struct ClusterConfigChange {
  std::optional<std::int64_t> active_size = {};
  std::optional<double> remove_delay_s = {};
  std::optional<double> sync_interval_s = {};

  friend bool operator==(const ClusterConfigChange&, const ClusterConfigChange&) = default;
};

/// `config` with what `change` names; what is too small is raised to the least that is allowed.
ClusterConfig changed(ClusterConfig config, const ClusterConfigChange& change);

/// `{"activeSize":9,"removeDelay":1800,"syncInterval":5}`.
Bytes to_json(const ClusterConfig& config);

/// Errors: kInvalidArgument when it is not such a document.
Result<ClusterConfig> cluster_config_from_json(BytesView json);

}  // namespace etcd::members
