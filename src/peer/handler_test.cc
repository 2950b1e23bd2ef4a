#include "peer/handler.h"

#include <gtest/gtest.h>

#include <deque>
#include <utility>

#include "io/executor.h"
#include "peer/message_codec.h"

namespace etcd::peer {
namespace {

/// Runs everything at once, on the spot.
class InlineExecutor final : public io::Executor {
 public:
  void post(io::Task task) override { task(); }
  void dispatch(io::Task task) override { task(); }
  io::TimerId post_at(MonotonicTime, io::Task) override { return 1; }
  bool cancel(io::TimerId) override { return false; }
  [[nodiscard]] bool is_current() const override { return true; }
};

/// What a client sees of its answer.
struct Seen {
  net::Response response;
  bool started = false;
  bool finished = false;
  bool dropped = false;
};

class FakeExchange final : public net::Exchange {
 public:
  FakeExchange(Seen& seen, io::Executor& executor) : seen_(seen), executor_(executor) {}
  ~FakeExchange() override { seen_.dropped = true; }

  void send(net::Response response) override {
    seen_.response = std::move(response);
    seen_.finished = true;
  }
  void start(net::Response response) override {
    seen_.response = std::move(response);
    seen_.started = true;
  }
  void write(SharedBytes piece) override { seen_.response.body += piece.view(); }
  void finish() override { seen_.finished = true; }
  [[nodiscard]] std::size_t unsent_bytes() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void on_close(std::function<void()>) override {}
  [[nodiscard]] io::Executor& executor() override { return executor_; }

 private:
  Seen& seen_;
  io::Executor& executor_;
};

class FakeHost final : public PeerHost, public StreamSink {
 public:
  [[nodiscard]] MemberId id() const override { return 0xa1; }
  [[nodiscard]] RequestRules rules() const override { return {.cluster = 0xc2, .needs_v2 = needs_v2_}; }
  [[nodiscard]] bool is_removed(MemberId member) const override { return member == 0xdead; }
  [[nodiscard]] bool is_peer(MemberId member) const override { return member == 0xb3; }
  void add_remote(const Introduction& introduction) override { remotes_.push_back(introduction); }
  void receive(raft::Message message, std::function<void(Result<void>)> done) override {
    messages_.push_back(std::move(message));
    if (refuses_) {
      done(failure(ErrorCode::kPermissionDenied, "removed"));
    } else {
      done({});
    }
  }
  [[nodiscard]] WallTime wall() const override { return {1'767'225'600'120'000'000}; }
  void log(std::string_view message) override { log_ += message; }
  void attach(StreamType type, MemberId peer, std::shared_ptr<net::Exchange> exchange) override {
    streams_.emplace_back(type, peer, std::move(exchange));
  }

  bool needs_v2_ = false;
  bool refuses_ = false;
  std::vector<Introduction> remotes_;
  std::vector<raft::Message> messages_;
  std::string log_;
  std::vector<std::tuple<StreamType, MemberId, std::shared_ptr<net::Exchange>>> streams_;  // shared with nobody else
};

net::Request request(std::string method, std::string path, net::Headers headers, Bytes body = {}) {
  net::Request result;
  result.method = std::move(method);
  result.path = std::move(path);
  result.headers = std::move(headers);
  result.body = std::move(body);
  result.remote = "127.0.0.1:5";
  return result;
}

class PeerHandlerTest : public testing::Test {
 protected:
  Seen answer(net::Request asked) {
    seen_.push_back({});
    handler_.handle(std::move(asked), std::make_shared<FakeExchange>(seen_.back(), executor_));
    return seen_.back();
  }

  const Local peer_{.id = 0xb3, .cluster = 0xc2, .peer_urls = {"http://b:1"}};
  InlineExecutor executor_;
  std::deque<Seen> seen_;  // outlives the exchanges that the host keeps
  FakeHost host_;
  PeerHandler handler_{host_, host_};
};

TEST_F(PeerHandlerTest, TakesAMessage) {
  const raft::Message message{.type = raft::MessageType::kVote, .to = 0xa1, .from = 0xb3, .term = Term{4}};
  Bytes body;
  append_message(body, message);
  const Seen seen = answer(request("POST", "/raft", request_headers(peer_, "application/protobuf"), body));
  EXPECT_EQ(seen.response.status, 204);
  EXPECT_EQ(*seen.response.headers.find("X-Etcd-Cluster-ID"), "c2");
  EXPECT_EQ(*seen.response.headers.find("X-Etcd-V2"), "1");
  EXPECT_TRUE(seen.finished);
  EXPECT_EQ(host_.messages_, std::vector<raft::Message>{message});
  EXPECT_EQ(host_.remotes_, (std::vector<Introduction>{{.id = 0xb3, .peer_urls = {"http://b:1"}}}));
}

TEST_F(PeerHandlerTest, AMessageThatRaftRefusesBreaksTheConnection) {
  host_.refuses_ = true;
  const Seen seen = answer(request("POST", "/raft", request_headers(peer_)));
  EXPECT_EQ(seen.response.status, 500);
  EXPECT_EQ(seen.response.body, "error processing raft message\n");
  EXPECT_TRUE(seen.started);
  EXPECT_TRUE(seen.response.has_end);
  EXPECT_FALSE(seen.finished);
  EXPECT_TRUE(seen.dropped);
}

TEST_F(PeerHandlerTest, RefusesMessages) {
  Seen seen = answer(request("PUT", "/raft", request_headers(peer_)));
  EXPECT_EQ(seen.response.status, 405);
  EXPECT_EQ(*seen.response.headers.find("Allow"), "POST");
  EXPECT_EQ(seen.response.headers.find("X-Etcd-Cluster-ID"), nullptr);

  seen = answer(request("POST", "/raft", request_headers(peer_), "\x08"));
  EXPECT_EQ(seen.response.status, 400);
  EXPECT_EQ(seen.response.body, "error unmarshalling raft message\n");

  seen = answer(request("POST", "/raft", request_headers({.id = 0xb3, .cluster = 0xc3})));
  EXPECT_EQ(seen.response.status, 412);
  EXPECT_EQ(seen.response.body, "cluster ID mismatch\n");
  EXPECT_EQ(*seen.response.headers.find("X-Etcd-Cluster-ID"), "c2");
  EXPECT_EQ(*seen.response.headers.find("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_NE(host_.log_.find("member b3 is of cluster c3, this is c2"), std::string::npos) << host_.log_;

  EXPECT_TRUE(host_.messages_.empty());
}

TEST_F(PeerHandlerTest, AMemberWithoutV2MayNotFollowALogWithV2) {
  net::Headers foreign;
  foreign.add("X-Server-Version", "3.4.23");
  foreign.add("X-Etcd-Cluster-Id", "c2");
  EXPECT_EQ(answer(request("POST", "/raft", foreign)).response.status, 204);
  host_.needs_v2_ = true;
  const Seen seen = answer(request("POST", "/raft", foreign));
  EXPECT_EQ(seen.response.status, 412);
  EXPECT_EQ(seen.response.body, "incompatible version\n");
}

TEST_F(PeerHandlerTest, HandsOverStreams) {
  for (const StreamType type : {StreamType::kMsgAppV2, StreamType::kMessage}) {
    const Seen seen = answer(request("GET", stream_target(type, 0xb3), stream_request_headers(peer_, 0xa1)));
    EXPECT_EQ(seen.response.status, 200);
    EXPECT_TRUE(seen.started);
    EXPECT_FALSE(seen.response.has_end);
    EXPECT_FALSE(seen.dropped);
    EXPECT_EQ(*seen.response.headers.find("X-Server-Version"), "3.7.1");
    EXPECT_EQ(*seen.response.headers.find("X-Etcd-Cluster-ID"), "c2");
    EXPECT_EQ(seen.response.headers.find("Content-Type"), nullptr);
    ASSERT_FALSE(host_.streams_.empty());
    EXPECT_EQ(std::get<0>(host_.streams_.back()), type);
    EXPECT_EQ(std::get<1>(host_.streams_.back()), 0xb3u);
  }
  EXPECT_TRUE(host_.remotes_.empty());
}

TEST_F(PeerHandlerTest, RefusesStreams) {
  struct Row {
    const char* path;
    MemberId to;
    int status;
    const char* body;
  };
  const Row rows[] = {
      {"/raft/stream/msgapp/x", 0xa1, 404, "invalid from\n"},
      {"/raft/stream/msgapp/", 0xa1, 404, "invalid from\n"},
      {"/raft/stream/other/b3", 0xa1, 404, "invalid path\n"},
      {"/raft/stream/b3", 0xa1, 404, "invalid path\n"},
      {"/raft/stream/a/msgapp/b3", 0xa1, 404, "invalid path\n"},
      {"/raft/stream/message/dead", 0xa1, 410, "removed member\n"},
      {"/raft/stream/message/b4", 0xa1, 404, "error sender not found\n"},
      {"/raft/stream/message/b3", 0xa2, 412, "to field mismatch\n"},
  };
  for (const Row& row : rows) {
    const Seen seen = answer(request("GET", row.path, stream_request_headers(peer_, row.to)));
    EXPECT_EQ(seen.response.status, row.status) << row.path;
    EXPECT_EQ(seen.response.body, row.body) << row.path;
    EXPECT_NE(seen.response.headers.find("X-Server-Version"), nullptr) << row.path;
  }
  EXPECT_EQ(answer(request("POST", "/raft/stream/message/b3", {})).response.status, 405);
  EXPECT_TRUE(host_.streams_.empty());
  EXPECT_EQ(host_.remotes_, (std::vector<Introduction>{{.id = 0xb4, .peer_urls = {"http://b:1"}}}));  // by its path
}

TEST_F(PeerHandlerTest, AnswersProbes) {
  const Seen seen = answer(request("GET", "/raft/probing", {}));
  EXPECT_EQ(seen.response.status, 200);
  EXPECT_EQ(seen.response.body, "{\"OK\":true,\"Now\":\"2026-01-01T00:00:00.12Z\"}\n");
  EXPECT_EQ(answer(request("GET", "/raft/other", {})).response.status, 404);
}

}  // namespace
}  // namespace etcd::peer
