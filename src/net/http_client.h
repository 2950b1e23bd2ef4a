// net/http_client.h - the socket shell of an HTTP/1.1 client for one origin: connections, kept and bounded.
//
// Life:    constructor -> request()* -> destructor, which ends what is running without a further call
// Thread:  one loop's only, the destructor too; the constructor any. Handlers are called on that loop, never on the
//          stack of request(). One of them may destroy the client.
// Owns:    its connections. Borrows the loop, which must outlive it.
// Source:  Go's net.Dialer and http.Transport: order of addresses, keep-alive, what may be sent again, messages.
// TLS:     HttpClientOptions::tls makes a session that encrypts and is the host of the one that speaks HTTP.
//
//   request() --> an idle connection, else a new one, else (connections_max) it waits for one
//                                    |
//                 dialing: look up the name, try its addresses one after another, each with its share of the time
//                                    |
//                 request, answer --> kept for idle_timeout, or closed
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "net/http1_client_session.h"
#include "net/loop.h"

namespace etcd::net {

struct Origin {
  std::string scheme = "http";
  std::string host;  // a name or an address, IPv6 without brackets
  std::uint16_t port = 0;
};

/// Makes the session inside the one that encrypts.
using InnerSessionMaker = std::function<std::unique_ptr<Session>(SessionHost&)>;
using ClientTlsMaker = std::function<std::unique_ptr<Session>(SessionHost&, const InnerSessionMaker&)>;

struct HttpClientOptions {
  Http1ClientOptions http1 = {};
  Duration connect_timeout = std::chrono::seconds(30);  // for all addresses of the name together
  std::size_t connections_max = 0;                      // at once; further requests wait in order. 0: no limit
  std::size_t waiting_max = 0;                          // of those; beyond: kTooManyRequests. 0: no limit
  std::size_t idle_connections_max = 8;                 // kept; 0: no connection is used twice
  ClientTlsMaker tls = {};                              // empty: an https origin is refused
};

/// What a request's answer is given to. Any may be empty. Exactly one of on_end and on_error is called, and nothing
/// after it; neither when the request was cancelled, by its handle, by on_data, or by the client's end.
struct ClientHandlers {
  std::function<void(ClientResponse)> on_head = {};
  std::function<bool(BytesView)> on_data = {};  // borrowed for the call; returns whether to go on
  std::function<void()> on_end = {};
  /// kUnavailable, kTimeout, kInvalidArgument, kTooLarge, kTooManyRequests, kNotFound (the name) or kStopped (the
  /// body's source); a message such as `dial tcp 127.0.0.1:1: connect: connection refused`.
  std::function<void(Error)> on_error = {};
};

class HttpClientCore;
class HttpClientCall;

/// One request. Letting go of it changes nothing; its calls do nothing once the request is over.
class ClientHandle {
 public:
  ClientHandle() = default;
  explicit ClientHandle(std::weak_ptr<HttpClientCall> call) : call_(std::move(call)) {}
  /// Ends the request without a further call, and closes its connection.
  void cancel();
  /// The source of its body, which had to wait, has something again.
  void body_ready();

 private:
  std::weak_ptr<HttpClientCall> call_;
};

class HttpClient {
 public:
  HttpClient(Loop& loop, Origin origin, HttpClientOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Sends a request. One that had no byte of an answer on a kept connection, which the server may have closed at that
  /// moment, is sent again on another one, if its method or `repeatable` allows that and its body has no source.
  ClientHandle request(ClientRequest request, ClientHandlers handlers);

  /// "127.0.0.1:2380"
  [[nodiscard]] const std::string& authority() const;
  /// Open ones, those being dialed included.
  [[nodiscard]] std::size_t connections() const;

 private:
  std::shared_ptr<HttpClientCore> core_;  // shared with its calls, its connections and their pending waits
};

}  // namespace etcd::net
