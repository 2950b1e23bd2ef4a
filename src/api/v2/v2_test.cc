#include <gtest/gtest.h>

#include "api/v2/json.h"
#include "api/v2/key_request.h"
#include "base/rng.h"
#include "engine/memory_engine.h"
#include "io/clock.h"
#include "mvcc/store.h"

namespace etcd::api::v2 {
namespace {

using etcdv2pb::Command;

constexpr WallTime kNow{1'000'000'000'000'000'000};  // 2001-09-09T01:46:40Z

net::Request request(std::string method, std::string query, std::string body = "",
                     std::string type = "application/x-www-form-urlencoded") {
  net::Request made;
  made.method = std::move(method);
  made.path = "/v2/keys/a";
  made.query = std::move(query);
  made.body = std::move(body);
  if (!type.empty()) made.headers.add("content-type", std::move(type));
  return made;
}

TEST(KeyRequest, WhatAMethodAndItsConditionsAre) {
  struct Row {
    const char* name;
    net::Request request;
    Command::Verb verb;
  };
  const Row rows[] = {
      {"put", request("PUT", "", "value=x"), Command::SET},
      {"prevExist=true", request("PUT", "", "value=x&prevExist=true"), Command::UPDATE},
      {"prevExist=false", request("PUT", "", "value=x&prevExist=false&prevValue=y"), Command::CREATE},
      {"prevValue", request("PUT", "prevValue=y", "value=x"), Command::COMPARE_AND_SWAP},
      {"prevExist and prevIndex", request("PUT", "", "prevExist=true&prevIndex=7"), Command::COMPARE_AND_SWAP},
      {"prevIndex=0 is none", request("PUT", "", "prevIndex=0"), Command::SET},
      {"post", request("POST", "", "value=x"), Command::CREATE_IN_ORDER},
      {"delete", request("DELETE", "recursive=true"), Command::DELETE},
      {"delete with a condition", request("DELETE", "prevIndex=7"), Command::COMPARE_AND_DELETE},
      {"a delete's body does not count", request("DELETE", "", "prevIndex=7"), Command::DELETE},
  };
  for (const Row& row : rows) {
    const auto parsed = parse_key_request(row.request, kNow);
    ASSERT_TRUE(parsed.has_value()) << row.name;
    EXPECT_EQ(parsed->command.verb(), row.verb) << row.name;
  }
}

TEST(KeyRequest, FieldsOfTheBodyComeFirst) {
  EXPECT_EQ(parse_key_request(request("PUT", "value=query", "value=body"), kNow)->command.value(), "body");
  EXPECT_EQ(parse_key_request(request("PUT", "value=query", "value="), kNow)->command.value(), "");
  EXPECT_EQ(parse_key_request(request("PUT", "value=query", "value=body", ""), kNow)->command.value(), "query");
  EXPECT_EQ(parse_key_request(request("PUT", "", "value=1&value=2"), kNow)->command.value(), "1");
}

TEST(KeyRequest, TheFirstMistakeInUpstreamsOrderIsTold) {
  struct Row {
    const char* query;
    int code;
    const char* cause;
  };
  for (const Row& row : {Row{"prevIndex=x&ttl=x", 203, "invalid value for \"prevIndex\""},
                         {"waitIndex=-1", 203, "invalid value for \"waitIndex\""},
                         {"recursive=yes&sorted=no", 209, "invalid value for \"recursive\""},
                         {"dir=", 209, "invalid value for \"dir\""},
                         {"wait=true", 209, "\"wait\" can only be used with GET requests"},
                         {"prevValue=&ttl=x", 201, "\"prevValue\" cannot be empty"},
                         {"noValueOnSuccess=2&ttl=x", 209, "invalid value for \"noValueOnSuccess\""},
                         {"ttl=1.5", 202, "invalid value for \"ttl\""},
                         {"ttl=-1", 202, "invalid value for \"ttl\""},
                         {"prevExist=maybe", 209, "invalid value for prevExist"},
                         {"refresh=maybe", 209, "invalid value for refresh"},
                         {"refresh=true&value=x&ttl=1", 211, "A value was provided on a refresh"},
                         {"refresh=true", 212, "No TTL value set"},
                         {"a=%zz", 210, "invalid URL escape \"%zz\""}}) {
    const auto parsed = parse_key_request(request("PUT", row.query), kNow);
    ASSERT_FALSE(parsed.has_value()) << row.query;
    EXPECT_EQ(static_cast<int>(parsed.error().code), row.code) << row.query;
    EXPECT_EQ(parsed.error().cause, row.cause) << row.query;
    EXPECT_EQ(parsed.error().index, 0) << row.query;
  }
}

TEST(KeyRequest, ATtlBecomesADeadlineThatNeverWraps) {
  EXPECT_EQ(parse_key_request(request("PUT", "ttl=100"), kNow)->command.deadline(), kNow.ns + 100'000'000'000);
  EXPECT_EQ(parse_key_request(request("PUT", "ttl=0"), kNow)->command.deadline(), kNow.ns);
  EXPECT_EQ(parse_key_request(request("PUT", "ttl="), kNow)->command.deadline(), 0);
  for (const char* huge : {"ttl=9223372036", "ttl=18446744073709551615"}) {
    EXPECT_EQ(parse_key_request(request("PUT", huge), kNow)->command.deadline(), INT64_MAX) << huge;
  }
}

TEST(KeyRequest, RandomBytesAreAnsweredNotCrashedOn) {
  Rng rng(3);
  const char* const words[] = {"value", "=", "&", "ttl",  "prevIndex", "%",    "%2",
                               "%41",   "+", ";", "true", "1",         "\xff", "dir"};
  for (int round = 0; round < 20'000; ++round) {
    const auto text = [&] {
      std::string made;
      for (std::uint64_t count = rng.below(8); count > 0; --count) made += words[rng.below(std::size(words))];
      return made;
    };
    const auto parsed = parse_key_request(request("PUT", text(), text()), kNow);
    EXPECT_TRUE(parsed.has_value() || static_cast<int>(parsed.error().code) >= 200);
  }
}

TEST(Json, AnEventWithAllItHas) {
  tree::Event event;
  event.action = mvcc::Action::kCompareAndSwap;
  event.node.path = "/a<b";
  event.node.value = "x\n";
  event.node.deadline = kNow + 90s;
  event.node.modified_index = 7;
  event.node.created_index = 3;
  event.previous = event.node;
  event.previous->deadline = {};
  Bytes out;
  append_event(out, event, kNow + 500ms);
  EXPECT_EQ(out,
            R"({"action":"compareAndSwap","node":{"key":"/a\u003cb","value":"x\n","expiration":"2001-09-09T01:48:10Z",)"
            R"("ttl":90,"modifiedIndex":7,"createdIndex":3},)"
            R"("prevNode":{"key":"/a\u003cb","value":"x\n","modifiedIndex":7,"createdIndex":3}})");
}

TEST(Json, TimesAsGoWritesThem) {
  EXPECT_EQ(rfc3339({0}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(rfc3339({1'500'000'000}), "1970-01-01T00:00:01.5Z");
  EXPECT_EQ(rfc3339({1}), "1970-01-01T00:00:00.000000001Z");
  EXPECT_EQ(rfc3339({-500'000'000}), "1969-12-31T23:59:59.5Z");
  EXPECT_EQ(rfc3339({INT64_MAX}), "2262-04-11T23:47:16.854775807Z");
}

TEST(Json, ARefusalLeavesAnEmptyCauseOut) {
  Bytes out;
  append_refusal(out, {tree::Code::kKeyNotFound, "/a", 3});
  EXPECT_EQ(out, R"({"errorCode":100,"message":"Key not found","cause":"/a","index":3})");
  out.clear();
  append_refusal(out, {tree::Code::kRaftInternal, "", 0});
  EXPECT_EQ(out, R"({"errorCode":300,"message":"Raft Internal Error","index":0})");
}

TEST(Json, AListingOpensAndClosesItsDirectories) {
  engine::MemoryDisk disk;
  const auto engine = engine::open_memory(disk, std::vector<std::string>{"history", "mvcc", "live"});
  const io::RealClock clock{};
  const auto store = mvcc::Store::open(*engine, clock).value();
  const mvcc::View view = store->view();
  const auto dir = [](const char* path, std::uint32_t depth) { return tree::ListedNode{path, nullptr, true, depth}; };
  const tree::Listing listing{dir("/", 0), dir("/a", 1), dir("/a/b", 2), dir("/a/c", 2), dir("/d", 1)};
  Bytes out;
  ASSERT_TRUE(append_listing(out, view, listing, kNow).has_value());
  EXPECT_EQ(out,
            R"({"action":"get","node":{"dir":true,"nodes":[{"key":"/a","dir":true,"nodes":[{"key":"/a/b","dir":true},)"
            R"({"key":"/a/c","dir":true}]},{"key":"/d","dir":true}]}})");
  out.clear();
  ASSERT_TRUE(append_listing(out, view, {dir("/x", 0)}, kNow).has_value());
  EXPECT_EQ(out, R"({"action":"get","node":{"key":"/x","dir":true}})");
}

}  // namespace
}  // namespace etcd::api::v2
