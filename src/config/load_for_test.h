// config/load_for_test.h - load() for tests: files and the default host come from the test.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "config/load.h"

namespace etcd::config {

using Texts = std::vector<std::string>;

struct Given {
  Texts arguments = {};
  Texts environment = {};
  std::map<std::string, std::string> files = {};  // by path
  std::string default_host = {};
};

inline LoadResult load_given(const Given& given) {
  Sources sources;
  sources.arguments = given.arguments;
  sources.environment = given.environment;
  sources.machine.read_file = [&given](const std::string& path) -> Result<std::string> {
    const auto found = given.files.find(path);
    if (found == given.files.end())
      return failure(ErrorCode::kNotFound, "open " + path + ": no such file or directory");
    return found->second;
  };
  sources.machine.default_host = [&given] { return given.default_host; };
  sources.version = VersionInfo{.version = "3.7.1", .git_sha = "abc1234", .platform = "linux/amd64"};
  return load(sources);
}

/// The value of the first such field among the notices, or "-".
inline std::string field_of(const std::vector<Notice>& notices, std::string_view message, std::string_view key) {
  for (const Notice& notice : notices) {
    if (notice.message != message) continue;
    for (const auto& [name, value] : notice.fields) {
      if (name == key) return value;
    }
  }
  return "-";
}

inline bool has_notice(const std::vector<Notice>& notices, std::string_view message) {
  for (const Notice& notice : notices) {
    if (notice.message == message) return true;
  }
  return false;
}

/// One line for what came of it: "run", or the exit code with what was refused ("1: TEXT", "2: first line of stderr").
inline std::string outcome(const LoadResult& result) {
  if (std::holds_alternative<Run>(result)) return "run";
  const Print& print = std::get<Print>(result);
  const std::string why = field_of(print.notices, "failed to verify flags", "error");
  return std::to_string(print.exit_code) + ": " + (why != "-" ? why : print.err.substr(0, print.err.find('\n')));
}

/// The options of a run; a default set, and a failed test's text in their name, when there was none.
inline Options options_of(const Given& given) {
  LoadResult result = load_given(given);
  if (auto* run = std::get_if<Run>(&result)) return std::move(run->options);
  Options none;
  none.name = "no run: " + outcome(result);
  return none;
}

}  // namespace etcd::config
