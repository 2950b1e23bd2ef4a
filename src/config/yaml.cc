#include "config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "config/flags.h"
#include "config/values.h"

namespace etcd::config {
namespace {

std::unexpected<Error> bad(std::string message) {
  return failure(ErrorCode::kInvalidArgument, std::move(message));
}

enum class Type : std::uint8_t { kNull, kText, kBool, kInteger, kFraction, kList, kMap };

std::string_view name_of(Type type) {
  switch (type) {
    case Type::kNull: return "nothing";
    case Type::kText: return "a string";
    case Type::kBool: return "a boolean";
    case Type::kInteger: return "an integer";
    case Type::kFraction: return "a number with a fraction";
    case Type::kList: return "a list";
    case Type::kMap: return "a block";
  }
  return "something";
}

struct Value {
  Type type = Type::kNull;
  std::string text = {};  // scalars: "true", "-12", or as written
};

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  for (const std::string_view word : words) {
    if (text == word) return true;
  }
  return false;
}

/// What a plain scalar means. Source: YAML 1.1's type repository (bool, int, float), as upstream's parser has it.
Value resolve_plain(const std::string& text) {
  if (is_one_of(text, {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) {
    return {Type::kBool, "true"};
  }
  if (is_one_of(text, {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) {
    return {Type::kBool, "false"};
  }
  if (text.empty() || text.find_first_of("0123456789") == std::string::npos) return {Type::kText, text};
  constexpr std::string_view kNumberStarts = "+-.0123456789";
  if (kNumberStarts.find(text[0]) == std::string_view::npos) return {Type::kText, text};

  std::string plain;
  for (const char one : text) {
    if (one != '_') plain += one;
  }
  if (const Result<std::int64_t> number = parse_signed(plain)) return {Type::kInteger, std::to_string(*number)};
  if (const Result<std::uint64_t> number = parse_unsigned(plain)) return {Type::kInteger, std::to_string(*number)};

  if (plain.find_first_not_of("0123456789+-.eE") != std::string::npos) return {Type::kText, text};
  double number = 0;
  const char* begin = plain.data() + (plain[0] == '+' ? 1 : 0);
  const char* end = plain.data() + plain.size();
  const std::from_chars_result read = std::from_chars(begin, end, number);
  if (read.ec != std::errc() || read.ptr != end) return {Type::kText, text};
  // JSON stands behind the YAML, and there 1e9 is an integer.
  if (std::trunc(number) == number && std::fabs(number) < 9e15) {
    return {Type::kInteger, std::to_string(static_cast<std::int64_t>(number))};
  }
  return {Type::kFraction, text};
}

Value value_of(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Sequence: return {Type::kList, {}};
    case YAML::NodeType::Map: return {Type::kMap, {}};
    case YAML::NodeType::Scalar: break;
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null: return {Type::kNull, {}};
  }
  // yaml-cpp marks quoted scalars "!"; a plain one has "?".
  if (node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str") return {Type::kText, node.Scalar()};
  return resolve_plain(node.Scalar());
}

std::string lower(std::string text) {
  for (char& one : text) {
    if (one >= 'A' && one <= 'Z') one = static_cast<char>(one - 'A' + 'a');
  }
  return text;
}

/// A key inside a block, and the flag it stands for.
struct BlockKey {
  std::string_view path;
  std::string_view flag;
  FileForm form;
};

constexpr BlockKey kBlockKeys[] = {
    {"client-transport-security.cert-file", "cert-file", FileForm::kText},
    {"client-transport-security.key-file", "key-file", FileForm::kText},
    {"client-transport-security.client-cert-file", "client-cert-file", FileForm::kText},
    {"client-transport-security.client-key-file", "client-key-file", FileForm::kText},
    {"client-transport-security.client-cert-auth", "client-cert-auth", FileForm::kBool},
    {"client-transport-security.trusted-ca-file", "trusted-ca-file", FileForm::kText},
    {"client-transport-security.auto-tls", "auto-tls", FileForm::kBool},
    {"client-transport-security.allowed-cn", "client-transport-security.allowed-cn", FileForm::kList},
    {"client-transport-security.allowed-hostname", "client-cert-allowed-hostname", FileForm::kList},
    {"client-transport-security.skip-client-san-verification", "client-transport-security.skip-client-san-verification",
     FileForm::kBool},
    {"peer-transport-security.cert-file", "peer-cert-file", FileForm::kText},
    {"peer-transport-security.key-file", "peer-key-file", FileForm::kText},
    {"peer-transport-security.client-cert-file", "peer-client-cert-file", FileForm::kText},
    {"peer-transport-security.client-key-file", "peer-client-key-file", FileForm::kText},
    {"peer-transport-security.client-cert-auth", "peer-client-cert-auth", FileForm::kBool},
    {"peer-transport-security.trusted-ca-file", "peer-trusted-ca-file", FileForm::kText},
    {"peer-transport-security.auto-tls", "peer-auto-tls", FileForm::kBool},
    {"peer-transport-security.allowed-cn", "peer-cert-allowed-cn", FileForm::kList},
    {"peer-transport-security.allowed-hostname", "peer-cert-allowed-hostname", FileForm::kList},
    {"peer-transport-security.skip-client-san-verification", "peer-skip-client-san-verification", FileForm::kBool},
    {"socket-options.reuse-port", "socket-reuse-port", FileForm::kBool},
    {"socket-options.reuse-address", "socket-reuse-address", FileForm::kBool},
    {"discovery-config.token", "discovery-token", FileForm::kText},
    {"discovery-config.client.endpoints", "discovery-endpoints", FileForm::kList},
    {"discovery-config.client.dial-timeout", "discovery-dial-timeout", FileForm::kNanoseconds},
    {"discovery-config.client.request-timeout", "discovery-request-timeout", FileForm::kNanoseconds},
    {"discovery-config.client.keepalive-time", "discovery-keepalive-time", FileForm::kNanoseconds},
    {"discovery-config.client.keepalive-timeout", "discovery-keepalive-timeout", FileForm::kNanoseconds},
    {"discovery-config.client.secure.cert", "discovery-cert", FileForm::kText},
    {"discovery-config.client.secure.key", "discovery-key", FileForm::kText},
    {"discovery-config.client.secure.cacert", "discovery-cacert", FileForm::kText},
    {"discovery-config.client.secure.insecure-transport", "discovery-insecure-transport", FileForm::kBool},
    {"discovery-config.client.secure.insecure-skip-tls-verify", "discovery-insecure-skip-tls-verify", FileForm::kBool},
    {"discovery-config.client.auth.username", "discovery-user", FileForm::kText},
    {"discovery-config.client.auth.password", "discovery-password", FileForm::kText},
};

/// True when keys lie below this path.
bool is_block(std::string_view path) {
  for (const BlockKey& key : kBlockKeys) {
    if (key.path.size() > path.size() && key.path.starts_with(path) && key.path[path.size()] == '.') return true;
  }
  return false;
}

struct Target {
  const Flag* flag;
  FileForm form;
};

std::optional<Target> target_of(std::string_view path) {
  for (const BlockKey& key : kBlockKeys) {
    if (key.path == path) return Target{find_flag(key.flag), key.form};
  }
  const Flag* flag = find_flag(path);
  if (flag == nullptr || flag->file == FileForm::kAbsent) return std::nullopt;
  return Target{flag, flag->file};
}

std::unexpected<Error> wrong_type(std::string_view path, Type has, std::string_view wants) {
  return bad(fmt::format("key {} takes {}, not {}", quoted(path), wants, name_of(has)));
}

/// The value in the form that the flag takes on a command line. Nothing when the default shall stay.
Result<std::optional<std::string>> flag_text(std::string_view path, FileForm form, const YAML::Node& node) {
  Value value = value_of(node);
  using Text = std::optional<std::string>;
  if (value.type == Type::kNull) return Text();
  switch (form) {
    case FileForm::kAbsent: return Text();
    case FileForm::kText:
      if (value.type != Type::kText) return wrong_type(path, value.type, "a string");
      return Text(std::move(value.text));
    case FileForm::kUrls:
      if (value.type != Type::kText) return wrong_type(path, value.type, "a string");
      if (value.text.empty()) return Text();
      return Text(std::move(value.text));
    case FileForm::kBool:
      if (value.type != Type::kBool) return wrong_type(path, value.type, "a boolean");
      return Text(std::move(value.text));
    case FileForm::kNumber:
      if (value.type != Type::kInteger) return wrong_type(path, value.type, "an integer");
      return Text(std::move(value.text));
    case FileForm::kNanoseconds:
      if (value.type != Type::kInteger) return wrong_type(path, value.type, "an integer (nanoseconds)");
      return Text(value.text + "ns");
    case FileForm::kList: {
      if (value.type != Type::kList) return wrong_type(path, value.type, "a list of strings");
      std::string joined;
      for (const auto& item : node) {
        const Value part = value_of(item);
        if (part.type != Type::kText) return wrong_type(path, part.type, "a list of strings");
        if (!joined.empty()) joined += ',';
        joined += part.text;
      }
      return Text(std::move(joined));
    }
  }
  return Text();
}

std::expected<void, Print> set_key(const std::string& path, const Target& target, const YAML::Node& node,
                                   Options& options, std::vector<Notice>& notices) {
  const Result<std::optional<std::string>> text = flag_text(path, target.form, node);
  if (!text) return std::unexpected(refusal(text.error().message));
  if (!text->has_value()) return {};
  const std::string& value = **text;
  if (path == "initial-cluster-state") {
    options.initial_cluster_state = value;  // whether it makes sense is checked later, with another message
    options.given.insert_or_assign(path, Origin::kFile);
    return {};
  }
  const Result<void> set = set_flag(options, *target.flag, value, Origin::kFile, notices);
  if (set) return {};
  const std::string& why = set.error().message;
  if (target.form == FileForm::kUrls) {
    // Upstream names one of these keys by another's name, and so shall we.
    const std::string_view key = path == "advertise-client-urls" ? "advertise-peer-urls" : std::string_view(path);
    return std::unexpected(Print{.err = fmt::format("unexpected error setting up {}: {}\n", key, why), .exit_code = 1});
  }
  if (path == "feature-gates") return std::unexpected(refusal(why));
  return std::unexpected(refusal(fmt::format("key {}: {}", quoted(path), why)));
}

std::expected<void, Print> read_block(const std::string& prefix, const YAML::Node& block, Options& options,
                                      std::vector<Notice>& notices) {
  for (const auto& pair : block) {
    if (!pair.first.IsScalar()) continue;
    const std::string path = prefix + lower(pair.first.Scalar());
    if (is_block(path)) {
      const Type type = value_of(pair.second).type;
      if (type == Type::kNull) continue;
      if (type != Type::kMap) return std::unexpected(refusal(wrong_type(path, type, "a block").error().message));
      if (auto done = read_block(path + ".", pair.second, options, notices); !done) return done;
    } else if (const std::optional<Target> target = target_of(path)) {
      if (auto done = set_key(path, *target, pair.second, options, notices); !done) return done;
    }
  }
  return {};
}

/// What one key of the rotation's JSON takes.
Result<void> set_rotation(std::string_view key, const Value& value, LogRotation& rotation) {
  const auto number = [&](std::int64_t& target) -> Result<void> {
    if (value.type != Type::kInteger) return wrong_type(key, value.type, "an integer");
    ETCD_TRY(target, parse_signed(value.text));
    return {};
  };
  const auto boolean = [&](bool& target) -> Result<void> {
    if (value.type != Type::kBool) return wrong_type(key, value.type, "a boolean");
    target = value.text == "true";
    return {};
  };
  if (value.type == Type::kNull) return {};
  if (key == "maxsize") return number(rotation.max_megabytes);
  if (key == "maxage") return number(rotation.max_days);
  if (key == "maxbackups") return number(rotation.max_backups);
  if (key == "localtime") return boolean(rotation.local_time);
  if (key == "compress") return boolean(rotation.compress);
  return {};
}

}  // namespace

std::expected<void, Print> read_config_file(std::string_view text, Options& options, std::vector<Notice>& notices) {
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    const Type type = value_of(root).type;
    if (type == Type::kNull) return {};
    if (type != Type::kMap) return std::unexpected(refusal("the configuration file must be one block of keys"));
    return read_block("", root, options, notices);
  } catch (const YAML::Exception& exception) {
    return std::unexpected(refusal(fmt::format("error converting YAML: {}", exception.what())));
  }
}

Result<LogRotation> parse_log_rotation(std::string_view json) {
  try {
    const YAML::Node root = YAML::Load(std::string(json));
    if (!root.IsMap() || trimmed(json).substr(0, 1) != "{") {
      return bad("improperly formatted log rotation config: not a JSON object");
    }
    LogRotation rotation;
    for (const auto& pair : root) {
      if (!pair.first.IsScalar()) continue;
      const Result<void> set = set_rotation(lower(pair.first.Scalar()), value_of(pair.second), rotation);
      if (!set) return bad(fmt::format("invalid log rotation config: {}", set.error().message));
    }
    return rotation;
  } catch (const YAML::Exception& exception) {
    return bad(fmt::format("improperly formatted log rotation config: {}", exception.what()));
  }
}

}  // namespace etcd::config
