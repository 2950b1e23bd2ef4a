// config/flags.h - the table of flags, and a command line read by it in the syntax of Go's flag package.
//
// The table is the one place that knows a flag: the command line, the environment, the file and --help all read it.
//
// Thread:  any (pure functions over an immutable table).
// Source:  Go's flag package for syntax and messages; etcd v3.7.1 server/etcdmain/config.go and etcd 0.4.6
//          config/config.go for the names.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/options.h"
#include "config/outcome.h"

namespace etcd::config {

enum class Group : std::uint8_t {
  kMember,
  kClustering,
  kSecurity,
  kAuth,
  kMonitoring,
  kProfiling,
  kTuning,
  kUnsafe,
  kEtcd04,
  kFileOnly,  // no flag at all: a key of the file, under its path
};

enum class Kind : std::uint8_t {
  kValue,        // -x v, -x=v
  kBool,         // -x, -x=v
  kIgnored,      // -x, -x=v, -x v where v has no dash: taken and dropped
  kIgnoredBool,  // -x, -x=v: likewise
};

/// How a flag's value looks in the configuration file.
enum class FileForm : std::uint8_t {
  kAbsent,       // the file has no such key at its top
  kText,         // a string
  kBool,         // true or false
  kNumber,       // an integer
  kNanoseconds,  // a duration, as an integer
  kList,         // a sequence of strings
  kUrls,         // a string of URLs between commas
};

struct Flag {
  std::string_view name;
  Group group;
  Kind kind;
  FileForm file;
  std::string_view default_text;  // as --help shows it
  std::string_view help;
  Result<void> (*set)(Options& options, std::string_view value);  // null for the ignored kinds
};

/// All flags, in the order of --help.
std::span<const Flag> all_flags();

/// The flag of that name, or null.
const Flag* find_flag(std::string_view name);

/// Gives `flag` a value and notes where it came from. An ignored flag leaves a warning instead.
/// Errors: kInvalidArgument; the message is the inner one ("parse error"), to be set behind the flag's name.
Result<void> set_flag(Options& options, const Flag& flag, std::string_view value, Origin origin,
                      std::vector<Notice>& notices);

struct CommandLine {
  Options options;                   // the defaults, and what the flags changed
  std::optional<std::string> stray;  // the first argument that is no flag; what follows it was not read
  std::string err;                   // lines for standard error: 0.4's own word on its older names
  std::vector<Notice> notices;
};

/// Reads the arguments behind the program's name. Instead of a command line it returns what to print: help (exit code
/// 0), or the first error and the usage (exit code 2).
std::expected<CommandLine, Print> parse_flags(std::span<const std::string> arguments);

}  // namespace etcd::config
