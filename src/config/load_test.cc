#include "config/load.h"

#include <gtest/gtest.h>

#include <string>

#include "config/load_for_test.h"

namespace etcd::config {
namespace {

// The URLs of one side: what is listened on, with a question mark behind a port that may be left out.
std::string listens(const UrlList& urls) {
  std::string text;
  for (const Url& url : urls) text += (text.empty() ? "" : ",") + url.text + (url.optional ? "?" : "");
  return text;
}

TEST(Load, Defaults) {
  const Options options = options_of({});
  EXPECT_EQ(options.name, "default");
  EXPECT_EQ(options.data_dir, "default.etcd");
  EXPECT_EQ(options.wal_dir, "");
  EXPECT_EQ(listens(options.listen_client_urls), "http://localhost:2379,http://localhost:4001?");
  EXPECT_EQ(listens(options.listen_peer_urls), "http://localhost:2380,http://localhost:7001?");
  EXPECT_EQ(listens(options.advertise_client_urls), "http://localhost:2379");
  EXPECT_EQ(listens(options.initial_advertise_peer_urls), "http://localhost:2380");
  EXPECT_EQ(options.initial_cluster, "default=http://localhost:2380");
  EXPECT_FALSE(options.joins_existing_cluster());
}

TEST(Load, Addresses) {
  struct Row {
    const char* name;
    Texts arguments;
    Texts environment;
    const char* listen;
    const char* advertise;
  };
  const Row rows[] = {
      {"given both",
       {"--listen-client-urls=http://10.0.0.1:4001,http://10.0.0.1:2379", "--advertise-client-urls=http://a:1"},
       {},
       "http://10.0.0.1:2379,http://10.0.0.1:4001",
       "http://a:1"},
      {"advertise alone",
       {"--advertise-client-urls=http://a:1"},
       {},
       "http://localhost:2379,http://localhost:4001?",
       "http://a:1"},
      {"addr alone", {"-addr", "10.0.0.1:5001"}, {}, "http://0.0.0.0:5001", "http://10.0.0.1:5001"},
      {"addr with a scheme", {"-addr", "https://a:1"}, {}, "https://0.0.0.0:1", "https://a:1"},
      {"addr with a certificate",
       {"-addr", "a:1", "-cert-file", "c", "-key-file", "k"},
       {},
       "https://0.0.0.0:1",
       "https://a:1"},
      {"addr and bind-addr",
       {"-addr", "a:5001", "-bind-addr", "127.0.0.1"},
       {},
       "http://127.0.0.1:5001",
       "http://a:5001"},
      {"addr and bind-addr with a port",
       {"-addr", "a:5001", "-bind-addr", "127.0.0.1:6001"},
       {},
       "http://127.0.0.1:6001",
       "http://a:5001"},
      {"bind-addr alone", {"-bind-addr", "127.0.0.1:6001"}, {}, "http://127.0.0.1:6001", "http://127.0.0.1:6001"},
      {"bind-addr without a port", {"-bind-addr", "127.0.0.1"}, {}, "http://127.0.0.1:4001", "http://127.0.0.1:4001"},
      {"bind-addr to all", {"-bind-addr", "0.0.0.0:6001"}, {}, "http://0.0.0.0:6001", "http://localhost:6001"},
      {"IPv6", {"-addr", "[::1]:1"}, {}, "http://0.0.0.0:1", "http://[::1]:1"},
      {"newer flag beats older variable",
       {"--advertise-client-urls=http://a:1"},
       {"ETCD_ADDR=b:2"},
       "http://localhost:2379,http://localhost:4001?",
       "http://a:1"},
      {"older flag beats newer variable",
       {"-addr=b:2"},
       {"ETCD_ADVERTISE_CLIENT_URLS=http://a:1"},
       "http://0.0.0.0:2",
       "http://b:2"},
  };
  for (const Row& row : rows) {
    const LoadResult result = load_given({.arguments = row.arguments, .environment = row.environment});
    ASSERT_EQ(outcome(result), "run") << row.name;
    const Options& options = std::get<config::Run>(result).options;
    EXPECT_EQ(listens(options.listen_client_urls), row.listen) << row.name;
    EXPECT_EQ(listens(options.advertise_client_urls), row.advertise) << row.name;
  }
  EXPECT_EQ(outcome(load_given({.arguments = {"-addr=a:1", "--advertise-client-urls=http://a:1"}})),
            "1: set only one of --advertise-client-urls and --addr");
  EXPECT_EQ(outcome(load_given({.environment = {"ETCD_PEER_BIND_ADDR=a:1", "ETCD_LISTEN_PEER_URLS=http://a:1"}})),
            "1: set only one of --listen-peer-urls and --peer-bind-addr");
}

TEST(Load, PeerAddressesOf04) {
  const LoadResult result =
      load_given({.arguments = {"-peer-addr", "10.0.0.1:7001", "-peer-bind-addr", "0.0.0.0", "-name", "m1"}});
  const config::Run& run = std::get<config::Run>(result);
  EXPECT_EQ(listens(run.options.listen_peer_urls), "http://0.0.0.0:7001");
  EXPECT_EQ(listens(run.options.initial_advertise_peer_urls), "http://10.0.0.1:7001");
  EXPECT_EQ(run.options.initial_cluster, "m1=http://10.0.0.1:7001");
  EXPECT_EQ(run.options.data_dir, "m1.etcd");
  EXPECT_EQ(field_of(run.notices, "flag of etcd 0.4 stands for a newer one", "newer-flag-name"), "listen-peer-urls");
}

TEST(Load, InitialCluster) {
  struct Row {
    const char* name;
    Texts arguments;
    const char* cluster;
  };
  const Row rows[] = {
      {"name alone", {"--name=a"}, "a=http://localhost:2380"},
      {"advertised URLs",
       {"--name=a", "--initial-advertise-peer-urls=http://b:2,http://b:1"},
       "a=http://b:1,a=http://b:2"},
      {"given", {"--initial-cluster=x=http://x:1"}, "x=http://x:1"},
      {"given empty", {"--initial-cluster="}, ""},
      {"v2 discovery", {"--discovery=http://d/t"}, ""},
      {"v3 discovery", {"--discovery-token=t", "--discovery-endpoints=a"}, ""},
      {"SRV", {"--discovery-srv=example.com"}, ""},
      {"peers", {"--peers=a:1"}, ""},
  };
  for (const Row& row : rows) {
    const LoadResult result = load_given({.arguments = row.arguments});
    ASSERT_EQ(outcome(result), "run") << row.name;
    EXPECT_EQ(std::get<config::Run>(result).options.initial_cluster, row.cluster) << row.name;
  }
}

TEST(Load, PeersFile) {
  const Options options =
      options_of({.arguments = {"-peers=x:1", "-peers-file=f"}, .files = {{"f", "a:7001, b:7001\nc:7001\n"}}});
  EXPECT_EQ(options.peers, Texts({"a:7001", "b:7001", "c:7001"}));
  EXPECT_EQ(outcome(load_given({.arguments = {"-peers-file=f"}})),
            "1: cannot read --peers-file \"f\": open f: no such file or directory");
  EXPECT_EQ(outcome(load_given({.arguments = {"-peers-file=f"}, .files = {{"f", "a"}}})),
            "1: --peers-file \"f\": \"a\" must be host:port");
}

TEST(Load, CaFileOf04AsksForCertificates) {
  const Options options =
      options_of({.arguments = {"-ca-file=ca", "-peer-ca-file=pca", "-peer-client-cert-auth=false"}});
  EXPECT_EQ(options.client_tls.trusted_ca_file, "ca");
  EXPECT_TRUE(options.client_tls.client_cert_auth);
  EXPECT_EQ(options.peer_tls.trusted_ca_file, "pca");
  EXPECT_FALSE(options.peer_tls.client_cert_auth) << "said otherwise";
  EXPECT_EQ(options_of({.arguments = {"-ca-file=a", "--trusted-ca-file=b"}}).client_tls.trusted_ca_file, "b");
}

TEST(Load, DefaultHostTakesTheWildcardsPlace) {
  const Options both = options_of(
      {.arguments = {"--listen-peer-urls=http://0.0.0.0:5380", "-bind-addr=0.0.0.0:5379"}, .default_host = "10.1.2.3"});
  EXPECT_EQ(listens(both.initial_advertise_peer_urls), "http://10.1.2.3:5380");
  EXPECT_EQ(listens(both.advertise_client_urls), "http://10.1.2.3:5379");
  EXPECT_EQ(both.initial_cluster, "default=http://10.1.2.3:5380");

  const Options file = options_of({.arguments = {"--config-file=f"},
                                   .files = {{"f", "listen-client-urls: http://0.0.0.0:5379"}},
                                   .default_host = "10.1.2.3"});
  EXPECT_EQ(listens(file.advertise_client_urls), "http://10.1.2.3:5379");

  const Options other =
      options_of({.arguments = {"--listen-peer-urls=http://127.0.0.1:5380"}, .default_host = "10.1.2.3"});
  EXPECT_EQ(listens(other.initial_advertise_peer_urls), "http://localhost:2380");
  EXPECT_EQ(listens(options_of({.default_host = "10.1.2.3"}).advertise_client_urls), "http://localhost:2379");
}

TEST(Load, WithoutAMachine) {
  Sources sources;
  EXPECT_EQ(outcome(load(sources)), "run");
  sources.arguments = {"--config-file=f"};
  EXPECT_EQ(outcome(load(sources)), "1: no way to read files");
}

TEST(Load, WhatCameBeforeARefusalIsKept) {
  const LoadResult result =
      load_given({.arguments = {"-n", "x", "-v", "--heartbeat-interval=0"}, .environment = {"ETCD_FOO=1"}});
  const Print& print = std::get<Print>(result);
  EXPECT_EQ(print.err, "[deprecated] use -name, not -n\n");
  EXPECT_TRUE(has_notice(print.notices, "flag is no longer supported - ignoring"));
  EXPECT_TRUE(has_notice(print.notices, "unrecognized environment variable"));
  EXPECT_EQ(print.notices.back().message, "failed to verify flags");
}

}  // namespace
}  // namespace etcd::config
