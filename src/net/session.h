// net/session.h - one connection's protocol as bytes in, bytes out; what carries the bytes stays outside.
//
// Life:    made for a connection -> receive()* with the client's bytes, sent() for its own -> finished() -> destroyed.
//          After every call, and after SessionHost::output_ready(), the host calls resume(), sends output(), reports
//          that by sent(), and looks at wants_input(), deadline() and finished().
// Thread:  the connection's net loop only.
// Owns:    its protocol state. Borrows the host, which must outlive it.
//
// A session that carries another one (TLS) is a session, too: it is the inner one's host.
#pragma once
#include <limits>
#include <string>

#include "base/bytes.h"
#include "base/time.h"
#include "io/executor.h"
#include "net/output_queue.h"

namespace etcd::net {

inline constexpr MonotonicTime kNever{std::numeric_limits<std::int64_t>::max()};

/// Who is at the other end.
struct Peer {
  std::string remote;   // "127.0.0.1:51234", "[::1]:51234"
  bool secure = false;  // the bytes came over TLS
};

/// What a session needs from whoever carries its bytes.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  [[nodiscard]] virtual MonotonicTime now() const = 0;
  [[nodiscard]] virtual WallTime wall() const = 0;
  /// The session has output, or input of its own to go on with: call resume() and send, but not on this stack.
  virtual void output_ready() = 0;
  /// The loop that the connection lives on.
  [[nodiscard]] virtual io::Executor& executor() = 0;
};

class Session {
 public:
  virtual ~Session() = default;

  /// Takes the client's next bytes. Takes them all, whatever wants_input() says; the bound is the caller's part.
  virtual void receive(BytesView bytes) = 0;
  /// The client will send no more. It may still be reading.
  virtual void receive_end() = 0;
  /// False while reading on would only fill memory.
  [[nodiscard]] virtual bool wants_input() const = 0;

  [[nodiscard]] virtual const OutputQueue& output() const = 0;
  /// The oldest `bytes` of output() have been handed to the operating system.
  virtual void sent(std::size_t bytes) = 0;

  /// Goes on with input that had to wait for an answer or for room in the output.
  virtual void resume() = 0;

  /// When to call tick(), unless something happens before; kNever for no need.
  [[nodiscard]] virtual MonotonicTime deadline() const = 0;
  /// deadline() has come.
  virtual void tick() = 0;

  /// No further requests: an idle session finishes at once, one that answers finishes after that answer, and a stream
  /// that has no end of its own is ended here.
  virtual void shut_down() = 0;
  /// The connection is broken. Nothing can be sent any more.
  virtual void client_gone() = 0;

  /// No more output will come: close once output() has left.
  [[nodiscard]] virtual bool finished() const = 0;
  /// With finished(): the client may still be sending, and a reset in answer to that could destroy our last bytes on
  /// their way. So shut down our side and let the client close first, for a moment.
  [[nodiscard]] virtual bool lingers() const = 0;
};

}  // namespace etcd::net
