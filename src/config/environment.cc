#include "config/environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "config/flags.h"
#include "config/values.h"

namespace etcd::config {
namespace {

struct Variable {
  std::string_view name;
  std::string_view flag;
};

// 0.4.6 spelled these in its own way.
constexpr std::array<Variable, 4> kIrregular = {{
    {"ETCD_SNAPSHOTCOUNT", "snapshot-count"},
    {"ETCD_VERBOSE", "v"},
    {"ETCD_VERY_VERBOSE", "vv"},
    {"ETCD_VERY_VERY_VERBOSE", "vvv"},
}};

/// Whether the flag can be set by a variable at all.
bool has_variable(const Flag& flag) {
  return flag.group != Group::kFileOnly && flag.name != "version";
}

bool was_on_command_line(const Options& options, std::string_view flag) {
  const auto found = options.given.find(flag);
  return found != options.given.end() && found->second == Origin::kCommandLine;
}

/// Variables with a meaning of their own, which no flag has.
bool is_special(std::string_view name) {
  return name == "ETCD_CONFIG_FILE" || name == "ETCD_UNSUPPORTED_ARCH" || name == "ETCD_VERSION";
}

/// What the log may show of a value.
std::string shown(std::string_view flag, std::string_view value) {
  return flag == "discovery-password" ? "***" : std::string(value);
}

}  // namespace

std::string variable_name(std::string_view flag) {
  std::string name = "ETCD_";
  for (const char one : flag) {
    if (one == '-') {
      name += '_';
    } else {
      name += one >= 'a' && one <= 'z' ? static_cast<char>(one - 'a' + 'A') : one;
    }
  }
  return name;
}

std::optional<std::string_view> variable_value(std::span<const std::string> environment, std::string_view variable) {
  for (const std::string& entry : environment) {
    const std::string_view text = entry;
    if (text.size() <= variable.size() || text[variable.size()] != '=' || !text.starts_with(variable)) continue;
    const std::string_view value = text.substr(variable.size() + 1);
    if (value.empty()) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

std::expected<void, Print> apply_environment(std::span<const std::string> environment, Options& options,
                                             std::vector<Notice>& notices) {
  std::map<std::string, const Flag*, std::less<>> flag_of;  // by variable
  for (const Flag& flag : all_flags()) {
    if (has_variable(flag)) flag_of.emplace(variable_name(flag.name), &flag);
  }
  for (const Variable& irregular : kIrregular) flag_of.emplace(irregular.name, find_flag(irregular.flag));

  std::map<std::string_view, std::string_view> values;  // by variable; the first of a name counts, as in getenv(3)
  for (const std::string& entry : environment) {
    const std::string_view text = entry;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || !text.starts_with("ETCD_")) continue;
    values.try_emplace(text.substr(0, equals), text.substr(equals + 1));
  }

  for (const auto& [variable, value] : values) {
    const auto known = flag_of.find(variable);
    if (known == flag_of.end() || !was_on_command_line(options, known->second->name)) continue;
    return std::unexpected(Print{
        .notices = {Notice{Notice::Level::kFatal,
                           "conflicting environment variable is shadowed by corresponding command-line flag (either "
                           "unset environment variable or disable flag))",
                           {{"environment-variable", std::string(variable)}}}},
        .exit_code = 1});
  }

  for (const auto& [variable, value] : values) {
    if (is_special(variable)) {
      if (variable == "ETCD_VERSION") {
        notices.push_back(
            warning("cannot set special environment variable", {{"environment-variable", std::string(variable)}}));
      }
      continue;
    }
    const auto known = flag_of.find(variable);
    if (known == flag_of.end()) {
      notices.push_back(warning("unrecognized environment variable",
                                {{"environment-variable", fmt::format("{}={}", variable, value)}}));
      continue;
    }
    if (value.empty()) continue;
    const Flag& flag = *known->second;
    // Both spellings of one flag: the regular one wins, and has or will be read by itself.
    if (const std::string regular = variable_name(flag.name); variable != regular) {
      const auto other = values.find(regular);
      if (other != values.end() && !other->second.empty()) continue;
    }
    const Result<void> set = set_flag(options, flag, value, Origin::kEnvironment, notices);
    if (!set) {
      return std::unexpected(
          refusal(fmt::format("invalid value {} for {}: {}", quoted(value), variable, set.error().message)));
    }
    notices.push_back(info("recognized and used environment variable",
                           {{"variable-name", std::string(variable)}, {"variable-value", shown(flag.name, value)}}));
  }
  return {};
}

}  // namespace etcd::config
