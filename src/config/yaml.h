// config/yaml.h - options from the configuration file, which is YAML or JSON.
//
// Thread:  any (pure functions; the file's text is passed in).
// Source:  etcd v3.7.1 server/embed/config.go: its keys, and what it does with odd ones. yaml-cpp stays in yaml.cc.
#pragma once
#include <expected>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/options.h"
#include "config/outcome.h"

namespace etcd::config {

/// Reads the whole file into `options`.
///
/// Shape:   unknown keys are skipped, a repeated key's last value counts, upper and lower case are alike, null leaves
///          the default. A value of another type than its key's is refused: `name: on` is a boolean, not a name.
/// Errors:  what to print, with exit code 1; `options` may be half changed.
std::expected<void, Print> read_config_file(std::string_view text, Options& options, std::vector<Notice>& notices);

/// Reads the JSON of --log-rotation-config-json. Errors: kInvalidArgument.
Result<LogRotation> parse_log_rotation(std::string_view json);

}  // namespace etcd::config
