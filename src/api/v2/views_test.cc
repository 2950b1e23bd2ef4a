// The read-only views: what they show, without a member behind them.
#include <gtest/gtest.h>

#include "api/v2/etcd_views.h"
#include "api/v2/json.h"
#include "api/v2/json_body.h"
#include "api/v2/stats.h"
#include "base/duration_text.h"
#include "engine/memory_engine.h"
#include "io/clock.h"
#include "mvcc/store.h"

namespace etcd::api::v2 {
namespace {

TEST(GoDuration, AsGoWritesIt) {
  struct Row {
    Duration duration;
    const char* text;
  };
  for (const Row& row : {Row{0s, "0s"},
                         {1ns, "1ns"},
                         {1500ns, "1.5µs"},
                         {250ms, "250ms"},
                         {1s, "1s"},
                         {90s + 500ms, "1m30.5s"},
                         {1h, "1h0m0s"},
                         {26h + 3min + 4s, "26h3m4s"},
                         {-2s, "-2s"}}) {
    EXPECT_EQ(duration_text(row.duration), row.text);
  }
}

TEST(StoreStatsJson, NamesInUpstreamsOrder) {
  apply::StoreStats stats;
  stats.gets.count(true);
  stats.compare_and_deletes.count(false);
  stats.expirations = 3;
  stats.watchers = 2;
  EXPECT_EQ(store_stats_json(stats),
            R"({"getsSuccess":1,"getsFail":0,"setsSuccess":0,"setsFail":0,"deleteSuccess":0,"deleteFail":0,)"
            R"("updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,"compareAndSwapSuccess":0,)"
            R"("compareAndSwapFail":0,"compareAndDeleteSuccess":0,"compareAndDeleteFail":1,"expireCount":3,)"
            R"("watchers":2})");
}

TEST(JsonBody, PeerUrls) {
  using Urls = std::vector<std::string>;
  EXPECT_EQ(peer_urls_of(R"({"peerURLs":["http://a:1","http://b:2"],"name":7})").value(),
            (Urls{"http://a:1", "http://b:2"}));
  EXPECT_EQ(peer_urls_of(R"( {"PEERurls":["x"]} )").value(), Urls{"x"});
  for (const char* none : {"{}", "null", R"({"peerURLs":null})", R"({"peerURLs":[]})"}) {
    EXPECT_EQ(peer_urls_of(none).value(), Urls()) << none;
  }
  for (const char* cut : {"", "{", R"({"peerURLs":)", R"({"peerURLs":["a)", R"({"peerURLs":["a"])"}) {
    EXPECT_EQ(peer_urls_of(cut).error().message, "unexpected end of JSON input") << cut;
  }
  for (const char* bad : {"[1]", "x", R"({"peerURLs":"a"})", R"({"peerURLs":[1]})", "{} x"}) {
    EXPECT_FALSE(peer_urls_of(bad).has_value()) << bad;
  }
  EXPECT_FALSE(peer_urls_of(std::string(1'000'000, '[')).has_value());
}

TEST(JsonBody, AConfigTakesTheNumbersThatItKnows) {
  const auto change =
      config_change_of(R"({"activeSize":7.9,"removeDelay":"5","syncInterval":1.5,"promoteDelay":5} and more)");
  EXPECT_EQ(change.value(), (members::ClusterConfigChange{.active_size = 7, .sync_interval_s = 1.5}));
  EXPECT_EQ(config_change_of("{}").value(), members::ClusterConfigChange{});
  EXPECT_EQ(config_change_of(R"({"activeSize":)").error().message, "unexpected EOF");
  EXPECT_EQ(config_change_of("[1]").error().message,
            "json: cannot unmarshal array into Go value of type map[string]interface {}");
}

class Views : public testing::Test {
 protected:
  Views()
      : engine_(engine::open_memory(disk_, std::vector<std::string>{"history", "mvcc", "live"})),
        store_(mvcc::Store::open(*engine_, clock_).value()) {
    membership_.members[1] = {.id = 1, .name = "one", .peer_urls = {"http://a:7001"}, .client_urls = {"http://a:4001"}};
    membership_.members[0x2a] = {.id = 0x2a, .name = "one", .peer_urls = {"http://b:1"}, .client_urls = {}};
    membership_.members[3] = {.id = 3, .name = "a/b", .peer_urls = {}, .client_urls = {}};
  }

  void put(BytesView key) {
    mvcc::WriteTxn txn = store_->begin();
    txn.put(key, "v");
    txn.commit();
    store_->publish();
  }

  /// "/_etcd/ /_etcd/config=...": files with their values, directories with a slash; or an error's code and cause.
  std::string listed(BytesView path, bool recursive = false) {
    const EtcdNodes nodes(membership_, {});
    const mvcc::View view = store_->view();
    const auto listing = nodes.read(view, path, recursive, view.revision());
    if (!listing) return std::to_string(static_cast<int>(listing.error().code)) + " " + listing.error().cause;
    std::string text;
    for (const tree::ListedNode& node : *listing) {
      if (!text.empty()) text += ' ';
      text += node.path;
      text += node.dir ? "/" : "=" + Bytes(node.entry->value());
    }
    return text;
  }

  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  io::RealClock clock_;
  std::unique_ptr<mvcc::Store> store_;
  members::Membership membership_;
};

TEST_F(Views, ShowTheMembership) {
  const std::string config = R"(/_etcd/config={"activeSize":9,"removeDelay":1800,"syncInterval":5})";
  EXPECT_EQ(listed("/_etcd"), "/_etcd/ " + config + " /_etcd/machines/");
  EXPECT_EQ(listed("/_etcd/config"), config);
  EXPECT_EQ(listed("/_etcd/machines/one"), "/_etcd/machines/one=etcd=http%3A%2F%2Fa%3A4001&raft=http%3A%2F%2Fa%3A7001");
  // The second of a name, and a name that is no component, go by their ids.
  EXPECT_EQ(listed("/_etcd/machines"),
            "/_etcd/machines/ /_etcd/machines/2a=etcd=&raft=http%3A%2F%2Fb%3A1 "
            "/_etcd/machines/3=etcd=&raft= "
            "/_etcd/machines/one=etcd=http%3A%2F%2Fa%3A4001&raft=http%3A%2F%2Fa%3A7001");
  EXPECT_EQ(listed("/_etcd/machines/two/x"), "100 /_etcd/machines/two");
  EXPECT_EQ(listed("/_etcd/machines/one/x"), "104 /_etcd/machines/one");
  EXPECT_EQ(listed("/_etcd/config/x/y"), "104 /_etcd/config");
}

TEST_F(Views, ListOrdinaryKeysBesideThem) {
  for (const char* key : {"/_etcd/a", "/_etcd/config", "/_etcd/machines/ghost", "/_etcd/registry/t/1"}) put(key);
  membership_.members.clear();
  const std::string config = R"(/_etcd/config={"activeSize":9,"removeDelay":1800,"syncInterval":5})";
  EXPECT_EQ(listed("/_etcd"), "/_etcd/ /_etcd/a=v " + config + " /_etcd/machines/ /_etcd/registry/");
  EXPECT_EQ(listed("/_etcd", true), "/_etcd/ /_etcd/a=v " + config +
                                        " /_etcd/machines/ /_etcd/registry/ /_etcd/registry/t/ /_etcd/registry/t/1=v");
  EXPECT_EQ(listed("/_etcd/machines", true), "/_etcd/machines/");
  EXPECT_FALSE(EtcdNodes::own("/_etcd/registry"));
  EXPECT_FALSE(EtcdNodes::own("/_etcd/configs"));
  EXPECT_TRUE(EtcdNodes::own("/_etcd/machines/x"));
}

}  // namespace
}  // namespace etcd::api::v2
