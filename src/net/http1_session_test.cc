#include "net/http1_session.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "net/date.h"
#include "net/protocol.h"

namespace etcd::net {
namespace {

constexpr std::string_view kDate = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n";

/// Carries a session's bytes in memory, and is its clock and its loop.
class FakeHost final : public SessionHost, public io::Executor {
 public:
  [[nodiscard]] MonotonicTime now() const override { return now_; }
  [[nodiscard]] WallTime wall() const override { return wall_; }
  void output_ready() override { ++calls_; }
  [[nodiscard]] io::Executor& executor() override { return *this; }

  void post(io::Task task) override { tasks_.push_back(std::move(task)); }
  void dispatch(io::Task task) override { task(); }
  io::TimerId post_at(MonotonicTime, io::Task) override { return 1; }
  bool cancel(io::TimerId) override { return false; }
  [[nodiscard]] bool is_current() const override { return true; }

  void run_tasks() {
    while (!tasks_.empty()) {
      io::Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

  MonotonicTime now_{1'000};
  WallTime wall_{1'767'225'600'000'000'000};
  int calls_ = 0;
  std::deque<io::Task> tasks_;
};

/// Answers "METHOD path?query|body" at once, but keeps what asks for /later and /stream.
class FakeHandler final : public Handler {
 public:
  void handle(Request request, std::shared_ptr<Exchange> exchange) override {
    requests_.push_back(request);
    if (request.path == "/later" || request.path == "/stream") {
      kept_.push_back(std::move(exchange));
      if (request.path == "/stream") {
        Response head;
        head.body = "one";
        kept_.back()->start(std::move(head));
      }
      return;
    }
    if (request.path == "/drop") return;
    Response response;
    if (request.path == "/empty") {
      response.status = 204;
    } else if (request.path == "/split") {
      response.headers.add("X-Value", "a\r\nX-Evil: b");
    } else if (request.path == "/big") {
      response.body.assign(100'000, 'b');
    } else {
      response.body = request.method + " " + request.path + "?" + request.query + "|" + request.body;
    }
    exchange->send(std::move(response));
  }

  std::vector<Request> requests_;
  std::vector<std::shared_ptr<Exchange>> kept_;
};

/// A session with all that is around it.
class Wire {
 public:
  explicit Wire(Http1Options options = {})
      : options_(options),
        session_(make_http1_session(host_, handler_, Peer{.remote = "1.2.3.4:5", .secure = false}, options_)) {}

  /// What the socket shell does after every event. Returns what the client got.
  std::string pump() {
    std::string got;
    do {
      host_.calls_ = 0;
      session_->resume();
      if (taking_) {
        while (!session_->output().empty()) {
          std::array<BytesView, 4> views;
          const std::size_t count = session_->output().gather(views);
          std::size_t bytes = 0;
          for (std::size_t index = 0; index < count; ++index) {
            got += views[index];
            bytes += views[index].size();
          }
          session_->sent(bytes);
        }
      }
      host_.run_tasks();
    } while (host_.calls_ > 0);
    return got;
  }

  std::string feed(std::string_view bytes) {
    session_->receive(bytes);
    return pump();
  }
  std::string feed_in_pieces(std::string_view bytes, const std::function<std::size_t()>& next_size) {
    std::string got;
    while (!bytes.empty() && !closed()) {
      const std::size_t size = std::min(bytes.size(), next_size());
      got += feed(bytes.substr(0, size));
      bytes.remove_prefix(size);
    }
    return got;
  }
  std::string end() {
    session_->receive_end();
    return pump();
  }
  std::string advance(Duration step) {
    host_.now_ = host_.now_ + step;
    if (session_->deadline() <= host_.now_) session_->tick();
    return pump();
  }
  bool closed() const { return session_->finished(); }

  Http1Options options_;
  FakeHost host_;
  FakeHandler handler_;
  std::unique_ptr<Session> session_;
  bool taking_ = true;  // the client reads
};

std::string answer(std::string_view body, std::string_view version = "HTTP/1.1", std::string_view connection = {}) {
  std::string text = fmt::format("{} 200 OK\r\n{}Content-Length: {}\r\n", version, kDate, body.size());
  if (!connection.empty()) text += fmt::format("Connection: {}\r\n", connection);
  return text + "\r\n" + std::string(body);
}

std::string refusal(int status, std::string_view detail = {}) {
  std::string body = fmt::format("{} {}", status, reason_phrase(status));
  if (!detail.empty()) body += fmt::format(": {}", detail);
  const std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\n", status, reason_phrase(status));
  return fmt::format("{}{}Content-Length: {}\r\nConnection: close\r\n\r\n{}", head, kDate, body.size(), body);
}

struct Row {
  const char* name;
  std::string input;
  std::string expected;
  bool closed;
};

std::vector<Row> rows() {
  const std::string get = "GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string got = answer("GET /a?x=1|");
  const std::string put = "PUT /a HTTP/1.1\r\nHost: h\r\n";
  return {
      {"get", get, got, false},
      {"three in a pipeline", get + get + get, got + got + got, false},
      {"empty line before", "\r\n\r\n" + get, got, false},
      {"body by length", put + "Content-Length: 5\r\n\r\nvalue", answer("PUT /a?|value"), false},
      {"body by length, then get", put + "Content-Length: 5\r\n\r\nvalue" + get, answer("PUT /a?|value") + got, false},
      {"empty body by length", put + "Content-Length: 0\r\n\r\n", answer("PUT /a?|"), false},
      {"same length twice", put + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nv", answer("PUT /a?|v"), false},
      {"chunks", put + "Transfer-Encoding: chunked\r\n\r\n7\r\nvalue=a\r\n3\r\nbcd\r\n0\r\n\r\n" + get,
       answer("PUT /a?|value=abcd") + got, false},
      {"no chunk", put + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get, answer("PUT /a?|") + got, false},
      {"chunk extension and trailer",
       put + "Transfer-Encoding: Chunked\r\n\r\nA;n=v\r\n0123456789\r\n0;x\r\nX-Trailer: t\r\n\r\n" + get,
       answer("PUT /a?|0123456789") + got, false},
      {"head", "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n" + get,
       "HTTP/1.1 200 OK\r\n" + std::string(kDate) + "Content-Length: 9\r\n\r\n" + got, false},
      {"no content", "GET /empty HTTP/1.1\r\nHost: h\r\n\r\n" + get,
       "HTTP/1.1 204 No Content\r\n" + std::string(kDate) + "\r\n" + got, false},
      {"close asked for", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n" + get,
       answer("GET /a?|", "HTTP/1.1", "close"), true},
      {"1.0", "GET /a HTTP/1.0\r\n\r\n" + get, answer("GET /a?|", "HTTP/1.0", "close"), true},
      {"1.0 kept", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get,
       answer("GET /a?|", "HTTP/1.0", "keep-alive") + got, false},
      {"1.0 expects", "GET /a HTTP/1.0\r\nExpect: wonders\r\n\r\n", answer("GET /a?|", "HTTP/1.0", "close"), true},
      {"absolute target", "GET HTTP://other:1/a?x=1 HTTP/1.1\r\nHost: h\r\n\r\n", got, false},
      {"absolute target without path", "GET http://other?x HTTP/1.1\r\nHost: h\r\n\r\n", answer("GET /?x|"), false},
      {"options *", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", answer("OPTIONS *?|"), false},
      {"unknown method", "BREW /a HTTP/1.1\r\nHost: h\r\n\r\n", answer("BREW /a?|"), false},
      {"raw bytes in target", "GET /\xC3\xA9 HTTP/1.1\r\nHost: h\r\n\r\n", answer("GET /\xC3\xA9?|"), false},
      {"escapes", "GET /a%2Fb%00+ HTTP/1.1\r\nHost: h\r\n\r\n", answer(std::string_view("GET /a/b\0+?|", 12)), false},
      {"lower case fields", "PUT /a HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nv", answer("PUT /a?|v"), false},
      {"folded field", "GET /a?x=1 HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", got, false},
      {"empty host", "GET /a?x=1 HTTP/1.1\r\nHost:\r\n\r\n", got, false},
      {"answer is not split", "GET /split HTTP/1.1\r\nHost: h\r\n\r\n",
       "HTTP/1.1 200 OK\r\nX-Value: a  X-Evil: b\r\n" + std::string(kDate) + "Content-Length: 0\r\n\r\n", false},

      {"garbage", "GARBAGE\r\n\r\n", "", true},
      {"0.9", "GET /a\r\n", "", true},
      {"lower case version", "GET /a http/1.1\r\nHost: h\r\n\r\n", "", true},
      {"bare line feed only", "\n", "", true},
      {"dropped by the handler", "GET /drop HTTP/1.1\r\nHost: h\r\n\r\n" + get, "", true},
      {"future version", "GET /a HTTP/3.0\r\n", refusal(505), true},
      {"1.2", "GET /a HTTP/1.2\r\n", refusal(505), true},
      {"no host", "GET /a HTTP/1.1\r\n\r\n" + get, refusal(400, "missing required Host header"), true},
      {"two hosts", "GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", refusal(400, "too many Host headers"), true},
      {"bad host", "GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", refusal(400, "malformed Host header"), true},
      {"bad escape", "GET /a%zz HTTP/1.1\r\nHost: h\r\n\r\n", refusal(400), true},
      {"half escape", "GET /a%4 HTTP/1.1\r\nHost: h\r\n\r\n", refusal(400), true},
      {"control character", "GET /a\x01 HTTP/1.1\r\nHost: h\r\n\r\n", refusal(400), true},
      {"empty target", "GET  HTTP/1.1\r\nHost: h\r\n\r\n", refusal(400), true},
      {"relative target", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", refusal(400), true},
      {"star for get", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", refusal(400), true},
      {"connect", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", refusal(400), true},
      {"bad method", "G@T /a HTTP/1.1\r\nHost: h\r\n\r\n", refusal(400), true},
      {"bare line feeds", "GET /a HTTP/1.1\nHost: h\n\n", refusal(400), true},
      {"bare line feed in the fields", "GET /a HTTP/1.1\r\nHost: h\n\r\n", refusal(400), true},
      {"blank before colon", "GET /a HTTP/1.1\r\nHost : h\r\n\r\n", refusal(400), true},
      {"field without colon", "GET /a HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", refusal(400), true},
      {"control character in a field", "GET /a HTTP/1.1\r\nHost: h\r\nX: \x01\r\n\r\n", refusal(400), true},
      {"length with sign", put + "Content-Length: +1\r\n\r\nv", refusal(400), true},
      {"length in words", put + "Content-Length: one\r\n\r\nv", refusal(400), true},
      {"length list", put + "Content-Length: 1, 1\r\n\r\nv", refusal(400), true},
      {"length too long", put + "Content-Length: 99999999999999999999\r\n\r\n", refusal(400), true},
      {"two lengths", put + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nv", refusal(400), true},
      {"length and coding", put + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refusal(400),
       true},
      {"coding and length", put + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", refusal(400),
       true},
      {"coding twice", put + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refusal(400),
       true},
      {"other coding", put + "Transfer-Encoding: gzip\r\n\r\n", refusal(501, "Unsupported transfer encoding"), true},
      {"chunked, then other", put + "Transfer-Encoding: chunked, gzip\r\n\r\n",
       refusal(501, "Unsupported transfer encoding"), true},
      {"chunked in 1.0", "PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refusal(400), true},
      {"bad chunk size", put + "Transfer-Encoding: chunked\r\n\r\nxyz12\r\n", refusal(400), true},
      {"bad chunk end", put + "Transfer-Encoding: chunked\r\n\r\n1\r\nabcde\r\n0\r\n\r\n", refusal(400), true},
      {"expectation unknown", put + "Expect: wonders\r\nContent-Length: 1\r\n\r\nv", refusal(417), true},
      {"body over the limit", put + "Content-Length: 1001\r\n\r\n", refusal(413), true},
      {"chunk over the limit", put + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", refusal(413), true},
      {"head over the limit", "GET /a HTTP/1.1\r\nHost: h\r\nX: " + std::string(600, 'x'), refusal(431), true},
      {"request line over the limit", "GET /" + std::string(600, 'x'), refusal(431), true},
      {"fields over the limit", "GET /a HTTP/1.1\r\nHost: h\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\n\r\n", refusal(431), true},
  };
}

Http1Options small_limits() {
  Http1Options options;
  options.header_bytes_max = 512;
  options.header_fields_max = 5;
  options.body_bytes_max = 1'000;
  return options;
}

TEST(Http1Session, AnswersWhateverWayTheBytesCome) {
  for (const Row& row : rows()) {
    {
      SCOPED_TRACE(std::string(row.name) + ", all at once");
      Wire wire(small_limits());
      EXPECT_EQ(wire.feed(row.input), row.expected);
      EXPECT_EQ(wire.closed(), row.closed);
    }
    {
      SCOPED_TRACE(std::string(row.name) + ", byte by byte");
      Wire wire(small_limits());
      EXPECT_EQ(wire.feed_in_pieces(row.input, [] { return std::size_t{1}; }), row.expected);
      EXPECT_EQ(wire.closed(), row.closed);
    }
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(fmt::format("{}, seed {}", row.name, seed));
      Rng rng(seed);
      Wire wire(small_limits());
      EXPECT_EQ(wire.feed_in_pieces(row.input, [&rng] { return 1 + rng.below(20); }), row.expected);
      EXPECT_EQ(wire.closed(), row.closed);
    }
  }
}

TEST(Http1Session, RequestsOneAfterAnotherInRandomPieces) {
  std::string input;
  std::string expected;
  for (const Row& row : rows()) {
    if (row.closed) continue;
    input += row.input;
    expected += row.expected;
  }
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    Wire wire(small_limits());
    EXPECT_EQ(wire.feed_in_pieces(input, [&rng] { return 1 + rng.below(400); }), expected);
    EXPECT_FALSE(wire.closed());
  }
}

TEST(Http1Session, TellsTheHandlerWhatCame) {
  Wire wire;
  wire.feed("PUT http://over.there:1/a%20b?x=%20y HTTP/1.1\r\nHost: h\r\nX-Two: 2\r\nContent-Length: 1\r\n\r\nv");
  ASSERT_EQ(wire.handler_.requests_.size(), 1u);
  const Request& request = wire.handler_.requests_[0];
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "http://over.there:1/a%20b?x=%20y");
  EXPECT_EQ(request.path, "/a b");
  EXPECT_EQ(request.query, "x=%20y");
  EXPECT_EQ(request.body, "v");
  EXPECT_EQ(request.remote, "1.2.3.4:5");
  EXPECT_FALSE(request.secure);
  ASSERT_NE(request.headers.find("host"), nullptr);
  EXPECT_EQ(*request.headers.find("host"), "over.there:1");  // the target's, not the field's
  ASSERT_NE(request.headers.find("x-TWO"), nullptr);
  EXPECT_EQ(*request.headers.find("x-TWO"), "2");
  EXPECT_EQ(request.headers.find("x"), nullptr);
}

TEST(Http1Session, ContinuesOnlyAClientThatWaits) {
  const std::string head = "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n";
  const std::string rest = answer("PUT /a?|value");
  Wire waits;
  EXPECT_EQ(waits.feed(head), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(waits.feed("value"), rest);
  Wire hurries;
  EXPECT_EQ(hurries.feed(head + "value"), rest);
  Wire has_begun;
  EXPECT_EQ(has_begun.feed(head + "v"), "");
  EXPECT_EQ(has_begun.feed("alue"), rest);
  Wire has_none;
  EXPECT_EQ(has_none.feed("GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"), answer("GET /a?|"));
}

TEST(Http1Session, LaterAnswersKeepTheOrder) {
  Wire wire;
  const std::string later = "GET /later HTTP/1.1\r\nHost: h\r\n\r\n";
  EXPECT_EQ(wire.feed(later + "GET /a HTTP/1.1\r\nHost: h\r\n\r\n" + later), "");
  ASSERT_EQ(wire.handler_.kept_.size(), 1u);
  EXPECT_EQ(wire.handler_.requests_.size(), 1u);
  Response response;
  response.body = "first";
  wire.handler_.kept_[0]->send(std::move(response));
  EXPECT_EQ(wire.handler_.requests_.size(), 1u);  // not on the stack of send()
  EXPECT_EQ(wire.pump(), answer("first") + answer("GET /a?|"));
  ASSERT_EQ(wire.handler_.kept_.size(), 2u);
  wire.handler_.kept_[1]->send(Response{});
  EXPECT_EQ(wire.pump(), answer(""));
}

TEST(Http1Session, LongPipelineTakesTurns) {
  Wire wire;
  std::string input;
  std::string expected;
  for (int index = 0; index < 200; ++index) {
    input += "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    expected += answer("GET /a?|");
  }
  wire.session_->receive(input);
  EXPECT_LT(wire.handler_.requests_.size(), 200u);
  EXPECT_EQ(wire.pump(), expected);
}

TEST(Http1Session, PipelineStopsAtTheLimit) {
  Http1Options options;
  options.pipelined_bytes_max = 1'000;
  Wire wire(options);
  wire.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(wire.session_->wants_input());
  wire.feed(std::string(999, 'x'));
  EXPECT_TRUE(wire.session_->wants_input());
  wire.feed("x");
  EXPECT_FALSE(wire.session_->wants_input());
}

TEST(Http1Session, UnsentOutputHoldsBackFurtherRequests) {
  Http1Options options;
  options.unsent_bytes_max = 50'000;
  Wire wire(options);
  wire.taking_ = false;
  const std::string get = "GET /big HTTP/1.1\r\nHost: h\r\n\r\n";
  wire.feed(get + get + get);
  EXPECT_EQ(wire.handler_.requests_.size(), 1u);
  EXPECT_FALSE(wire.session_->wants_input());
  wire.taking_ = true;
  EXPECT_EQ(wire.pump().size(), 3 * answer(std::string(100'000, 'b')).size());
  EXPECT_EQ(wire.handler_.requests_.size(), 3u);
  EXPECT_TRUE(wire.session_->wants_input());
}

TEST(Http1Session, Streams) {
  const std::string head = "HTTP/1.1 200 OK\r\n" + std::string(kDate);
  Wire wire;
  EXPECT_EQ(wire.feed("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"),
            head + "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
  const std::shared_ptr<Exchange> exchange = wire.handler_.kept_[0];
  exchange->write(SharedBytes(""));  // would be the end, if it were sent
  exchange->write(SharedBytes(std::string(20, 'x')));
  EXPECT_EQ(exchange->unsent_bytes(), 26u);
  EXPECT_EQ(wire.pump(), "14\r\n" + std::string(20, 'x') + "\r\n");
  EXPECT_EQ(exchange->unsent_bytes(), 0u);
  exchange->finish();
  exchange->write(SharedBytes("ignored"));
  EXPECT_EQ(wire.pump(), "0\r\n\r\n");
  EXPECT_EQ(wire.feed("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), answer("GET /a?|"));

  Wire old;
  EXPECT_EQ(old.feed("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            "HTTP/1.0 200 OK\r\n" + std::string(kDate) + "Connection: close\r\n\r\none");
  old.handler_.kept_[0]->write(SharedBytes("two"));
  old.handler_.kept_[0]->finish();
  EXPECT_EQ(old.pump(), "two");
  EXPECT_TRUE(old.closed());

  Wire head_only;
  EXPECT_EQ(head_only.feed("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n"), head + "\r\n");
  head_only.handler_.kept_[0]->write(SharedBytes("two"));
  head_only.handler_.kept_[0]->finish();
  EXPECT_EQ(head_only.pump(), "");
  EXPECT_EQ(head_only.feed("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"), answer("GET /a?|"));
}

TEST(Http1Session, AStreamWithAnEndIsCompleteWithFinishAlone) {
  const auto begin = [](Wire& wire) {
    wire.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    Response head;
    head.body = "one";
    head.has_end = true;
    wire.handler_.kept_[0]->start(std::move(head));
  };

  Wire half_closed;
  begin(half_closed);
  half_closed.pump();
  half_closed.end();
  half_closed.handler_.kept_[0]->write(SharedBytes("two"));
  half_closed.handler_.kept_[0]->finish();
  EXPECT_EQ(half_closed.pump(), "3\r\ntwo\r\n0\r\n\r\n");
  EXPECT_TRUE(half_closed.closed());

  Wire closed_before;
  closed_before.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  closed_before.end();
  Response head;
  head.has_end = true;
  closed_before.handler_.kept_[0]->start(std::move(head));
  closed_before.handler_.kept_[0]->finish();
  EXPECT_TRUE(closed_before.pump().ends_with("Connection: close\r\n\r\n0\r\n\r\n"));
  EXPECT_TRUE(closed_before.closed());

  Wire stopping;
  begin(stopping);
  stopping.pump();
  stopping.session_->shut_down();
  EXPECT_EQ(stopping.pump(), "");
  EXPECT_FALSE(stopping.closed());
  stopping.handler_.kept_[0]->write(SharedBytes("two"));
  stopping.handler_.kept_[0]->finish();
  EXPECT_EQ(stopping.pump(), "3\r\ntwo\r\n0\r\n\r\n");
  EXPECT_TRUE(stopping.closed());
  EXPECT_TRUE(stopping.session_->lingers());

  Wire dropped;
  begin(dropped);
  dropped.handler_.kept_.clear();
  EXPECT_TRUE(dropped.pump().ends_with("\r\n\r\n3\r\none\r\n"));
  EXPECT_TRUE(dropped.closed());
}

TEST(Http1Session, DrainedIsToldAfterEveryWrite) {
  Wire wire;
  wire.feed("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  Exchange& exchange = *wire.handler_.kept_[0];
  int drained = 0;
  exchange.on_drained([&exchange, &drained] {
    if (++drained < 3) exchange.write(SharedBytes("more"));
  });
  wire.pump();
  EXPECT_EQ(drained, 0);
  exchange.write(SharedBytes("two"));
  EXPECT_EQ(wire.pump(), "3\r\ntwo\r\n4\r\nmore\r\n4\r\nmore\r\n");
  EXPECT_EQ(drained, 3);
}

TEST(Http1Session, LargeAnswersAreNotMixedUp) {
  Wire wire;
  const std::string big = "GET /big HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
  EXPECT_EQ(wire.feed(get + big + get), answer("GET /a?|") + answer(std::string(100'000, 'b')) + answer("GET /a?|"));
}

TEST(Http1Session, AClientThatLeavesIsToldOnce) {
  int told = 0;
  Wire stream;
  stream.feed("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  stream.handler_.kept_[0]->on_close([&told] { ++told; });
  stream.end();  // nobody reads a stream without being able to say that he leaves
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(stream.closed());
  stream.handler_.kept_[0]->write(SharedBytes("ignored"));
  stream.handler_.kept_[0]->finish();
  stream.session_->client_gone();
  EXPECT_EQ(stream.pump(), "");
  EXPECT_EQ(told, 1);

  Wire broken;
  broken.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  broken.session_->client_gone();
  broken.handler_.kept_[0]->on_close([&told] { ++told; });  // it asks late
  broken.handler_.kept_[0]->send(Response{});
  EXPECT_EQ(broken.pump(), "");
  EXPECT_EQ(told, 2);

  Wire answered;
  answered.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  answered.handler_.kept_[0]->on_close([&told] { ++told; });
  answered.handler_.kept_[0]->send(Response{});
  answered.session_->client_gone();
  answered.pump();
  EXPECT_EQ(told, 2);

  {
    Wire destroyed;
    destroyed.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    destroyed.handler_.kept_[0]->on_close([&told] { ++told; });
    destroyed.session_.reset();
    destroyed.handler_.kept_[0]->send(Response{});
    destroyed.host_.run_tasks();
  }
  EXPECT_EQ(told, 3);
}

TEST(Http1Session, CallbacksMayHoldTheExchange) {
  Wire wire;
  wire.feed("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  std::weak_ptr<Exchange> weak = wire.handler_.kept_[0];
  std::shared_ptr<Exchange> exchange = std::move(wire.handler_.kept_[0]);
  wire.handler_.kept_.clear();
  exchange->on_close([exchange] {});
  exchange->on_drained([exchange] { exchange->finish(); });
  exchange->write(SharedBytes("two"));
  exchange.reset();
  EXPECT_FALSE(weak.expired());
  EXPECT_EQ(wire.pump(), "3\r\ntwo\r\n0\r\n\r\n");
  EXPECT_TRUE(weak.expired());
  EXPECT_FALSE(wire.closed());
}

TEST(Http1Session, HalfClosedClientsGetTheirAnswers) {
  Wire wire;
  wire.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  wire.end();
  EXPECT_FALSE(wire.closed());
  wire.handler_.kept_[0]->send(Response{});
  const std::string got = wire.pump();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(got.ends_with("GET /a?|"));
  EXPECT_TRUE(wire.closed());

  Wire one;
  one.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  one.end();
  one.handler_.kept_[0]->send(Response{});
  EXPECT_EQ(one.pump(), answer("", "HTTP/1.1", "close"));

  Wire starts;
  int told = 0;
  starts.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  starts.handler_.kept_[0]->on_close([&told] { ++told; });
  starts.end();
  EXPECT_EQ(told, 0);
  starts.handler_.kept_[0]->start(Response{});
  EXPECT_EQ(starts.pump(), "");
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(starts.closed());
}

TEST(Http1Session, EndOfInputElsewhereClosesSilently) {
  for (const char* input : {"", "\r\n", "GET /a HT", "GET /a HTTP/1.1\r\nHost: h\r\n",
                            "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nval",
                            "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r"}) {
    SCOPED_TRACE(input);
    Wire wire;
    EXPECT_EQ(wire.feed(input), "");
    EXPECT_EQ(wire.end(), "");
    EXPECT_TRUE(wire.closed());
    EXPECT_TRUE(wire.handler_.requests_.empty());
  }
}

TEST(Http1Session, DroppedStreamsEndWithoutTheirEnd) {
  Wire wire;
  wire.feed("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  wire.handler_.kept_.clear();
  EXPECT_EQ(wire.pump(), "");
  EXPECT_TRUE(wire.closed());
}

TEST(Http1Session, TimesOut) {
  Http1Options options;
  options.header_timeout = 10s;
  options.body_timeout = 5s;
  options.idle_timeout = 20s;
  options.write_timeout = 7s;

  Wire idle(options);
  EXPECT_EQ(idle.session_->deadline(), idle.host_.now_ + 20s);
  idle.advance(15s);
  idle.feed("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  idle.advance(19s);
  EXPECT_FALSE(idle.closed());
  EXPECT_EQ(idle.advance(1s), "");
  EXPECT_TRUE(idle.closed());

  Wire slow(options);  // a byte a second
  int seconds = 0;
  for (const char letter : std::string_view("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")) {
    if (slow.closed()) break;
    slow.feed(std::string(1, letter));
    slow.advance(1s);
    ++seconds;
  }
  EXPECT_TRUE(slow.closed());
  EXPECT_EQ(seconds, 10);

  Wire body(options);
  body.feed("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
  body.advance(4s);
  body.feed("v");
  EXPECT_EQ(body.advance(4s), "");
  EXPECT_EQ(body.advance(1s), refusal(408));
  EXPECT_TRUE(body.closed());

  Wire stalled(options);
  stalled.taking_ = false;
  int told = 0;
  stalled.feed("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  stalled.handler_.kept_[0]->on_close([&told] { ++told; });
  stalled.advance(6s);
  stalled.session_->sent(1);
  stalled.advance(6s);
  EXPECT_FALSE(stalled.closed());
  stalled.advance(1s);
  EXPECT_TRUE(stalled.closed());
  EXPECT_TRUE(stalled.session_->output().empty());
  EXPECT_EQ(told, 1);

  Wire waiting(options);  // whoever waits for an answer has no deadline
  waiting.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(waiting.session_->deadline(), kNever);

  Wire unlimited;
  EXPECT_EQ(unlimited.session_->deadline(), kNever);
}

TEST(Http1Session, ShutsDown) {
  Wire idle;
  idle.session_->shut_down();
  EXPECT_TRUE(idle.closed());
  EXPECT_FALSE(idle.session_->lingers());

  Wire answering;
  answering.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  answering.session_->shut_down();
  EXPECT_FALSE(answering.closed());
  answering.handler_.kept_[0]->send(Response{});
  EXPECT_EQ(answering.pump(), answer("", "HTTP/1.1", "close"));
  EXPECT_TRUE(answering.closed());
  EXPECT_TRUE(answering.session_->lingers());

  Wire receiving;
  receiving.feed("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nv");
  receiving.session_->shut_down();
  EXPECT_EQ(receiving.feed("w"), answer("PUT /a?|vw", "HTTP/1.1", "close"));

  Wire streaming;
  int told = 0;
  streaming.feed("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  streaming.handler_.kept_[0]->on_close([&told] { ++told; });
  streaming.session_->shut_down();
  EXPECT_EQ(streaming.pump(), "0\r\n\r\n");
  EXPECT_TRUE(streaming.closed());
  EXPECT_EQ(told, 1);

  Wire starting;
  starting.feed("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  starting.session_->shut_down();
  starting.handler_.kept_[0]->start(Response{});
  EXPECT_TRUE(starting.pump().ends_with("Connection: close\r\n\r\n0\r\n\r\n"));
  EXPECT_TRUE(starting.closed());
}

TEST(Http1Session, ChunkLinesAreBounded) {
  Wire wire;
  wire.feed("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string got;
  for (int index = 0; index < 20 && !wire.closed(); ++index) got += wire.feed(std::string(1'000, '0'));
  EXPECT_EQ(got, refusal(400));
}

TEST(Http1Session, AnySplitOfManyHostileInputsIsSafe) {
  // No assertion on what comes out: the sanitizers and the parser's assertions are the judges.
  const std::string alphabet(
      "GETPU /%2f\r\n\r\n:;,0123456789abcHTTP/1.1\r\nHost: h\r\n\r\nTransfer-Encoding: chunked\r\n");
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    Wire wire(small_limits());
    std::string input = rng.chance(1, 2) ? "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" : "";
    for (int piece = 0; piece < 40; ++piece) {
      input += std::string_view(alphabet).substr(rng.below(alphabet.size()), 1 + rng.below(12));
    }
    wire.feed_in_pieces(input, [&rng] { return 1 + rng.below(9); });
    wire.end();
  }
}

TEST(Date, IsImfFixdate) {
  EXPECT_EQ(imf_fixdate(WallTime{784'111'777'000'000'000}), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(imf_fixdate(WallTime{0}), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(imf_fixdate(WallTime{1'709'251'199'999'999'999}), "Thu, 29 Feb 2024 23:59:59 GMT");
  DateCache cache;
  EXPECT_EQ(cache.at(WallTime{0}), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(cache.at(WallTime{999'999'999}), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(cache.at(WallTime{1'000'000'000}), "Thu, 01 Jan 1970 00:00:01 GMT");
}

TEST(Protocol, IsToldByTheFirstBytes) {
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  EXPECT_EQ(protocol_of(""), Protocol::kUndecided);
  for (std::size_t size = 1; size < preface.size(); ++size) {
    EXPECT_EQ(protocol_of(preface.substr(0, size)), Protocol::kUndecided) << size;
  }
  EXPECT_EQ(protocol_of(preface), Protocol::kHttp2);
  EXPECT_EQ(protocol_of(preface + "more"), Protocol::kHttp2);
  EXPECT_EQ(protocol_of("P"), Protocol::kUndecided);
  EXPECT_EQ(protocol_of("PU"), Protocol::kHttp1);
  EXPECT_EQ(protocol_of("GET / HTTP/1.1"), Protocol::kHttp1);
  EXPECT_EQ(protocol_of("\x16\x03\x01"), Protocol::kTls);
}

TEST(OutputQueue, KeepsTheOrder) {
  Rng rng(7);
  OutputQueue queue;
  std::string expected;
  std::string got;
  for (int step = 0; step < 2'000; ++step) {
    if (rng.chance(1, 2)) {
      std::string piece(rng.below(rng.chance(1, 10) ? 50'000 : 300), static_cast<char>('a' + rng.below(26)));
      expected += piece;
      queue.append(std::move(piece));
    } else {
      std::array<BytesView, 3> views;
      const std::size_t count = queue.gather(views);
      std::size_t taken = 0;
      for (std::size_t index = 0; index < count; ++index) {
        const BytesView part = views[index].substr(0, 1 + rng.below(views[index].size()));
        got += part;
        taken += part.size();
        if (part.size() < views[index].size()) break;
      }
      queue.consume(taken);
    }
    ASSERT_EQ(queue.size(), expected.size() - got.size());
    ASSERT_EQ(queue.empty(), expected.size() == got.size());
  }
  EXPECT_TRUE(expected.starts_with(got));
}

}  // namespace
}  // namespace etcd::net
