// config/url.h - the URLs that a member listens on and advertises, and the rules for both.
//
// Thread:  any (values and pure functions).
// Errors:  kInvalidArgument; the messages are upstream's, since scripts look for them.
// Source:  etcd v3.7.1 client/pkg/types/urls.go and Go's net/url, as far as the messages of the two show.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace etcd::config {

struct Url {
  std::string scheme = {};  // "http", "https", "unix" or "unixs"
  std::string host = {};    // without brackets; empty for the unix schemes
  std::string port = {};    // as written, may be empty or too large; empty for the unix schemes
  std::string path = {};    // the socket's file, unix schemes only
  std::string text = {};    // the whole URL, its scheme in lower case
  bool optional = false;    // a port of 0.4 that nobody asked for: when it is taken, warn and go on without

  [[nodiscard]] bool is_unix() const { return scheme == "unix" || scheme == "unixs"; }
  [[nodiscard]] bool is_tls() const { return scheme == "https" || scheme == "unixs"; }

  friend bool operator==(const Url&, const Url&) = default;
};

using UrlList = std::vector<Url>;

/// Splits "host:port" or "[host]:port" at the port. Nothing when the text has another form.
std::optional<std::pair<std::string, std::string>> split_host_port(std::string_view text);

/// `scheme` is http or https; a host with colons gets its brackets.
Url make_url(std::string_view scheme, std::string_view host, std::string_view port);

Result<Url> parse_url(std::string_view text);

/// URLs between commas.
/// Shape: sorted by text, each once.
Result<UrlList> parse_urls(std::string_view text);

/// "http://a:1,http://b:2"
std::string join_urls(const UrlList& urls);

/// A URL to listen on names an IP address or localhost. Errors: `expected IP in URL for binding (U)`.
Result<void> check_listen_urls(const UrlList& urls);

/// A URL to advertise names a host. Errors: `unexpected empty host (U)`.
Result<void> check_advertise_urls(const UrlList& urls);

/// "a=http://h:1,a=http://h:2,b=http://i:1": the peer URLs by member name.
Result<std::map<std::string, UrlList>> parse_initial_cluster(std::string_view text);

}  // namespace etcd::config
