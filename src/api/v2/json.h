// api/v2/json.h - nodes, events and errors as the v2 API writes them.
//
// Thread:  any (functions on values).
// Source:  etcd v2.3.8 store/node_extern.go and event.go (field names, order, which are left out), error/error.go.
#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "tree/event.h"
#include "tree/read.h"
#include "tree/refusal.h"

namespace etcd::api::v2 {

/// `{"action":"set","node":{...},"prevNode":{...}}`. `now` tells how much of a TTL is left.
void append_event(Bytes& out, const tree::Event& event, WallTime now);
/// The action alone: the answer to a write with noValueOnSuccess.
void append_action(Bytes& out, mvcc::Action action);
/// `{"action":"get","node":{...}}`.
void append_listing(Bytes& out, const tree::Listing& listing, WallTime now);
/// `{"errorCode":100,"message":"Key not found","cause":"/a","index":3}`.
void append_refusal(Bytes& out, const tree::Refusal& refusal);

/// RFC 3339 in UTC with as many digits of the second's fraction as it needs, as Go's RFC3339Nano.
Bytes rfc3339(WallTime time);

/// The HTTP status of an error.
int status_of(tree::Code code);

/// "set", "compareAndSwap", ...; a v3 put reads as a set.
BytesView name_of(mvcc::Action action);

}  // namespace etcd::api::v2
