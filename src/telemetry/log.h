// telemetry/log.h - structured log lines, in the form that upstream's users already parse.
//
//   {"level":"info","ts":"2026-11-25T08:16:25.123456Z","caller":"server/member.cc:42","msg":"ready","name":"default"}
//
// Life:    built once in server/ and handed to constructors; a copy costs one reference count. There is no global one.
// Thread:  any (immutable; every line is one write(2), so lines of two threads never mix).
// Owns:    its sinks, shared with its copies.
// Cost:    a line below the level costs one comparison: fields only borrow what they show, and text is made afterwards.
#pragma once
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace etcd::telemetry {

/// Source: the level names of etcd's --log-level. A line at kPanic or kFatal does not end the process; its caller does.
enum class Level : std::uint8_t { kDebug, kInfo, kWarn, kError, kPanic, kFatal, kOff };

/// "debug", "info", ...
std::string_view name_of(Level level);
/// The level of that name, unless there is none. "off" is not a level that a user can name.
std::optional<Level> level_named(std::string_view name);

enum class Format : std::uint8_t {
  kJson,     // one JSON object a line
  kConsole,  // time, level, caller and message between tabs, then the fields as JSON
};

/// A member or cluster id, shown as it is everywhere: lower-case hex without padding, in quotes.
struct HexId {
  std::uint64_t value = 0;
};

inline HexId hex(std::uint64_t id) {
  return HexId{id};
}

/// One key with its value. Borrows both until the call that takes it returns, so build it within that call.
struct Field {
  using Value =
      std::variant<std::string_view, std::int64_t, std::uint64_t, bool, Duration, HexId, std::span<const std::string>>;
  std::string_view key;
  Value value;
};

inline Field field(std::string_view key, std::string_view value) {
  return Field{key, value};
}
inline Field field(std::string_view key, const char* value) {
  return Field{key, std::string_view(value)};
}
/// Shown as Go writes durations: "1m30s", "250ms".
inline Field field(std::string_view key, Duration value) {
  return Field{key, value};
}
inline Field field(std::string_view key, HexId value) {
  return Field{key, value};
}
inline Field field(std::string_view key, const std::vector<std::string>& values) {
  return Field{key, std::span<const std::string>(values)};
}
template <std::same_as<bool> Bool>
Field field(std::string_view key, Bool value) {
  return Field{key, Field::Value(std::in_place_type<bool>, value)};
}
template <std::integral Number>
  requires(!std::same_as<Number, bool>)
Field field(std::string_view key, Number value) {
  if constexpr (std::is_signed_v<Number>) {
    return Field{key, Field::Value(std::in_place_type<std::int64_t>, value)};
  } else {
    return Field{key, Field::Value(std::in_place_type<std::uint64_t>, value)};
  }
}
template <class Tag>
Field field(std::string_view key, Ordinal<Tag> value) {
  return field(key, value.value);
}

/// Where finished lines go. Implementations take calls from any thread.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Takes one line with its newline. It has nobody to report a failure to, so it has none.
  virtual void write(std::string_view line) = 0;
};

std::shared_ptr<Sink> stderr_sink();
std::shared_ptr<Sink> stdout_sink();
/// Appends to the file at `path`, which is made when it is missing. Errors: kIo.
Result<std::shared_ptr<Sink>> file_sink(const std::string& path);

struct LogOptions {
  Level level = Level::kInfo;
  Format format = Format::kJson;
};

class Logger {
 public:
  /// The null logger: drops everything.
  Logger() = default;

  /// Writes lines from `options.level` up to every sink, stamped with what `wall` says.
  Logger(LogOptions options, std::vector<std::shared_ptr<Sink>> sinks, std::function<WallTime()> wall);

  /// For the rare line whose fields must be computed first.
  [[nodiscard]] bool enabled(Level level) const { return level >= level_; }

  /// `logger.info("published member", {field("name", name), field("member-id", hex(id))})`
  ///
  /// Shape: `at` is filled in by the compiler and becomes the `caller` field, as folder/file.cc:line.
  void log(Level level, std::string_view message, std::initializer_list<Field> fields = {},
           std::source_location at = std::source_location::current()) const {
    log_span(level, message, std::span<const Field>(fields.begin(), fields.size()), at);
  }
  void debug(std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location at = std::source_location::current()) const {
    log(Level::kDebug, message, fields, at);
  }
  void info(std::string_view message, std::initializer_list<Field> fields = {},
            std::source_location at = std::source_location::current()) const {
    log(Level::kInfo, message, fields, at);
  }
  void warn(std::string_view message, std::initializer_list<Field> fields = {},
            std::source_location at = std::source_location::current()) const {
    log(Level::kWarn, message, fields, at);
  }
  void error(std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location at = std::source_location::current()) const {
    log(Level::kError, message, fields, at);
  }
  void panic(std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location at = std::source_location::current()) const {
    log(Level::kPanic, message, fields, at);
  }
  void fatal(std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location at = std::source_location::current()) const {
    log(Level::kFatal, message, fields, at);
  }

  /// As log(), for fields whose number is known at run time only.
  void log_span(Level level, std::string_view message, std::span<const Field> fields,
                std::source_location at = std::source_location::current()) const {
    if (enabled(level)) [[unlikely]]
      write(level, message, fields, at);
  }

 private:
  struct Core {
    Format format;
    std::vector<std::shared_ptr<Sink>>
        sinks;  // shared with whoever made them, so that a test can read what was written
    std::function<WallTime()> wall;
  };

  void write(Level level, std::string_view message, std::span<const Field> fields,
             const std::source_location& at) const;

  Level level_ = Level::kOff;         // beside the pointer: the check must not follow it
  std::shared_ptr<const Core> core_;  // shared by all copies of this logger; null in the null logger only
};

}  // namespace etcd::telemetry
