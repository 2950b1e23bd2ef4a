#include "config/url.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "config/values.h"

namespace etcd::config {
namespace {

std::unexpected<Error> bad(std::string message) {
  return failure(ErrorCode::kInvalidArgument, std::move(message));
}

bool is_letter(char one) {
  return (one >= 'a' && one <= 'z') || (one >= 'A' && one <= 'Z');
}
bool is_digit(char one) {
  return one >= '0' && one <= '9';
}

/// What Go's net/url says, which names the text first.
std::unexpected<Error> unparsable(std::string_view text, std::string_view why) {
  return bad(fmt::format("parse {}: {}", quoted(text), why));
}

struct Split {
  std::string scheme;
  std::string_view rest;
};

/// The scheme in lower case, and what follows its colon. An empty scheme when the text has none.
Result<Split> split_scheme(std::string_view text) {
  for (std::size_t place = 0; place < text.size(); ++place) {
    const char one = text[place];
    if (is_letter(one)) continue;
    const bool inner = is_digit(one) || one == '+' || one == '-' || one == '.';
    if (inner && place > 0) continue;
    if (one == ':' && place == 0) return unparsable(text, "missing protocol scheme");
    if (one != ':') break;
    Split found{.scheme = std::string(text.substr(0, place)), .rest = text.substr(place + 1)};
    for (char& letter : found.scheme) {
      if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    }
    return found;
  }
  return Split{.scheme = {}, .rest = text};
}

/// Refuses what net/url refuses in a host and port. Source: RFC 3986 3.2.2; Go allows quotes and angles, too.
Result<void> check_authority(std::string_view text, std::string_view authority) {
  std::size_t colon = std::string_view::npos;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.rfind(']');
    if (end == std::string_view::npos) return unparsable(text, "missing ']' in host");
    if (end + 1 < authority.size()) colon = end + 1;
  } else {
    colon = authority.rfind(':');
  }
  if (colon != std::string_view::npos) {
    const std::string_view port = authority.substr(colon);
    if (port[0] != ':' || !std::ranges::all_of(port.substr(1), is_digit)) {
      return unparsable(text, fmt::format("invalid port {} after host", quoted(port)));
    }
  }
  constexpr std::string_view kAllowed = "-_.~!$&'()*+,;=:[]<>\"%";
  for (const char one : authority) {
    const bool plain = is_letter(one) || is_digit(one) || static_cast<unsigned char>(one) >= 0x80;
    if (!plain && kAllowed.find(one) == std::string_view::npos) {
      return unparsable(text, fmt::format("invalid character {} in host name", quoted(std::string_view(&one, 1))));
    }
  }
  return {};
}

/// True for an address of either family, as the digits that inet_pton(3) reads.
bool is_address(const std::string& host) {
  in_addr four{};
  in6_addr six{};
  return inet_pton(AF_INET, host.c_str(), &four) == 1 || inet_pton(AF_INET6, host.c_str(), &six) == 1;
}

}  // namespace

std::optional<std::pair<std::string, std::string>> split_host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return std::nullopt;
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;
  }
  constexpr std::string_view kBrackets = "[]";
  if (host.find_first_of(kBrackets) != std::string_view::npos) return std::nullopt;
  if (port.find_first_of(kBrackets) != std::string_view::npos) return std::nullopt;
  return std::pair(std::string(host), std::string(port));
}

Url make_url(std::string_view scheme, std::string_view host, std::string_view port) {
  const bool brackets = host.find(':') != std::string_view::npos;
  Url url;
  url.scheme = scheme;
  url.host = host;
  url.port = port;
  url.text = fmt::format("{}://{}{}{}:{}", scheme, brackets ? "[" : "", host, brackets ? "]" : "", port);
  return url;
}

Result<Url> parse_url(std::string_view given) {
  const std::string_view text = trimmed(given);
  for (const char one : text) {
    if (static_cast<unsigned char>(one) < 0x20 || one == 0x7f) {
      return unparsable(text, "net/url: invalid control character in URL");
    }
  }
  ETCD_TRY(const Split split_text, split_scheme(text));
  const std::string_view rest = split_text.rest;
  if (split_text.scheme.empty() && rest.substr(0, rest.find('/')).find(':') != std::string_view::npos) {
    return unparsable(text, "first path segment in URL cannot contain colon");
  }

  std::string_view authority;
  std::string_view path = rest.substr(0, rest.find_first_of("?#"));
  if (path.starts_with("//")) {
    path.remove_prefix(2);
    authority = path.substr(0, path.find('/'));
    path.remove_prefix(authority.size());
    const std::size_t user = authority.rfind('@');
    if (user != std::string_view::npos) authority.remove_prefix(user + 1);
    ETCD_TRY_VOID(check_authority(text, authority));
  }

  Url url;
  url.scheme = split_text.scheme;
  url.text = url.scheme.empty() ? std::string(rest) : fmt::format("{}:{}", url.scheme, rest);
  if (url.is_unix()) {
    url.path = fmt::format("{}{}", authority, path);
    return url;
  }
  if (url.scheme != "http" && url.scheme != "https") {
    return bad(fmt::format("URL scheme must be http, https, unix, or unixs: {}", text));
  }
  std::optional<std::pair<std::string, std::string>> place = split_host_port(authority);
  if (!place) return bad(fmt::format("URL address does not have the form \"host:port\": {}", text));
  if (!path.empty()) return bad(fmt::format("URL must not contain a path: {}", text));
  url.host = std::move(place->first);
  url.port = std::move(place->second);
  return url;
}

Result<UrlList> parse_urls(std::string_view text) {
  UrlList urls;
  // An empty text is one URL, an empty one: upstream says the same of it.
  const std::vector<std::string> parts = text.empty() ? std::vector<std::string>{std::string()} : split(text, ',');
  for (const std::string& part : parts) {
    ETCD_TRY(Url url, parse_url(part));
    urls.push_back(std::move(url));
  }
  std::ranges::sort(urls, {}, &Url::text);
  const auto doubles = std::ranges::unique(urls, {}, &Url::text);
  urls.erase(doubles.begin(), doubles.end());
  return urls;
}

std::string join_urls(const UrlList& urls) {
  std::string text;
  for (const Url& url : urls) {
    if (!text.empty()) text += ',';
    text += url.text;
  }
  return text;
}

Result<void> check_listen_urls(const UrlList& urls) {
  for (const Url& url : urls) {
    if (url.is_unix() || url.host == "localhost" || is_address(url.host)) continue;
    return bad(fmt::format("expected IP in URL for binding ({})", url.text));
  }
  return {};
}

Result<void> check_advertise_urls(const UrlList& urls) {
  for (const Url& url : urls) {
    if (!url.is_unix() && url.host.empty()) return bad(fmt::format("unexpected empty host ({})", url.text));
  }
  return {};
}

Result<std::map<std::string, UrlList>> parse_initial_cluster(std::string_view text) {
  std::map<std::string, std::string> joined;
  for (const std::string& part : split(text, ',')) {
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    const std::string url = equals == std::string::npos ? std::string() : part.substr(equals + 1);
    const auto [place, is_new] = joined.try_emplace(part.substr(0, equals), url);
    if (!is_new) place->second += "," + url;
  }
  std::map<std::string, UrlList> members;
  for (const auto& [name, urls_text] : joined) {
    ETCD_TRY(members[name], parse_urls(urls_text));
  }
  return members;
}

}  // namespace etcd::config
