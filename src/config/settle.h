// config/settle.h - fills in what nobody said: default URLs, the data directory, the initial cluster, and what flags of
// 0.4 mean today.
//
// Thread:  any; calls the machine's functions on the caller's thread.
// Source:  docs/configuration.md, "Defaults"; etcd v3.7.1 server/embed/config.go; etcd v2.3.8 for 0.4's addresses.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/options.h"
#include "config/outcome.h"

namespace etcd::config {

/// What the machine knows and this room must ask for.
struct Machine {
  /// The whole text of the file at a path.
  std::function<Result<std::string>(const std::string& path)> read_file = {};
  /// The host that the default route leaves from, or an empty text. May be null: then nobody knows.
  std::function<std::string()> default_host = {};
};

/// Errors: kInvalidArgument; the text of a refusal.
Result<void> settle(Options& options, const Machine& machine, std::vector<Notice>& notices);

}  // namespace etcd::config
