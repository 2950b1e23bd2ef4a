// net/protocol.h - which protocol a client speaks, by its first bytes; and how one that we do not speak is sent away.
//
// Thread:  any (pure function); the session as net/session.h.
// Source:  RFC 8446 5.1 (a handshake record begins with 0x16); RFC 9113 3.4 (the preface), 6.5, 6.8.
#pragma once
#include <cstdint>
#include <memory>

#include "net/session.h"

namespace etcd::net {

enum class Protocol : std::uint8_t {
  kUndecided,  // so far it may still become HTTP/2
  kHttp1,
  kHttp2,
  kTls,
};

/// Shape: at most 24 bytes decide. Nothing is said about whether HTTP/1 it is: that is the session's part.
Protocol protocol_of(BytesView first_bytes);

/// Sends `farewell` and finishes.
std::unique_ptr<Session> make_refusing_session(Bytes farewell);

/// An empty SETTINGS frame and GOAWAY with HTTP_1_1_REQUIRED: a well-behaved HTTP/2 client sees why it is sent away.
Bytes http2_farewell();

}  // namespace etcd::net
