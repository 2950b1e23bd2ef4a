#include "config/settle.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>

#include "base/duration_text.h"
#include "config/flags.h"
#include "config/values.h"

namespace etcd::config {
namespace {

std::unexpected<Error> bad(std::string message) {
  return failure(ErrorCode::kInvalidArgument, std::move(message));
}

/// One of the two sides that a member listens on.
struct Side {
  std::string_view listen_flag;
  std::string_view advertise_flag;
  std::string_view bind_flag;  // 0.4's name for listen_flag
  std::string_view addr_flag;  // 0.4's name for advertise_flag
  std::string_view port;
  std::string_view legacy_port;  // 0.4's
  const std::string& bind;
  const std::string& addr;
  const TlsOptions& tls;
  bool must_advertise;  // upstream wants clients' URLs advertised by whoever says where to listen
  UrlList& listen;
  UrlList& advertise;
};

enum class Chosen : std::uint8_t { kDefault, kNewer, kOlder };

/// Which of two names for one thing was given. The command line beats the environment; within either it must be one.
Result<Chosen> choose(const Options& options, std::string_view newer, std::string_view older) {
  const auto newer_given = options.given.find(newer);
  const auto older_given = options.given.find(older);
  const bool has_newer = newer_given != options.given.end();
  const bool has_older = older_given != options.given.end();
  if (!has_older) return has_newer ? Chosen::kNewer : Chosen::kDefault;
  if (!has_newer) return Chosen::kOlder;
  if (newer_given->second == older_given->second)
    return bad(fmt::format("set only one of --{} and --{}", newer, older));
  return newer_given->second == Origin::kCommandLine ? Chosen::kNewer : Chosen::kOlder;
}

struct Place {
  std::string scheme = {};
  std::string host = {};
  std::string port = {};  // empty when it was left out
};

/// What 0.4's place names; the flag has checked its form. Without a scheme it is https where there is a certificate.
Place place_of(std::string_view text, const TlsOptions& tls) {
  Place place{.scheme = tls.can_serve() ? "https" : "http"};
  for (const std::string_view scheme : {"https", "http"}) {
    if (text.starts_with(scheme) && text.substr(scheme.size()).starts_with("://")) {
      place.scheme = scheme;
      text.remove_prefix(scheme.size() + 3);
      break;
    }
  }
  if (auto parts = split_host_port(text)) {
    place.host = std::move(parts->first);
    place.port = std::move(parts->second);
  } else {
    place.host = text;
  }
  return place;
}

bool is_wildcard(std::string_view host) {
  return host == "0.0.0.0" || host == "::";
}

Notice renamed(std::string_view older, std::string_view newer) {
  return warning("flag of etcd 0.4 stands for a newer one",
                 {{"flag-name", std::string(older)}, {"newer-flag-name", std::string(newer)}});
}

Result<void> settle_side(const Options& options, const Side& side, std::vector<Notice>& notices) {
  ETCD_TRY(const Chosen listen, choose(options, side.listen_flag, side.bind_flag));
  ETCD_TRY(const Chosen advertise, choose(options, side.advertise_flag, side.addr_flag));
  const Place addr = advertise == Chosen::kOlder ? place_of(side.addr, side.tls) : Place{};

  switch (listen) {
    case Chosen::kNewer: break;
    case Chosen::kOlder: {
      Place bind = place_of(side.bind, side.tls);
      if (bind.port.empty()) bind.port = advertise == Chosen::kOlder ? addr.port : std::string(side.legacy_port);
      side.listen = {make_url(bind.scheme, bind.host, bind.port)};
      notices.push_back(renamed(side.bind_flag, side.listen_flag));
      break;
    }
    case Chosen::kDefault:
      if (advertise == Chosen::kOlder) {
        side.listen = {make_url(addr.scheme, "0.0.0.0", addr.port)};  // as 0.4 did: the port decides, on every address
      } else {
        side.listen = {make_url("http", "localhost", side.port), make_url("http", "localhost", side.legacy_port)};
        side.listen.back().optional = true;
      }
      break;
  }

  switch (advertise) {
    case Chosen::kNewer: break;
    case Chosen::kOlder:
      side.advertise = {make_url(addr.scheme, addr.host, addr.port)};
      notices.push_back(renamed(side.addr_flag, side.advertise_flag));
      break;
    case Chosen::kDefault:
      if (listen == Chosen::kOlder) {
        const Url& bound = side.listen.front();
        side.advertise = {make_url(bound.scheme, is_wildcard(bound.host) ? "localhost" : bound.host, bound.port)};
      } else if (listen == Chosen::kNewer && side.must_advertise &&
                 options.given.find(side.listen_flag)->second != Origin::kFile) {
        side.advertise.clear();  // check() refuses this
      } else {
        // Never the legacy port: the default member id is made of what is advertised.
        side.advertise = {make_url("http", "localhost", side.port)};
      }
      break;
  }
  return {};
}

/// Who listens on every address and says nothing of what to advertise means the machine's own address.
void use_default_host(const Options& options, const Side& side, const Machine& machine, std::vector<Notice>& notices) {
  if (options.is_given(side.advertise_flag) || options.is_given(side.addr_flag)) return;
  if (side.advertise.empty() || side.listen.empty() || side.listen.front().host != "0.0.0.0") return;
  if (!machine.default_host) return;
  const std::string host = machine.default_host();
  if (host.empty()) return;
  side.advertise.front() = make_url(side.advertise.front().scheme, host, side.listen.front().port);
  notices.push_back(info("detected default host for advertise", {{"host", host}}));
}

Result<void> read_peers_file(Options& options, const Machine& machine, std::vector<Notice>& notices) {
  if (options.peers_file.empty()) return {};
  if (!machine.read_file) return bad("cannot read --peers-file: no way to read files");
  Result<std::string> text = machine.read_file(options.peers_file);
  if (!text) {
    return bad(fmt::format("cannot read --peers-file {}: {}", quoted(options.peers_file), text.error().message));
  }
  for (char& one : *text) {
    if (one == '\n' || one == '\r' || one == '\t' || one == ' ') one = ',';
  }
  const Origin origin = options.given.find("peers-file")->second;
  if (const Result<void> set = set_flag(options, *find_flag("peers"), *text, origin, notices); !set) {
    return bad(fmt::format("--peers-file {}: {}", quoted(options.peers_file), set.error().message));
  }
  return {};
}

/// 0.4 had one flag for "trust these, and ask for a certificate".
void use_ca_file(const Options& options, const std::string& ca_file, std::string_view auth_flag, TlsOptions& tls) {
  if (ca_file.empty()) return;
  if (tls.trusted_ca_file.empty()) tls.trusted_ca_file = ca_file;
  if (!options.is_given(auth_flag)) tls.client_cert_auth = true;
}

void settle_initial_cluster(Options& options) {
  if (options.is_given("initial-cluster")) return;
  options.initial_cluster.clear();
  const bool found_otherwise = !options.discovery.empty() || !options.discovery_srv.empty() ||
                               !options.discovery_endpoints.empty() || !options.peers.empty();
  if (found_otherwise) return;
  for (const Url& url : options.initial_advertise_peer_urls) {
    if (!options.initial_cluster.empty()) options.initial_cluster += ',';
    options.initial_cluster += fmt::format("{}={}", options.name, url.text);
  }
}

void raise_to_floor(Duration& timeout, std::string_view flag, std::vector<Notice>& notices) {
  constexpr Duration kFloor = 5s;
  if (timeout >= kFloor) return;
  notices.push_back(
      warning("timeout is too short, using the shortest that is allowed",
              {{"flag-name", std::string(flag)}, {"given", duration_text(timeout)}, {"used", duration_text(kFloor)}}));
  timeout = kFloor;
}

void settle_bcrypt_cost(Options& options, std::vector<Notice>& notices) {
  constexpr std::uint64_t kLeast = 4;
  constexpr std::uint64_t kMost = 31;
  constexpr std::uint64_t kDefault = 10;
  if (options.bcrypt_cost >= kLeast && options.bcrypt_cost <= kMost) return;
  notices.push_back(
      warning("bcrypt cost is out of range, using the default", {{"given-cost", std::to_string(options.bcrypt_cost)},
                                                                 {"min-cost", std::to_string(kLeast)},
                                                                 {"max-cost", std::to_string(kMost)},
                                                                 {"default-cost", std::to_string(kDefault)}}));
  options.bcrypt_cost = kDefault;
}

}  // namespace

Result<void> settle(Options& options, const Machine& machine, std::vector<Notice>& notices) {
  if (options.data_dir.empty()) options.data_dir = options.name + ".etcd";
  ETCD_TRY_VOID(read_peers_file(options, machine, notices));
  use_ca_file(options, options.ca_file, "client-cert-auth", options.client_tls);
  use_ca_file(options, options.peer_ca_file, "peer-client-cert-auth", options.peer_tls);

  const Side peers{.listen_flag = "listen-peer-urls",
                   .advertise_flag = "initial-advertise-peer-urls",
                   .bind_flag = "peer-bind-addr",
                   .addr_flag = "peer-addr",
                   .port = "2380",
                   .legacy_port = "7001",
                   .bind = options.peer_bind_addr,
                   .addr = options.peer_addr,
                   .tls = options.peer_tls,
                   .must_advertise = false,
                   .listen = options.listen_peer_urls,
                   .advertise = options.initial_advertise_peer_urls};
  const Side clients{.listen_flag = "listen-client-urls",
                     .advertise_flag = "advertise-client-urls",
                     .bind_flag = "bind-addr",
                     .addr_flag = "addr",
                     .port = "2379",
                     .legacy_port = "4001",
                     .bind = options.bind_addr,
                     .addr = options.addr,
                     .tls = options.client_tls,
                     .must_advertise = true,
                     .listen = options.listen_client_urls,
                     .advertise = options.advertise_client_urls};
  ETCD_TRY_VOID(settle_side(options, peers, notices));
  ETCD_TRY_VOID(settle_side(options, clients, notices));
  use_default_host(options, peers, machine, notices);
  use_default_host(options, clients, machine, notices);
  settle_initial_cluster(options);

  raise_to_floor(options.raft_read_timeout, "raft-read-timeout", notices);
  raise_to_floor(options.raft_write_timeout, "raft-write-timeout", notices);
  settle_bcrypt_cost(options, notices);
  return {};
}

}  // namespace etcd::config
