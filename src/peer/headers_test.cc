#include "peer/headers.h"

#include <gtest/gtest.h>

#include <utility>

namespace etcd::peer {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

net::Headers headers_of(const Fields& fields) {
  net::Headers headers;
  for (const auto& [name, value] : fields) headers.add(name, value);
  return headers;
}

TEST(PeerHeaders, Ids) {
  EXPECT_EQ(hex_id(0x628170c800dbcee), "628170c800dbcee");
  EXPECT_EQ(parse_hex_id("628170c800dbcee"), 0x628170c800dbceeu);
  EXPECT_EQ(parse_hex_id("FFffffffffffffff"), ~std::uint64_t{0});
  for (const char* text : {"", "x", "0x1", "+1", "-1", " 1", "1 ", "10000000000000000"}) {
    EXPECT_EQ(parse_hex_id(text), std::nullopt) << text;
  }
}

TEST(PeerHeaders, Versions) {
  EXPECT_EQ(parse_version("3.7.1"), (Version{3, 7, 1}));
  EXPECT_EQ(parse_version("3.8.0-alpha.0+x"), (Version{3, 8, 0}));
  for (const char* text : {"", "3", "3.7", "3.7.", "3.7.x", "3.7.1.2", "3..1", "3.7.1-", "v3.7.1", "-3.7.1"}) {
    EXPECT_EQ(parse_version(text), std::nullopt) << text;
  }
  EXPECT_EQ(server_version_of({}), (Version{2, 0, 0}));
}

TEST(PeerHeaders, WhatWeSay) {
  const Local local{.id = 0xa1, .cluster = 0xc2, .peer_urls = {"http://a:1", "http://b:2"}};
  EXPECT_EQ(request_headers(local, "application/protobuf").fields(), (Fields{{"Content-Type", "application/protobuf"},
                                                                             {"X-Server-From", "a1"},
                                                                             {"X-Server-Version", "3.7.1"},
                                                                             {"X-Min-Cluster-Version", "3.0.0"},
                                                                             {"X-Etcd-Cluster-ID", "c2"},
                                                                             {"X-PeerURLs", "http://a:1,http://b:2"},
                                                                             {"X-Etcd-V2", "1"}}));
  EXPECT_EQ(*stream_request_headers(local, 0xb3).find("X-Raft-To"), "b3");
  EXPECT_EQ(stream_target(StreamType::kMsgAppV2, 0xa1), "/raft/stream/msgapp/a1");
  EXPECT_EQ(stream_target(StreamType::kMessage, 0xa1), "/raft/stream/message/a1");
  net::Headers answer;
  add_stream_answer_headers(answer, 0xc2);
  EXPECT_EQ(answer.fields(), (Fields{{"X-Server-Version", "3.7.1"}, {"X-Etcd-Cluster-ID", "c2"}, {"X-Etcd-V2", "1"}}));
}

TEST(PeerHeaders, WhoMayTalkToUs) {
  struct Row {
    const char* name;
    Fields fields;
    bool needs_v2;
    const char* text;  // of the refusal; empty for none
  };
  const Row rows[] = {
      {"ours", request_headers({.id = 1, .cluster = 0xc2}).fields(), true, ""},
      {"3.4, as Go spells it",
       {{"X-Server-Version", "3.4.23"}, {"X-Min-Cluster-Version", "3.0.0"}, {"X-Etcd-Cluster-Id", "c2"}},
       false,
       ""},
      {"newer", {{"X-Server-Version", "3.9.0-rc.1"}, {"X-Etcd-Cluster-ID", "c2"}}, false, ""},
      {"newer, and does not work with us",
       {{"X-Server-Version", "3.9.0"}, {"X-Min-Cluster-Version", "3.8.0"}, {"X-Etcd-Cluster-ID", "c2"}},
       false,
       "incompatible version"},
      {"the patch does not count",
       {{"X-Server-Version", "3.7.9"}, {"X-Min-Cluster-Version", "3.7.9"}, {"X-Etcd-Cluster-ID", "c2"}},
       false,
       ""},
      {"older", {{"X-Server-Version", "2.3.8"}, {"X-Etcd-Cluster-ID", "c2"}}, false, "incompatible version"},
      {"none", {{"X-Etcd-Cluster-ID", "c2"}}, false, "incompatible version"},
      {"unreadable", {{"X-Server-Version", "3"}, {"X-Etcd-Cluster-ID", "c2"}}, false, "incompatible version"},
      {"another cluster", {{"X-Server-Version", "3.7.1"}, {"X-Etcd-Cluster-ID", "c3"}}, false, "cluster ID mismatch"},
      {"compared as text", {{"X-Server-Version", "3.7.1"}, {"X-Etcd-Cluster-ID", "0c2"}}, false, "cluster ID mismatch"},
      {"no cluster", {{"X-Server-Version", "3.7.1"}}, false, "cluster ID mismatch"},
      {"does not know v2", {{"X-Server-Version", "3.7.1"}, {"X-Etcd-Cluster-ID", "c2"}}, true, "incompatible version"},
  };
  for (const Row& row : rows) {
    const std::optional<Refusal> refusal =
        check_request(headers_of(row.fields), {.cluster = 0xc2, .needs_v2 = row.needs_v2});
    EXPECT_EQ(refusal.has_value() ? refusal->text : "", row.text) << row.name;
    if (refusal.has_value()) {
      EXPECT_EQ(refusal->status, 412) << row.name;
      EXPECT_NE(refusal->detail, "") << row.name;
    }
  }
  EXPECT_EQ(version_conflict("a", {2, 3, 8}, {2, 0, 0}), "remote version is too low: remote[a]=2.3.8, local=3.7.1");
  EXPECT_EQ(version_conflict("a", {4, 0, 0}, {3, 8, 0}), "local version is too low: remote[a]=4.0.0, local=3.7.1");
}

TEST(PeerHeaders, Introductions) {
  EXPECT_EQ(introduction_of(headers_of({{"X-Server-From", "a1"}, {"X-Peerurls", "http://a:1,http://b:2"}})),
            (Introduction{.id = 0xa1, .peer_urls = {"http://a:1", "http://b:2"}}));
  EXPECT_EQ(introduction_of(headers_of({{"X-Server-From", "a1"}})), std::nullopt);
  EXPECT_EQ(introduction_of(headers_of({{"X-Server-From", "xyz"}, {"X-PeerURLs", "http://a:1"}})), std::nullopt);
}

TEST(PeerHeaders, WhatAnAnswerMeans) {
  const Local local{.id = 0xa1, .cluster = 0xc2};
  struct Row {
    int status;
    const char* version;
    const char* body;
    Judgement judgement;
  };
  const Row rows[] = {
      {200, "3.7.1", "", {}},
      {200, "3.4.23", "", {}},
      {200, "2.1.0", "", {}},
      {200, "9.0.0", "", {}},
      {200, "2.0.0", "", {Verdict::kRetry, "unsupported stream type"}},
      {200, "2.9.0", "", {Verdict::kRetry, "unsupported stream type"}},
      {200, "", "", {Verdict::kRetry, "unsupported stream type"}},
      {200, "x", "", {Verdict::kRetry, "stream Message: the answer's version cannot be read"}},
      {410,
       "3.7.1",
       "removed member\n",
       {Verdict::kRemoved, "the member has been permanently removed from the cluster"}},
      {404, "3.7.1", "", {Verdict::kRetry, "peer b3 failed to find local node a1"}},
      {412, "3.7.1", "incompatible version\n", {Verdict::kRetry, "incompatible version"}},
      {412,
       "3.7.1",
       "cluster ID mismatch\n",
       {Verdict::kRetry, "cluster ID mismatch: peer b3 is of cluster c3, we are of c2"}},
      {412,
       "3.7.1",
       "to field mismatch\n",
       {Verdict::kRetry, "unhandled error \"to field mismatch\" when precondition failed"}},
      {503, "3.7.1", "", {Verdict::kRetry, "unhandled http status 503"}},
  };
  for (const Row& row : rows) {
    Fields fields{{"X-Etcd-Cluster-ID", "c3"}};
    if (*row.version != '\0') fields.emplace_back("X-Server-Version", row.version);
    EXPECT_EQ(judge_stream_answer(row.status, headers_of(fields), row.body, StreamType::kMessage, local, 0xb3),
              row.judgement)
        << row.status << row.version << row.body;
  }
  EXPECT_EQ(judge_post_answer(204, "", "u"), Judgement{});
  EXPECT_EQ(judge_post_answer(403, "", "u").verdict, Verdict::kRemoved);
  EXPECT_EQ(judge_post_answer(412, "cluster ID mismatch\n", "u"), (Judgement{Verdict::kRetry, "cluster ID mismatch"}));
  EXPECT_EQ(judge_post_answer(500, "x", "http://a/raft"),
            (Judgement{Verdict::kRetry, "unexpected http status 500 while posting to \"http://a/raft\""}));
}

}  // namespace
}  // namespace etcd::peer
