// service/raft_status.h - what raft knows of itself, as the JSON that /debug/vars shows.
//
// Thread:  any (a function on a value).
// Source:  etcd-io/raft main status.go (field names; ids in hex, states by name).
#pragma once
#include "base/bytes.h"
#include "raft/core.h"

namespace etcd::service {

/// `{"id":"1","term":2,"vote":"1","commit":3,"lead":"1","raftState":"StateLeader","applied":3,"progress":{"1":{"match":3,
/// "next":4,"state":"StateReplicate"}},"leadtransferee":"0"}`; `progress` is empty but on a leader.
Bytes raft_status_json(const raft::Status& status);

}  // namespace etcd::service
