#include "config/flags.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "config/help.h"
#include "config/load_for_test.h"

namespace etcd::config {
namespace {

TEST(Flags, TableIsSound) {
  std::set<std::string_view> names;
  for (const Flag& flag : all_flags()) {
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name << " stands twice";
    const bool ignored = flag.kind == Kind::kIgnored || flag.kind == Kind::kIgnoredBool;
    EXPECT_EQ(flag.set == nullptr, ignored) << flag.name;
    EXPECT_EQ(flag.help.empty(), flag.group == Group::kFileOnly) << flag.name;
  }
}

// What --help calls the default must be what the flag's absence leaves: given, it changes nothing.
TEST(Flags, DefaultsThatHelpShowsAreTheDefaults) {
  const Options plain = options_of({});
  for (const Flag& flag : all_flags()) {
    if (flag.set == nullptr || flag.group == Group::kFileOnly ||
        flag.default_text.find('<') != std::string_view::npos) {
      continue;
    }
    if (flag.default_text.empty() || flag.name == "version") continue;
    Options given;
    EXPECT_TRUE(flag.set(given, flag.default_text).has_value()) << flag.name;
    EXPECT_EQ(given.heartbeat_interval_ms, plain.heartbeat_interval_ms) << flag.name;
    EXPECT_EQ(given.election_timeout_ms, plain.election_timeout_ms) << flag.name;
    EXPECT_EQ(given.max_request_bytes, plain.max_request_bytes) << flag.name;
    EXPECT_EQ(given.max_concurrent_streams, plain.max_concurrent_streams) << flag.name;
    EXPECT_EQ(given.grpc_keepalive_interval, plain.grpc_keepalive_interval) << flag.name;
    EXPECT_EQ(given.auto_compaction_retention, plain.auto_compaction_retention) << flag.name;
    EXPECT_EQ(given.compact_hash_check_time, plain.compact_hash_check_time) << flag.name;
    EXPECT_EQ(given.log_rotation_config_json, plain.log_rotation_config_json) << flag.name;
    EXPECT_EQ(given.warning_apply_duration, plain.warning_apply_duration) << flag.name;
    EXPECT_EQ(given.snapshot_catchup_entries, plain.snapshot_catchup_entries) << flag.name;
    EXPECT_EQ(given.cors, plain.cors) << flag.name;
  }
  for (const char* name : {"listen-client-urls", "listen-peer-urls"}) {
    UrlList urls = std::string_view(name) == "listen-client-urls" ? plain.listen_client_urls : plain.listen_peer_urls;
    EXPECT_EQ(join_urls(urls), find_flag(name)->default_text);
  }
}

TEST(Flags, Syntax) {
  struct Row {
    const char* name;
    Texts arguments;
    const char* outcome;
  };
  const Row rows[] = {
      {"none", {}, "run"},
      {"one dash", {"-name", "x"}, "run"},
      {"two dashes", {"--name", "x"}, "run"},
      {"equals", {"--name=x"}, "run"},
      {"empty value", {"--wal-dir="}, "run"},
      {"value that looks like a flag", {"--name", "--x"}, "run"},
      {"bool", {"--pre-vote"}, "run"},
      {"bool with value", {"-pre-vote=F"}, "run"},
      {"end mark", {"--name", "x", "--"}, "run"},
      {"ignored bool", {"-v", "-vv", "-snapshot=false", "-f"}, "run"},
      {"ignored value", {"-max-retry-attempts", "5", "-retry-interval=1", "-peer-election-timeout", "200"}, "run"},
      {"ignored without a value", {"-config", "-name", "x"}, "run"},

      {"unknown", {"-foo"}, "2: flag provided but not defined: -foo"},
      {"unknown with a value", {"--foo=x"}, "2: flag provided but not defined: -foo"},
      {"experimental is gone",
       {"--experimental-initial-corrupt-check"},
       "2: flag provided but not defined: -experimental-initial-corrupt-check"},
      {"key of the file only",
       {"--client-transport-security.allowed-cn=x"},
       "2: flag provided but not defined: -client-transport-security.allowed-cn"},
      {"no argument", {"-name"}, "2: flag needs an argument: -name"},
      {"three dashes", {"---name=x"}, "2: bad flag syntax: ---name=x"},
      {"no name", {"-=x"}, "2: bad flag syntax: -=x"},
      {"bool's value", {"-force-new-cluster=x"}, "2: invalid boolean value \"x\" for -force-new-cluster: parse error"},
      {"number", {"-heartbeat-interval", "abc"}, "2: invalid value \"abc\" for flag -heartbeat-interval: parse error"},
      {"number below zero", {"--max-wals=-1"}, "2: invalid value \"-1\" for flag -max-wals: parse error"},
      {"number too large",
       {"--snapshot-count=18446744073709551616"},
       "2: invalid value \"18446744073709551616\" for flag -snapshot-count: value out of range"},
      {"duration",
       {"--grpc-keepalive-min-time=5"},
       "2: invalid value \"5\" for flag -grpc-keepalive-min-time: parse error"},
      {"32 bits",
       {"--max-concurrent-streams=x"},
       "2: invalid value \"x\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"x\": invalid syntax"},
      {"33 bits",
       {"--max-concurrent-streams=4294967296"},
       "2: invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"4294967296\": "
       "value out of range"},
      {"word", {"--initial-cluster-state=x"}, "2: invalid value \"x\" for flag -initial-cluster-state: invalid value"},
      {"fallback", {"--discovery-fallback=x"}, "2: invalid value \"x\" for flag -discovery-fallback: invalid value"},
      {"v2 deprecation",
       {"--v2-deprecation=not-yet"},
       "2: invalid value \"not-yet\" for flag -v2-deprecation: invalid value"},
      {"v2 deprecation, several", {"--v2-deprecation=write-only,gone"}, "run"},
      {"gate",
       {"--feature-gates=Foo=true"},
       "2: invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo"},
      {"URL",
       {"--listen-client-urls=ftp://h:1"},
       "2: invalid value \"ftp://h:1\" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: "
       "ftp://h:1"},
      {"URL with a path",
       {"--advertise-client-urls", "http://h:1/"},
       "2: invalid value \"http://h:1/\" for flag -advertise-client-urls: URL must not contain a path: http://h:1/"},
      {"0.4's address", {"-addr", "host"}, "2: invalid value \"host\" for flag -addr: must be host:port"},
      {"0.4's address without a host",
       {"-bind-addr", ":4001"},
       "2: invalid value \":4001\" for flag -bind-addr: must be host or host:port"},
      {"0.4's peers", {"-peers", "a:1,b"}, "2: invalid value \"a:1,b\" for flag -peers: \"b\" must be host:port"},
      {"0.4's seconds",
       {"-http-read-timeout", "soon"},
       "2: invalid value \"soon\" for flag -http-read-timeout: parse error"},
      {"nothing behind a stray is read", {"x", "-foo"}, "1: \"x\" is not a valid flag"},

      {"stray", {"--name=x", "stray"}, "1: \"stray\" is not a valid flag"},
      {"stray behind the end mark", {"--", "-name"}, "1: \"-name\" is not a valid flag"},
      {"lone dash", {"-"}, "1: \"-\" is not a valid flag"},
      {"bool takes no next argument", {"--pre-vote", "false"}, "1: \"false\" is not a valid flag"},
  };
  for (const Row& row : rows) EXPECT_EQ(outcome(load_given({.arguments = row.arguments})), row.outcome) << row.name;
}

TEST(Flags, ErrorsComeWithTheUsage) {
  const LoadResult result = load_given({.arguments = {"-foo"}});
  const Print& print = std::get<Print>(result);
  EXPECT_EQ(print.err, "flag provided but not defined: -foo\n" + usage_text());
  EXPECT_EQ(print.out, "");
  EXPECT_TRUE(print.notices.empty());
}

TEST(Flags, ValuesReachTheirOptions) {
  const Options options =
      options_of({.arguments = {"-name", "n", "--data-dir=d", "--snapshot-count", "0x10", "--quota-backend-bytes=-1",
                                "--backend-batch-interval=1m30s", "--pre-vote=false", "--cipher-suites=A,B,A",
                                "--discovery-endpoints=a:1,b:2", "--discovery-token=t", "--peer-cert-allowed-cn=x,y",
                                "--feature-gates=LeaseCheckpoint=true", "--feature-gates=CompactHashCheck=true",
                                "--cluster-active-size", "5", "--cluster-remove-delay=1.5", "--name=again"}});
  EXPECT_EQ(options.name, "again");
  EXPECT_EQ(options.data_dir, "d");
  EXPECT_EQ(options.snapshot_count, 16u);
  EXPECT_EQ(options.quota_backend_bytes, -1);
  EXPECT_EQ(options.backend_batch_interval, Duration(90s));
  EXPECT_FALSE(options.pre_vote);
  EXPECT_EQ(options.cipher_suites, Texts({"A", "B"}));
  EXPECT_EQ(options.discovery_endpoints, Texts({"a:1", "b:2"}));
  EXPECT_EQ(options.peer_tls.allowed_cns, Texts({"x", "y"}));
  EXPECT_TRUE(options.feature_gates.enabled("LeaseCheckpoint"));
  EXPECT_TRUE(options.feature_gates.enabled("CompactHashCheck"));
  EXPECT_EQ(options.cluster_active_size, 5u);
  EXPECT_EQ(options.cluster_remove_delay, Duration(1500ms));
  EXPECT_FALSE(options.cluster_sync_interval.has_value());
  EXPECT_TRUE(options.is_given("name"));
  EXPECT_FALSE(options.is_given("wal-dir"));
}

TEST(Flags, IgnoredFlagsLeaveAWarning) {
  const LoadResult result = load_given({.arguments = {"-max-result-buffer", "1024"}});
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(field_of(run.notices, "flag is no longer supported - ignoring", "flag-name"), "max-result-buffer");
  EXPECT_FALSE(run.options.is_given("max-result-buffer"));
}

TEST(Flags, OlderNamesOf04) {
  struct Row {
    const char* older;
    const char* name;
    const char* value;
  };
  const Row rows[] = {
      {"C", "peers", "a:1"},
      {"CF", "peers-file", "file"},
      {"n", "name", "x"},
      {"c", "addr", "a:1"},
      {"cl", "bind-addr", "127.0.0.1"},
      {"s", "peer-addr", "a:1"},
      {"sl", "peer-bind-addr", "127.0.0.1"},
      {"d", "data-dir", "x"},
      {"m", "max-result-buffer", "1"},
      {"r", "max-retry-attempts", "1"},
      {"maxsize", "cluster-active-size", "3"},
      {"max-cluster-size", "cluster-active-size", "3"},
      {"clientCAFile", "ca-file", "x"},
      {"clientCert", "cert-file", "x"},
      {"clientKey", "key-file", "x"},
      {"serverCAFile", "peer-ca-file", "x"},
      {"serverCert", "peer-cert-file", "x"},
      {"serverKey", "peer-key-file", "x"},
      {"snapshotCount", "snapshot-count", "1"},
      {"peer-heartbeat-timeout", "peer-heartbeat-interval", "1"},
  };
  for (const Row& row : rows) {
    const LoadResult result =
        load_given({.arguments = {std::string("-") + row.older, row.value}, .files = {{"file", "a:1"}}});
    ASSERT_TRUE(std::holds_alternative<config::Run>(result)) << row.older << ": " << outcome(result);
    const config::Run& run = std::get<config::Run>(result);
    EXPECT_EQ(run.err, std::string("[deprecated] use -") + row.name + ", not -" + row.older + "\n");
    EXPECT_EQ(run.options.is_given(row.name), find_flag(row.name)->set != nullptr) << row.older;
  }
  const LoadResult bad = load_given({.arguments = {"-n"}});
  EXPECT_EQ(outcome(bad), "2: flag needs an argument: -name");
}

TEST(Flags, HelpAndVersion) {
  for (const char* flag : {"-h", "--h", "-help", "--help"}) {
    const LoadResult result = load_given({.arguments = {"--name=x", flag, "-foo"}});
    const Print& print = std::get<Print>(result);
    EXPECT_EQ(print.exit_code, 0);
    EXPECT_EQ(print.err, usage_text());
    EXPECT_EQ(print.out, help_text());
  }
  for (const Flag& flag : all_flags()) {
    const bool shown = help_text().find("  --" + std::string(flag.name)) != std::string::npos;
    EXPECT_EQ(shown, flag.group != Group::kFileOnly) << flag.name;
  }
  for (const char* heading : {"Member:", "Clustering:", "Security:", "Auth:", "Profiling:", "From etcd 0.4:"}) {
    EXPECT_NE(help_text().find(heading), std::string::npos) << heading;
  }

  // The version is printed before anything else is looked at.
  const LoadResult result = load_given({.arguments = {"--version", "--heartbeat-interval=0"}});
  const Print& print = std::get<Print>(result);
  EXPECT_EQ(print.exit_code, 0);
  EXPECT_EQ(print.err, "");
  EXPECT_EQ(print.out,
            "etcd Version: 3.7.1\nGit SHA: abc1234\nGo Version: none (C++23, GCC 12)\nGo OS/Arch: linux/amd64\n");
}

}  // namespace
}  // namespace etcd::config
