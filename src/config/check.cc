#include "config/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/duration_text.h"
#include "config/values.h"
#include "config/yaml.h"

namespace etcd::config {
namespace {

std::unexpected<Error> bad(std::string message) {
  return failure(ErrorCode::kInvalidArgument, std::move(message));
}

constexpr std::string_view kUnsetAdvertise =
    "--advertise-client-urls is required when --listen-client-urls is set explicitly";

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

/// True for a log output that is a file.
bool is_file(std::string_view output) {
  return !is_one_of(output, {"default", "stderr", "stdout", "systemd/journal"});
}

Result<void> check_outputs(Options& options) {
  if (options.logger == "capnslog") return bad("--logger=capnslog is removed in v3.5");
  if (options.logger != "zap") return bad(fmt::format("unknown logger option {}", quoted(options.logger)));
  std::vector<std::string>& outputs = options.log_outputs;
  if (outputs.empty()) outputs = {"default"};
  if (outputs.size() > 1 && std::ranges::find(outputs, std::string("default")) != outputs.end()) {
    return bad("multi logoutput for \"default\" is not supported yet");
  }
  if (options.enable_log_rotation) {
    const auto files = std::ranges::count_if(outputs, is_file);
    if (files > 1 || (files == 0 && outputs.size() == 1)) {
      return bad("--log-outputs requires a single file path when --log-rotate-config-json is defined");
    }
    ETCD_TRY(options.log_rotation, parse_log_rotation(options.log_rotation_config_json));
  }
  return {};
}

bool level_is_known(const Options& options) {
  return is_one_of(options.log_level, {"debug", "info", "warn", "error", "panic", "fatal"});
}

Result<void> check_format(const Options& options) {
  if (is_one_of(options.log_format, {"json", "console"})) return {};
  return bad(fmt::format("unknown log format: {}, supported values json, console", options.log_format));
}

Result<void> check_urls(const Options& options) {
  ETCD_TRY_VOID(check_listen_urls(options.listen_peer_urls));
  ETCD_TRY_VOID(check_listen_urls(options.listen_client_urls));
  ETCD_TRY_VOID(check_listen_urls(options.listen_client_http_urls));
  ETCD_TRY_VOID(check_listen_urls(options.listen_metrics_urls));
  if (const Result<void> fits = check_advertise_urls(options.initial_advertise_peer_urls); !fits) {
    return bad(fmt::format("--initial-advertise-peer-urls {} must be \"host:port\" ({})",
                           quoted(join_urls(options.initial_advertise_peer_urls)), fits.error().message));
  }
  if (const Result<void> fits = check_advertise_urls(options.advertise_client_urls); !fits) {
    return bad(
        fmt::format("--advertise-client-urls {} must be in the format \"host:port\", \"unix:/path/to/socket\" or "
                    "\"unixs:/path/to/socket\" ({})",
                    quoted(join_urls(options.advertise_client_urls)), fits.error().message));
  }
  return {};
}

Result<void> check_bootstrap(const Options& options) {
  if (!is_one_of(options.initial_cluster_state, {"new", "existing"})) {
    return bad(fmt::format("unexpected clusterState {}", quoted(options.initial_cluster_state)));
  }
  const bool by_list = !options.initial_cluster.empty();
  const bool by_srv = !options.discovery_srv.empty();
  const bool by_v3 = !options.discovery_endpoints.empty();
  const bool by_v2 = !options.discovery.empty();
  const bool by_peers = !options.peers.empty();
  if (int{by_list} + int{by_srv} + int{by_v3} > 1) {
    return bad(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or "
        "\"discovery-srv\"");
  }
  if (int{by_list} + int{by_srv} + int{by_v3} + int{by_v2} + int{by_peers} > 1) {
    return bad(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", "
        "\"discovery-endpoints\", \"discovery-srv\" or \"peers\"");
  }
  if (options.discovery_token.empty() != options.discovery_endpoints.empty()) {
    return bad("both --discovery-token and --discovery-endpoints must be set");
  }
  for (const std::string& endpoint : options.discovery_endpoints) {
    if (trimmed(endpoint).empty()) return bad("--discovery-endpoints must not contain empty endpoints");
  }
  return {};
}

Result<void> check_times(const Options& options) {
  constexpr std::uint64_t kElectionMostMs = 50'000;
  const std::uint64_t heartbeat = options.heartbeat_interval_ms;
  const std::uint64_t election = options.election_timeout_ms;
  if (heartbeat == 0) return bad("--heartbeat-interval must be >0 (set to 0ms)");
  if (election == 0) return bad("--election-timeout must be >0 (set to 0ms)");
  if (heartbeat > election / 5) {  // 5 × heartbeat > election, without its overflow
    return bad(fmt::format("--election-timeout[{}ms] should be at least as 5 times as --heartbeat-interval[{}ms]",
                           election, heartbeat));
  }
  if (election > kElectionMostMs) {
    return bad(fmt::format("--election-timeout[{}ms] is too long, and should be set less than {}ms", election,
                           kElectionMostMs));
  }
  return {};
}

Result<void> check_tracing(const Options& options) {
  if (!options.enable_distributed_tracing) return {};
  const std::int64_t rate = options.distributed_tracing_sampling_rate_per_million;
  if (rate < 0) {
    return bad("distributed tracing configurition is not valid: (tracing sampling rate must be positive)");
  }
  if (rate > 1'000'000) {
    return bad("distributed tracing configurition is not valid: (tracing sampling rate must be less than 1000000)");
  }
  return {};
}

Result<int> tls_version(const std::string& name) {
  if (name.empty()) return 0;
  if (name == "TLS1.2") return 12;
  if (name == "TLS1.3") return 13;
  return bad(fmt::format("unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)", quoted(name)));
}

Result<void> check_tls(const Options& options) {
  ETCD_TRY(const int least, tls_version(options.tls_min_version));
  ETCD_TRY(const int most, tls_version(options.tls_max_version));
  if (most != 0 && least > most) {
    return bad(fmt::format("min version ({}) is greater than max version ({})", options.tls_min_version,
                           options.tls_max_version));
  }
  if (least == 13 && !options.cipher_suites.empty()) {
    return bad("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  return {};
}

/// All behind the log's own options.
Result<void> check_rest(const Options& options) {
  ETCD_TRY_VOID(check_urls(options));
  ETCD_TRY_VOID(check_bootstrap(options));
  ETCD_TRY_VOID(check_times(options));
  if (options.advertise_client_urls.empty()) return bad(std::string(kUnsetAdvertise));
  if (options.auto_compaction_mode.empty()) return bad("undefined auto-compaction-mode");
  if (!is_one_of(options.auto_compaction_mode, {"periodic", "revision"})) {
    return bad(fmt::format("unknown auto-compaction-mode {}", quoted(options.auto_compaction_mode)));
  }
  ETCD_TRY_VOID(check_tracing(options));
  if (options.feature_gates.enabled("LeaseCheckpointPersist") && !options.feature_gates.enabled("LeaseCheckpoint")) {
    return bad("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint");
  }
  if (options.compact_hash_check_time <= Duration::zero()) {
    return bad(fmt::format("--compact-hash-check-time must be >0 (set to {})",
                           duration_text(options.compact_hash_check_time)));
  }
  return check_tls(options);
}

}  // namespace

std::expected<void, Print> check(Options& options, std::vector<Notice>& notices) {
  if (options.discovery_fallback == "proxy") {
    return std::unexpected(
        refusal("v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""));
  }
  if (const Result<void> fits = check_outputs(options); !fits) return std::unexpected(refusal(fits.error().message));
  if (!level_is_known(options)) {
    // Upstream panics here, before it has a log to write to.
    return std::unexpected(
        Print{.err = fmt::format("unrecognized level: {}\n", quoted(options.log_level)), .exit_code = 2});
  }
  if (const Result<void> fits = check_format(options); !fits) return std::unexpected(refusal(fits.error().message));
  if (const Result<void> fits = check_rest(options); !fits) {
    Print print = refusal(fits.error().message);
    if (fits.error().message == kUnsetAdvertise) {
      print.notices.push_back(warning("advertise client URLs are not set", {{"error", std::string(kUnsetAdvertise)}}));
    }
    return std::unexpected(std::move(print));
  }
  for (const std::string_view flag : {"v2-deprecation", "max-snapshots"}) {
    if (options.is_given(flag)) notices.push_back(warning("flag is deprecated", {{"flag-name", std::string(flag)}}));
  }
  return {};
}

Result<Retention> compaction_retention(const Options& options) {
  const std::string& text = options.auto_compaction_retention;
  const bool by_revision = options.auto_compaction_mode == "revision";
  std::int64_t amount = 0;
  const bool is_whole = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  if (is_whole) {
    // Decimal, whatever it starts with: 010 is ten hours.
    const std::string digits = text.substr(std::min(text.find_first_not_of('0'), text.size() - 1));
    ETCD_TRY(amount, parse_signed(digits));
    if (by_revision) return Retention{.period = {}, .revisions = amount};
    constexpr std::int64_t kHoursMost = 2'500'000;  // as many as a Duration holds, about 285 years
    if (amount > kHoursMost)
      return bad(fmt::format("error parsing CompactionRetention: {} hours are too many", amount));
    return Retention{.period = std::chrono::hours(amount), .revisions = 0};
  }
  const Result<Duration> duration = parse_duration(text);
  if (!duration) return bad(fmt::format("error parsing CompactionRetention: {}", duration.error().message));
  // Upstream takes a duration's nanoseconds as revisions, too.
  if (by_revision) return Retention{.period = {}, .revisions = duration->count()};
  return Retention{.period = *duration, .revisions = 0};
}

Result<void> check_start(const Options& options) {
  for (const Url& url : options.listen_client_http_urls) {
    if (std::ranges::find(options.listen_client_urls, url.text, &Url::text) != options.listen_client_urls.end()) {
      return bad(fmt::format("cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {}",
                             url.text));
    }
  }
  if (!options.client_tls.can_serve()) {
    for (const UrlList* urls : {&options.listen_client_urls, &options.listen_client_http_urls}) {
      for (const Url& url : *urls) {
        if (!url.is_tls()) continue;
        return bad(fmt::format(
            "TLS key/cert (--cert-file, --key-file) must be provided for client url {} with HTTPS scheme", url.text));
      }
    }
  }
  ETCD_TRY_VOID(compaction_retention(options));
  return {};
}

}  // namespace etcd::config
