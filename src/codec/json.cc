#include "codec/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace etcd::codec {
namespace {

/// The length of the UTF-8 sequence at `text`'s front, or 0 when it is none.
/// Source: RFC 3629 section 4: no overlong forms, no surrogates, nothing past U+10FFFF.
std::size_t sequence_bytes(BytesView text) {
  const auto at = [&](std::size_t place) { return static_cast<unsigned char>(text[place]); };
  const auto follows = [&](std::size_t place, unsigned low = 0x80, unsigned high = 0xBF) {
    return place < text.size() && at(place) >= low && at(place) <= high;
  };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return follows(1) ? 2 : 0;
  if (lead < 0xF0) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : 0xBF;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (lead < 0xF5) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xF4 ? 0x8F : 0xBF;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

/// Which bytes stand for themselves.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int byte = 0x20; byte < 0x80; ++byte) plain[static_cast<std::size_t>(byte)] = true;
  for (const char special : {'"', '\\', '<', '>', '&'}) plain[static_cast<unsigned char>(special)] = false;
  return plain;
}();

template <class Number>
void append_number(Bytes& out, Number number) {
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  static_cast<void>(error);  // 24 places hold any 64-bit number
  out.append(digits, end);
}

}  // namespace

void append_json_string(Bytes& out, BytesView text) {
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  while (!text.empty()) {
    std::size_t run = 0;
    while (run < text.size() && kPlain[static_cast<unsigned char>(text[run])]) ++run;
    out.append(text.substr(0, run));
    text.remove_prefix(run);
    if (text.empty()) break;
    const auto byte = static_cast<unsigned char>(text.front());
    std::size_t taken = 1;
    switch (byte) {
      case '"': out.append("\\\""); break;
      case '\\': out.append("\\\\"); break;
      case '\n': out.append("\\n"); break;
      case '\r': out.append("\\r"); break;
      case '\t': out.append("\\t"); break;
      default:
        if (byte < 0x80) {
          out.append("\\u00");
          out.push_back(kHex[byte >> 4]);
          out.push_back(kHex[byte & 15]);
          break;
        }
        taken = sequence_bytes(text);
        if (taken == 0) {
          out.append("\\ufffd");
          taken = 1;
        } else if (text.starts_with("\u2028")) {
          out.append("\\u2028");
        } else if (text.starts_with("\u2029")) {
          out.append("\\u2029");
        } else {
          out.append(text.substr(0, taken));
        }
    }
    text.remove_prefix(taken);
  }
  out.push_back('"');
}

void append_json_strings(Bytes& out, const std::vector<std::string>& texts) {
  out.push_back('[');
  bool first = true;
  for (const std::string& text : texts) {
    if (!std::exchange(first, false)) out.push_back(',');
    append_json_string(out, text);
  }
  out.push_back(']');
}

void append_json_number(Bytes& out, std::uint64_t number) {
  append_number(out, number);
}
void append_json_number(Bytes& out, std::int64_t number) {
  append_number(out, number);
}
void append_json_number(Bytes& out, double number) {
  const double size = std::abs(number);
  const bool plain = size == 0 || (size >= 1e-6 && size < 1e21);
  char digits[48];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number,
                                          plain ? std::chars_format::fixed : std::chars_format::scientific);
  CHECK(error == std::errc(), "a number of more than {} digits", sizeof digits);
  out.append(digits, end);
}

Bytes to_valid_utf8(BytesView text) {
  Bytes out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t taken = sequence_bytes(text);
    out.append(taken == 0 ? BytesView("\uFFFD") : text.substr(0, taken));
    text.remove_prefix(taken == 0 ? 1 : taken);
  }
  return out;
}

}  // namespace etcd::codec
