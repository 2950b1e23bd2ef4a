#include "service/peer_urls.h"

#include <algorithm>
#include <string_view>

namespace etcd::service {
namespace {

std::unexpected<Error> invalid(const char* what, const std::string& url) {
  return failure(ErrorCode::kInvalidArgument, std::string(what) + ": " + url);
}

std::string trimmed(const std::string& text) {
  constexpr const char* kWhite = " \t\n\v\f\r";
  const std::size_t begin = text.find_first_not_of(kWhite);
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhite) + 1 - begin);
}

/// "host:port" or "[host]:port", where either may be empty.
bool has_port(std::string_view host) {
  std::size_t end = 0;
  if (host.starts_with('[')) {
    end = host.find(']');
    if (end == std::string_view::npos) return false;
    ++end;
  } else {
    end = std::min(host.find(':'), host.size());
  }
  return end < host.size() && host[end] == ':' && host.find(':', end + 1) == std::string_view::npos;
}

Result<void> check(const std::string& url) {
  const std::string_view text = url;
  const std::size_t colon = text.find("://");
  const std::string_view scheme = colon == std::string_view::npos ? std::string_view() : text.substr(0, colon);
  if (scheme == "unix" || scheme == "unixs") return {};
  if (scheme != "http" && scheme != "https") return invalid("URL scheme must be http, https, unix, or unixs", url);
  const std::string_view rest = text.substr(colon + 3);
  const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view host = rest.substr(0, end);
  if (const std::size_t at = host.rfind('@'); at != std::string_view::npos) host.remove_prefix(at + 1);
  if (!has_port(host)) return invalid("URL address does not have the form \"host:port\"", url);
  if (rest.substr(end).starts_with('/')) return invalid("URL must not contain a path", url);
  return {};
}

}  // namespace

Result<std::vector<std::string>> checked_peer_urls(std::vector<std::string> urls) {
  if (urls.empty()) return failure(ErrorCode::kInvalidArgument, "no valid URLs given");
  for (std::string& url : urls) {
    url = trimmed(url);
    ETCD_TRY_VOID(check(url));
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

}  // namespace etcd::service
