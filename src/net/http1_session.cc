#include "net/http1_session.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <utility>

#include "base/check.h"
#include "net/ascii.h"
#include "net/date.h"
#include "net/url.h"

namespace etcd::net {
namespace {

namespace http = boost::beast::http;
using BeastError = boost::beast::error_code;
using BeastView = boost::beast::string_view;

std::string_view view_of(BeastView text) {
  return {text.data(), text.size()};
}

constexpr std::array<bool, 256> host_letters() {
  std::array<bool, 256> result{};
  for (std::size_t byte = 0; byte < 256; ++byte) result[byte] = is_alphanumeric(static_cast<char>(byte));
  for (const char letter : std::string_view("!$%&'()*+,-.:;=@[]_~")) result[static_cast<unsigned char>(letter)] = true;
  return result;
}

/// Source: golang.org/x/net/http/httpguts accepts these in a Host field, without looking at their order.
bool is_host(std::string_view text) {
  static constexpr std::array<bool, 256> kLetters = host_letters();
  for (const char letter : text) {
    if (!kLetters[static_cast<unsigned char>(letter)]) return false;
  }
  return true;
}

bool has_no_body(int status) {
  return status < 200 || status == 204 || status == 304;
}

/// How the client finds the end of an answer's body.
enum class Framing : std::uint8_t { kNone, kLength, kChunked, kUntilClose };

/// Why a request is not handed on, as status and the words behind it.
struct Refusal {
  int status = 0;  // 0: none
  std::string detail;
};

/// Collects one request from the parser's events.
class RequestParser final : public http::basic_parser<true> {
 public:
  explicit RequestParser(const Http1Options& options) : fields_max_(options.header_fields_max) {
    header_limit(std::numeric_limits<std::uint32_t>::max());  // the session has counted them already
    body_limit(boost::optional<std::uint64_t>(options.body_bytes_max));
  }

  [[nodiscard]] Request& request() { return request_; }
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }
  [[nodiscard]] bool is_http_11() const { return version_ >= 11; }
  [[nodiscard]] std::size_t hosts() const { return hosts_; }
  [[nodiscard]] bool host_is_valid() const { return host_is_valid_; }
  [[nodiscard]] const std::string& expect() const { return expect_; }

 private:
  void on_request_impl(http::verb, BeastView method, BeastView target, int version, BeastError& ec) override {
    version_ = version;
    request_.method = view_of(method);
    request_.target = view_of(target);
    Result<Target> parsed = net::parse_target(request_.method, request_.target);
    if (!parsed.has_value()) {
      refuse(400, {}, ec);
      return;
    }
    request_.path = std::move(parsed->path);
    request_.query = std::move(parsed->query);
    authority_ = std::move(parsed->authority);
  }

  void on_response_impl(int, BeastView, int, BeastError&) override {}

  void on_field_impl(http::field name, BeastView name_text, BeastView value_text, BeastError& ec) override {
    if (head_is_complete_) return;  // a trailer
    if (++fields_ > fields_max_) {
      refuse(431, {}, ec);
      return;
    }
    std::string_view value = view_of(value_text);
    switch (name) {
      case http::field::host:
        ++hosts_;
        // RFC 9112 3.2.2: with an absolute target the field counts for nothing.
        if (!authority_.empty()) value = authority_;
        host_is_valid_ = is_host(value);
        break;
      case http::field::content_length:
        // The parser would take "5, 5", and two servers in a row might not agree on it.
        if (value.empty() || value.find_first_not_of("0123456789") != std::string_view::npos) {
          refuse(400, {}, ec);
          return;
        }
        break;
      case http::field::transfer_encoding:
        // The parser takes any coding and then sees no body where the next server sees one.
        if (!is_http_11()) {
          refuse(400, {}, ec);
          return;
        }
        if (!equal_fold(value, "chunked")) {
          refuse(501, "Unsupported transfer encoding", ec);
          return;
        }
        break;
      case http::field::expect: expect_ = value; break;
      default: break;
    }
    request_.headers.add(std::string(view_of(name_text)), std::string(value));
  }

  void on_header_impl(BeastError&) override { head_is_complete_ = true; }

  void on_body_init_impl(const boost::optional<std::uint64_t>& length, BeastError&) override {
    if (length.has_value()) request_.body.reserve(static_cast<std::size_t>(std::min(*length, reserved_bytes_max)));
  }

  std::size_t on_body_impl(BeastView piece, BeastError&) override {
    request_.body.append(piece.data(), piece.size());
    return piece.size();
  }

  void on_chunk_header_impl(std::uint64_t, BeastView, BeastError&) override {}

  std::size_t on_chunk_body_impl(std::uint64_t, BeastView piece, BeastError&) override {
    request_.body.append(piece.data(), piece.size());
    return piece.size();
  }

  void on_finish_impl(BeastError&) override {}

  void refuse(int status, std::string detail, BeastError& ec) {
    refusal_ = Refusal{status, std::move(detail)};
    ec = http::error::bad_value;
  }

  static constexpr std::uint64_t reserved_bytes_max = 64 * 1024;  // for a body that is announced and not yet there

  Request request_;
  Refusal refusal_;
  std::string authority_;
  std::string expect_;
  std::size_t fields_max_;
  std::size_t fields_ = 0;
  std::size_t hosts_ = 0;
  int version_ = 11;
  bool host_is_valid_ = true;
  bool head_is_complete_ = false;
};

class Http1Session;

class Http1Exchange final : public Exchange {
 public:
  Http1Exchange(Http1Session& session, io::Executor& executor) : session_(&session), executor_(executor) {}
  ~Http1Exchange() override;
  Http1Exchange(const Http1Exchange&) = delete;
  Http1Exchange& operator=(const Http1Exchange&) = delete;

  void send(Response response) override;
  void start(Response response) override;
  void write(SharedBytes piece) override;
  void finish() override;
  [[nodiscard]] std::size_t unsent_bytes() const override;
  void on_drained(std::function<void()> callback) override;
  void on_close(std::function<void()> callback) override;
  [[nodiscard]] io::Executor& executor() override { return executor_; }

  /// The session has done with this exchange. `lost`: before the answer was complete. Nobody may touch the exchange
  /// afterwards: a callback may hold the last reference to it.
  void detach(bool lost);
  /// The client has taken all there is. The same caution holds.
  void tell_drained();

 private:
  Http1Session* session_;  // null once the answer is complete or the client has gone
  io::Executor& executor_;
  bool lost_ = false;
  std::function<void()> close_;
  std::function<void()> drained_;
};

class Http1Session final : public Session {
 public:
  Http1Session(SessionHost& host, Handler& handler, Peer peer, const Http1Options& options)
      : host_(host), handler_(handler), peer_(std::move(peer)), options_(options), idle_since_(host.now()) {}
  ~Http1Session() override { lose_exchange(); }
  Http1Session(const Http1Session&) = delete;
  Http1Session& operator=(const Http1Session&) = delete;

  void receive(BytesView bytes) override;
  void receive_end() override;
  [[nodiscard]] bool wants_input() const override;
  [[nodiscard]] const OutputQueue& output() const override { return output_; }
  void sent(std::size_t bytes) override;
  void resume() override;
  [[nodiscard]] MonotonicTime deadline() const override;
  void tick() override;
  void shut_down() override;
  void client_gone() override;
  [[nodiscard]] bool finished() const override { return state_ == State::kClosing; }
  [[nodiscard]] bool lingers() const override { return lingers_; }

  // What the exchange hands on.
  void answer(Response response);
  void start(Response response);
  void write(SharedBytes piece);
  void finish();
  [[nodiscard]] std::size_t unsent_bytes() const;
  void dropped();
  [[nodiscard]] bool has_exchange(const Http1Exchange* exchange) const { return exchange_ == exchange; }

 private:
  enum class State : std::uint8_t { kIdle, kHead, kBody, kAnswering, kStreaming, kClosing };

  static constexpr std::size_t requests_per_turn_max = 32;  // of a pipeline, then other connections get their turn
  static constexpr std::size_t chunk_line_bytes_max = 16 * 1024;  // a chunk's size line, or the trailers
  static constexpr std::size_t kept_bytes_max = 16 * 1024;        // capacity that an empty input buffer may keep
  static constexpr std::size_t copied_body_bytes_max = 8 * 1024;  // a body of at most this size goes behind its head

  /// Goes through `input` as far as state and limits allow. Returns how many bytes are done with.
  std::size_t run(BytesView input);
  void run_buffered();
  std::size_t read_head(BytesView rest);
  std::size_t read_body(BytesView rest);
  void accept_head(bool body_has_come);
  void dispatch();

  void append_head(Bytes& out, const Response& response, Framing framing);
  void append_piece(SharedBytes piece);
  void emit(Bytes bytes);
  void emit_shared(SharedBytes bytes);
  void refuse(int status, std::string_view detail);
  void refuse_parsed(const BeastError& ec);
  void close(bool lingers);
  void complete();
  void end_stream();
  void lose_exchange();
  void note_input_end();

  SessionHost& host_;
  Handler& handler_;
  const Peer peer_;
  const Http1Options& options_;

  State state_ = State::kIdle;
  bool http_11_ = true;       // of the request being answered, as are the next four
  bool keep_alive_ = true;    // its client wants the connection kept
  bool head_only_ = false;    // its method is HEAD
  bool close_after_ = false;  // its answer says so
  bool has_end_ = false;      // state streaming: only finish() makes the stream complete
  Framing framing_ = Framing::kNone;
  bool input_ended_ = false;
  bool blocked_ = false;  // state is idle, and input waits for room in the output or for the next turn
  bool shutting_down_ = false;
  bool lingers_ = false;
  bool drain_due_ = false;  // something was written to the stream since its source was last told

  Bytes input_;                 // received, not done with; starts with the head or chunk line being read
  std::size_t scanned_ = 0;     // state head: bytes without a line end that has not been seen, as is the next
  std::size_t line_begin_ = 0;  // state head: where the line begins that scanned_ is in; 0 for the request line
  std::unique_ptr<RequestParser> parser_;  // from the end of a head to the end of its body

  OutputQueue output_;
  std::uint64_t sent_total_ = 0;       // bytes sent on this connection
  std::uint64_t answer_begin_ = 0;     // where the answer begins, in bytes of output on this connection
  Http1Exchange* exchange_ = nullptr;  // invariant: not null exactly in the states answering and streaming

  MonotonicTime idle_since_;
  MonotonicTime head_since_;
  MonotonicTime body_since_;   // the body's last progress
  MonotonicTime write_since_;  // the output's last progress
  DateCache date_;
};

// Http1Exchange

Http1Exchange::~Http1Exchange() {
  if (session_ != nullptr) session_->dropped();
}

void Http1Exchange::send(Response response) {
  if (session_ != nullptr) session_->answer(std::move(response));
}

void Http1Exchange::start(Response response) {
  if (session_ != nullptr) session_->start(std::move(response));
}

void Http1Exchange::write(SharedBytes piece) {
  if (session_ != nullptr) session_->write(std::move(piece));
}

void Http1Exchange::finish() {
  if (session_ != nullptr) session_->finish();
}

std::size_t Http1Exchange::unsent_bytes() const {
  return session_ != nullptr ? session_->unsent_bytes() : 0;
}

void Http1Exchange::on_drained(std::function<void()> callback) {
  if (session_ != nullptr) drained_ = std::move(callback);
}

void Http1Exchange::on_close(std::function<void()> callback) {
  if (session_ != nullptr) {
    close_ = std::move(callback);
  } else if (lost_ && callback) {
    executor_.post(std::move(callback));  // it asks late, and is told
  }
}

void Http1Exchange::detach(bool lost) {
  const std::function<void()> drained = std::exchange(drained_, nullptr);
  std::function<void()> close = std::exchange(close_, nullptr);
  session_ = nullptr;
  lost_ = lost;
  // Posted, since we may be anywhere in the session, or in a call that the callback's owner has made.
  if (lost && close) executor_.post(std::move(close));
}

void Http1Exchange::tell_drained() {
  std::function<void()> callback = std::exchange(drained_, nullptr);
  if (!callback) return;
  Http1Session& session = *session_;
  callback();
  // It may have finished the stream and dropped the last reference to this.
  if (session.has_exchange(this) && !drained_) drained_ = std::move(callback);
}

// Http1Session: input

void Http1Session::receive(BytesView bytes) {
  if (state_ == State::kClosing || bytes.empty()) return;
  if (!input_.empty()) {
    input_.append(bytes);
    run_buffered();
    return;
  }
  // The usual case: whole requests, read from the host's buffer.
  const std::size_t used = run(bytes);
  if (state_ != State::kClosing) input_.append(bytes.substr(used));
}

void Http1Session::run_buffered() {
  const std::size_t used = run(input_);
  input_.erase(0, used);
  if (input_.empty() && input_.capacity() > kept_bytes_max) input_ = Bytes();
}

void Http1Session::receive_end() {
  if (input_ended_) return;
  input_ended_ = true;
  if (state_ == State::kStreaming && !has_end_) {
    close(false);
  } else {
    resume();
  }
}

void Http1Session::resume() {
  // In the other states everything has been looked at.
  if (state_ == State::kIdle && !input_.empty()) run_buffered();
  note_input_end();
}

void Http1Session::note_input_end() {
  if (!input_ended_ || blocked_) return;
  // Answers before this point have been given; what is left of the input, if anything, will never be a request.
  if (state_ == State::kIdle || state_ == State::kHead || state_ == State::kBody) close(false);
}

bool Http1Session::wants_input() const {
  if (input_ended_ || output_.size() >= options_.unsent_bytes_max) return false;
  switch (state_) {
    case State::kHead:
    case State::kBody: return true;
    case State::kIdle:
    case State::kAnswering:
    case State::kStreaming: return input_.size() < options_.pipelined_bytes_max;
    case State::kClosing: return false;
  }
  return false;
}

std::size_t Http1Session::run(BytesView input) {
  std::size_t used = 0;
  std::size_t requests = 0;
  blocked_ = false;
  for (;;) {
    const BytesView rest = input.substr(used);
    switch (state_) {
      case State::kIdle:
        if (rest.empty()) return used;
        if (output_.size() >= options_.unsent_bytes_max) {
          blocked_ = true;  // sent() will ask for resume()
          return used;
        }
        if (requests == requests_per_turn_max) {
          blocked_ = true;
          host_.output_ready();
          return used;
        }
        ++requests;
        state_ = State::kHead;
        head_since_ = host_.now();
        scanned_ = 0;
        line_begin_ = 0;
        break;
      case State::kHead: {
        const std::size_t taken = read_head(rest);
        used += taken;
        if (state_ == State::kHead && taken == 0) return used;
        break;
      }
      case State::kBody:
        if (rest.empty()) return used;
        used += read_body(rest);
        if (state_ == State::kBody) return used;
        break;
      case State::kAnswering:
      case State::kStreaming: return used;
      case State::kClosing: return input.size();
    }
  }
}

/// What a request line is to us, from its end: "... HTTP/1.1".
enum class LineKind : std::uint8_t { kHttp1, kOtherVersion, kGarbage };

LineKind kind_of_line(std::string_view line) {
  constexpr std::string_view kForm = "HTTP/";
  const std::size_t space = line.rfind(' ');
  if (space == std::string_view::npos || line.find(' ') == space) return LineKind::kGarbage;
  const std::string_view version = line.substr(space + 1);
  if (version.size() != 8 || !version.starts_with(kForm) || version[6] != '.') return LineKind::kGarbage;
  if (!is_digit(version[5]) || !is_digit(version[7])) return LineKind::kGarbage;
  return version == "HTTP/1.1" || version == "HTTP/1.0" ? LineKind::kHttp1 : LineKind::kOtherVersion;
}

std::size_t Http1Session::read_head(BytesView rest) {
  if (line_begin_ == 0 && rest.starts_with("\r\n")) {
    scanned_ = 0;
    return 2;  // RFC 9112 2.2: an empty line before a request is what an old client left behind a body
  }
  std::size_t end = 0;
  while (end == 0) {
    const std::size_t feed = rest.find('\n', scanned_);
    if (std::min(feed, rest.size()) >= options_.header_bytes_max) {
      refuse(431, {});
      return 0;
    }
    if (feed == BytesView::npos) {
      scanned_ = rest.size();
      return 0;
    }
    const bool ends_well = feed > line_begin_ && rest[feed - 1] == '\r';
    if (line_begin_ == 0) {
      const LineKind kind = kind_of_line(rest.substr(0, ends_well ? feed - 1 : feed));
      if (kind == LineKind::kGarbage) {
        close(false);
        return 0;
      }
      if (kind == LineKind::kOtherVersion) {
        refuse(505, {});
        return 0;
      }
    }
    if (!ends_well) {
      refuse(400, {});  // a bare LF: two servers in a row may not agree on where the head ends
      return 0;
    }
    if (feed - 1 == line_begin_) end = feed + 1;
    scanned_ = line_begin_ = feed + 1;
  }
  parser_ = std::make_unique<RequestParser>(options_);
  BeastError ec;
  parser_->put(boost::asio::const_buffer(rest.data(), end), ec);
  if (ec) {
    refuse_parsed(ec);
  } else {
    accept_head(rest.size() > end);
  }
  return end;
}

void Http1Session::accept_head(bool body_has_come) {
  RequestParser& parser = *parser_;
  http_11_ = parser.is_http_11();
  keep_alive_ = parser.keep_alive();
  head_only_ = parser.request().method == "HEAD";
  if (http_11_ && parser.hosts() == 0) {
    refuse(400, "missing required Host header");
    return;
  }
  if (parser.hosts() > 1) {
    refuse(400, "too many Host headers");
    return;
  }
  if (!parser.host_is_valid()) {
    refuse(400, "malformed Host header");
    return;
  }
  const bool expects = http_11_ && !parser.expect().empty();  // RFC 9110 10.1.1: not a matter of HTTP/1.0
  if (expects && !equal_fold(parser.expect(), "100-continue")) {
    refuse(417, {});
    return;
  }
  if (parser.is_done()) {
    dispatch();
    return;
  }
  parser.eager(true);
  state_ = State::kBody;
  body_since_ = host_.now();
  if (expects && !body_has_come) emit("HTTP/1.1 100 Continue\r\n\r\n");
}

std::size_t Http1Session::read_body(BytesView rest) {
  // The end of a chunked body takes five bytes, so fewer cannot complete it; the parser's assertions rely on that.
  if (parser_->chunked() && rest.size() < 5) return 0;
  BeastError ec;
  const std::size_t taken = parser_->put(boost::asio::const_buffer(rest.data(), rest.size()), ec);
  if (taken > 0) body_since_ = host_.now();
  if (ec && ec != http::error::need_more) {
    refuse_parsed(ec);
  } else if (parser_->is_done()) {
    dispatch();
  } else if (rest.size() - taken > chunk_line_bytes_max) {
    refuse(400, {});
  }
  return taken;
}

void Http1Session::dispatch() {
  Request request = std::move(parser_->request());
  parser_.reset();
  request.remote = peer_.remote;
  request.secure = peer_.secure;
  auto exchange = std::make_shared<Http1Exchange>(*this, host_.executor());
  exchange_ = exchange.get();
  state_ = State::kAnswering;
  answer_begin_ = sent_total_ + output_.size();
  handler_.handle(std::move(request), std::move(exchange));
}

// Http1Session: answers

void Http1Session::answer(Response response) {
  CHECK(state_ == State::kAnswering, "send() after start()");
  const bool has_body = !has_no_body(response.status);
  const bool shows_body = has_body && !head_only_;
  close_after_ = !keep_alive_ || shutting_down_ || (input_ended_ && input_.empty());
  Bytes head;
  const bool together = shows_body && response.body.size() <= copied_body_bytes_max;
  head.reserve(256 + (together ? response.body.size() : 0));
  append_head(head, response, has_body ? Framing::kLength : Framing::kNone);
  if (together) head += response.body;
  emit(std::move(head));
  if (shows_body && !together) emit(std::move(response.body));
  complete();
}

void Http1Session::start(Response response) {
  CHECK(state_ == State::kAnswering, "start() twice");
  has_end_ = response.has_end;
  if (input_ended_ && !has_end_) {  // it might never notice the client's leaving: a half-closed client counts as gone
    close(false);
    host_.output_ready();
    return;
  }
  if (has_no_body(response.status) || head_only_) {
    framing_ = Framing::kNone;
  } else {
    framing_ = http_11_ ? Framing::kChunked : Framing::kUntilClose;
  }
  close_after_ = !keep_alive_ || shutting_down_ || framing_ == Framing::kUntilClose || (input_ended_ && input_.empty());
  Bytes head;
  head.reserve(256);
  append_head(head, response, framing_);
  emit(std::move(head));
  state_ = State::kStreaming;
  append_piece(SharedBytes(std::move(response.body)));
  drain_due_ = true;
  if (shutting_down_ && !has_end_) end_stream();
  host_.output_ready();
}

void Http1Session::write(SharedBytes piece) {
  CHECK(state_ == State::kStreaming, "write() before start()");
  if (piece.empty()) return;  // an empty chunk would be the end
  append_piece(std::move(piece));
  drain_due_ = true;
  host_.output_ready();
}

void Http1Session::finish() {
  CHECK(state_ == State::kStreaming, "finish() before start()");
  if (framing_ == Framing::kChunked) emit("0\r\n\r\n");
  complete();
}

void Http1Session::append_piece(SharedBytes piece) {
  if (piece.empty()) return;
  switch (framing_) {
    case Framing::kNone: break;
    case Framing::kLength: CHECK(false, "a stream has no length"); break;
    case Framing::kUntilClose: emit_shared(std::move(piece)); break;
    case Framing::kChunked: {
      std::string size = fmt::format("{:x}\r\n", piece.size());
      if (piece.size() <= copied_body_bytes_max) {
        size.reserve(size.size() + piece.size() + 2);
        size += piece.view();
        size += "\r\n";
        emit(std::move(size));
      } else {
        emit(std::move(size));
        emit_shared(std::move(piece));
        emit("\r\n");
      }
      break;
    }
  }
}

void Http1Session::append_head(Bytes& out, const Response& response, Framing framing) {
  CHECK(response.status >= 100 && response.status <= 999, "status {}", response.status);
  out += http_11_ ? "HTTP/1.1 " : "HTTP/1.0 ";
  const fmt::format_int status(response.status);
  out.append(status.data(), status.size());
  out += ' ';
  const std::string_view reason = reason_phrase(response.status);
  if (reason.empty()) {
    out += "status code ";
    out.append(status.data(), status.size());
  } else {
    out += reason;
  }
  out += "\r\n";
  for (const auto& [name, value] : response.headers.fields()) {
    out += name;
    out += ": ";
    const std::size_t begin = out.size();
    out += value;
    // A value that came from a client must not begin a line of its own.
    for (std::size_t at = out.find_first_of("\r\n", begin); at != Bytes::npos; at = out.find_first_of("\r\n", at)) {
      out[at] = ' ';
    }
    out += "\r\n";
  }
  out += "Date: ";
  out += date_.at(host_.wall());
  out += "\r\n";
  if (framing == Framing::kLength) {
    out += "Content-Length: ";
    const fmt::format_int length(response.body.size());
    out.append(length.data(), length.size());
    out += "\r\n";
  } else if (framing == Framing::kChunked) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  if (close_after_) {
    out += "Connection: close\r\n";
  } else if (!http_11_) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

void Http1Session::emit(Bytes bytes) {
  if (output_.empty()) write_since_ = host_.now();
  output_.append(std::move(bytes));
}

void Http1Session::emit_shared(SharedBytes bytes) {
  if (output_.empty()) write_since_ = host_.now();
  output_.append_shared(std::move(bytes));
}

void Http1Session::refuse(int status, std::string_view detail) {
  http_11_ = true;
  close_after_ = true;
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = fmt::format("{} {}", status, reason_phrase(status));
  if (!detail.empty()) {
    response.body += ": ";
    response.body += detail;
  }
  Bytes head;
  append_head(head, response, Framing::kLength);
  head += response.body;
  emit(std::move(head));
  parser_.reset();
  close(true);
}

void Http1Session::refuse_parsed(const BeastError& ec) {
  if (const Refusal refusal = parser_->refusal(); refusal.status != 0) {
    refuse(refusal.status, refusal.detail);
  } else if (ec == http::error::body_limit) {
    refuse(413, {});
  } else if (ec == http::error::header_limit) {
    refuse(431, {});
  } else if (ec == http::error::bad_version) {
    refuse(505, {});
  } else {
    refuse(400, {});
  }
}

void Http1Session::complete() {
  Http1Exchange* const exchange = std::exchange(exchange_, nullptr);
  drain_due_ = false;
  if (close_after_) {
    close(true);
  } else {
    state_ = State::kIdle;
    idle_since_ = host_.now();
  }
  host_.output_ready();
  exchange->detach(false);
}

void Http1Session::close(bool lingers) {
  state_ = State::kClosing;
  lingers_ = lingers;
  blocked_ = false;
  lose_exchange();
}

void Http1Session::lose_exchange() {
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->detach(true);
}

void Http1Session::end_stream() {
  if (framing_ == Framing::kChunked) emit("0\r\n\r\n");
  close(true);
}

void Http1Session::dropped() {
  exchange_ = nullptr;
  close(false);
  host_.output_ready();
}

std::size_t Http1Session::unsent_bytes() const {
  const std::uint64_t end = sent_total_ + output_.size();
  return static_cast<std::size_t>(end - std::max(sent_total_, answer_begin_));
}

// Http1Session: the host's other calls

void Http1Session::sent(std::size_t bytes) {
  output_.consume(bytes);
  sent_total_ += bytes;
  write_since_ = host_.now();
  if (blocked_ && output_.size() < options_.unsent_bytes_max) host_.output_ready();
  if (drain_due_ && output_.empty() && state_ == State::kStreaming) {
    drain_due_ = false;
    exchange_->tell_drained();
  }
}

MonotonicTime Http1Session::deadline() const {
  MonotonicTime first = kNever;
  const auto consider = [&first](MonotonicTime since, Duration timeout) {
    if (timeout > Duration::zero()) first = std::min(first, since + timeout);
  };
  if (!output_.empty()) consider(write_since_, options_.write_timeout);
  if (state_ == State::kIdle && !blocked_) consider(idle_since_, options_.idle_timeout);
  if (state_ == State::kHead) consider(head_since_, options_.header_timeout);
  if (state_ == State::kBody) consider(body_since_, options_.body_timeout);
  return first;
}

void Http1Session::tick() {
  const MonotonicTime now = host_.now();
  if (now < deadline()) return;
  if (!output_.empty() && options_.write_timeout > Duration::zero() && now >= write_since_ + options_.write_timeout) {
    client_gone();
  } else if (state_ == State::kBody) {
    refuse(408, {});
  } else {
    close(false);
  }
}

void Http1Session::shut_down() {
  shutting_down_ = true;
  switch (state_) {
    case State::kIdle:
    case State::kHead: close(!output_.empty()); break;
    case State::kStreaming:
      if (has_end_) {
        close_after_ = true;
      } else {
        end_stream();
      }
      break;
    case State::kBody:
    case State::kAnswering:
    case State::kClosing: break;
  }
}

void Http1Session::client_gone() {
  output_.clear();
  close(false);
}

}  // namespace

std::unique_ptr<Session> make_http1_session(SessionHost& host, Handler& handler, Peer peer,
                                            const Http1Options& options) {
  return std::make_unique<Http1Session>(host, handler, std::move(peer), options);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Request Entity Too Large";
    case 414: return "Request URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Requested Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Entity";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return {};
  }
}

}  // namespace etcd::net
