// apply/no_space.h - what the alarm NOSPACE forbids, and what a client is then told.
//
// Thread:  any (pure functions).
// Source:  etcd v3.7.1 server/etcdserver/errors (the text, which clients know).
#pragma once
#include "base/error.h"
#include "codec/proto/v2.pb.h"

namespace etcd::apply {

/// Whether a command needs room: all but deletes and expiries.
bool needs_room(etcdv2pb::Command::Verb verb);

/// kNoSpace, `etcdserver: mvcc: database space exceeded`.
Error no_space();

}  // namespace etcd::apply
