#include "net/media_type.h"

#include <algorithm>
#include <set>

namespace etcd::net {
namespace {

bool is_token_byte(char byte) {
  return byte > ' ' && byte < '\x7f' && std::string_view("()<>@,;:\\\"/[]?=").find(byte) == std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char byte) { return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte; });
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string_view take_token(std::string_view& text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_token_byte);
  const auto size = static_cast<std::size_t>(end - text.begin());
  const std::string_view token = text.substr(0, size);
  text.remove_prefix(size);
  return token;
}

/// A token or a quoted string; false when there is neither.
bool take_value(std::string_view& text) {
  if (!text.starts_with('"')) return !take_token(text).empty();
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 1 < text.size()) {
      ++at;
    } else if (text[at] == '"') {
      text.remove_prefix(at + 1);
      return true;
    } else if (text[at] == '\r' || text[at] == '\n') {
      return false;
    }
  }
  return false;
}

/// What is wrong with a type without its parameters; empty when nothing is.
std::string_view fault_of_type(std::string_view type) {
  std::string_view left = type;
  if (take_token(left).empty()) return "mime: no media type";
  if (left.empty()) return "";
  if (!left.starts_with('/')) return "mime: expected slash after first token";
  left.remove_prefix(1);
  if (take_token(left).empty()) return "mime: expected token after slash";
  return left.empty() ? "" : "mime: unexpected content after media subtype";
}

}  // namespace

MediaType parse_media_type(std::string_view field) {
  MediaType parsed;
  std::string_view left = field.substr(field.find(';') == std::string_view::npos ? field.size() : field.find(';'));
  const std::string type = lower(trim(field.substr(0, field.find(';'))));
  if (const std::string_view fault = fault_of_type(type); !fault.empty()) {
    parsed.error = fault;
    return parsed;
  }
  parsed.type = type;
  std::set<std::string, std::less<>> names;
  while (!trim(left).empty()) {
    left = trim(left);
    std::string_view rest = left;
    bool good = rest.starts_with(';');
    std::string name;
    if (good) {
      rest.remove_prefix(1);
      rest = trim(rest);
      name = lower(take_token(rest));
      rest = trim(rest);
      good = !name.empty() && rest.starts_with('=');
    }
    if (good) {
      rest.remove_prefix(1);
      rest = trim(rest);
      good = take_value(rest);
    }
    if (!good) {
      if (trim(left) == ";") break;  // a lone semicolon at the end is forgiven
      parsed.error = "mime: invalid media parameter";
      return parsed;
    }
    if (!names.insert(name).second) {
      parsed.type.clear();
      parsed.error = "mime: duplicate parameter name";
      return parsed;
    }
    left = rest;
  }
  return parsed;
}

}  // namespace etcd::net
