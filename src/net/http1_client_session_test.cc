#include "net/http1_client_session.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/executor.h"

namespace etcd::net {
namespace {

/// Carries a session's bytes in memory, and is its clock.
class FakeHost final : public SessionHost, public io::Executor {
 public:
  [[nodiscard]] MonotonicTime now() const override { return now_; }
  [[nodiscard]] WallTime wall() const override { return {}; }
  void output_ready() override { ++calls_; }
  [[nodiscard]] io::Executor& executor() override { return *this; }

  void post(io::Task task) override { task(); }
  void dispatch(io::Task task) override { task(); }
  io::TimerId post_at(MonotonicTime, io::Task) override { return 1; }
  bool cancel(io::TimerId) override { return false; }
  [[nodiscard]] bool is_current() const override { return true; }

  MonotonicTime now_{1'000};
  int calls_ = 0;
};

/// Writes down what it is told, as one line of text.
class Notes final : public ClientCall {
 public:
  void on_head(ClientResponse response) override {
    text_ += fmt::format("{} {}", response.status, response.reason);
    for (const auto& [name, value] : response.headers.fields()) text_ += fmt::format(" {}={}", name, value);
    text_ += '|';
    if (at_head_) at_head_();
  }
  bool on_data(BytesView piece) override {
    text_ += piece;
    return ++pieces_ < pieces_max_;
  }
  void on_end() override { text_ += "|end"; }
  void on_failure(Error error, bool untouched) override {
    text_ += fmt::format("|{}{}", error.message, untouched ? " (untouched)" : "");
    code_ = error.code;
  }

  std::string text_;
  ErrorCode code_ = ErrorCode::kInvalidArgument;
  int pieces_ = 0;
  int pieces_max_ = 1'000'000;
  std::function<void()> at_head_;
};

class Wire {
 public:
  explicit Wire(Http1ClientOptions options = {})
      : options_(options), session_(make_http1_client_session(host_, "h:1", "tcp a->b", options_)) {}

  /// What the socket shell does after every event. Returns what the server got.
  std::string pump() {
    std::string got;
    do {
      host_.calls_ = 0;
      session_->resume();
      while (taking_ && !session_->output().empty()) {
        std::array<BytesView, 4> views;
        const std::size_t count = session_->output().gather(views);
        std::size_t bytes = 0;
        for (std::size_t index = 0; index < count; ++index) {
          got += views[index];
          bytes += views[index].size();
        }
        session_->sent(bytes);
      }
    } while (host_.calls_ > 0);
    return got;
  }
  std::string send(ClientRequest request = {}) {
    EXPECT_FALSE(session_->start(request, notes_).has_value());
    return pump();
  }
  /// What the call was told of this answer, in pieces of `size` bytes; then the server closes, if it is to.
  std::string answer(std::string_view bytes, std::size_t size = std::string_view::npos, bool closes = false) {
    while (!bytes.empty()) {
      session_->receive(bytes.substr(0, size));
      bytes.remove_prefix(std::min(size, bytes.size()));
      pump();
    }
    if (closes) session_->receive_end();
    return std::exchange(notes_.text_, {});
  }
  std::string advance(Duration step) {
    host_.now_ = host_.now_ + step;
    if (session_->deadline() <= host_.now_) session_->tick();
    return std::exchange(notes_.text_, {});
  }

  Http1ClientOptions options_;
  FakeHost host_;
  Notes notes_;
  std::unique_ptr<ClientSession> session_;
  bool taking_ = true;  // the server reads
};

TEST(Http1ClientSession, WritesRequests) {
  struct Row {
    const char* name;
    ClientRequest request;
    const char* bytes;
  };
  Headers headers;
  headers.add("X-A", "b c");
  const Row rows[] = {
      {"get", {.target = "/a?b=c"}, "GET /a?b=c HTTP/1.1\r\nHost: h:1\r\n\r\n"},
      {"fields", {.headers = headers}, "GET / HTTP/1.1\r\nHost: h:1\r\nX-A: b c\r\n\r\n"},
      {"a body has a length",
       {.method = "POST", .body = SharedBytes(Bytes("abc"))},
       "POST / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\nabc"},
      {"so has an empty one", {.method = "POST"}, "POST / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n"},
  };
  for (const Row& row : rows) {
    Wire wire;
    EXPECT_EQ(wire.send(row.request), row.bytes) << row.name;
  }
}

TEST(Http1ClientSession, RefusesWhatWouldBreakTheHead) {
  Headers split;
  split.add("X-A", "b\r\nX-Evil: c");
  Headers name;
  name.add("X A", "b");
  const std::vector<ClientRequest> rows = {
      {.method = "GET /x HTTP/1.1\r\n"}, {.target = "/a b"}, {.target = ""}, {.headers = split}, {.headers = name}};
  for (const ClientRequest& request : rows) {
    Wire wire;
    EXPECT_TRUE(wire.session_->start(request, wire.notes_).has_value());
    EXPECT_EQ(wire.pump(), "");
    EXPECT_TRUE(wire.session_->idle());
  }
}

struct AnswerRow {
  const char* name;
  std::string bytes;
  const char* told;
  bool closes = false;  // the server, behind these bytes
  bool kept = true;
  const char* method = "GET";
};

std::vector<AnswerRow> answer_rows() {
  return {
      {"length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A:  b \r\n\r\nabc",
       "200 OK Content-Length=3 X-A=b|abc|end"},
      {"no words", "HTTP/1.1 204\r\n\r\n", "204 ||end"},
      {"nothing", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "200 OK content-length=0||end"},
      {"chunked",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nT: t\r\n\r\n",
       "200 OK Transfer-Encoding=chunked|abc0123456789|end"},
      {"until the end", "HTTP/1.1 200 OK\r\n\r\nabc", "200 OK|abc|end", true, false},
      {"until the end, empty", "HTTP/1.0 200 OK\r\n\r\n", "200 OK||end", true, false},
      {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "200 OK Content-Length=3||end", false, true, "HEAD"},
      {"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "304 Not Modified Content-Length=3||end"},
      {"1xx before", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
       "204 No||end"},
      {"closes", "HTTP/1.1 204 No\r\nConnection: Upgrade, Close\r\n\r\n", "204 No Connection=Upgrade, Close||end",
       false, false},
      {"old, kept", "HTTP/1.0 204 No\r\nConnection: keep-alive\r\n\r\n", "204 No Connection=keep-alive||end"},
      {"old, not kept", "HTTP/1.0 204 No\r\n\r\n", "204 No||end", false, false},
      {"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
       "200 OK Content-Length=1 Content-Length=1|a|end"},

      {"no answer", "", "|read tcp a->b: EOF (untouched)", true, false},
      {"half a head", "HTTP/1.1 200", "|read tcp a->b: unexpected EOF", true, false},
      {"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
       "200 OK Content-Length=3|ab|read tcp a->b: unexpected EOF", true, false},
      {"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
       "200 OK Transfer-Encoding=chunked|ab|read tcp a->b: unexpected EOF", true, false},
      {"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
       "200 OK Transfer-Encoding=chunked|ab|read tcp a->b: unexpected EOF", true, false},
      {"broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc",
       "200 OK Transfer-Encoding=chunked|ab|read tcp a->b: malformed chunked encoding", false, false},
      {"huge chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
       "200 OK Transfer-Encoding=chunked||read tcp a->b: malformed chunked encoding", false, false},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
       "|read tcp a->b: malformed HTTP Content-Length, the second \"2\"", false, false},
      {"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "|read tcp a->b: Content-Length and Transfer-Encoding in one response", false, false},
      {"length out of bounds", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
       "|read tcp a->b: bad Content-Length \"18446744073709551616\"", false, false},
      {"other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
       "|read tcp a->b: unsupported transfer encoding: \"gzip\"", false, false},
      {"blank before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
       "|read tcp a->b: malformed HTTP header line \"A : b\"", false, false},
      {"status", "HTTP/1.1 2x0 OK\r\n\r\n", "|read tcp a->b: malformed HTTP status code \"2x0\"", false, false},
      {"101", "HTTP/1.1 101 Switching\r\n\r\n", "|read tcp a->b: unexpected status 101", false, false},
  };
}

TEST(Http1ClientSession, ReadsAnswersHoweverTheyAreCut) {
  for (const AnswerRow& row : answer_rows()) {
    for (const std::size_t size : {std::string_view::npos, std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
      Wire wire;
      wire.send({.method = row.method});
      EXPECT_EQ(wire.answer(row.bytes, size, row.closes), row.told) << row.name << ", pieces of " << size;
      EXPECT_EQ(wire.session_->idle(), row.kept) << row.name;
      EXPECT_EQ(wire.session_->finished(), !row.kept) << row.name;
    }
  }
}

TEST(Http1ClientSession, SaysWhatIsNoHttp) {
  Wire wire;
  wire.send();
  EXPECT_EQ(wire.answer("SSH-2.0-x\r\n"), "|read tcp a->b: malformed HTTP response \"SSH-2.0-x\"");
  EXPECT_TRUE(wire.session_->finished());
}

TEST(Http1ClientSession, HandsOnEveryByteAtOnce) {
  Wire wire;
  wire.send();
  EXPECT_EQ(wire.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na"),
            "200 OK Transfer-Encoding=chunked|a");
  EXPECT_EQ(wire.answer("b"), "b");
  EXPECT_EQ(wire.answer("c"), "c");
  EXPECT_EQ(wire.answer("\r\n1\r\n"), "");
  EXPECT_EQ(wire.answer("d"), "d");
}

TEST(Http1ClientSession, BoundsTheHead) {
  {
    Wire wire({.header_bytes_max = 100});
    wire.send();
    EXPECT_EQ(wire.answer("HTTP/1.1 200 OK\r\nA: " + std::string(200, 'a')),
              "|read tcp a->b: response headers exceeded 100 bytes");
    EXPECT_EQ(wire.notes_.code_, ErrorCode::kTooLarge);
  }
  {
    Wire wire({.header_fields_max = 2});
    wire.send();
    EXPECT_EQ(wire.answer("HTTP/1.1 200 OK\r\nA: a\r\nB: b\r\nC: c\r\n\r\n"), "|read tcp a->b: too many header fields");
  }
  {
    Wire wire;
    wire.send();
    std::string heads;
    for (int count = 0; count < 6; ++count) heads += "HTTP/1.1 100 Continue\r\n\r\n";
    EXPECT_EQ(wire.answer(heads), "|read tcp a->b: unexpected status 100");
  }
}

TEST(Http1ClientSession, TakesRequestAfterRequest) {
  Wire wire;
  for (int count = 0; count < 3; ++count) {
    wire.send();
    EXPECT_EQ(wire.answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"), "200 OK Content-Length=1|a|end");
    EXPECT_TRUE(wire.session_->idle());
  }
}

TEST(Http1ClientSession, AnIdleServerThatSaysSomethingIsLeft) {
  Wire wire;
  wire.send();
  EXPECT_EQ(wire.answer("HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "204 No||end");
  EXPECT_TRUE(wire.session_->finished());
}

/// Gives what the test puts in.
class TestSource final : public BodySource {
 public:
  Piece next() override {
    if (pieces_.empty()) return {.state = State::kWait};
    Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }
  void add(State state, Bytes bytes = {}, std::string failure = {}) {
    pieces_.push_back({.state = state, .bytes = SharedBytes(std::move(bytes)), .failure = std::move(failure)});
  }

  std::deque<Piece> pieces_;
};

TEST(Http1ClientSession, SendsABodyAsItsSourceGivesIt) {
  Wire wire;
  const auto source = std::make_shared<TestSource>();  // shared with the request
  source->add(BodySource::State::kMore, "abc");
  EXPECT_EQ(wire.send({.method = "POST", .source = source}),
            "POST / HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  source->add(BodySource::State::kMore, "0123456789");
  EXPECT_EQ(wire.pump(), "");  // it has to say so
  wire.session_->body_ready();
  EXPECT_EQ(wire.pump(), "a\r\n0123456789\r\n");
  source->add(BodySource::State::kEnd, "z");
  wire.session_->body_ready();
  EXPECT_EQ(wire.pump(), "1\r\nz\r\n0\r\n\r\n");
  EXPECT_EQ(wire.answer("HTTP/1.1 204 No\r\n\r\n"), "204 No||end");
  EXPECT_TRUE(wire.session_->idle());
}

TEST(Http1ClientSession, AsksTheSourceForNoMoreThanTheServerTakes) {
  Wire wire({.unsent_bytes_max = 1'000});
  wire.taking_ = false;
  const auto source = std::make_shared<TestSource>();  // shared with the request
  for (int count = 0; count < 100; ++count) source->add(BodySource::State::kMore, Bytes(100, 'a'));
  source->add(BodySource::State::kEnd);
  wire.send({.method = "POST", .source = source, .source_bytes = 10'000});
  EXPECT_LT(wire.session_->output().size(), 1'200u);
  EXPECT_GT(source->pieces_.size(), 80u);
  wire.taking_ = true;
  EXPECT_EQ(wire.pump().size(),
            std::string_view("POST / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 10000\r\n\r\n").size() + 10'000);
  EXPECT_TRUE(source->pieces_.empty());
}

TEST(Http1ClientSession, ASourceThatCannotGoOnBreaksTheConnection) {
  struct Row {
    BodySource::State state;
    const char* bytes;
    const char* told;
  };
  const Row rows[] = {
      {BodySource::State::kFailed, "", "|write tcp a->b: request body: disk is gone (untouched)"},
      {BodySource::State::kEnd, "ab",
       "|write tcp a->b: request body: ContentLength=3 more bytes, and the body has 2 (untouched)"},
      {BodySource::State::kMore, "abcd",
       "|write tcp a->b: request body: ContentLength=3 more bytes, and the body has 4 (untouched)"},
  };
  for (const Row& row : rows) {
    Wire wire;
    const auto source = std::make_shared<TestSource>();  // shared with the request
    source->add(row.state, row.bytes, "disk is gone");
    wire.send({.method = "POST", .source = source, .source_bytes = 3});
    EXPECT_EQ(wire.notes_.text_, row.told);
    EXPECT_TRUE(wire.session_->finished());
  }
}

TEST(Http1ClientSession, AnAnswerBeforeTheEndOfTheRequestCounts) {
  Wire wire;
  const auto source = std::make_shared<TestSource>();  // shared with the request
  source->add(BodySource::State::kMore, "abc");
  wire.send({.method = "POST", .source = source});
  EXPECT_EQ(wire.answer("HTTP/1.1 412 No\r\nContent-Length: 1\r\n\r\nx"), "412 No Content-Length=1|x|end");
  EXPECT_TRUE(wire.session_->finished());
}

TEST(Http1ClientSession, AfterAFailedWriteTheAnswerIsStillRead) {
  const Error why{ErrorCode::kUnavailable, "write tcp a->b: write: broken pipe"};
  for (const bool answers : {true, false}) {
    Wire wire;
    const auto source = std::make_shared<TestSource>();  // shared with the request
    source->add(BodySource::State::kMore, "abc");
    wire.send({.method = "POST", .source = source});
    wire.session_->stop_sending(why);
    EXPECT_EQ(source.use_count(), 1);
    EXPECT_FALSE(wire.session_->finished());
    if (answers) {
      EXPECT_EQ(wire.answer("HTTP/1.1 412 No\r\nContent-Length: 1\r\n\r\nx"), "412 No Content-Length=1|x|end");
    } else {
      EXPECT_EQ(wire.answer("", 1, true), "|write tcp a->b: write: broken pipe (untouched)");
    }
    EXPECT_TRUE(wire.session_->finished());
  }
}

TEST(Http1ClientSession, StopsWhenNobodyWantsToHearMore) {
  {
    Wire wire;
    wire.notes_.pieces_max_ = 1;
    wire.send();
    EXPECT_EQ(wire.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 1), "200 OK Content-Length=9|a");
    EXPECT_TRUE(wire.session_->finished());
  }
  {
    Wire wire;
    wire.notes_.at_head_ = [&wire] { wire.session_->cancel(); };
    wire.send();
    EXPECT_EQ(wire.answer("HTTP/1.1 204 No\r\n\r\n"), "204 No|");
    EXPECT_TRUE(wire.session_->finished());
  }
}

TEST(Http1ClientSession, Waits) {
  const Http1ClientOptions options{.head_timeout = 2s, .body_timeout = 3s, .write_timeout = 4s, .idle_timeout = 5s};
  {
    Wire wire(options);
    wire.send();
    EXPECT_EQ(wire.advance(1999ms), "");
    EXPECT_EQ(wire.advance(1ms), "|read tcp a->b: timeout awaiting response headers (untouched)");
    EXPECT_EQ(wire.notes_.code_, ErrorCode::kTimeout);
  }
  {
    Wire wire(options);
    wire.send();
    wire.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    EXPECT_EQ(wire.advance(2999ms), "");
    EXPECT_EQ(wire.answer("d"), "d");
    EXPECT_EQ(wire.advance(2999ms), "");
    EXPECT_EQ(wire.advance(1ms), "|read tcp a->b: i/o timeout");
  }
  {
    Wire wire(options);
    wire.taking_ = false;
    wire.send();
    EXPECT_EQ(wire.advance(3999ms), "");
    EXPECT_EQ(wire.advance(1ms), "|write tcp a->b: i/o timeout (untouched)");
  }
  {
    Wire wire(options);
    wire.send();
    wire.answer("HTTP/1.1 204 No\r\n\r\n");
    EXPECT_EQ(wire.advance(4999ms), "");
    EXPECT_FALSE(wire.session_->finished());
    EXPECT_EQ(wire.advance(1ms), "");
    EXPECT_TRUE(wire.session_->finished());
  }
  {
    Wire wire;  // none but the write's and the idle one
    wire.send();
    EXPECT_EQ(wire.session_->deadline(), kNever);
  }
}

}  // namespace
}  // namespace etcd::net
