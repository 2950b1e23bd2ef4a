#include "config/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <system_error>
#include <utility>

#include "config/help.h"
#include "config/values.h"

namespace etcd::config {
namespace {

std::unexpected<Error> bad(std::string message) {
  return failure(ErrorCode::kInvalidArgument, std::move(message));
}

Result<void> parse_into(std::string_view text, std::string& target) {
  target = text;
  return {};
}

Result<void> parse_into(std::string_view text, bool& target) {
  ETCD_TRY(target, parse_bool(text));
  return {};
}

Result<void> parse_into(std::string_view text, std::uint64_t& target) {
  ETCD_TRY(target, parse_unsigned(text));
  return {};
}

Result<void> parse_into(std::string_view text, std::int64_t& target) {
  ETCD_TRY(target, parse_signed(text));
  return {};
}

/// The one flag of 32 bits has a type of its own upstream, with longer messages.
Result<void> parse_into(std::string_view text, std::uint32_t& target) {
  const Result<std::uint64_t> wide = parse_unsigned(text);
  const bool fits = wide.has_value() && *wide <= 0xFFFF'FFFFu;
  if (!fits) {
    const bool is_number = wide.has_value() || wide.error().message != "parse error";
    return bad(fmt::format("strconv.ParseUint: parsing {}: {}", quoted(text),
                           is_number ? "value out of range" : "invalid syntax"));
  }
  target = static_cast<std::uint32_t>(*wide);
  return {};
}

Result<void> parse_into(std::string_view text, Duration& target) {
  const Result<Duration> parsed = parse_duration(text);
  if (!parsed) return bad("parse error");  // Go's flag package swallows the reason
  target = *parsed;
  return {};
}

Result<void> parse_into(std::string_view text, UrlList& target) {
  ETCD_TRY(target, parse_urls(text));
  return {};
}

Result<void> parse_into(std::string_view text, std::vector<std::string>& target) {
  target.clear();
  for (std::string& part : split(text, ',')) {
    if (std::ranges::find(target, part) == target.end()) target.push_back(std::move(part));
  }
  return {};
}

Result<void> parse_into(std::string_view text, FeatureGates& target) {
  return target.set(text);
}

Result<void> parse_seconds_into(std::string_view text, Duration& target) {
  ETCD_TRY(target, parse_seconds(text));
  return {};
}

Result<void> parse_seconds_into(std::string_view text, std::optional<Duration>& target) {
  ETCD_TRY(target, parse_seconds(text));
  return {};
}

/// One of a few words.
Result<void> pick_into(std::string_view text, std::string& target, std::initializer_list<std::string_view> words) {
  if (std::ranges::find(words, text) == words.end()) return bad("invalid value");
  target = text;
  return {};
}

Result<void> set_v2_deprecation(Options& options, std::string_view text) {
  std::string word;
  for (const std::string& part : split(text, ',')) {
    ETCD_TRY_VOID(pick_into(part, word, {"write-only", "write-only-skip-check", "write-only-drop-data", "gone"}));
  }
  if (word.empty()) return bad("invalid value");
  options.v2_deprecation = text;
  return {};
}

/// A place of 0.4: host:port, with or without http:// or https:// in front; some may leave out the port.
Result<void> parse_place_into(std::string_view text, std::string& target, bool port_needed) {
  std::string_view place = text;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (place.starts_with(scheme)) place.remove_prefix(scheme.size());
  }
  const auto parts = split_host_port(place);
  bool fits = false;
  if (parts) {
    std::uint16_t port = 0;
    const char* end = parts->second.data() + parts->second.size();
    const std::from_chars_result read = std::from_chars(parts->second.data(), end, port);
    fits = !parts->first.empty() && read.ec == std::errc() && read.ptr == end;
  } else {
    // A host alone. A bare IPv6 address has colons too, and looks like neither.
    fits = !port_needed && !place.empty() && place.find_first_of("/:") == std::string_view::npos;
  }
  if (!fits) return bad(port_needed ? "must be host:port" : "must be host or host:port");
  target = text;
  return {};
}

Result<void> set_peers(Options& options, std::string_view text) {
  std::vector<std::string> peers;
  for (const std::string& part : split(text, ',')) {
    const std::string_view place = trimmed(part);
    if (place.empty()) continue;
    std::string peer;
    if (!parse_place_into(place, peer, true)) return bad(fmt::format("{} must be host:port", quoted(place)));
    peers.push_back(std::move(peer));
  }
  options.peers = std::move(peers);
  return {};
}

// A setter for one field of Options; the field's type decides how the text is read.
#define ETCD_INTO(member) \
  [](Options& options, std::string_view text) -> Result<void> { return parse_into(text, options.member); }
#define ETCD_SECONDS_INTO(member) \
  [](Options& options, std::string_view text) -> Result<void> { return parse_seconds_into(text, options.member); }
#define ETCD_PLACE_INTO(member, port_needed)                      \
  [](Options& options, std::string_view text) -> Result<void> {   \
    return parse_place_into(text, options.member, (port_needed)); \
  }
#define ETCD_PICK_INTO(member, ...) \
  [](Options& options, std::string_view text) -> Result<void> { return pick_into(text, options.member, {__VA_ARGS__}); }

// clang-format off
constexpr Flag kFlags[] = {
    // Member
    {"name", Group::kMember, Kind::kValue, FileForm::kText, "default",
     "The member's name, as people read it.", ETCD_INTO(name)},
    {"data-dir", Group::kMember, Kind::kValue, FileForm::kText, "<name>.etcd",
     "The directory that holds all of the member's data.", ETCD_INTO(data_dir)},
    {"wal-dir", Group::kMember, Kind::kValue, FileForm::kText, "",
     "A directory for the write-ahead log alone; member/wal in the data directory when empty.", ETCD_INTO(wal_dir)},
    {"snapshot-count", Group::kMember, Kind::kValue, FileForm::kNumber, "10000",
     "After how many committed entries a snapshot is written to disk.", ETCD_INTO(snapshot_count)},
    {"heartbeat-interval", Group::kMember, Kind::kValue, FileForm::kNumber, "100",
     "Milliseconds between two heartbeats of a leader.", ETCD_INTO(heartbeat_interval_ms)},
    {"election-timeout", Group::kMember, Kind::kValue, FileForm::kNumber, "1000",
     "Milliseconds without a leader after which a member starts an election.", ETCD_INTO(election_timeout_ms)},
    {"initial-election-tick-advance", Group::kMember, Kind::kBool, FileForm::kBool, "true",
     "Whether a starting member shortens its first wait for an election.", ETCD_INTO(initial_election_tick_advance)},
    {"listen-peer-urls", Group::kMember, Kind::kValue, FileForm::kUrls,
     "http://localhost:2380,http://localhost:7001",
     "URLs to listen on for other members. The second default is 0.4's port, left out when it is taken.",
     ETCD_INTO(listen_peer_urls)},
    {"listen-client-urls", Group::kMember, Kind::kValue, FileForm::kUrls,
     "http://localhost:2379,http://localhost:4001",
     "URLs to listen on for clients. The second default is 0.4's port, left out when it is taken.",
     ETCD_INTO(listen_client_urls)},
    {"listen-client-http-urls", Group::kMember, Kind::kValue, FileForm::kUrls, "",
     "URLs to listen on for clients that do not speak gRPC; the client URLs then serve gRPC alone.",
     ETCD_INTO(listen_client_http_urls)},
    {"listen-metrics-urls", Group::kMember, Kind::kValue, FileForm::kUrls, "",
     "More URLs that answer /metrics and /health.", ETCD_INTO(listen_metrics_urls)},
    {"max-snapshots", Group::kMember, Kind::kValue, FileForm::kNumber, "5",
     "How many snapshot files to keep; 0 keeps all. Deprecated upstream.", ETCD_INTO(max_snapshots)},
    {"max-wals", Group::kMember, Kind::kValue, FileForm::kNumber, "5",
     "How many files of the write-ahead log to keep; 0 keeps all.", ETCD_INTO(max_wals)},
    {"memory-mlock", Group::kMember, Kind::kBool, FileForm::kBool, "false",
     "Whether to lock the member's memory against being swapped out.", ETCD_INTO(memory_mlock)},
    {"quota-backend-bytes", Group::kMember, Kind::kValue, FileForm::kNumber, "0",
     "Bytes of data after which writes are refused; 0 is the member's own default, below 0 there is no limit.",
     ETCD_INTO(quota_backend_bytes)},
    {"backend-bbolt-freelist-type", Group::kMember, Kind::kValue, FileForm::kText, "",
     "How upstream's store keeps its free pages: array or map.", ETCD_INTO(backend_bbolt_freelist_type)},
    {"backend-batch-interval", Group::kMember, Kind::kValue, FileForm::kNanoseconds, "0s",
     "The longest time before the store's changes are committed; 0s is the member's own default.",
     ETCD_INTO(backend_batch_interval)},
    {"backend-batch-limit", Group::kMember, Kind::kValue, FileForm::kNumber, "0",
     "The most changes before the store commits them; 0 is the member's own default.", ETCD_INTO(backend_batch_limit)},
    {"max-txn-ops", Group::kMember, Kind::kValue, FileForm::kNumber, "128",
     "The most operations in each list of one transaction.", ETCD_INTO(max_txn_ops)},
    {"max-request-bytes", Group::kMember, Kind::kValue, FileForm::kNumber, "1572864",
     "The largest request from a client, in bytes.", ETCD_INTO(max_request_bytes)},
    {"max-concurrent-streams", Group::kMember, Kind::kValue, FileForm::kNumber, "4294967295",
     "The most streams that one connection may have open.", ETCD_INTO(max_concurrent_streams)},
    {"grpc-keepalive-min-time", Group::kMember, Kind::kValue, FileForm::kNanoseconds, "5s",
     "The shortest time between two pings of a client.", ETCD_INTO(grpc_keepalive_min_time)},
    {"grpc-keepalive-interval", Group::kMember, Kind::kValue, FileForm::kNanoseconds, "2h",
     "How often the member pings an idle client; 0s never.", ETCD_INTO(grpc_keepalive_interval)},
    {"grpc-keepalive-timeout", Group::kMember, Kind::kValue, FileForm::kNanoseconds, "20s",
     "How long the member waits for the answer to a ping before it hangs up.", ETCD_INTO(grpc_keepalive_timeout)},
    {"socket-reuse-port", Group::kMember, Kind::kBool, FileForm::kAbsent, "false",
     "Whether listeners share their port (SO_REUSEPORT).", ETCD_INTO(socket_reuse_port)},
    {"socket-reuse-address", Group::kMember, Kind::kBool, FileForm::kAbsent, "false",
     "Whether listeners may take an address that still closes (SO_REUSEADDR).", ETCD_INTO(socket_reuse_address)},
    {"raft-read-timeout", Group::kMember, Kind::kValue, FileForm::kNanoseconds, "5s",
     "How long a peer connection may be without data to read; at least 5s.", ETCD_INTO(raft_read_timeout)},
    {"raft-write-timeout", Group::kMember, Kind::kValue, FileForm::kNanoseconds, "5s",
     "How long one write to a peer may take; at least 5s.", ETCD_INTO(raft_write_timeout)},
    {"enable-grpc-gateway", Group::kMember, Kind::kBool, FileForm::kBool, "true",
     "Whether the v3 API is served as JSON over HTTP, too.", ETCD_INTO(enable_grpc_gateway)},
    {"feature-gates", Group::kMember, Kind::kValue, FileForm::kText, "",
     "Features to turn on or off: Name=true,Other=false.", ETCD_INTO(feature_gates)},

    // Clustering
    {"initial-advertise-peer-urls", Group::kClustering, Kind::kValue, FileForm::kUrls, "http://localhost:2380",
     "The member's peer URLs, as the others shall know them.", ETCD_INTO(initial_advertise_peer_urls)},
    {"advertise-client-urls", Group::kClustering, Kind::kValue, FileForm::kUrls, "http://localhost:2379",
     "The member's client URLs, as clients shall know them.", ETCD_INTO(advertise_client_urls)},
    {"initial-cluster", Group::kClustering, Kind::kValue, FileForm::kText, "<name>=<initial-advertise-peer-urls>",
     "The members that start the cluster: name=url, between commas.", ETCD_INTO(initial_cluster)},
    {"initial-cluster-state", Group::kClustering, Kind::kValue, FileForm::kText, "new",
     "new to start a cluster, existing to join one.",
     ETCD_PICK_INTO(initial_cluster_state, "new", "existing")},
    {"initial-cluster-token", Group::kClustering, Kind::kValue, FileForm::kText, "etcd-cluster",
     "A word that tells clusters apart which start with the same URLs.", ETCD_INTO(initial_cluster_token)},
    {"discovery", Group::kClustering, Kind::kValue, FileForm::kText, "",
     "A discovery URL (v2 protocol), through which the first members find each other.", ETCD_INTO(discovery)},
    {"discovery-proxy", Group::kClustering, Kind::kValue, FileForm::kText, "",
     "An HTTP proxy on the way to the discovery URL.", ETCD_INTO(discovery_proxy)},
    {"discovery-token", Group::kClustering, Kind::kValue, FileForm::kAbsent, "",
     "The token of this cluster in v3 discovery.", ETCD_INTO(discovery_token)},
    {"discovery-endpoints", Group::kClustering, Kind::kValue, FileForm::kAbsent, "",
     "Members of the cluster that serves v3 discovery.", ETCD_INTO(discovery_endpoints)},
    {"discovery-dial-timeout", Group::kClustering, Kind::kValue, FileForm::kAbsent, "2s",
     "v3 discovery: how long connecting may take.", ETCD_INTO(discovery_dial_timeout)},
    {"discovery-request-timeout", Group::kClustering, Kind::kValue, FileForm::kAbsent, "5s",
     "v3 discovery: how long one request may take.", ETCD_INTO(discovery_request_timeout)},
    {"discovery-keepalive-time", Group::kClustering, Kind::kValue, FileForm::kAbsent, "2s",
     "v3 discovery: how often the connection is pinged.", ETCD_INTO(discovery_keepalive_time)},
    {"discovery-keepalive-timeout", Group::kClustering, Kind::kValue, FileForm::kAbsent, "6s",
     "v3 discovery: how long to wait for the answer to a ping.", ETCD_INTO(discovery_keepalive_timeout)},
    {"discovery-insecure-transport", Group::kClustering, Kind::kBool, FileForm::kAbsent, "true",
     "v3 discovery: whether to do without TLS.", ETCD_INTO(discovery_insecure_transport)},
    {"discovery-insecure-skip-tls-verify", Group::kClustering, Kind::kBool, FileForm::kAbsent, "false",
     "v3 discovery: whether to accept any certificate.", ETCD_INTO(discovery_insecure_skip_tls_verify)},
    {"discovery-cert", Group::kClustering, Kind::kValue, FileForm::kAbsent, "",
     "v3 discovery: the certificate to show.", ETCD_INTO(discovery_cert)},
    {"discovery-key", Group::kClustering, Kind::kValue, FileForm::kAbsent, "",
     "v3 discovery: the key of that certificate.", ETCD_INTO(discovery_key)},
    {"discovery-cacert", Group::kClustering, Kind::kValue, FileForm::kAbsent, "",
     "v3 discovery: the authorities to trust.", ETCD_INTO(discovery_cacert)},
    {"discovery-user", Group::kClustering, Kind::kValue, FileForm::kAbsent, "",
     "v3 discovery: the user, or user:password.", ETCD_INTO(discovery_user)},
    {"discovery-password", Group::kClustering, Kind::kValue, FileForm::kAbsent, "",
     "v3 discovery: the user's password.", ETCD_INTO(discovery_password)},
    {"discovery-fallback", Group::kClustering, Kind::kValue, FileForm::kAbsent, "exit",
     "What to do when discovery finds the cluster full; only exit is left.",
     ETCD_PICK_INTO(discovery_fallback, "exit", "proxy")},
    {"discovery-srv", Group::kClustering, Kind::kValue, FileForm::kText, "",
     "A DNS domain whose SRV records name the members.", ETCD_INTO(discovery_srv)},
    {"discovery-srv-name", Group::kClustering, Kind::kValue, FileForm::kText, "",
     "A suffix for the service names of those records.", ETCD_INTO(discovery_srv_name)},
    {"strict-reconfig-check", Group::kClustering, Kind::kBool, FileForm::kBool, "true",
     "Whether to refuse membership changes that would cost the quorum.", ETCD_INTO(strict_reconfig_check)},
    {"pre-vote", Group::kClustering, Kind::kBool, FileForm::kBool, "true",
     "Whether a member asks around before it starts an election.", ETCD_INTO(pre_vote)},
    {"auto-compaction-mode", Group::kClustering, Kind::kValue, FileForm::kText, "periodic",
     "How the retention is meant: periodic (a time) or revision (a number).", ETCD_INTO(auto_compaction_mode)},
    {"auto-compaction-retention", Group::kClustering, Kind::kValue, FileForm::kText, "1h",
     "How much history to keep: hours or a duration, or revisions; 0 keeps all.", ETCD_INTO(auto_compaction_retention)},
    {"v2-deprecation", Group::kClustering, Kind::kValue, FileForm::kAbsent, "write-only",
     "Accepted for the sake of upstream's command lines; v2 stays.", set_v2_deprecation},

    // Security
    {"cert-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The certificate that clients see.", ETCD_INTO(client_tls.cert_file)},
    {"key-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The key of that certificate.", ETCD_INTO(client_tls.key_file)},
    {"client-cert-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The certificate that this member shows as a client; cert-file when empty.",
     ETCD_INTO(client_tls.client_cert_file)},
    {"client-key-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The key of that certificate.", ETCD_INTO(client_tls.client_key_file)},
    {"client-cert-auth", Group::kSecurity, Kind::kBool, FileForm::kAbsent, "false",
     "Whether clients must show a certificate.", ETCD_INTO(client_tls.client_cert_auth)},
    {"client-crl-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The list of client certificates that were revoked.", ETCD_INTO(client_tls.crl_file)},
    {"client-cert-allowed-hostname", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "Host names of which a client certificate must carry one.", ETCD_INTO(client_tls.allowed_hostnames)},
    {"trusted-ca-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The authorities that client certificates must come from.", ETCD_INTO(client_tls.trusted_ca_file)},
    {"auto-tls", Group::kSecurity, Kind::kBool, FileForm::kAbsent, "false",
     "Whether to make a certificate for clients that signs itself.", ETCD_INTO(client_tls.auto_tls)},
    {"peer-cert-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The certificate that other members see.", ETCD_INTO(peer_tls.cert_file)},
    {"peer-key-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The key of that certificate.", ETCD_INTO(peer_tls.key_file)},
    {"peer-client-cert-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The certificate to show when calling other members; peer-cert-file when empty.",
     ETCD_INTO(peer_tls.client_cert_file)},
    {"peer-client-key-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The key of that certificate.", ETCD_INTO(peer_tls.client_key_file)},
    {"peer-client-cert-auth", Group::kSecurity, Kind::kBool, FileForm::kAbsent, "false",
     "Whether other members must show a certificate.", ETCD_INTO(peer_tls.client_cert_auth)},
    {"peer-trusted-ca-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The authorities that other members' certificates must come from.", ETCD_INTO(peer_tls.trusted_ca_file)},
    {"peer-auto-tls", Group::kSecurity, Kind::kBool, FileForm::kAbsent, "false",
     "Whether to make a certificate for peers that signs itself.", ETCD_INTO(peer_tls.auto_tls)},
    {"peer-crl-file", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "The list of peer certificates that were revoked.", ETCD_INTO(peer_tls.crl_file)},
    {"peer-cert-allowed-cn", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "Common names of which a peer certificate must carry one.", ETCD_INTO(peer_tls.allowed_cns)},
    {"peer-cert-allowed-hostname", Group::kSecurity, Kind::kValue, FileForm::kAbsent, "",
     "Host names of which a peer certificate must carry one.", ETCD_INTO(peer_tls.allowed_hostnames)},
    {"peer-skip-client-san-verification", Group::kSecurity, Kind::kBool, FileForm::kAbsent, "false",
     "Whether to leave a peer certificate's addresses unchecked.", ETCD_INTO(peer_tls.skip_client_san_verification)},
    {"self-signed-cert-validity", Group::kSecurity, Kind::kValue, FileForm::kNumber, "1",
     "Years for which a certificate of auto-tls or peer-auto-tls holds.", ETCD_INTO(self_signed_cert_validity_years)},
    {"cipher-suites", Group::kSecurity, Kind::kValue, FileForm::kList, "",
     "The cipher suites to offer, between commas; OpenSSL's own choice when empty.", ETCD_INTO(cipher_suites)},
    {"tls-min-version", Group::kSecurity, Kind::kValue, FileForm::kText, "TLS1.2",
     "The oldest version of TLS to speak: TLS1.2 or TLS1.3.", ETCD_INTO(tls_min_version)},
    {"tls-max-version", Group::kSecurity, Kind::kValue, FileForm::kText, "",
     "The newest version of TLS to speak; no limit when empty.", ETCD_INTO(tls_max_version)},
    {"cors", Group::kSecurity, Kind::kValue, FileForm::kText, "*",
     "Origins whose pages may read our answers, between commas.", ETCD_INTO(cors)},
    {"host-whitelist", Group::kSecurity, Kind::kValue, FileForm::kText, "*",
     "Host names that clients without TLS may ask for, between commas.", ETCD_INTO(host_whitelist)},

    // Auth
    {"auth-token", Group::kAuth, Kind::kValue, FileForm::kText, "simple",
     "What a token is made of: simple, or jwt with its options.", ETCD_INTO(auth_token)},
    {"bcrypt-cost", Group::kAuth, Kind::kValue, FileForm::kNumber, "10",
     "How hard passwords are to guess, 4 to 31; each step doubles the work.", ETCD_INTO(bcrypt_cost)},
    {"auth-token-ttl", Group::kAuth, Kind::kValue, FileForm::kNumber, "300",
     "Seconds that a simple token lives without use.", ETCD_INTO(auth_token_ttl_seconds)},

    // Monitoring and logging
    {"metrics", Group::kMonitoring, Kind::kValue, FileForm::kText, "basic",
     "How much /metrics tells: basic, or extensive for histograms of requests.", ETCD_INTO(metrics)},
    {"logger", Group::kMonitoring, Kind::kValue, FileForm::kText, "zap",
     "The form of the log; zap is the only one.", ETCD_INTO(logger)},
    {"log-outputs", Group::kMonitoring, Kind::kValue, FileForm::kList, "default",
     "Where the log goes: default, stderr, stdout, systemd/journal or files, between commas.",
     ETCD_INTO(log_outputs)},
    {"log-level", Group::kMonitoring, Kind::kValue, FileForm::kText, "info",
     "The least important line that is logged: debug, info, warn, error, panic or fatal.", ETCD_INTO(log_level)},
    {"log-format", Group::kMonitoring, Kind::kValue, FileForm::kText, "json",
     "The form of a line: json or console.", ETCD_INTO(log_format)},
    {"enable-log-rotation", Group::kMonitoring, Kind::kBool, FileForm::kBool, "false",
     "Whether a log file that grew large is set aside.", ETCD_INTO(enable_log_rotation)},
    {"log-rotation-config-json", Group::kMonitoring, Kind::kValue, FileForm::kText,
     R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})",
     "When: megabytes, days and number of old files (0: no limit), their time zone, and whether they are compressed.",
     ETCD_INTO(log_rotation_config_json)},
    {"warning-apply-duration", Group::kMonitoring, Kind::kValue, FileForm::kNanoseconds, "100ms",
     "Applying an entry for longer than this is worth a warning.", ETCD_INTO(warning_apply_duration)},
    {"warning-unary-request-duration", Group::kMonitoring, Kind::kValue, FileForm::kNanoseconds, "300ms",
     "Answering a request for longer than this is worth a warning.", ETCD_INTO(warning_unary_request_duration)},
    {"enable-distributed-tracing", Group::kMonitoring, Kind::kBool, FileForm::kBool, "false",
     "Whether to send traces (OpenTelemetry).", ETCD_INTO(enable_distributed_tracing)},
    {"distributed-tracing-address", Group::kMonitoring, Kind::kValue, FileForm::kText, "localhost:4317",
     "The collector that traces go to.", ETCD_INTO(distributed_tracing_address)},
    {"distributed-tracing-service-name", Group::kMonitoring, Kind::kValue, FileForm::kText, "etcd",
     "The name that all members of the cluster have in traces.", ETCD_INTO(distributed_tracing_service_name)},
    {"distributed-tracing-instance-id", Group::kMonitoring, Kind::kValue, FileForm::kText, "",
     "The name that this member alone has in traces.", ETCD_INTO(distributed_tracing_instance_id)},
    {"distributed-tracing-sampling-rate", Group::kMonitoring, Kind::kValue, FileForm::kNumber, "0",
     "How many of a million requests are traced.", ETCD_INTO(distributed_tracing_sampling_rate_per_million)},

    // Profiling
    {"enable-pprof", Group::kProfiling, Kind::kBool, FileForm::kBool, "false",
     "Whether profiles are served under /debug/pprof/ on the client URLs.", ETCD_INTO(enable_pprof)},

    // Tuning
    {"corrupt-check-time", Group::kTuning, Kind::kValue, FileForm::kNanoseconds, "0s",
     "How often members compare their data; 0s never.", ETCD_INTO(corrupt_check_time)},
    {"compact-hash-check-time", Group::kTuning, Kind::kValue, FileForm::kNanoseconds, "1m",
     "How often members compare hashes of what they compacted (gate CompactHashCheck).",
     ETCD_INTO(compact_hash_check_time)},
    {"compaction-batch-limit", Group::kTuning, Kind::kValue, FileForm::kNumber, "0",
     "The most revisions that one step of a compaction deletes; 0 is the member's own default.",
     ETCD_INTO(compaction_batch_limit)},
    {"compaction-sleep-interval", Group::kTuning, Kind::kValue, FileForm::kNanoseconds, "0s",
     "The pause between two such steps; 0s is the member's own default.", ETCD_INTO(compaction_sleep_interval)},
    {"watch-progress-notify-interval", Group::kTuning, Kind::kValue, FileForm::kNanoseconds, "0s",
     "How often an idle watch hears of progress; 0s is the member's own default.",
     ETCD_INTO(watch_progress_notify_interval)},
    {"downgrade-check-time", Group::kTuning, Kind::kValue, FileForm::kNanoseconds, "5s",
     "How often the leader looks whether a downgrade is complete.", ETCD_INTO(downgrade_check_time)},
    {"bootstrap-defrag-threshold-megabytes", Group::kTuning, Kind::kValue, FileForm::kNumber, "0",
     "Free megabytes in the store from which a starting member defragments it; 0 never.",
     ETCD_INTO(bootstrap_defrag_threshold_megabytes)},
    {"max-learners", Group::kTuning, Kind::kValue, FileForm::kNumber, "1",
     "The most learners that a cluster may have.", ETCD_INTO(max_learners)},
    {"snapshot-catchup-entries", Group::kTuning, Kind::kValue, FileForm::kNumber, "5000",
     "How many entries to keep behind a snapshot for members that are a little late.",
     ETCD_INTO(snapshot_catchup_entries)},

    // Unsafe and others
    {"force-new-cluster", Group::kUnsafe, Kind::kBool, FileForm::kBool, "false",
     "Starts a cluster of this member alone from its data. What other members had in addition is lost.",
     ETCD_INTO(force_new_cluster)},
    {"unsafe-no-fsync", Group::kUnsafe, Kind::kBool, FileForm::kBool, "false",
     "Never waits for the disk. A crash of the machine may lose or damage everything.", ETCD_INTO(unsafe_no_fsync)},
    {"config-file", Group::kUnsafe, Kind::kValue, FileForm::kAbsent, "",
     "A YAML file with the options. All other flags and variables are then ignored.", ETCD_INTO(config_file)},
    {"version", Group::kUnsafe, Kind::kBool, FileForm::kAbsent, "false",
     "Prints the version and exits.", ETCD_INTO(print_version)},

    // etcd 0.4
    {"peers", Group::kEtcd04, Kind::kValue, FileForm::kText, "",
     "Members of a running cluster to join, as host:port between commas.", set_peers},
    {"peers-file", Group::kEtcd04, Kind::kValue, FileForm::kText, "",
     "A file with such a list; it takes the place of peers.", ETCD_INTO(peers_file)},
    {"addr", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "host:port for clients: advertise-client-urls without the scheme.", ETCD_PLACE_INTO(addr, true)},
    {"bind-addr", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "host or host:port to listen on for clients: listen-client-urls without the scheme.",
     ETCD_PLACE_INTO(bind_addr, false)},
    {"peer-addr", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "host:port for other members: initial-advertise-peer-urls without the scheme.", ETCD_PLACE_INTO(peer_addr, true)},
    {"peer-bind-addr", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "host or host:port to listen on for other members: listen-peer-urls without the scheme.",
     ETCD_PLACE_INTO(peer_bind_addr, false)},
    {"ca-file", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "trusted-ca-file and client-cert-auth in one.", ETCD_INTO(ca_file)},
    {"peer-ca-file", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "peer-trusted-ca-file and peer-client-cert-auth in one.", ETCD_INTO(peer_ca_file)},
    {"http-read-timeout", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "0",
     "Seconds that reading a request may take; 0 is no limit.", ETCD_SECONDS_INTO(http_read_timeout)},
    {"http-write-timeout", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "0",
     "Seconds that writing an answer may take; 0 is no limit.", ETCD_SECONDS_INTO(http_write_timeout)},
    {"cluster-active-size", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "How many members vote; the others stand by. At least 3.",
     [](Options& options, std::string_view text) -> Result<void> {
       ETCD_TRY(options.cluster_active_size, parse_unsigned(text));
       return {};
     }},
    {"cluster-remove-delay", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "Seconds after which a member that is gone is replaced. At least 2.", ETCD_SECONDS_INTO(cluster_remove_delay)},
    {"cluster-sync-interval", Group::kEtcd04, Kind::kValue, FileForm::kAbsent, "",
     "Seconds between two looks of a standby at the cluster. At least 1.", ETCD_SECONDS_INTO(cluster_sync_interval)},

    // Accepted and ignored, as upstream does with the first eleven.
    {"config", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored; see config-file.", nullptr},
    {"force", Group::kEtcd04, Kind::kIgnoredBool, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"max-result-buffer", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"max-retry-attempts", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"peer-heartbeat-interval", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "",
     "Ignored; see heartbeat-interval.", nullptr},
    {"peer-election-timeout", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "",
     "Ignored; see election-timeout.", nullptr},
    {"retry-interval", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"snapshot", Group::kEtcd04, Kind::kIgnoredBool, FileForm::kAbsent, "", "Ignored: snapshots are always taken.",
     nullptr},
    {"v", Group::kEtcd04, Kind::kIgnoredBool, FileForm::kAbsent, "", "Ignored; see log-level.", nullptr},
    {"vv", Group::kEtcd04, Kind::kIgnoredBool, FileForm::kAbsent, "", "Ignored; see log-level.", nullptr},
    {"vvv", Group::kEtcd04, Kind::kIgnoredBool, FileForm::kAbsent, "", "Ignored; see log-level.", nullptr},
    {"trace", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"graphite-host", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"cpuprofile", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"test.coverprofile", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},
    {"test.outputdir", Group::kEtcd04, Kind::kIgnored, FileForm::kAbsent, "", "Ignored.", nullptr},

    // Keys of the file that no flag stands for.
    {"client-transport-security.allowed-cn", Group::kFileOnly, Kind::kValue, FileForm::kAbsent, "", "",
     ETCD_INTO(client_tls.allowed_cns)},
    {"client-transport-security.skip-client-san-verification", Group::kFileOnly, Kind::kBool, FileForm::kAbsent, "", "",
     ETCD_INTO(client_tls.skip_client_san_verification)},
};

struct OlderName {
  std::string_view older;
  std::string_view name;
};

// Names that were old in 0.4 already. Source: etcd 0.4.6 config/config.go.
constexpr OlderName kOlderNames[] = {
    {"C", "peers"},
    {"CF", "peers-file"},
    {"n", "name"},
    {"c", "addr"},
    {"cl", "bind-addr"},
    {"s", "peer-addr"},
    {"sl", "peer-bind-addr"},
    {"d", "data-dir"},
    {"m", "max-result-buffer"},
    {"r", "max-retry-attempts"},
    {"maxsize", "cluster-active-size"},
    {"max-cluster-size", "cluster-active-size"},
    {"clientCAFile", "ca-file"},
    {"clientCert", "cert-file"},
    {"clientKey", "key-file"},
    {"serverCAFile", "peer-ca-file"},
    {"serverCert", "peer-cert-file"},
    {"serverKey", "peer-key-file"},
    {"snapshotCount", "snapshot-count"},
    {"peer-heartbeat-timeout", "peer-heartbeat-interval"},
};
// clang-format on

#undef ETCD_INTO
#undef ETCD_SECONDS_INTO
#undef ETCD_PLACE_INTO
#undef ETCD_PICK_INTO

Print flag_error(std::string_view message) {
  return Print{.err = fmt::format("{}\n{}", message, usage_text()), .exit_code = 2};
}

bool takes_no_value(Kind kind) {
  return kind == Kind::kBool || kind == Kind::kIgnoredBool;
}

}  // namespace

std::span<const Flag> all_flags() {
  return kFlags;
}

const Flag* find_flag(std::string_view name) {
  const Flag* found = std::ranges::find(kFlags, name, &Flag::name);
  return found == std::end(kFlags) ? nullptr : found;
}

Result<void> set_flag(Options& options, const Flag& flag, std::string_view value, Origin origin,
                      std::vector<Notice>& notices) {
  if (flag.set == nullptr) {
    notices.push_back(warning("flag is no longer supported - ignoring", {{"flag-name", std::string(flag.name)}}));
    return {};
  }
  ETCD_TRY_VOID(flag.set(options, value));
  options.given.insert_or_assign(std::string(flag.name), origin);
  return {};
}

std::expected<CommandLine, Print> parse_flags(std::span<const std::string> arguments) {
  CommandLine line;
  for (std::size_t place = 0; place < arguments.size(); ++place) {
    const std::string_view argument = arguments[place];
    if (argument == "--") {
      if (place + 1 < arguments.size()) line.stray = arguments[place + 1];
      break;
    }
    if (argument.size() < 2 || argument[0] != '-') {
      line.stray = argument;
      break;
    }
    std::string_view name = argument.substr(argument[1] == '-' ? 2 : 1);
    if (name[0] == '-' || name[0] == '=') {
      return std::unexpected(flag_error(fmt::format("bad flag syntax: {}", argument)));
    }
    std::optional<std::string_view> value;
    if (const std::size_t equals = name.find('='); equals != std::string_view::npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    }

    const OlderName* older = std::ranges::find(kOlderNames, name, &OlderName::older);
    if (older != std::end(kOlderNames)) {
      line.err += fmt::format("[deprecated] use -{}, not -{}\n", older->name, older->older);
      name = older->name;
    }
    if (name == "f") name = "force";
    const Flag* flag = find_flag(name);
    if (flag == nullptr || flag->group == Group::kFileOnly) {
      if (name == "help" || name == "h") return std::unexpected(Print{.out = help_text(), .err = usage_text()});
      return std::unexpected(flag_error(fmt::format("flag provided but not defined: -{}", name)));
    }

    const bool has_next = place + 1 < arguments.size();
    if (!value && flag->kind == Kind::kValue) {
      if (!has_next) return std::unexpected(flag_error(fmt::format("flag needs an argument: -{}", name)));
      value = arguments[++place];
    } else if (!value && flag->kind == Kind::kIgnored && has_next && !arguments[place + 1].starts_with('-')) {
      // Upstream takes no value here, so that "-retry-interval 1" of an 0.4 command line would end in a stray argument.
      value = arguments[++place];
    }
    const Result<void> set = set_flag(line.options, *flag, value.value_or("true"), Origin::kCommandLine, line.notices);
    if (!set) {
      const std::string given = quoted(value.value_or("true"));
      const std::string& why = set.error().message;
      return std::unexpected(flag_error(takes_no_value(flag->kind)
                                            ? fmt::format("invalid boolean value {} for -{}: {}", given, name, why)
                                            : fmt::format("invalid value {} for flag -{}: {}", given, name, why)));
    }
  }
  return line;
}

}  // namespace etcd::config
