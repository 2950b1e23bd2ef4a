#include <gtest/gtest.h>

#include "engine/memory_engine.h"
#include "members/alarms.h"
#include "members/id.h"
#include "members/table.h"

namespace etcd::members {
namespace {

// Observed on upstream 3.4.23 and 3.7.1 (docs/formats/store.md, "Members").
TEST(Id, UpstreamsValues) {
  EXPECT_EQ(hex_id(bootstrap_member_id({"http://127.0.0.1:32380"}, "etcd-cluster")), "628170c800dbcee");
  EXPECT_EQ(hex_id(cluster_id({0x628170c800dbcee})), "babc9795b64f03e3");
  EXPECT_EQ(hex_id(bootstrap_member_id({"http://127.0.0.1:43480"}, "tt")), "3372d2a2c21a576b");
  EXPECT_EQ(hex_id(cluster_id({0x37639f95e787281d, 0x3372d2a2c21a576b})), "948de893b2b99f43");
  EXPECT_EQ(bootstrap_member_id({"b", "a"}, "t"), bootstrap_member_id({"a", "b"}, "t"));
}

TEST(Member, JsonAsGoWritesIt) {
  Member member{.id = 443629905751424238, .name = "t<1>", .peer_urls = {"http://a:1"}, .client_urls = {"http://b:2"}};
  EXPECT_EQ(
      to_json(member),
      R"({"id":443629905751424238,"peerURLs":["http://a:1"],"name":"t\u003c1\u003e","clientURLs":["http://b:2"]})");
  EXPECT_EQ(member_from_json(to_json(member)).value(), member);
  const Member promoted{
      .id = UINT64_MAX, .name = "", .peer_urls = {}, .client_urls = {}, .learner = true, .promote = true};
  EXPECT_EQ(to_json(promoted), R"({"id":18446744073709551615,"peerURLs":null,"isLearner":true,"isPromote":true})");
  EXPECT_EQ(member_from_json(to_json(promoted)).value(), promoted);
  for (const char* bad :
       {"", "[]", "{}", R"({"id":"1"})", R"({"id":1,"peerURLs":7})", R"({"id":1,"peerURLs":[7]})", "{"}) {
    EXPECT_EQ(member_from_json(bad).error().code, ErrorCode::kInvalidArgument) << bad;
  }
}

TEST(Table, MembersGoForGoodAndChangeTheirUrls) {
  engine::MemoryDisk disk;
  const std::vector<std::string> tables{"members", "members_removed", "cluster"};
  const TableOptions options{.members = 0, .removed = 1, .cluster = 2};
  const auto engine = engine::open_memory(disk, tables);
  const auto member = [](MemberId id, const char* url, bool learner = false) {
    return Member{.id = id, .name = "", .peer_urls = {url}, .client_urls = {}, .learner = learner};
  };
  const auto text_of = [](const Result<void>& result) { return result ? "" : result.error().message; };
  const auto table = Table::load(*engine, options).value();
  ASSERT_TRUE(table->add(member(1, "http://a:1")).has_value());
  ASSERT_TRUE(table->add(member(2, "http://b:1", true)).has_value());
  EXPECT_EQ(text_of(table->update(1, {"http://b:1"})), "membership: peerURL exists");
  EXPECT_EQ(text_of(table->update(3, {"http://c:1"})), "membership: ID not found");
  EXPECT_EQ(text_of(table->update(1, {"http://a:1", "http://a:2"})), "");
  EXPECT_EQ(text_of(table->add({.id = 3, .name = "", .peer_urls = {}, .client_urls = {}, .promote = true})),
            "membership: ID not found");
  EXPECT_EQ(text_of(table->add({.id = 2, .name = "", .peer_urls = {}, .client_urls = {}, .promote = true})), "");
  EXPECT_EQ(text_of(table->add({.id = 2, .name = "", .peer_urls = {}, .client_urls = {}, .promote = true})),
            "membership: can only promote a learner member");
  EXPECT_EQ(text_of(table->remove(3)), "membership: ID not found");
  engine::Batch early;
  table->take_changes(early);
  ASSERT_TRUE(engine->commit(early).has_value());
  EXPECT_EQ(text_of(table->remove(2)), "");
  EXPECT_EQ(text_of(table->remove(2)), "membership: ID removed");
  EXPECT_EQ(text_of(table->add(member(2, "http://d:1"))), "membership: ID removed");
  EXPECT_EQ(text_of(table->add(member(4, "http://b:1"))), "") << "its URL is free again";
  engine::Batch batch;
  table->take_changes(batch);
  ASSERT_TRUE(engine->commit(batch).has_value());

  const auto loaded = Table::load(*engine, options).value()->current();
  EXPECT_EQ(loaded->members, table->current()->members);
  EXPECT_EQ(loaded->members.at(1).peer_urls, (std::vector<std::string>{"http://a:1", "http://a:2"}));
  EXPECT_EQ(loaded->removed, (std::set<MemberId>{2}));
}

TEST(ClusterConfig, ChangesAreRaisedToTheLeastThatIsAllowed) {
  const ClusterConfig defaults;
  EXPECT_EQ(to_json(defaults), R"({"activeSize":9,"removeDelay":1800,"syncInterval":5})");
  EXPECT_EQ(changed(defaults, {}), defaults);
  const ClusterConfig some = changed(defaults, {.active_size = 7, .remove_delay_s = {}, .sync_interval_s = 1.5});
  EXPECT_EQ(to_json(some), R"({"activeSize":7,"removeDelay":1800,"syncInterval":1.5})");
  const ClusterConfig least = changed(some, {.active_size = -1, .remove_delay_s = 0, .sync_interval_s = 0.5});
  EXPECT_EQ(to_json(least), R"({"activeSize":3,"removeDelay":2,"syncInterval":1})");
  for (const ClusterConfig& config : {defaults, some, least}) {
    EXPECT_EQ(cluster_config_from_json(to_json(config)).value(), config);
  }
  for (const char* bad : {"", "[]", "{}", R"({"activeSize":"9","removeDelay":1800,"syncInterval":5})"}) {
    EXPECT_FALSE(cluster_config_from_json(bad).has_value()) << bad;
  }
}

TEST(Table, ChangesAreKeptAndRefusalsChangeNothing) {
  engine::MemoryDisk disk;
  const std::vector<std::string> tables{"members", "members_removed", "cluster"};
  const TableOptions options{.members = 0, .removed = 1, .cluster = 2};
  {
    const auto engine = engine::open_memory(disk, tables);
    const auto table = Table::load(*engine, options).value();
    ASSERT_TRUE(table->add({.id = 7, .name = "", .peer_urls = {"http://a:1"}, .client_urls = {}}).has_value());
    EXPECT_EQ(table->add({.id = 7, .name = "", .peer_urls = {"http://c:1"}, .client_urls = {}}).error().message,
              "membership: ID exists");
    EXPECT_EQ(table->add({.id = 8, .name = "", .peer_urls = {"http://a:1"}, .client_urls = {}}).error().message,
              "membership: peerURL exists");
    const auto before = table->current();
    table->set_attributes(7, "one", {"http://b:2"});
    table->set_attributes(9, "nobody", {});
    table->set_cluster_version("3.7.0");
    table->change_config({.active_size = 5, .remove_delay_s = {}, .sync_interval_s = {}});
    EXPECT_EQ(before->members.at(7).name, "");
    engine::Batch batch;
    table->take_changes(batch);
    ASSERT_TRUE(engine->commit(batch).has_value());
    engine::Batch again;
    table->take_changes(again);
    EXPECT_TRUE(again.empty());
  }
  const auto engine = engine::open_memory(disk, tables);
  const auto table = Table::load(*engine, options).value();
  const auto now = table->current();
  ASSERT_EQ(now->members.size(), 1u);
  EXPECT_EQ(now->members.at(7).name, "one");
  EXPECT_EQ(now->members.at(7).client_urls, std::vector<std::string>{"http://b:2"});
  EXPECT_EQ(now->cluster_version, "3.7.0");
  EXPECT_EQ(now->config.active_size, 5);
}

TEST(Alarms, AreRaisedOnceAndKept) {
  engine::MemoryDisk disk;
  const std::vector<std::string> tables{"alarms"};
  {
    const auto engine = engine::open_memory(disk, tables);
    const auto alarms = Alarms::load(*engine, 0).value();
    EXPECT_FALSE(alarms->active(AlarmType::kNoSpace));
    EXPECT_TRUE(alarms->activate({7, AlarmType::kNoSpace}));
    EXPECT_FALSE(alarms->activate({7, AlarmType::kNoSpace}));
    EXPECT_TRUE(alarms->activate({3, AlarmType::kNoSpace}));
    EXPECT_TRUE(alarms->activate({3, AlarmType::kCorrupt}));
    EXPECT_TRUE(alarms->deactivate({3, AlarmType::kNoSpace}));
    EXPECT_FALSE(alarms->deactivate({3, AlarmType::kNoSpace}));
    EXPECT_TRUE(alarms->active(AlarmType::kNoSpace)) << "7 still has it";
    engine::Batch batch;
    alarms->take_changes(batch);
    ASSERT_TRUE(engine->commit(batch).has_value());
    engine::Batch again;
    alarms->take_changes(again);
    EXPECT_TRUE(again.empty());
  }
  const auto engine = engine::open_memory(disk, tables);
  const auto alarms = Alarms::load(*engine, 0).value();
  EXPECT_EQ(alarms->all(), (std::vector<Alarm>{{3, AlarmType::kCorrupt}, {7, AlarmType::kNoSpace}}));
  EXPECT_TRUE(alarms->active(AlarmType::kCorrupt));
  engine::Batch clear;
  EXPECT_TRUE(alarms->deactivate({7, AlarmType::kNoSpace}));
  alarms->take_changes(clear);
  ASSERT_TRUE(engine->commit(clear).has_value());
  EXPECT_EQ(Alarms::load(*engine, 0).value()->all(), (std::vector<Alarm>{{3, AlarmType::kCorrupt}}));

  engine::Batch bad;
  bad.put(0, "x", SharedBytes());
  ASSERT_TRUE(engine->commit(bad).has_value());
  EXPECT_EQ(Alarms::load(*engine, 0).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace etcd::members
