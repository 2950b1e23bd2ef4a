#include "base/duration_text.h"

#include <fmt/format.h>

#include <cstdint>

namespace etcd {
namespace {

/// ".5" for 500 of three digits, nothing for 0.
std::string fraction(std::uint64_t part, int digits) {
  if (part == 0) return {};
  std::string text = fmt::format(".{:0{}}", part, digits);
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

}  // namespace

std::string duration_text(Duration duration) {
  constexpr std::uint64_t kMinute = 60'000'000'000;
  constexpr std::uint64_t kHour = 60 * kMinute;
  const std::int64_t signed_ns = duration.count();
  const auto cast = static_cast<std::uint64_t>(signed_ns);
  const std::uint64_t ns = signed_ns < 0 ? 0 - cast : cast;
  const char* sign = signed_ns < 0 ? "-" : "";
  if (ns == 0) return "0s";
  if (ns < 1'000) return fmt::format("{}{}ns", sign, ns);
  if (ns < 1'000'000) return fmt::format("{}{}{}µs", sign, ns / 1'000, fraction(ns % 1'000, 3));
  if (ns < 1'000'000'000) return fmt::format("{}{}{}ms", sign, ns / 1'000'000, fraction(ns % 1'000'000, 6));
  std::string text = sign;
  if (ns >= kHour) text += fmt::format("{}h", ns / kHour);
  if (ns >= kMinute) text += fmt::format("{}m", ns % kHour / kMinute);
  text += fmt::format("{}{}s", ns % kMinute / 1'000'000'000, fraction(ns % 1'000'000'000, 9));
  return text;
}

}  // namespace etcd
