#include "net/http1_client_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "net/ascii.h"

namespace etcd::net {
namespace {

constexpr int kInformationalHeadsMax = 5;              // Go's bound on 1xx in front of one answer
constexpr std::size_t kChunkLineBytesMax = 16 * 1024;  // a chunk's size with its extensions, or all trailers
constexpr std::size_t kCopiedBodyBytesMax = 8 * 1024;  // a body of at most this size goes behind its head
constexpr std::string_view kProtocol = "HTTP/1.";

bool is_token_letter(char letter) {
  return is_alphanumeric(letter) || std::string_view("!#$%&'*+-.^_`|~").find(letter) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_letter);
}

/// Nothing that ends a line or a word.
bool is_target(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char letter) { return letter > ' ' && letter != '\x7f'; });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Whether a list such as "keep-alive, Upgrade" has the word.
bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (equal_fold(trimmed(list.substr(0, comma)), word)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

/// What may be shown of bytes that somebody sent.
std::string quoted(BytesView bytes) {
  constexpr std::size_t kShown = 40;
  std::string text = "\"";
  for (const char letter : bytes.substr(0, kShown)) {
    if (letter >= ' ' && letter < '\x7f' && letter != '"' && letter != '\\') {
      text += letter;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(letter));
    }
  }
  return text + (bytes.size() > kShown ? "...\"" : "\"");
}

enum class Framing : std::uint8_t { kNone, kLength, kChunked, kUntilClose };

struct Head {
  ClientResponse response;
  Framing framing = Framing::kUntilClose;
  bool keep_alive = true;
};

Result<std::uint64_t> parse_length(std::string_view text) {
  std::uint64_t length = 0;
  bool good = !text.empty();
  for (const char letter : text) {
    const std::uint64_t digit = is_digit(letter) ? static_cast<std::uint64_t>(letter - '0') : 10;
    good = good && digit < 10 && length <= (std::numeric_limits<std::uint64_t>::max() - digit) / 10;
    if (good) length = length * 10 + digit;
  }
  if (!good) return failure(ErrorCode::kInvalidArgument, fmt::format("bad Content-Length {}", quoted(text)));
  return length;
}

/// `head` ends with an empty line.
Result<Head> parse_head(std::string_view head, bool head_only, std::size_t fields_max) {
  const auto malformed = [](std::string_view what, std::string_view where) {
    return failure(ErrorCode::kInvalidArgument, fmt::format("malformed HTTP {} {}", what, quoted(where)));
  };
  Head result;
  std::size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  // HTTP/1.1 200 OK; the second blank may be missing along with the words.
  if (line.size() < 12 || !line.starts_with(kProtocol) || !is_digit(line[7]) || line[8] != ' ' ||
      (line.size() > 12 && line[12] != ' ')) {
    return malformed("response", line);
  }
  const bool http_11 = line[7] != '0';
  for (const char letter : line.substr(9, 3)) {
    if (!is_digit(letter)) return malformed("status code", line.substr(9, 3));
    result.response.status = result.response.status * 10 + (letter - '0');
  }
  if (result.response.status < 100) return malformed("status code", line.substr(9, 3));
  if (line.size() > 13) result.response.reason = line.substr(13);

  std::size_t count = 0;
  bool chunked = false;
  bool closes = false;
  bool keeps = false;
  for (std::size_t begin = end + 2;; begin = end + 2) {
    end = head.find("\r\n", begin);
    const std::string_view field = head.substr(begin, end - begin);
    if (field.empty()) break;
    if (++count > fields_max) return failure(ErrorCode::kTooLarge, "too many header fields");
    const std::size_t colon = field.find(':');
    if (colon == std::string_view::npos || !is_token(field.substr(0, colon)) ||
        field.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      return malformed("header line", field);
    }
    const std::string_view name = field.substr(0, colon);
    const std::string_view value = trimmed(field.substr(colon + 1));
    if (equal_fold(name, "Content-Length")) {
      ETCD_TRY(const std::uint64_t length, parse_length(value));
      if (result.response.length.value_or(length) != length) return malformed("Content-Length, the second", value);
      result.response.length = length;
    } else if (equal_fold(name, "Transfer-Encoding")) {
      if (chunked || !http_11 || !equal_fold(value, "chunked")) {
        return failure(ErrorCode::kInvalidArgument, fmt::format("unsupported transfer encoding: {}", quoted(value)));
      }
      chunked = true;
    } else if (equal_fold(name, "Connection")) {
      closes = closes || lists(value, "close");
      keeps = keeps || lists(value, "keep-alive");
    }
    result.response.headers.add(std::string(name), std::string(value));
  }
  if (chunked && result.response.length.has_value()) {
    return failure(ErrorCode::kInvalidArgument, "Content-Length and Transfer-Encoding in one response");
  }
  const int status = result.response.status;
  if (head_only || status < 200 || status == 204 || status == 304) {
    result.framing = Framing::kNone;
  } else if (chunked) {
    result.framing = Framing::kChunked;
  } else if (result.response.length.has_value()) {
    result.framing = *result.response.length == 0 ? Framing::kNone : Framing::kLength;
  }
  result.keep_alive = !closes && (http_11 || keeps) && result.framing != Framing::kUntilClose;
  return result;
}

/// Finds the data in a chunked body. Keeps nothing but where it is, so bytes are handed on as they come.
class ChunkReader {
 public:
  enum class Event : std::uint8_t { kNothing, kData, kEnd, kBroken };

  /// Takes some of `input`. With kData, `data` is what it found.
  Event take(BytesView& input, BytesView& data) {
    while (!input.empty()) {
      if (state_ == State::kData) {
        data = input.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size())));
        input.remove_prefix(data.size());
        left_ -= data.size();
        if (left_ == 0) state_ = State::kDataReturn;
        return Event::kData;
      }
      const char letter = input.front();
      input.remove_prefix(1);
      if (!step(letter)) return Event::kBroken;
      if (state_ == State::kDone) return Event::kEnd;
    }
    return Event::kNothing;
  }

 private:
  enum class State : std::uint8_t {
    kSize,       // hexadecimal digits
    kExtension,  // behind the size, up to the line's end
    kSizeFeed,   // LF behind the size
    kData,
    kDataReturn,  // CR and
    kDataFeed,    // LF behind the data
    kTrailer,     // the beginning of a trailer, or of the empty line at the end
    kTrailerRest,
    kTrailerFeed,
    kLastFeed,
    kDone,
  };

  /// Returns false when that letter cannot stand there.
  bool step(char letter) {
    switch (state_) {
      case State::kSize:
        if (const int digit = hex_value(letter); digit >= 0) {
          left_ = left_ << 4 | static_cast<std::uint64_t>(digit);
          return ++digits_ <= 15;
        }
        if (digits_ == 0) return false;
        state_ = letter == '\r' ? State::kSizeFeed : State::kExtension;
        return letter == '\r' || letter == ';' || letter == ' ' || letter == '\t';
      case State::kExtension:
        if (letter == '\r') state_ = State::kSizeFeed;
        return letter != '\n' && ++line_bytes_ < kChunkLineBytesMax;
      case State::kSizeFeed:
        state_ = left_ > 0 ? State::kData : State::kTrailer;
        digits_ = 0;
        line_bytes_ = 0;
        return letter == '\n';
      case State::kDataReturn: state_ = State::kDataFeed; return letter == '\r';
      case State::kDataFeed: state_ = State::kSize; return letter == '\n';
      case State::kTrailer:
        state_ = letter == '\r' ? State::kLastFeed : State::kTrailerRest;
        return letter != '\n' && ++line_bytes_ < kChunkLineBytesMax;
      case State::kTrailerRest:
        if (letter == '\r') state_ = State::kTrailerFeed;
        return letter != '\n' && ++line_bytes_ < kChunkLineBytesMax;
      case State::kTrailerFeed: state_ = State::kTrailer; return letter == '\n';
      case State::kLastFeed: state_ = State::kDone; return letter == '\n';
      case State::kData:
      case State::kDone: break;
    }
    return false;
  }

  State state_ = State::kSize;
  std::uint64_t left_ = 0;  // of the chunk
  int digits_ = 0;
  std::size_t line_bytes_ = 0;
};

class Http1ClientSession final : public ClientSession {
 public:
  Http1ClientSession(SessionHost& host, std::string authority, std::string link, const Http1ClientOptions& options)
      : host_(host),
        authority_(std::move(authority)),
        link_(std::move(link)),
        options_(options),
        idle_since_(host.now()) {}

  // ClientSession
  [[nodiscard]] bool idle() const override { return state_ == State::kIdle; }
  std::optional<Error> start(const ClientRequest& request, ClientCall& call) override;
  void cancel() override { close(); }
  void body_ready() override {
    source_waits_ = false;
    if (sending_) host_.output_ready();
  }
  void stop_sending(Error why) override;
  void broken(Error why) override { fail(std::move(why)); }

  // Session
  void receive(BytesView bytes) override;
  void receive_end() override;
  [[nodiscard]] bool wants_input() const override { return state_ != State::kClosing; }
  [[nodiscard]] const OutputQueue& output() const override { return output_; }
  void sent(std::size_t bytes) override;
  void resume() override { fill(); }
  [[nodiscard]] MonotonicTime deadline() const override;
  void tick() override;
  void shut_down() override {
    shutting_down_ = true;
    if (state_ == State::kIdle) close();
  }
  void client_gone() override { fail(Error{ErrorCode::kUnavailable, fmt::format("{}: connection closed", link_)}); }
  [[nodiscard]] bool finished() const override { return state_ == State::kClosing; }
  [[nodiscard]] bool lingers() const override { return false; }

 private:
  enum class State : std::uint8_t { kIdle, kHead, kBody, kClosing };

  void append_head(Bytes& out, const ClientRequest& request) const;
  void fill();
  void append_piece(SharedBytes piece);
  std::size_t read_head(BytesView bytes);
  void accept_head(Head head);
  std::size_t read_body(BytesView bytes);
  /// Returns false when nobody wants to hear more.
  bool give(BytesView piece);
  void complete();
  void fail(Error error);
  void fail_reading(std::string_view what);
  void close();

  SessionHost& host_;
  const std::string authority_;
  const std::string link_;
  const Http1ClientOptions& options_;

  State state_ = State::kIdle;
  ClientCall* call_ = nullptr;  // invariant: not null exactly in the states head and body
  bool shutting_down_ = false;

  // The request.
  bool head_only_ = false;                         // its method is HEAD
  bool sending_ = false;                           // the source has more
  bool source_waits_ = false;                      // but not now
  bool filling_ = false;                           // the source is being asked
  std::shared_ptr<BodySource> source_ = nullptr;   // shared with the request and with whoever feeds it
  std::optional<std::uint64_t> source_left_ = {};  // bytes that were announced and did not come yet
  std::optional<Error> send_failure_ = {};
  OutputQueue output_;

  // The answer.
  bool touched_ = false;  // a byte of it has come
  int informational_ = 0;
  Bytes head_;
  Framing framing_ = Framing::kNone;
  bool keep_alive_ = true;
  std::uint64_t body_left_ = 0;
  ChunkReader chunks_;

  MonotonicTime idle_since_;
  MonotonicTime sent_at_;      // when the last byte of the request left
  MonotonicTime read_since_;   // the answer's last progress
  MonotonicTime write_since_;  // the output's last progress
};

// The request

std::optional<Error> Http1ClientSession::start(const ClientRequest& request, ClientCall& call) {
  CHECK(state_ == State::kIdle, "a request on a busy connection");
  if (!is_token(request.method)) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("net/http: invalid method {}", quoted(request.method))};
  }
  if (!is_target(request.target)) {
    return Error{ErrorCode::kInvalidArgument, fmt::format("invalid request target {}", quoted(request.target))};
  }
  for (const auto& [name, value] : request.headers.fields()) {
    if (!is_token(name)) {
      return Error{ErrorCode::kInvalidArgument, fmt::format("net/http: invalid header field name {}", quoted(name))};
    }
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return Error{ErrorCode::kInvalidArgument, fmt::format("net/http: invalid header field value for {}", name)};
    }
  }
  call_ = &call;
  state_ = State::kHead;
  head_only_ = request.method == "HEAD";
  sending_ = request.source != nullptr;
  source_waits_ = false;
  source_ = request.source;
  source_left_ = request.source_bytes;
  send_failure_.reset();
  touched_ = false;
  informational_ = 0;
  head_.clear();
  sent_at_ = read_since_ = write_since_ = host_.now();

  Bytes head;
  const bool together = !sending_ && request.body.size() <= kCopiedBodyBytesMax;
  head.reserve(512 + (together ? request.body.size() : 0));
  append_head(head, request);
  if (together) head += request.body.view();
  output_.append(std::move(head));
  if (!sending_ && !together) output_.append_shared(request.body);
  host_.output_ready();
  return std::nullopt;
}

void Http1ClientSession::append_head(Bytes& out, const ClientRequest& request) const {
  fmt::format_to(std::back_inserter(out), "{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, authority_);
  for (const auto& [name, value] : request.headers.fields()) {
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  }
  if (sending_ && !source_left_.has_value()) {
    out += "Transfer-Encoding: chunked\r\n";
  } else if (sending_ || !request.body.empty() || request.method == "POST" || request.method == "PUT" ||
             request.method == "PATCH") {
    fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", sending_ ? *source_left_ : request.body.size());
  }
  out += "\r\n";
}

void Http1ClientSession::fill() {
  if (filling_) return;
  filling_ = true;
  while (sending_ && !source_waits_ && output_.size() < options_.unsent_bytes_max) {
    const std::shared_ptr<BodySource> source = source_;  // a cancel from within next() lets go of ours
    BodySource::Piece piece = source->next();
    if (!sending_) break;
    const std::size_t bytes = piece.bytes.size();
    std::string wrong = piece.state == BodySource::State::kFailed ? std::move(piece.failure) : std::string();
    if (source_left_.has_value() && piece.state != BodySource::State::kFailed) {
      if (bytes > *source_left_ || (piece.state == BodySource::State::kEnd && bytes < *source_left_)) {
        wrong = fmt::format("ContentLength={} more bytes, and the body has {}", *source_left_, bytes);
      } else {
        *source_left_ -= bytes;
      }
    }
    if (piece.state == BodySource::State::kFailed || !wrong.empty()) {
      fail(Error{ErrorCode::kStopped, fmt::format("write {}: request body: {}", link_, wrong)});
      break;
    }
    append_piece(std::move(piece.bytes));
    if (piece.state == BodySource::State::kEnd) {
      if (!source_left_.has_value()) output_.append("0\r\n\r\n");
      sending_ = false;
      source_.reset();
      sent_at_ = host_.now();
    } else if (piece.state == BodySource::State::kWait || bytes == 0) {
      source_waits_ = true;
    }
  }
  filling_ = false;
}

void Http1ClientSession::append_piece(SharedBytes piece) {
  if (piece.empty()) return;  // an empty chunk would be the end
  if (output_.empty()) write_since_ = host_.now();
  const bool chunked = !source_left_.has_value();
  if (chunked) output_.append(fmt::format("{:x}\r\n", piece.size()));
  output_.append_shared(std::move(piece));
  if (chunked) output_.append("\r\n");
}

void Http1ClientSession::sent(std::size_t bytes) {
  output_.consume(bytes);
  write_since_ = host_.now();
  if (output_.empty()) sent_at_ = write_since_;
  if (sending_ && !source_waits_ && output_.size() < options_.unsent_bytes_max) host_.output_ready();
}

void Http1ClientSession::stop_sending(Error why) {
  if (state_ == State::kIdle) {
    close();
    return;
  }
  output_.clear();
  sending_ = false;
  source_.reset();
  keep_alive_ = false;
  if (!send_failure_.has_value()) send_failure_ = std::move(why);
}

// The answer

void Http1ClientSession::receive(BytesView bytes) {
  if (bytes.empty()) return;
  read_since_ = host_.now();
  touched_ = true;
  while (!bytes.empty()) {
    switch (state_) {
      case State::kHead: bytes.remove_prefix(read_head(bytes)); break;
      case State::kBody: bytes.remove_prefix(read_body(bytes)); break;
      case State::kIdle: close(); return;  // nobody has asked; what it means is anybody's guess
      case State::kClosing: return;
    }
  }
}

std::size_t Http1ClientSession::read_head(BytesView bytes) {
  constexpr std::string_view kEnd = "\r\n\r\n";
  const std::size_t before = head_.size();
  head_ += bytes;
  const std::size_t known = std::min(head_.size(), kProtocol.size());
  if (head_.compare(0, known, kProtocol.substr(0, known)) != 0) {
    fail(Error{ErrorCode::kInvalidArgument,
               fmt::format("read {}: malformed HTTP response {}", link_, quoted(head_.substr(0, head_.find('\r'))))});
    return bytes.size();
  }
  const std::size_t found = head_.find(kEnd, before < kEnd.size() ? 0 : before - (kEnd.size() - 1));
  const std::size_t size = found == Bytes::npos ? head_.size() : found + kEnd.size();
  if (size > options_.header_bytes_max) {
    fail(Error{ErrorCode::kTooLarge,
               fmt::format("read {}: response headers exceeded {} bytes", link_, options_.header_bytes_max)});
    return bytes.size();
  }
  if (found == Bytes::npos) return bytes.size();
  head_.resize(size);
  Result<Head> head = parse_head(head_, head_only_, options_.header_fields_max);
  head_ = Bytes();
  if (head.has_value()) {
    accept_head(std::move(*head));
  } else {
    fail(Error{head.error().code, fmt::format("read {}: {}", link_, head.error().message)});
  }
  return size - before;
}

void Http1ClientSession::accept_head(Head head) {
  const int status = head.response.status;
  if (status < 200) {
    if (status == 101 || ++informational_ > kInformationalHeadsMax) {
      fail(Error{ErrorCode::kInvalidArgument, fmt::format("read {}: unexpected status {}", link_, status)});
    }
    return;
  }
  framing_ = head.framing;
  keep_alive_ = head.keep_alive && !send_failure_.has_value();
  body_left_ = head.response.length.value_or(0);
  chunks_ = ChunkReader();
  state_ = State::kBody;
  call_->on_head(std::move(head.response));
  if (state_ == State::kBody && framing_ == Framing::kNone) complete();
}

std::size_t Http1ClientSession::read_body(BytesView bytes) {
  switch (framing_) {
    case Framing::kNone: break;
    case Framing::kUntilClose: give(bytes); return bytes.size();
    case Framing::kLength: {
      const BytesView piece =
          bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, bytes.size())));
      body_left_ -= piece.size();
      if (give(piece) && body_left_ == 0) complete();
      return piece.size();
    }
    case Framing::kChunked: {
      BytesView rest = bytes;
      BytesView piece;
      switch (chunks_.take(rest, piece)) {
        case ChunkReader::Event::kNothing: break;
        case ChunkReader::Event::kData: give(piece); break;
        case ChunkReader::Event::kEnd: complete(); break;
        case ChunkReader::Event::kBroken: fail_reading("malformed chunked encoding"); break;
      }
      return bytes.size() - rest.size();
    }
  }
  CHECK(false, "a body without framing");
  return bytes.size();
}

bool Http1ClientSession::give(BytesView piece) {
  const bool goes_on = call_->on_data(piece);
  if (state_ != State::kBody) return false;  // it was cancelled from within
  if (!goes_on) close();
  return goes_on;
}

void Http1ClientSession::complete() {
  ClientCall* const call = std::exchange(call_, nullptr);
  const bool kept = keep_alive_ && !sending_ && output_.empty() && !shutting_down_;
  if (kept) {
    state_ = State::kIdle;
    idle_since_ = host_.now();
  } else {
    close();
  }
  call->on_end();
}

void Http1ClientSession::receive_end() {
  switch (state_) {
    case State::kIdle: close(); break;
    case State::kHead: fail_reading(touched_ ? "unexpected EOF" : "EOF"); break;
    case State::kBody:
      if (framing_ == Framing::kUntilClose) {
        complete();
      } else {
        fail_reading("unexpected EOF");
      }
      break;
    case State::kClosing: break;
  }
}

void Http1ClientSession::fail_reading(std::string_view what) {
  fail(Error{ErrorCode::kUnavailable, fmt::format("read {}: {}", link_, what)});
}

void Http1ClientSession::fail(Error error) {
  ClientCall* const call = std::exchange(call_, nullptr);
  // What broke first is the reason: a server that closes under our upload is seen again as the end of its answer.
  if (send_failure_.has_value()) error = *std::move(send_failure_);
  send_failure_.reset();
  close();
  if (call != nullptr) call->on_failure(std::move(error), !touched_);
}

void Http1ClientSession::close() {
  state_ = State::kClosing;
  call_ = nullptr;
  sending_ = false;
  source_.reset();
  output_.clear();
}

// Time

MonotonicTime Http1ClientSession::deadline() const {
  MonotonicTime first = kNever;
  const auto consider = [&first](MonotonicTime since, Duration timeout) {
    if (timeout > Duration::zero()) first = std::min(first, since + timeout);
  };
  switch (state_) {
    case State::kIdle: consider(idle_since_, options_.idle_timeout); break;
    case State::kHead:
      if (!sending_ && output_.empty()) consider(sent_at_, options_.head_timeout);
      break;
    case State::kBody: consider(read_since_, options_.body_timeout); break;
    case State::kClosing: break;
  }
  if (!output_.empty()) consider(write_since_, options_.write_timeout);
  return first;
}

void Http1ClientSession::tick() {
  const MonotonicTime now = host_.now();
  if (now < deadline()) return;
  if (state_ == State::kIdle) {
    close();
  } else if (!output_.empty() && options_.write_timeout > Duration::zero() &&
             now >= write_since_ + options_.write_timeout) {
    fail(Error{ErrorCode::kTimeout, fmt::format("write {}: i/o timeout", link_)});
  } else if (state_ == State::kHead) {
    fail(Error{ErrorCode::kTimeout, fmt::format("read {}: timeout awaiting response headers", link_)});
  } else {
    fail(Error{ErrorCode::kTimeout, fmt::format("read {}: i/o timeout", link_)});
  }
}

}  // namespace

std::unique_ptr<ClientSession> make_http1_client_session(SessionHost& host, std::string authority, std::string link,
                                                         const Http1ClientOptions& options) {
  return std::make_unique<Http1ClientSession>(host, std::move(authority), std::move(link), options);
}

}  // namespace etcd::net
