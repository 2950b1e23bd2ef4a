#include "config/yaml.h"

#include <gtest/gtest.h>

#include <string>

#include "config/flags.h"
#include "config/load_for_test.h"

namespace etcd::config {
namespace {

std::string outcome_of_file(const std::string& text) {
  return outcome(load_given({.arguments = {"--config-file", "f"}, .files = {{"f", text}}}));
}

Options options_of_file(const std::string& text) {
  return options_of({.arguments = {"--config-file", "f"}, .files = {{"f", text}}});
}

TEST(Yaml, KeysReachTheirOptions) {
  const Options options = options_of_file(R"(
# a comment
name: 'infra1'
data-dir: /var/lib/etcd
snapshot-count: 0x10
heartbeat-interval: 1_00
quota-backend-bytes: -1
max-concurrent-streams: 1e6
pre-vote: off
listen-peer-urls: http://10.0.0.1:2380,http://127.0.0.1:2380
listen-client-urls: "http://10.0.0.1:2379"
advertise-client-urls: http://10.0.0.1:2379
initial-advertise-peer-urls: http://10.0.0.1:2380
grpc-keepalive-min-time: 5000000000
auto-compaction-retention: "12"
log-outputs: [stdout]
cipher-suites:
  - A
  - B
cors: "a,b"
feature-gates: LeaseCheckpoint=true
client-transport-security:
  cert-file: cert
  key-file: key
  client-cert-auth: true
  trusted-ca-file: ca
  allowed-cn: [one]
  allowed-hostname: [h1, h2]
  skip-client-san-verification: true
  auto-tls: false
peer-transport-security:
  cert-file: peer-cert
  allowed-cn: [x, z]
  skip-client-san-verification: true
socket-options:
  reuse-port: true
  reuse-address: yes
)");
  EXPECT_EQ(options.name, "infra1");
  EXPECT_EQ(options.data_dir, "/var/lib/etcd");
  EXPECT_EQ(options.snapshot_count, 16u);
  EXPECT_EQ(options.heartbeat_interval_ms, 100u);
  EXPECT_EQ(options.quota_backend_bytes, -1);
  EXPECT_EQ(options.max_concurrent_streams, 1'000'000u);
  EXPECT_FALSE(options.pre_vote);
  EXPECT_EQ(join_urls(options.listen_peer_urls), "http://10.0.0.1:2380,http://127.0.0.1:2380");
  EXPECT_EQ(options.initial_cluster, "infra1=http://10.0.0.1:2380");
  EXPECT_EQ(options.grpc_keepalive_min_time, Duration(5s));
  EXPECT_EQ(options.auto_compaction_retention, "12");
  EXPECT_EQ(options.log_outputs, Texts({"stdout"}));
  EXPECT_EQ(options.cipher_suites, Texts({"A", "B"}));
  EXPECT_EQ(options.cors, Texts({"a", "b"}));
  EXPECT_TRUE(options.feature_gates.enabled("LeaseCheckpoint"));
  EXPECT_EQ(options.client_tls.cert_file, "cert");
  EXPECT_EQ(options.client_tls.key_file, "key");
  EXPECT_TRUE(options.client_tls.client_cert_auth);
  EXPECT_EQ(options.client_tls.trusted_ca_file, "ca");
  EXPECT_EQ(options.client_tls.allowed_cns, Texts({"one"}));
  EXPECT_EQ(options.client_tls.allowed_hostnames, Texts({"h1", "h2"}));
  EXPECT_TRUE(options.client_tls.skip_client_san_verification);
  EXPECT_FALSE(options.client_tls.auto_tls);
  EXPECT_EQ(options.peer_tls.cert_file, "peer-cert");
  EXPECT_EQ(options.peer_tls.allowed_cns, Texts({"x", "z"}));
  EXPECT_TRUE(options.peer_tls.skip_client_san_verification);
  EXPECT_TRUE(options.socket_reuse_port);
  EXPECT_TRUE(options.socket_reuse_address);
  EXPECT_EQ(options.given.at("name"), Origin::kFile);
}

TEST(Yaml, DiscoveryBlock) {
  const Options options = options_of_file(R"(
discovery-config:
  token: t
  client:
    endpoints: ["http://a:1", "http://b:2"]
    dial-timeout: 3000000000
    secure: {insecure-transport: false, cacert: ca}
    auth: {username: u, password: p}
)");
  EXPECT_EQ(options.discovery_token, "t");
  EXPECT_EQ(options.discovery_endpoints, Texts({"http://a:1", "http://b:2"}));
  EXPECT_EQ(options.discovery_dial_timeout, Duration(3s));
  EXPECT_FALSE(options.discovery_insecure_transport);
  EXPECT_EQ(options.discovery_cacert, "ca");
  EXPECT_EQ(options.discovery_user, "u");
  EXPECT_EQ(options.discovery_password, "p");
  EXPECT_EQ(options.initial_cluster, "");
}

TEST(Yaml, Quirks) {
  EXPECT_EQ(options_of_file("").name, "default");
  EXPECT_EQ(options_of_file("# nothing but a comment\n").name, "default");
  EXPECT_EQ(options_of_file("name:").name, "default") << "null leaves the default";
  EXPECT_EQ(options_of_file("name: ~").name, "default");
  EXPECT_EQ(options_of_file("name: a\nname: b").name, "b") << "the last of a repeated key counts";
  EXPECT_EQ(options_of_file("NAME: a\nData-Dir: d").data_dir, "d") << "case does not matter";
  EXPECT_EQ(options_of_file("no-such-key: 1\nname: a").name, "a") << "unknown keys are skipped";
  EXPECT_EQ(options_of_file("cert-file: x\nname: a").client_tls.cert_file, "") << "not a key at the top";
  EXPECT_EQ(options_of_file("discovery-fallback: proxy\nname: a").name, "a") << "no key of the file";
  EXPECT_EQ(options_of_file(R"({"name": "json", "pre-vote": false, "max-wals": 7})").max_wals, 7u);
  EXPECT_EQ(options_of_file("name: 'on'").name, "on") << "quoted is a string";
  EXPECT_EQ(options_of_file("name: !!str 5").name, "5");
  EXPECT_EQ(options_of_file("name: 1.2.3").name, "1.2.3") << "no number";
  EXPECT_EQ(options_of_file("listen-peer-urls: ''").listen_peer_urls.size(), 2u) << "empty URLs are no URLs";
  EXPECT_EQ(options_of_file("client-transport-security:\nname: a").name, "a") << "an empty block";
}

TEST(Yaml, FileBeatsFlagsAndEnvironment) {
  const LoadResult result = load_given({.arguments = {"--config-file=f", "--name=flag", "--snapshot-count=5"},
                                        .environment = {"ETCD_NAME=variable", "ETCD_WAL_DIR=w"},
                                        .files = {{"f", "data-dir: d"}}});
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(run.options.name, "default");
  EXPECT_EQ(run.options.snapshot_count, 10'000u);
  EXPECT_EQ(run.options.wal_dir, "");
  EXPECT_EQ(run.options.data_dir, "d");
  EXPECT_EQ(run.options.config_file, "f");
}

TEST(Yaml, Refusals) {
  struct Row {
    const char* name;
    const char* text;
    const char* outcome;
  };
  const Row rows[] = {
      {"boolean as a name", "name: y", "1: key \"name\" takes a string, not a boolean"},
      {"on as a name", "name: on", "1: key \"name\" takes a string, not a boolean"},
      {"number as a name", "name: 5", "1: key \"name\" takes a string, not an integer"},
      {"number as retention", "auto-compaction-retention: 1",
       "1: key \"auto-compaction-retention\" takes a string, not an integer"},
      {"string as a number", "max-wals: \"5\"", "1: key \"max-wals\" takes an integer, not a string"},
      {"fraction as a number", "max-wals: 1.5", "1: key \"max-wals\" takes an integer, not a number with a fraction"},
      {"below zero", "max-wals: -1", "1: key \"max-wals\": parse error"},
      {"string as a boolean", "pre-vote: \"true\"", "1: key \"pre-vote\" takes a boolean, not a string"},
      {"duration as text", "grpc-keepalive-min-time: 5s",
       "1: key \"grpc-keepalive-min-time\" takes an integer (nanoseconds), not a string"},
      {"string as a list", "log-outputs: stdout", "1: key \"log-outputs\" takes a list of strings, not a string"},
      {"list of numbers", "log-outputs: [1]", "1: key \"log-outputs\" takes a list of strings, not an integer"},
      {"list as a string", "cors: [a]", "1: key \"cors\" takes a string, not a list"},
      {"block as a string", "client-transport-security: x",
       "1: key \"client-transport-security\" takes a block, not a string"},
      {"inside a block", "peer-transport-security: {auto-tls: 1}",
       "1: key \"peer-transport-security.auto-tls\" takes a boolean, not an integer"},
      {"list of keys", "- name", "1: the configuration file must be one block of keys"},
      {"gate", "feature-gates: Foo=true", "1: unrecognized feature gate: Foo"},
      {"state", "initial-cluster-state: x", "1: unexpected clusterState \"x\""},
      {"peer URLs", "listen-peer-urls: ftp://h:1",
       "1: unexpected error setting up listen-peer-urls: URL scheme must be http, https, unix, or unixs: ftp://h:1"},
      {"advertised peer URLs", "initial-advertise-peer-urls: http://h",
       "1: unexpected error setting up initial-advertise-peer-urls: URL address does not have the form \"host:port\": "
       "http://h"},
      {"advertised client URLs", "advertise-client-urls: http://h",
       "1: unexpected error setting up advertise-peer-urls: URL address does not have the form \"host:port\": "
       "http://h"},
      {"later check", "heartbeat-interval: 0", "1: --heartbeat-interval must be >0 (set to 0ms)"},
  };
  for (const Row& row : rows) EXPECT_EQ(outcome_of_file(row.text), row.outcome) << row.name;

  EXPECT_TRUE(outcome_of_file("name: [").starts_with("1: error converting YAML: "));
  EXPECT_EQ(outcome(load_given({.arguments = {"--config-file=none"}})), "1: open none: no such file or directory");
}

TEST(Yaml, ListeningWithoutAdvertisingIsAccepted) {
  const Options options = options_of_file("listen-client-urls: http://127.0.0.1:5000");
  EXPECT_EQ(join_urls(options.listen_client_urls), "http://127.0.0.1:5000");
  EXPECT_EQ(join_urls(options.advertise_client_urls), "http://localhost:2379");
}

TEST(Yaml, LogRotation) {
  const Result<LogRotation> rotation =
      parse_log_rotation(R"({"maxsize": 5, "maxage": 7, "MaxBackups": 2, "localtime": true, "other": "x"})");
  ASSERT_TRUE(rotation.has_value());
  EXPECT_EQ(*rotation, (LogRotation{.max_megabytes = 5, .max_days = 7, .max_backups = 2, .local_time = true}));
  EXPECT_EQ(parse_log_rotation(Options().log_rotation_config_json).value(), LogRotation());
  EXPECT_EQ(parse_log_rotation("{}").value(), LogRotation());

  for (const char* text : {"", "x", "[1]", "{\"maxsize\": 1", "maxsize: 1"}) {
    const Result<LogRotation> bad = parse_log_rotation(text);
    ASSERT_FALSE(bad.has_value()) << text;
    EXPECT_TRUE(bad.error().message.starts_with("improperly formatted log rotation config: ")) << text;
  }
  EXPECT_EQ(parse_log_rotation(R"({"maxsize": "1"})").error().message,
            "invalid log rotation config: key \"maxsize\" takes an integer, not a string");
}

}  // namespace
}  // namespace etcd::config
