#include "net/url.h"

#include <fmt/format.h>

#include <array>

#include "net/ascii.h"

namespace etcd::net {
namespace {

/// At most three bytes, of which the first is '%', as Go's %q shows them.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (std::size_t index = 0; index < text.size(); ++index) {
    const auto byte = static_cast<unsigned char>(text[index]);
    // The only whole UTF-8 sequence that fits behind the '%' has two bytes, U+0080 to U+07FF.
    if (byte >= 0xC2 && byte <= 0xDF && index + 1 < text.size()) {
      const auto second = static_cast<unsigned char>(text[index + 1]);
      if (second >= 0x80 && second <= 0xBF) {
        const unsigned letter = (byte & 0x1Fu) << 6 | (second & 0x3Fu);
        if (letter <= 0xA0 || letter == 0xAD) {
          result += fmt::format("\\u{:04x}", letter);
        } else {
          result += text.substr(index, 2);
        }
        ++index;
        continue;
      }
    }
    switch (byte) {
      case '"': result += "\\\""; break;
      case '\\': result += "\\\\"; break;
      case '\a': result += "\\a"; break;
      case '\b': result += "\\b"; break;
      case '\f': result += "\\f"; break;
      case '\n': result += "\\n"; break;
      case '\r': result += "\\r"; break;
      case '\t': result += "\\t"; break;
      case '\v': result += "\\v"; break;
      default:
        if (byte < 0x20 || byte >= 0x7F) {
          result += fmt::format("\\x{:02x}", byte);
        } else {
          result += static_cast<char>(byte);
        }
    }
  }
  result += '"';
  return result;
}

Result<std::string> unescape(std::string_view text, bool plus_is_space) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t index = 0; index < text.size(); ++index) {
    const char letter = text[index];
    if (letter == '%') {
      const int high = index + 2 < text.size() ? hex_value(text[index + 1]) : -1;
      const int low = index + 2 < text.size() ? hex_value(text[index + 2]) : -1;
      if (high < 0 || low < 0) {
        return failure(ErrorCode::kInvalidArgument, "invalid URL escape " + quoted(text.substr(index, 3)));
      }
      result += static_cast<char>(high * 16 + low);
      index += 2;
    } else {
      result += letter == '+' && plus_is_space ? ' ' : letter;
    }
  }
  return result;
}

constexpr std::array<bool, 256> letters(std::string_view others) {
  std::array<bool, 256> result{};
  for (std::size_t byte = 0; byte < 256; ++byte) result[byte] = is_alphanumeric(static_cast<char>(byte));
  for (const char letter : others) result[static_cast<unsigned char>(letter)] = true;
  return result;
}

constexpr std::array<bool, 256> kStayInPath = letters("-_.~$&+,/:;=@");

constexpr bool is_control(char letter) {
  return static_cast<unsigned char>(letter) < 0x20 || static_cast<unsigned char>(letter) == 0x7F;
}

std::unexpected<Error> bad_target() {
  return failure(ErrorCode::kInvalidArgument, "invalid request target");
}

}  // namespace

Result<std::string> unescape_path(std::string_view text) {
  return unescape(text, false);
}
Result<std::string> unescape_query(std::string_view text) {
  return unescape(text, true);
}

Result<Target> parse_target(std::string_view method, std::string_view target) {
  for (const char letter : target) {
    if (is_control(letter)) return bad_target();
  }
  Target result;
  if (target == "*") {
    if (method != "OPTIONS") return bad_target();
    result.path = "*";
    return result;
  }
  std::string_view rest = target;
  if (!rest.starts_with('/')) {
    // What is left is the absolute form, which only clients of a proxy send, yet every server has to take.
    const std::size_t colon = rest.find("://");
    if (colon == std::string_view::npos || method == "CONNECT") return bad_target();
    const std::string_view scheme = rest.substr(0, colon);
    if (!equal_fold(scheme, "http") && !equal_fold(scheme, "https")) return bad_target();
    rest.remove_prefix(colon + 3);
    const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
    result.authority = rest.substr(0, end);
    if (result.authority.empty() || result.authority.find('@') != std::string::npos) return bad_target();
    rest.remove_prefix(end);
  }
  const std::size_t question = rest.find('?');
  ETCD_TRY(result.path, unescape_path(rest.substr(0, question)));
  if (result.path.empty()) result.path = "/";
  if (question != std::string_view::npos) result.query = rest.substr(question + 1);
  return result;
}

const std::string* Form::find(std::string_view name) const {
  for (const auto& [field, value] : pairs) {
    if (field == name) return &value;
  }
  return nullptr;
}

Form parse_form(std::string_view text) {
  Form form;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.find(';') != std::string_view::npos) {
      form.error = "invalid semicolon separator in query";  // Go lets this one replace an earlier error
      continue;
    }
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    Result<std::string> name = unescape_query(pair.substr(0, equals));
    Result<std::string> value = unescape_query(pair.substr(std::min(equals + 1, pair.size())));
    if (name.has_value() && value.has_value()) {
      form.pairs.emplace_back(*std::move(name), *std::move(value));
    } else if (form.error.empty()) {
      form.error = name.has_value() ? value.error().message : name.error().message;
    }
  }
  return form;
}

bool is_clean_path(std::string_view path) {
  if (!path.starts_with('/')) return false;
  std::size_t begin = 1;
  for (;;) {
    const std::size_t end = path.find('/', begin);
    const std::string_view component = path.substr(begin, end == std::string_view::npos ? end : end - begin);
    if (component == "." || component == "..") return false;
    if (end == std::string_view::npos) return true;  // an empty last component is the trailing slash
    if (component.empty()) return false;
    begin = end + 1;
  }
}

std::string clean_path(std::string_view path) {
  if (is_clean_path(path)) return std::string(path);
  std::string result;
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    begin = end + 1;
    if (component == "..") {
      const std::size_t slash = result.rfind('/');
      result.resize(slash == std::string::npos ? 0 : slash);
    } else if (!component.empty() && component != ".") {
      result += '/';
      result += component;
    }
  }
  if (result.empty() || path.ends_with('/')) result += '/';
  return result;
}

std::string escape_path(std::string_view path) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string result;
  result.reserve(path.size());
  for (const char letter : path) {
    const auto byte = static_cast<unsigned char>(letter);
    if (kStayInPath[byte]) {
      result += letter;
    } else {
      result += '%';
      result += kDigits[byte >> 4];
      result += kDigits[byte & 0xF];
    }
  }
  return result;
}

std::string escape_html(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char letter : text) {
    switch (letter) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&#34;"; break;
      case '\'': result += "&#39;"; break;
      default: result += letter;
    }
  }
  return result;
}

std::optional<Response> redirect_to_clean_path(const Request& request) {
  if (is_clean_path(request.path) || request.path == "*" || request.method == "CONNECT") return std::nullopt;
  std::string url = escape_path(clean_path(request.path));
  if (!request.query.empty()) {
    url += '?';
    url += request.query;
  }
  std::string location;  // the query is not ours and may hold raw bytes, which Go escapes in lower case
  for (const char letter : url) {
    if (static_cast<unsigned char>(letter) < 0x80) {
      location += letter;
    } else {
      location += fmt::format("%{:02x}", static_cast<unsigned char>(letter));
    }
  }
  Response response;
  response.status = 301;
  if (request.method == "GET" || request.method == "HEAD") {
    response.headers.add("Content-Type", "text/html; charset=utf-8");
    response.body = "<a href=\"" + escape_html(url) + "\">Moved Permanently</a>.\n\n";
  }
  response.headers.add("Location", std::move(location));
  return response;
}

}  // namespace etcd::net
