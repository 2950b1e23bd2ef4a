#include "config/check.h"

#include <gtest/gtest.h>

#include <string>

#include "config/load_for_test.h"

namespace etcd::config {
namespace {

TEST(Check, RefusalsOfFlags) {
  struct Row {
    const char* name;
    Texts arguments;
    const char* outcome;
  };
  const Row rows[] = {
      {"defaults", {}, "run"},
      {"fallback",
       {"--discovery-fallback=proxy"},
       "1: v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""},

      {"capnslog", {"--logger=capnslog"}, "1: --logger=capnslog is removed in v3.5"},
      {"logger", {"--logger=x"}, "1: unknown logger option \"x\""},
      {"format", {"--log-format=x"}, "1: unknown log format: x, supported values json, console"},
      {"level", {"--log-level=x"}, "2: unrecognized level: \"x\""},
      {"default among outputs",
       {"--log-outputs=default,stderr"},
       "1: multi logoutput for \"default\" is not supported yet"},
      {"two outputs", {"--log-outputs=stdout,file"}, "run"},
      {"rotation without a file",
       {"--enable-log-rotation"},
       "1: --log-outputs requires a single file path when --log-rotate-config-json is defined"},
      {"rotation of two files",
       {"--enable-log-rotation", "--log-outputs=a,b"},
       "1: --log-outputs requires a single file path when --log-rotate-config-json is defined"},
      {"rotation of one file", {"--enable-log-rotation", "--log-outputs=stderr,a"}, "run"},
      {"rotation is not read when off", {"--log-rotation-config-json=x"}, "run"},
      {"rotation",
       {"--enable-log-rotation", "--log-outputs=a", "--log-rotation-config-json=x"},
       "1: improperly formatted log rotation config: not a JSON object"},

      {"listening on a name",
       {"--listen-peer-urls=http://host.example:2380"},
       "1: expected IP in URL for binding (http://host.example:2380)"},
      {"listening on no host",
       {"--listen-client-urls=http://:2379", "--advertise-client-urls=http://a:2379"},
       "1: expected IP in URL for binding (http://:2379)"},
      {"metrics on a name",
       {"--listen-metrics-urls=http://host.example:1"},
       "1: expected IP in URL for binding (http://host.example:1)"},
      {"unix socket", {"--listen-client-urls=unix:/run/s", "--advertise-client-urls=unix:/run/s"}, "run"},
      {"advertised peer without a host",
       {"--initial-advertise-peer-urls=http://:2380"},
       "1: --initial-advertise-peer-urls \"http://:2380\" must be \"host:port\" (unexpected empty host "
       "(http://:2380))"},
      {"advertised client without a host",
       {"--advertise-client-urls=http://:2379"},
       "1: --advertise-client-urls \"http://:2379\" must be in the format \"host:port\", \"unix:/path/to/socket\" or "
       "\"unixs:/path/to/socket\" (unexpected empty host (http://:2379))"},

      {"list and SRV",
       {"--initial-cluster=a=http://a:1", "--discovery-srv=x"},
       "1: multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" "
       "or "
       "\"discovery-srv\""},
      {"SRV and v3 discovery",
       {"--discovery-srv=x", "--discovery-endpoints=a", "--discovery-token=t"},
       "1: multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" "
       "or "
       "\"discovery-srv\""},
      {"list and v2 discovery",
       {"--initial-cluster=a=http://a:1", "--discovery=http://d"},
       "1: multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", "
       "\"discovery-endpoints\", \"discovery-srv\" or \"peers\""},
      {"peers and v2 discovery",
       {"--peers=a:1", "--discovery=http://d"},
       "1: multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", "
       "\"discovery-endpoints\", \"discovery-srv\" or \"peers\""},
      {"peers alone", {"--peers=a:1"}, "run"},
      {"token alone", {"--discovery-token=t"}, "1: both --discovery-token and --discovery-endpoints must be set"},
      {"endpoints alone",
       {"--discovery-endpoints=a"},
       "1: both --discovery-token and --discovery-endpoints must be set"},
      {"empty endpoint",
       {"--discovery-endpoints=a,,b", "--discovery-token=t"},
       "1: --discovery-endpoints must not contain empty endpoints"},

      {"heartbeat 0", {"--heartbeat-interval=0"}, "1: --heartbeat-interval must be >0 (set to 0ms)"},
      {"election 0", {"--election-timeout=0"}, "1: --election-timeout must be >0 (set to 0ms)"},
      {"election too short",
       {"--election-timeout=499"},
       "1: --election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]"},
      {"election just long enough", {"--election-timeout=500"}, "run"},
      {"heartbeat that would overflow",
       {"--heartbeat-interval=18446744073709551615"},
       "1: --election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[18446744073709551615ms]"},
      {"longest election", {"--election-timeout=50000"}, "run"},
      {"election too long",
       {"--election-timeout=50001"},
       "1: --election-timeout[50001ms] is too long, and should be set less than 50000ms"},
      {"listening without advertising",
       {"--listen-client-urls=http://127.0.0.1:1"},
       "1: --advertise-client-urls is required when --listen-client-urls is set explicitly"},

      {"no compaction mode", {"--auto-compaction-mode="}, "1: undefined auto-compaction-mode"},
      {"compaction mode", {"--auto-compaction-mode=x"}, "1: unknown auto-compaction-mode \"x\""},
      {"tracing is not checked when off", {"--distributed-tracing-sampling-rate=-1"}, "run"},
      {"tracing",
       {"--enable-distributed-tracing", "--distributed-tracing-sampling-rate=-1"},
       "1: distributed tracing configurition is not valid: (tracing sampling rate must be positive)"},
      {"gates",
       {"--feature-gates=LeaseCheckpointPersist=true"},
       "1: enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"},
      {"both gates", {"--feature-gates=LeaseCheckpointPersist=true,LeaseCheckpoint=true"}, "run"},
      {"hash check", {"--compact-hash-check-time=0"}, "1: --compact-hash-check-time must be >0 (set to 0s)"},
      {"hash check below zero",
       {"--compact-hash-check-time=-90s"},
       "1: --compact-hash-check-time must be >0 (set to -1m30s)"},

      {"oldest TLS",
       {"--tls-min-version=TLS1.1"},
       "1: unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)"},
      {"newest TLS", {"--tls-max-version=x"}, "1: unexpected TLS version \"x\" (must be one of: TLS1.2, TLS1.3)"},
      {"TLS turned round",
       {"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"},
       "1: min version (TLS1.3) is greater than max version (TLS1.2)"},
      {"suites for TLS 1.3",
       {"--tls-min-version=TLS1.3", "--cipher-suites=A"},
       "1: cipher suites cannot be configured when only TLS1.3 is enabled"},
      {"suites for both", {"--tls-max-version=TLS1.3", "--cipher-suites=A"}, "run"},
  };
  for (const Row& row : rows) EXPECT_EQ(outcome(load_given({.arguments = row.arguments})), row.outcome) << row.name;
}

// Each list breaks one rule more than the list before it, from the last rule to the first.
TEST(Check, OrderOfChecks) {
  struct Row {
    const char* argument;
    const char* outcome;
  };
  const Row rows[] = {
      {"--tls-min-version=x", "1: unexpected TLS version \"x\" (must be one of: TLS1.2, TLS1.3)"},
      {"--compact-hash-check-time=0", "1: --compact-hash-check-time must be >0 (set to 0s)"},
      {"--feature-gates=LeaseCheckpointPersist=true",
       "1: enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"},
      {"--auto-compaction-mode=x", "1: unknown auto-compaction-mode \"x\""},
      {"--listen-client-urls=http://127.0.0.1:1",
       "1: --advertise-client-urls is required when --listen-client-urls is set explicitly"},
      {"--heartbeat-interval=0", "1: --heartbeat-interval must be >0 (set to 0ms)"},
      {"--discovery-token=t", "1: both --discovery-token and --discovery-endpoints must be set"},
      {"--initial-advertise-peer-urls=http://:1",
       "1: --initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host (http://:1))"},
      {"--listen-peer-urls=http://a:1", "1: expected IP in URL for binding (http://a:1)"},
      {"--log-format=x", "1: unknown log format: x, supported values json, console"},
      {"--log-level=x", "2: unrecognized level: \"x\""},
      {"--logger=x", "1: unknown logger option \"x\""},
      {"--discovery-fallback=proxy",
       "1: v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""},
      {"--version", "0: "},
      {"stray", "1: \"stray\" is not a valid flag"},
  };
  Texts arguments;
  for (const Row& row : rows) {
    arguments.emplace_back(row.argument);
    EXPECT_EQ(outcome(load_given({.arguments = arguments})), row.outcome);
  }
}

TEST(Check, UnsetAdvertiseIsSaidTwice) {
  const LoadResult result = load_given({.arguments = {"--listen-client-urls=http://127.0.0.1:1"}});
  const Print& print = std::get<Print>(result);
  ASSERT_EQ(print.notices.size(), 2u);
  EXPECT_EQ(print.notices[0].message, "failed to verify flags");
  EXPECT_EQ(print.notices[1].message, "advertise client URLs are not set");
  EXPECT_EQ(print.notices[0].fields, print.notices[1].fields);
  EXPECT_EQ(print.err, "");
}

TEST(Check, WarningsOfARun) {
  const LoadResult result = load_given(
      {.arguments = {"--bcrypt-cost=50", "--raft-read-timeout=1s", "--v2-deprecation=gone", "--max-snapshots=3"}});
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(run.options.bcrypt_cost, 10u);
  EXPECT_EQ(run.options.raft_read_timeout, Duration(5s));
  EXPECT_EQ(field_of(run.notices, "bcrypt cost is out of range, using the default", "given-cost"), "50");
  EXPECT_EQ(field_of(run.notices, "timeout is too short, using the shortest that is allowed", "flag-name"),
            "raft-read-timeout");
  EXPECT_EQ(field_of(run.notices, "flag is deprecated", "flag-name"), "v2-deprecation");
  const LoadResult plain = load_given({});
  EXPECT_TRUE(std::get<config::Run>(plain).notices.empty());
}

TEST(Check, Retention) {
  struct Row {
    const char* mode;
    const char* text;
    Retention retention;
  };
  const Row rows[] = {
      {"periodic", "0", {}},
      {"periodic", "1", {.period = 1h, .revisions = 0}},
      {"periodic", "010", {.period = 10h, .revisions = 0}},
      {"periodic", "000", {}},
      {"periodic", "5m", {.period = 5min, .revisions = 0}},
      {"revision", "1000", {.period = {}, .revisions = 1000}},
      {"revision", "0", {}},
  };
  for (const Row& row : rows) {
    Options options;
    options.auto_compaction_mode = row.mode;
    options.auto_compaction_retention = row.text;
    const Result<Retention> retention = compaction_retention(options);
    ASSERT_TRUE(retention.has_value()) << row.mode << " " << row.text;
    EXPECT_EQ(*retention, row.retention) << row.mode << " " << row.text;
  }
  Options options;
  EXPECT_EQ(compaction_retention(options).value().period, Duration(1h)) << "history of one hour by default";
  options.auto_compaction_retention = "abc";
  EXPECT_EQ(compaction_retention(options).error().message,
            "error parsing CompactionRetention: time: invalid duration \"abc\"");
  options.auto_compaction_retention = "99999999999";
  EXPECT_EQ(compaction_retention(options).error().message,
            "error parsing CompactionRetention: 99999999999 hours are too many");
}

TEST(Check, Start) {
  struct Row {
    const char* name;
    Texts arguments;
    const char* message;
  };
  const Row rows[] = {
      {"defaults", {}, ""},
      {"https without a certificate",
       {"--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"},
       "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme"},
      {"https with auto-tls",
       {"--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1", "--auto-tls"},
       ""},
      {"one URL for both",
       {"--listen-client-urls=http://127.0.0.1:1", "--advertise-client-urls=http://127.0.0.1:1",
        "--listen-client-http-urls=http://127.0.0.1:1"},
       "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://127.0.0.1:1"},
      {"retention",
       {"--auto-compaction-retention=x"},
       "error parsing CompactionRetention: time: invalid duration \"x\""},
  };
  for (const Row& row : rows) {
    const Result<void> started = check_start(options_of({.arguments = row.arguments}));
    EXPECT_EQ(started.has_value() ? std::string() : started.error().message, row.message) << row.name;
  }
}

}  // namespace
}  // namespace etcd::config
