// config/options.h - everything that a member can be told, in one value.
//
// Life:    made by load() (config/load.h), which leaves nothing unsaid: URLs, data directory and initial cluster are
//          settled and checked. server/ turns it into each room's own small Options; nobody below receives this one.
// Thread:  any (a value).
// Units:   a name without a unit is a Duration or says it beside the field.
// Source:  etcd v3.7.1's flags and defaults; etcd 0.4.6's, marked so. Meanings: docs/configuration.md.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "config/feature_gates.h"
#include "config/url.h"

namespace etcd::config {

/// Who gave an option its value.
enum class Origin : std::uint8_t { kCommandLine, kEnvironment, kFile };

/// One side's certificates: towards clients, or towards peers.
struct TlsOptions {
  std::string cert_file = {};
  std::string key_file = {};
  std::string client_cert_file = {};  // shown when this member is the client; cert_file when empty
  std::string client_key_file = {};
  std::string trusted_ca_file = {};
  std::string crl_file = {};
  bool client_cert_auth = false;
  bool auto_tls = false;
  bool skip_client_san_verification = false;
  std::vector<std::string> allowed_cns = {};
  std::vector<std::string> allowed_hostnames = {};

  /// True when a listener could speak TLS with what is here.
  [[nodiscard]] bool can_serve() const { return auto_tls || !cert_file.empty() || !key_file.empty(); }
};

struct LogRotation {
  std::int64_t max_megabytes = 100;
  std::int64_t max_days = 0;     // 0: however old
  std::int64_t max_backups = 0;  // 0: however many
  bool local_time = false;
  bool compress = false;

  friend bool operator==(const LogRotation&, const LogRotation&) = default;
};

struct Options {
  // Member
  std::string name = "default";
  std::string data_dir = {};  // load() makes an empty one "<name>.etcd"
  std::string wal_dir = {};   // empty: member/wal in the data directory
  std::uint64_t snapshot_count = 10'000;
  std::uint64_t heartbeat_interval_ms = 100;
  std::uint64_t election_timeout_ms = 1000;
  bool initial_election_tick_advance = true;
  UrlList listen_peer_urls = {};    // load() fills in the defaults
  UrlList listen_client_urls = {};  // likewise
  UrlList listen_client_http_urls = {};
  UrlList listen_metrics_urls = {};
  std::uint64_t max_snapshots = 5;  // 0: all are kept
  std::uint64_t max_wals = 5;       // 0: all are kept
  bool memory_mlock = false;
  std::int64_t quota_backend_bytes = 0;  // 0: the member's own default; below 0: none
  std::string backend_bbolt_freelist_type = {};
  Duration backend_batch_interval{};     // 0: the member's own default
  std::int64_t backend_batch_limit = 0;  // likewise
  std::uint64_t max_txn_ops = 128;
  std::uint64_t max_request_bytes = 1'572'864;
  std::uint32_t max_concurrent_streams = 4'294'967'295;
  Duration grpc_keepalive_min_time = 5s;
  Duration grpc_keepalive_interval = 2h;
  Duration grpc_keepalive_timeout = 20s;
  bool socket_reuse_port = false;
  bool socket_reuse_address = false;
  Duration raft_read_timeout = 5s;   // never below 5 s
  Duration raft_write_timeout = 5s;  // likewise
  bool enable_grpc_gateway = true;
  FeatureGates feature_gates = {};

  // Clustering
  UrlList initial_advertise_peer_urls = {};  // load() fills in the default
  UrlList advertise_client_urls = {};        // likewise
  std::string initial_cluster = {};          // load() fills in "<name>=<initial-advertise-peer-urls>"
  std::string initial_cluster_state = "new";
  std::string initial_cluster_token = "etcd-cluster";
  std::string discovery = {};  // a discovery URL of the v2 protocol, as in 0.4 and up to 3.6
  std::string discovery_proxy = {};
  std::string discovery_token = {};
  std::vector<std::string> discovery_endpoints = {};
  Duration discovery_dial_timeout = 2s;
  Duration discovery_request_timeout = 5s;
  Duration discovery_keepalive_time = 2s;
  Duration discovery_keepalive_timeout = 6s;
  bool discovery_insecure_transport = true;
  bool discovery_insecure_skip_tls_verify = false;
  std::string discovery_cert = {};
  std::string discovery_key = {};
  std::string discovery_cacert = {};
  std::string discovery_user = {};
  std::string discovery_password = {};
  std::string discovery_fallback = "exit";
  std::string discovery_srv = {};
  std::string discovery_srv_name = {};
  bool strict_reconfig_check = true;
  bool pre_vote = true;
  std::string auto_compaction_mode = "periodic";
  std::string auto_compaction_retention = "1h";  // upstream: "0"; but v2 has no call that compacts
  std::string v2_deprecation = "write-only";

  // Security
  TlsOptions client_tls = {};
  TlsOptions peer_tls = {};
  std::uint64_t self_signed_cert_validity_years = 1;
  std::vector<std::string> cipher_suites = {};
  std::string tls_min_version = "TLS1.2";
  std::string tls_max_version = {};  // empty: the newest
  std::vector<std::string> cors = {"*"};
  std::vector<std::string> host_whitelist = {"*"};

  // Auth
  std::string auth_token = "simple";
  std::uint64_t bcrypt_cost = 10;  // load() leaves 4...31
  std::uint64_t auth_token_ttl_seconds = 300;

  // Monitoring and logging
  std::string metrics = "basic";
  std::string logger = "zap";
  std::vector<std::string> log_outputs = {"default"};
  std::string log_level = "info";
  std::string log_format = "json";
  bool enable_log_rotation = false;
  std::string log_rotation_config_json =
      R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})";
  LogRotation log_rotation = {};  // what that says; read when rotation is on
  Duration warning_apply_duration = 100ms;
  Duration warning_unary_request_duration = 300ms;
  bool enable_distributed_tracing = false;
  std::string distributed_tracing_address = "localhost:4317";
  std::string distributed_tracing_service_name = "etcd";
  std::string distributed_tracing_instance_id = {};
  std::int64_t distributed_tracing_sampling_rate_per_million = 0;

  // Profiling
  bool enable_pprof = false;

  // Tuning
  Duration corrupt_check_time{};  // 0: off
  Duration compact_hash_check_time = 1min;
  std::int64_t compaction_batch_limit = 0;    // 0: the member's own default
  Duration compaction_sleep_interval{};       // likewise
  Duration watch_progress_notify_interval{};  // likewise
  Duration downgrade_check_time = 5s;
  std::uint64_t bootstrap_defrag_threshold_megabytes = 0;  // 0: off
  std::int64_t max_learners = 1;
  std::uint64_t snapshot_catchup_entries = 5000;

  // Unsafe and others
  bool force_new_cluster = false;
  bool unsafe_no_fsync = false;
  std::string config_file = {};  // the file that everything else came from, if there is one
  bool print_version = false;

  // etcd 0.4. load() has turned the first six into the options that took their place.
  std::string addr = {};                // advertise_client_urls
  std::string bind_addr = {};           // listen_client_urls
  std::string peer_addr = {};           // initial_advertise_peer_urls
  std::string peer_bind_addr = {};      // listen_peer_urls
  std::string ca_file = {};             // client_tls.trusted_ca_file, and client_cert_auth
  std::string peer_ca_file = {};        // peer_tls.trusted_ca_file, and client_cert_auth
  std::vector<std::string> peers = {};  // host:port of any members to join; what peers_file names is in here, too
  std::string peers_file = {};
  Duration http_read_timeout{};   // 0: none
  Duration http_write_timeout{};  // likewise
  std::optional<std::uint64_t> cluster_active_size = {};
  std::optional<Duration> cluster_remove_delay = {};
  std::optional<Duration> cluster_sync_interval = {};

  /// Every flag that somebody gave, by its name without dashes.
  std::map<std::string, Origin, std::less<>> given = {};

  [[nodiscard]] bool is_given(std::string_view flag) const { return given.contains(flag); }
  [[nodiscard]] bool joins_existing_cluster() const { return initial_cluster_state == "existing"; }
};

}  // namespace etcd::config
