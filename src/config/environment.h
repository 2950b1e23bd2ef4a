// config/environment.h - options from the process's environment: ETCD_DATA_DIR for --data-dir, and so on.
//
// Thread:  any (pure functions; the environment is passed in).
// Source:  etcd v3.7.1 client/pkg/flags; 0.4.6's variables that do not follow the rule are known, too.
#pragma once
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/options.h"
#include "config/outcome.h"

namespace etcd::config {

/// "data-dir" -> "ETCD_DATA_DIR"
std::string variable_name(std::string_view flag);

/// The value of `variable` in a list of NAME=value, of which the first counts. Nothing when it is not there or empty.
std::optional<std::string_view> variable_value(std::span<const std::string> environment, std::string_view variable);

/// Gives every flag that the command line left alone its variable's value, and warns of ETCD_ variables that mean
/// nothing. A variable of a flag that the command line did give is refused, even an empty one: one of the two would be
/// silently wrong.
std::expected<void, Print> apply_environment(std::span<const std::string> environment, Options& options,
                                             std::vector<Notice>& notices);

}  // namespace etcd::config
