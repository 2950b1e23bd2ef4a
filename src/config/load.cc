#include "config/load.h"

#include <fmt/format.h>

#include <expected>
#include <iterator>
#include <utility>

#include "config/check.h"
#include "config/environment.h"
#include "config/flags.h"
#include "config/values.h"
#include "config/yaml.h"

namespace etcd::config {
namespace {

/// Adds what was to be said before the end came.
Print with_history(const std::string& err, std::vector<Notice> notices, Print print) {
  print.err.insert(0, err);
  notices.insert(notices.end(), std::make_move_iterator(print.notices.begin()),
                 std::make_move_iterator(print.notices.end()));
  print.notices = std::move(notices);
  return print;
}

std::expected<void, Print> read_file(const Sources& sources, const std::string& path, Options& options,
                                     std::vector<Notice>& notices) {
  notices.push_back(warning("options come from the configuration file; other flags and variables are ignored",
                            {{"config-file", path}}));
  options = Options();
  options.config_file = path;
  if (!sources.machine.read_file) return std::unexpected(refusal("no way to read files"));
  const Result<std::string> text = sources.machine.read_file(path);
  if (!text) return std::unexpected(refusal(text.error().message));
  return read_config_file(*text, options, notices);
}

}  // namespace

LoadResult load(const Sources& sources) {
  std::expected<CommandLine, Print> line = parse_flags(sources.arguments);
  if (!line) return std::move(line).error();
  Options& options = line->options;
  std::vector<Notice>& notices = line->notices;
  const auto end = [&line](Print print) { return with_history(line->err, line->notices, std::move(print)); };

  if (line->stray) return end(refusal(fmt::format("{} is not a valid flag", quoted(*line->stray))));
  if (options.print_version) return Print{.out = version_text(sources.version)};

  std::string path = options.config_file;
  if (path.empty()) path = variable_value(sources.environment, "ETCD_CONFIG_FILE").value_or("");
  if (!path.empty()) {
    if (auto read = read_file(sources, path, options, notices); !read) return end(std::move(read).error());
  } else if (auto applied = apply_environment(sources.environment, options, notices); !applied) {
    return end(std::move(applied).error());
  }
  if (const Result<void> settled = settle(options, sources.machine, notices); !settled) {
    return end(refusal(settled.error().message));
  }
  if (auto checked = check(options, notices); !checked) return end(std::move(checked).error());
  return Run{.options = std::move(options), .err = std::move(line->err), .notices = std::move(notices)};
}

}  // namespace etcd::config
