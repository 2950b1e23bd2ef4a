// api/v2/key_request.h - takes a request to /v2/keys apart: every parameter checked, in the order that decides which
// error a client sees.
//
// Thread:  any (functions on values).
// Source:  etcd v2.3.8 etcdserver/etcdhttp/client.go (parseKeyRequest, getUint64, getBool), and v3.4.23
//          etcdserver/api/v2http/client.go for noValueOnSuccess.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/time.h"
#include "codec/proto/v2.pb.h"
#include "net/http.h"
#include "tree/refusal.h"

namespace etcd::api::v2 {

struct KeyRequest {
  Bytes path;  // clean
  bool recursive = false;
  bool sorted = false;  // listings are sorted in any case
  bool wait = false;
  std::uint64_t wait_index = 0;  // 0: none
  bool stream = false;
  bool quorum = false;
  bool no_value_on_success = false;
  etcdv2pb::Command command;  // for a method that writes
};

/// `now` is the proposer's wall clock: a TTL becomes a deadline. Refusals carry index 0, since no store was asked.
tree::Outcome<KeyRequest> parse_key_request(const net::Request& request, WallTime now);

}  // namespace etcd::api::v2
