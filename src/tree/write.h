// tree/write.h - applies a v2 command: every condition is decided here, on the committed order, alike on every member.
//
// Thread:  apply loop only.
// Source:  etcd v2.3.8 store/store.go (Set, Update, Create, CompareAndSwap, Delete, CompareAndDelete) and
//          etcdserver/apply_v2.go; what the tree becomes in the keyspace is docs/formats/tree.md.
#pragma once
#include "base/result.h"
#include "codec/proto/v2.pb.h"
#include "mvcc/store.h"
#include "tree/event.h"
#include "tree/refusal.h"

namespace etcd::tree {

/// Does what `command` says in `txn`, which the caller commits when there is an event and aborts when there is none.
/// The command's path must be clean.
/// Errors: kCorrupt, kIo: a large value that the rules or the event need cannot be read. That is no outcome, since other
/// members may find theirs readable: the caller aborts `txn` and stops the member.
Result<Outcome<Event>> write(mvcc::WriteTxn& txn, const etcdv2pb::Command& command);

}  // namespace etcd::tree
