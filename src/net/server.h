// net/server.h - the socket shell: listeners and connections, each connection with its session on one loop for life.
//
// Life:    constructor -> listen()* -> start() -> stop() -> destructor (which stops, too)
// Thread:  constructor, listen(), start() and stop() from one thread that is none of the loops; the rest any. The
//          handler is called on every loop, at the same time.
// Owns:    listeners and connections. Borrows loops and handler, which must outlive it. Several servers may share
//          loops.
// Errors:  a connection's trouble ends that connection and nothing else.
//
//   loop 0:  listener --accept--+--> loop 0: connection, session      A connection looks at its first bytes:
//                               +--> loop 1: connection, session        0x16                a TLS client hello
//                               +--> ...  (round-robin)                 PRI * HTTP/2.0 ...  HTTP/2 in the clear
//                                                                       anything else       HTTP/1.1
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/http.h"
#include "net/http1_session.h"
#include "net/loop.h"
#include "net/session.h"

namespace etcd::net {

/// Makes the session of a connection whose protocol is known. Called on every loop, at the same time.
using SessionMaker = std::function<std::unique_ptr<Session>(SessionHost&, Handler&, Peer)>;

struct ServerOptions {
  Http1Options http1 = {};
  SessionMaker http2 = {};  // empty: HTTP/2 is refused with GOAWAY, HTTP_1_1_REQUIRED
  SessionMaker tls = {};    // empty: a TLS client is cut off. A session that decrypts and is host to another one
  std::size_t connections_max = 0;                         // further clients wait unaccepted. 0: no limit
  Duration linger = std::chrono::milliseconds(500);        // for a client to close after our last answer
  Duration accept_backoff = std::chrono::seconds(1);       // after accept() found no file descriptor
  std::function<void(std::string_view message)> log = {};  // called on every loop, at the same time
};

class ServerCore;

class Server {
 public:
  Server(std::vector<Loop*> loops, Handler& handler, ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Binds one address and returns its port. Clients can connect from now on, and wait until start().
  ///
  /// Shape:   host is an IPv4 or IPv6 address, "localhost", or another name, of which the first IPv4 address counts, if
  ///          any; "" and "::" are all addresses of both kinds. Port 0 is a free one.
  /// Errors:  kAlreadyExists when the address is taken, kInvalidArgument for a host that cannot be found, else kIo;
  ///          `listen tcp 127.0.0.1:2379: bind: address already in use`, as Go says it.
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port);

  /// Begins to accept.
  void start();

  /// Stops listening, closes idle connections, ends streams that have no end of their own, and lets running answers
  /// finish for up to `grace`; then closes what is left. Returns when nothing calls the handler or an on_close callback
  /// any more.
  void stop(Duration grace);

  [[nodiscard]] std::size_t connections() const;

 private:
  std::shared_ptr<ServerCore> core_;  // shared with the connections and the tasks about them
};

}  // namespace etcd::net
