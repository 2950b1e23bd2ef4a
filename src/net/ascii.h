// net/ascii.h - the letters and digits of protocol elements, without a locale.
//
// Thread:  any (pure functions).
#pragma once
#include <algorithm>
#include <string_view>

namespace etcd::net {

constexpr char ascii_lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + ('a' - 'A')) : letter;
}

/// Equal but for the case of ASCII letters.
constexpr bool equal_fold(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](char one, char other) { return ascii_lower(one) == ascii_lower(other); });
}

constexpr bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

constexpr bool is_alphanumeric(char letter) {
  return is_digit(letter) || (ascii_lower(letter) >= 'a' && ascii_lower(letter) <= 'z');
}

/// What the hexadecimal digit stands for, or -1.
constexpr int hex_value(char letter) {
  if (is_digit(letter)) return letter - '0';
  const char lower = ascii_lower(letter);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace etcd::net
