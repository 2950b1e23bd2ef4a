#include "config/environment.h"

#include <gtest/gtest.h>

#include <string>

#include "config/load_for_test.h"

namespace etcd::config {
namespace {

constexpr const char* kShadowed =
    "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment "
    "variable "
    "or disable flag))";
constexpr const char* kUnknown = "unrecognized environment variable";

TEST(Environment, NamesFollowTheRule) {
  EXPECT_EQ(variable_name("name"), "ETCD_NAME");
  EXPECT_EQ(variable_name("initial-advertise-peer-urls"), "ETCD_INITIAL_ADVERTISE_PEER_URLS");
  EXPECT_EQ(variable_name("v2-deprecation"), "ETCD_V2_DEPRECATION");
}

TEST(Environment, FirstOfANameCounts) {
  const Texts environment = {"PATH=/bin", "ETCD_NAMES=no", "ETCD_NAME=a=b", "ETCD_NAME=c", "ETCD_EMPTY=", "ETCD_ALONE"};
  EXPECT_EQ(variable_value(environment, "ETCD_NAME").value_or("-"), "a=b");
  EXPECT_EQ(variable_value(environment, "ETCD_EMPTY").value_or("-"), "-");
  EXPECT_EQ(variable_value(environment, "ETCD_ALONE").value_or("-"), "-");
  EXPECT_EQ(variable_value(environment, "ETCD_OTHER").value_or("-"), "-");
}

TEST(Environment, ValuesReachTheirOptions) {
  const LoadResult result = load_given(
      {.arguments = {"--heartbeat-interval=10"},
       .environment = {"ETCD_NAME=n", "ETCD_DATA_DIR=d", "ETCD_PRE_VOTE=false", "ETCD_WAL_DIR=", "HOME=/root",
                       "ETCD_DISCOVERY_PASSWORD=secret", "ETCD_UNSUPPORTED_ARCH=arm"}});
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(run.options.name, "n");
  EXPECT_EQ(run.options.data_dir, "d");
  EXPECT_FALSE(run.options.pre_vote);
  EXPECT_FALSE(run.options.is_given("wal-dir"));
  EXPECT_EQ(run.options.discovery_password, "secret");
  EXPECT_FALSE(has_notice(run.notices, kUnknown));
  for (const Notice& notice : run.notices) {
    for (const auto& [key, value] : notice.fields) EXPECT_EQ(value.find("secret"), std::string::npos) << key;
  }
  EXPECT_TRUE(has_notice(run.notices, "recognized and used environment variable"));
}

TEST(Environment, Refusals) {
  struct Row {
    const char* name;
    Texts arguments;
    Texts environment;
    const char* outcome;
  };
  const Row rows[] = {
      {"number",
       {},
       {"ETCD_HEARTBEAT_INTERVAL=abc"},
       "1: invalid value \"abc\" for ETCD_HEARTBEAT_INTERVAL: parse error"},
      {"bool", {}, {"ETCD_PRE_VOTE=x"}, "1: invalid value \"x\" for ETCD_PRE_VOTE: parse error"},
      {"duration",
       {},
       {"ETCD_GRPC_KEEPALIVE_MIN_TIME=5"},
       "1: invalid value \"5\" for ETCD_GRPC_KEEPALIVE_MIN_TIME: parse error"},
      {"URL",
       {},
       {"ETCD_LISTEN_PEER_URLS=http://h"},
       "1: invalid value \"http://h\" for ETCD_LISTEN_PEER_URLS: URL address does not have the form \"host:port\": "
       "http://h"},
      {"word",
       {},
       {"ETCD_INITIAL_CLUSTER_STATE=x"},
       "1: invalid value \"x\" for ETCD_INITIAL_CLUSTER_STATE: invalid value"},
      {"later check", {}, {"ETCD_HEARTBEAT_INTERVAL=0"}, "1: --heartbeat-interval must be >0 (set to 0ms)"},
      {"flags come first", {"-foo"}, {"ETCD_HEARTBEAT_INTERVAL=abc"}, "2: flag provided but not defined: -foo"},
      {"help needs no environment", {"--help"}, {"ETCD_HEARTBEAT_INTERVAL=abc"}, "0: Usage:"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(outcome(load_given({.arguments = row.arguments, .environment = row.environment})), row.outcome)
        << row.name;
  }
}

TEST(Environment, AFlagMustNotShadowAVariable) {
  struct Row {
    const char* name;
    Texts arguments;
    Texts environment;
    const char* variable;  // "-" when both may stand
  };
  const Row rows[] = {
      {"both", {"--name=a"}, {"ETCD_NAME=b"}, "ETCD_NAME"},
      {"same value", {"--name=a"}, {"ETCD_NAME=a"}, "ETCD_NAME"},
      {"empty variable", {"--name=a"}, {"ETCD_NAME="}, "ETCD_NAME"},
      {"0.4's own spelling", {"--snapshot-count=5"}, {"ETCD_SNAPSHOTCOUNT=6"}, "ETCD_SNAPSHOTCOUNT"},
      {"before a bad value", {"--name=a"}, {"ETCD_NAME=b", "ETCD_HEARTBEAT_INTERVAL=x"}, "ETCD_NAME"},
      {"older name of the flag", {"-n", "a"}, {"ETCD_NAME=b"}, "ETCD_NAME"},
      {"another flag", {"--name=a"}, {"ETCD_DATA_DIR=b"}, "-"},
  };
  for (const Row& row : rows) {
    const LoadResult result = load_given({.arguments = row.arguments, .environment = row.environment});
    if (std::string_view(row.variable) == "-") {
      EXPECT_EQ(outcome(result), "run") << row.name;
      continue;
    }
    ASSERT_TRUE(std::holds_alternative<Print>(result)) << row.name;
    const Print& print = std::get<Print>(result);
    EXPECT_EQ(print.exit_code, 1) << row.name;
    EXPECT_EQ(field_of(print.notices, kShadowed, "environment-variable"), row.variable) << row.name;
    EXPECT_EQ(print.notices.back().level, Notice::Level::kFatal) << row.name;
  }
}

TEST(Environment, UnknownVariablesLeaveAWarning) {
  const LoadResult result = load_given(
      {.environment = {"ETCD_FOO=bar", "ETCDCTL_API=3", "ETCD_VERSION=3", "ETCD_CLIENT_TRANSPORT_SECURITY=x"}});
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(field_of(run.notices, kUnknown, "environment-variable"), "ETCD_CLIENT_TRANSPORT_SECURITY=x");
  EXPECT_EQ(field_of(run.notices, "cannot set special environment variable", "environment-variable"), "ETCD_VERSION");
  int count = 0;
  for (const Notice& notice : run.notices) count += notice.message == kUnknown ? 1 : 0;
  EXPECT_EQ(count, 2);
}

TEST(Environment, VariablesOf04) {
  const LoadResult result =
      load_given({.environment = {"ETCD_SNAPSHOTCOUNT=7", "ETCD_VERBOSE=true", "ETCD_PEERS=a:1,b:2",
                                  "ETCD_ADDR=10.0.0.1:4001", "ETCD_PEER_CA_FILE=ca"}});
  ASSERT_EQ(outcome(result), "run");
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(run.options.snapshot_count, 7u);
  EXPECT_EQ(run.options.peers, Texts({"a:1", "b:2"}));
  EXPECT_EQ(join_urls(run.options.advertise_client_urls), "http://10.0.0.1:4001");
  EXPECT_TRUE(run.options.peer_tls.client_cert_auth);
  EXPECT_EQ(field_of(run.notices, "flag is no longer supported - ignoring", "flag-name"), "v");
  EXPECT_FALSE(has_notice(run.notices, kUnknown));

  EXPECT_EQ(options_of({.environment = {"ETCD_SNAPSHOTCOUNT=7", "ETCD_SNAPSHOT_COUNT=8"}}).snapshot_count, 8u);
}

TEST(Environment, ConfigFileVariable) {
  const Given given{.environment = {"ETCD_CONFIG_FILE=f", "ETCD_NAME=from-environment", "ETCD_FOO=bar"},
                    .files = {{"f", "name: from-file"}, {"g", "name: other"}}};
  const LoadResult result = load_given(given);
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(run.options.name, "from-file");
  EXPECT_EQ(run.options.config_file, "f");
  EXPECT_FALSE(has_notice(run.notices, kUnknown));

  Given both = given;
  both.arguments = {"--config-file=g"};
  EXPECT_EQ(options_of(both).name, "other");
}

}  // namespace
}  // namespace etcd::config
