// net/http1_session.h - HTTP/1.0 and 1.1 for one connection: bytes in, requests to the Handler, answers out.
//
// Life:    make_http1_session() -> as net/session.h
// Thread:  the connection's net loop only.
// Owns:    input that waits, output that waits, the request being read. Borrows host, handler and options, which must
//          outlive it.
// Source:  RFC 9110, RFC 9112; what Go's net/http answers where etcd's users can see it.
// Parser:  Boost.Beast's, for the head and the body's framing. It sees a head when it is there as a whole, so that an
//          answer does not depend on where the network cut the bytes.
//
//             first byte           head complete        body complete
//   idle ------------------> head ---------------> body ------------> answering --- start() ---> streaming
//    ^  \                      | \ (no body) ---------------------------^  |                         |
//    |   \ idle time-out       | silent: garbage, time-out                 | send()                  | finish()
//    |    \ EOF, shut_down     | refusal: 400 408 413 417 431 501 505      |                         |
//    |     v                   v                                          |                         |
//    |   closing <-------------------- keep-alive is over ----------------+-------------------------+
//    +-------------------------------- the connection is kept ------------+-------------------------+
//
// Order:   one request at a time. Further requests of a pipeline wait as bytes until the one before is answered.
// Leaving: EOF while a request is being answered is a half-closed client, who still gets that answer; EOF during a
//          stream without an end of its own means that the client has left.
// Memory:  an idle session holds about half a kilobyte and no buffer. A busy one holds at most
//            - one head, as bytes and parsed: 2 * header_bytes_max + 64 B * header_fields_max, and then
//            - one body: 2 * body_bytes_max while it grows,
//            - pipelined_bytes_max of further input, plus what the host reads at once,
//            - unsent_bytes_max of output plus the last answer; a stream's source watches unsent_bytes() itself.
#pragma once
#include <memory>

#include "net/http.h"
#include "net/session.h"

namespace etcd::net {

struct Http1Options {
  std::size_t header_bytes_max = 1 << 20;             // request line and fields; beyond: 431. Go's default
  std::size_t header_fields_max = 1'000;              // beyond: 431
  std::uint64_t body_bytes_max = 10ull << 20;         // beyond: 413
  std::size_t pipelined_bytes_max = 64 * 1024;        // input that waits for the answer before it; then reading pauses
  std::size_t unsent_bytes_max = 1 << 20;             // output that the client does not take; then reading pauses
  Duration header_timeout = std::chrono::minutes(5);  // first byte to last of a head. 0: none
  Duration body_timeout = std::chrono::minutes(1);    // without a byte of the body; then 408. 0: none
  Duration idle_timeout = Duration::zero();           // between requests. 0: none
  Duration write_timeout = std::chrono::minutes(5);   // without the client taking a byte. 0: none
};

std::unique_ptr<Session> make_http1_session(SessionHost& host, Handler& handler, Peer peer,
                                            const Http1Options& options);

/// "Not Found" of 404; empty when there is no such status. Source: RFC 9110 15, with Go's words.
std::string_view reason_phrase(int status);

}  // namespace etcd::net
