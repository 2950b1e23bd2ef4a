#include "config/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

namespace etcd::config {
namespace {

constexpr const char* kParseError = "parse error";
constexpr const char* kOutOfRange = "value out of range";

std::unexpected<Error> bad(std::string message) {
  return failure(ErrorCode::kInvalidArgument, std::move(message));
}

bool is_digit(char one) {
  return one >= '0' && one <= '9';
}

/// Digits without a sign. Source: Go's strconv.ParseUint with base 0.
Result<std::uint64_t> parse_magnitude(std::string_view text) {
  int base = 10;
  bool prefixed = false;
  if (text.size() > 1 && text[0] == '0') {
    const char kind = text[1];
    if (kind == 'x' || kind == 'X') base = 16;
    if (kind == 'o' || kind == 'O') base = 8;
    if (kind == 'b' || kind == 'B') base = 2;
    prefixed = base != 10;
    if (!prefixed) base = 8;
    text.remove_prefix(prefixed ? 2 : 1);
  }
  std::string digits;
  bool underscore_allowed = prefixed || base == 8;  // it may follow a prefix, too
  for (const char one : text) {
    if (one == '_') {
      if (!underscore_allowed) return bad(kParseError);
      underscore_allowed = false;
    } else {
      digits += one;
      underscore_allowed = true;
    }
  }
  if (digits.empty() || text.back() == '_') return bad(kParseError);
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const std::from_chars_result read = std::from_chars(digits.data(), end, value, base);
  if (read.ec == std::errc::invalid_argument || read.ptr != end) return bad(kParseError);
  if (read.ec == std::errc::result_out_of_range) return bad(kOutOfRange);
  return value;
}

/// Nanoseconds of a unit of Go's durations.
std::optional<std::uint64_t> unit_ns(std::string_view unit) {
  struct Unit {
    std::string_view name;
    std::uint64_t ns;
  };
  constexpr std::array<Unit, 8> kUnits = {{
      {"ns", 1},
      {"us", 1'000},
      {"\xc2\xb5s", 1'000},  // the micro sign
      {"\xce\xbcs", 1'000},  // the Greek letter
      {"ms", 1'000'000},
      {"s", 1'000'000'000},
      {"m", 60'000'000'000},
      {"h", 3'600'000'000'000},
  }};
  for (const Unit& one : kUnits) {
    if (one.name == unit) return one.ns;
  }
  return std::nullopt;
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char one : text) {
    switch (one) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\a': out += "\\a"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\v': out += "\\v"; break;
      default:
        if (const auto byte = static_cast<unsigned char>(one); byte < 0x20 || byte == 0x7f) {
          out += fmt::format("\\x{:02x}", static_cast<unsigned>(byte));
        } else {
          out += one;
        }
    }
  }
  out += '"';
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Result<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return bad(kParseError);
}

Result<std::uint64_t> parse_unsigned(std::string_view text) {
  return parse_magnitude(text);
}

Result<std::int64_t> parse_signed(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  ETCD_TRY(const std::uint64_t magnitude, parse_magnitude(text));
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;
  if (magnitude > kHalf || (magnitude == kHalf && !negative)) return bad(kOutOfRange);
  return static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
}

Result<Duration> parse_duration(std::string_view given) {
  // Go's own limits: each addend and the sum stay at or below 2^63 nanoseconds, of which only a negative one may be
  // 2^63.
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 63;
  const auto invalid = [given] { return bad(fmt::format("time: invalid duration {}", quoted(given))); };

  std::string_view text = given;
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return Duration(0);
  if (text.empty()) return invalid();

  std::uint64_t total = 0;
  while (!text.empty()) {
    std::uint64_t whole = 0;
    bool has_digits = false;
    for (; !text.empty() && is_digit(text[0]); text.remove_prefix(1)) {
      const auto digit = static_cast<std::uint64_t>(text[0] - '0');
      if (whole > kLimit / 10) return invalid();
      whole = whole * 10 + digit;
      if (whole > kLimit) return invalid();
      has_digits = true;
    }
    double part = 0;
    double scale = 1;
    if (text.starts_with('.')) {
      text.remove_prefix(1);
      for (; !text.empty() && is_digit(text[0]); text.remove_prefix(1)) {
        if (scale < 1e18) {  // what lies behind is below a nanosecond, whatever the unit
          part = part * 10 + (text[0] - '0');
          scale *= 10;
        }
        has_digits = true;
      }
    }
    if (!has_digits) return invalid();

    std::size_t unit_bytes = 0;
    while (unit_bytes < text.size() && text[unit_bytes] != '.' && !is_digit(text[unit_bytes])) ++unit_bytes;
    const std::string_view unit = text.substr(0, unit_bytes);
    if (unit.empty()) return bad(fmt::format("time: missing unit in duration {}", quoted(given)));
    const std::optional<std::uint64_t> ns = unit_ns(unit);
    if (!ns) return bad(fmt::format("time: unknown unit {} in duration {}", quoted(unit), quoted(given)));
    text.remove_prefix(unit_bytes);

    if (whole > kLimit / *ns) return invalid();
    whole = whole * *ns + static_cast<std::uint64_t>(part * (static_cast<double>(*ns) / scale));
    if (whole > kLimit) return invalid();
    total += whole;
    if (total > kLimit) return invalid();
  }
  if (total == kLimit && !negative) return invalid();
  return Duration(static_cast<std::int64_t>(negative ? 0 - total : total));
}

Result<Duration> parse_seconds(std::string_view text) {
  double seconds = 0;
  const char* end = text.data() + text.size();
  const std::from_chars_result read = std::from_chars(text.data(), end, seconds);
  if (text.empty() || read.ec != std::errc() || read.ptr != end) return bad(kParseError);
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 9e9) return bad(kParseError);
  return Duration(std::llround(seconds * 1e9));
}

}  // namespace etcd::config
