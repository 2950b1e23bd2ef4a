// net/http1_client_session.h - HTTP/1.1 for one connection to a server: requests out as bytes, their answers in.
//
// Life:    make_http1_client_session() -> (start() -> on_end or on_failure)* -> finished(); else as net/session.h
// Thread:  the connection's net loop only.
// Owns:    the head being read, output that waits. Borrows host, options and the call, which must outlive it.
// Source:  RFC 9110, RFC 9112; messages as Go's net/http has them.
//
//            start()           head complete          body complete
//    idle --------------> head --------------> body ----------------> idle, while the connection can be kept
//     |                    | ^ 1xx: the next     |                      else closing
//     | EOF, any byte      +-+                   |
//     | time-out           | garbage, EOF, time-out, cancel
//     v                    v
//    closing <-------------+---------------------+
//
// Order:   one request at a time, no pipeline. A server may answer before it has the whole request; when the answer is
//          complete before the request is, the connection is not kept.
// Framing: none (HEAD, 204, 304), Content-Length, chunked, or until the server closes. Length and coding together, two
//          lengths that differ and other codings are refused, since two parties may not agree on what they mean.
// Memory:  one head (header_bytes_max and what the host reads at once), no body: its pieces are handed on as they come,
//          each byte at once, however the network cut them. Output: unsent_bytes_max plus one piece of the body's
//          source, plus a whole body, which is shared and not copied.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "net/http.h"
#include "net/session.h"

namespace etcd::net {

/// Gives a request's body piece by piece, as fast as the server takes it.
class BodySource {
 public:
  enum class State : std::uint8_t {
    kMore,    // ask again
    kWait,    // ask again after body_ready(); for a source that is fed by another loop
    kEnd,     // these bytes are the last
    kFailed,  // the request cannot be completed: the connection breaks, so that the server takes no part for the whole
  };
  struct Piece {
    State state = State::kEnd;
    SharedBytes bytes = {};    // may be empty; an empty piece with kMore counts as kWait
    std::string failure = {};  // with kFailed: why
  };

  virtual ~BodySource() = default;
  /// The next piece; asked for while fewer than `unsent_bytes_max` bytes are on their way.
  virtual Piece next() = 0;
};

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";                        // percent-encoded, with its query
  Headers headers = {};                            // without Host, Content-Length, Transfer-Encoding and Connection
  SharedBytes body = {};                           // whole; sent with its length
  std::shared_ptr<BodySource> source = nullptr;    // instead of `body`; shared with whoever feeds it
  std::optional<std::uint64_t> source_bytes = {};  // what the source will give; nothing: it goes chunked
  bool repeatable = false;  // may be sent twice, though its method is not GET, HEAD, OPTIONS or TRACE
};

struct ClientResponse {
  int status = 0;
  std::string reason;
  Headers headers;
  std::optional<std::uint64_t> length;  // of the body, when it is known
};

/// Who is told about one request. Exactly one of on_end() and on_failure() is called, unless cancel() was; nothing is
/// called behind that. Any of them may call cancel().
class ClientCall {
 public:
  virtual ~ClientCall() = default;
  virtual void on_head(ClientResponse response) = 0;
  /// Returns whether to go on; false counts as cancel().
  virtual bool on_data(BytesView piece) = 0;
  virtual void on_end() = 0;
  /// `untouched`: not one byte of an answer had come.
  virtual void on_failure(Error error, bool untouched) = 0;
};

struct Http1ClientOptions {
  std::size_t header_bytes_max = 64 * 1024;  // status line and fields
  std::size_t header_fields_max = 200;
  std::size_t unsent_bytes_max = 256 * 1024;          // output for which the source is not asked for more
  Duration head_timeout = Duration::zero();           // from the end of the request to the end of the head. 0: none
  Duration body_timeout = Duration::zero();           // without a byte of the body. 0: none, for streams
  Duration write_timeout = std::chrono::seconds(30);  // without the server taking a byte. 0: none
  Duration idle_timeout = std::chrono::seconds(90);   // between requests. 0: none
};

class ClientSession : public Session {
 public:
  /// May be given a request.
  [[nodiscard]] virtual bool idle() const = 0;
  /// Sends a request. `request` is borrowed for the call, its body and source are shared.
  /// Errors: kInvalidArgument, and nothing has been sent, when method, target or a field would break the head.
  [[nodiscard]] virtual std::optional<Error> start(const ClientRequest& request, ClientCall& call) = 0;
  /// Forgets the call and closes.
  virtual void cancel() = 0;
  /// The source of the request's body has something again.
  virtual void body_ready() = 0;
  /// Nothing more can be sent, but an answer may have come before that: the rest of the request is dropped.
  virtual void stop_sending(Error why) = 0;
  /// The connection is broken.
  virtual void broken(Error why) = 0;
};

/// `authority` goes into the Host field ("127.0.0.1:2380"); `link` names the connection in messages
/// ("tcp 127.0.0.1:51234->127.0.0.1:2380").
std::unique_ptr<ClientSession> make_http1_client_session(SessionHost& host, std::string authority, std::string link,
                                                         const Http1ClientOptions& options);

}  // namespace etcd::net
