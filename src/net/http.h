// net/http.h - a request and its answer, whatever carried them: HTTP/1.1 now, HTTP/2 with and without TLS later.
//
// Life:    a session makes a Request and an Exchange and hands both to the Handler; the Handler answers through the
//          Exchange, at once or later, whole (send) or piece by piece (start, write, finish).
// Thread:  the connection's net loop only. Other loops post to Exchange::executor().
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "io/executor.h"

namespace etcd::net {

/// Header fields in the order they came or go; names compare without case.
class Headers {
 public:
  void add(std::string name, std::string value) {
    if (fields_.empty()) fields_.reserve(8);  // what most requests and answers have; growing moves every string
    fields_.emplace_back(std::move(name), std::move(value));
  }
  /// The first field of that name, or null.
  [[nodiscard]] const std::string* find(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method;  // as sent: methods are case-sensitive
  std::string target;  // as sent, percent-encoded, with its query: "/v2/keys/a%20b?dir=true"
  std::string path;    // percent-decoded, without the query; bytes, not necessarily UTF-8
  std::string query;   // behind the first '?', still encoded
  Headers headers;
  Bytes body;           // whole, decoded from its transfer coding
  std::string remote;   // "127.0.0.1:51234"
  bool secure = false;  // came over TLS
};

struct Response {
  int status = 200;
  Headers headers;  // without Date, Content-Length, Transfer-Encoding and Connection, which the session adds
  Bytes body;
  bool has_end = false;  // for start(): the stream is one document, complete with finish() and not before
};

/// The way back to the client for one request. Exactly one of send() and start() is called, once.
///
/// The client may leave at any time; calls after that do nothing, and on_close tells who asked to be told. Dropping an
/// Exchange that has not answered closes the connection.
class Exchange {
 public:
  virtual ~Exchange() = default;

  /// Answers whole. A HEAD request gets the head and the length that the body would have had.
  virtual void send(Response response) = 0;

  /// Sends the head of a streamed answer at once; `response.body` is its first piece, if any.
  ///
  /// A server that stops, and a client that closes its sending side, end a stream there and then, unless it has an end
  /// of its own (`response.has_end`): that one is waited for as any answer. When its source cannot go on, it drops the
  /// Exchange, and the client sees that the connection broke in the middle of a body.
  virtual void start(Response response) = 0;
  /// Sends a further piece at once (an HTTP/1.1 chunk). A large one is held once, however many clients it goes to.
  virtual void write(SharedBytes piece) = 0;
  /// Ends a streamed answer.
  virtual void finish() = 0;
  /// Bytes of this answer that the client has not yet taken; a stream's source stops feeding when they grow.
  [[nodiscard]] virtual std::size_t unsent_bytes() const = 0;
  /// Called when `unsent_bytes()` has fallen to zero after a write.
  virtual void on_drained(std::function<void()> callback) = 0;

  /// Called once when the client has gone before the answer was complete.
  virtual void on_close(std::function<void()> callback) = 0;

  /// The connection's net loop; outlives every connection on it.
  [[nodiscard]] virtual io::Executor& executor() = 0;
};

class Handler {
 public:
  virtual ~Handler() = default;
  /// Takes one request. May answer before it returns.
  virtual void handle(Request request, std::shared_ptr<Exchange> exchange) = 0;  // shared: whoever answers later
};

}  // namespace etcd::net
