// config/values.h - single values as text: numbers, durations, lists, in the syntax that Go's flag package reads.
//
// Thread:  any (pure functions).
// Errors:  kInvalidArgument; the message is what upstream shows behind the flag's name.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace etcd::config {

/// In double quotes, with what would not print escaped; as Go's %q, save that bytes beyond ASCII stay as they are.
std::string quoted(std::string_view text);

/// Without white space at either end.
std::string_view trimmed(std::string_view text);

/// The parts between separators, empty ones included; no part at all for an empty text.
std::vector<std::string> split(std::string_view text, char separator);

/// 1, t, T, TRUE, true, True and their opposites. Errors: "parse error".
Result<bool> parse_bool(std::string_view text);

/// Decimal, or with a prefix 0x, 0o, 0 or 0b; underscores may stand between digits.
/// Errors: "parse error", "value out of range".
Result<std::uint64_t> parse_unsigned(std::string_view text);
Result<std::int64_t> parse_signed(std::string_view text);

/// "1h2m3.5s", "-1.5h", "300ms", "0". Units: ns, us, µs, ms, s, m, h.
/// Errors: `time: invalid duration "x"`, `time: missing unit in duration "5"`, `time: unknown unit "d" in duration
/// "5d"`.
Result<Duration> parse_duration(std::string_view text);

/// Seconds with an optional fraction, as 0.4 wrote its time-outs. Errors: "parse error".
Result<Duration> parse_seconds(std::string_view text);

}  // namespace etcd::config
