// replica/entry_codec.h - raft's values as the WAL's records.
//
// Thread:  any (functions on values).
// Source:  etcd-io/raft v3.6.0 raftpb/raft.proto; every scalar is written, as upstream up to 3.6 does.
#pragma once
#include "base/bytes.h"
#include "base/result.h"
#include "raft/message.h"

namespace etcd::replica {

/// Appends a raftpb.Entry.
void append_entry(Bytes& out, const raft::Entry& entry);
/// Errors: kCorrupt.
Result<raft::Entry> decode_entry(BytesView bytes);

Bytes encode_hard_state(const raft::HardState& state);
/// Errors: kCorrupt. Empty bytes are the empty state.
Result<raft::HardState> decode_hard_state(BytesView bytes);

/// A walpb.Snapshot.
Bytes encode_snapshot_record(Index index, Term term, const raft::ConfState& conf_state);

/// The WAL's metadata record.
Bytes encode_metadata(MemberId member, ClusterId cluster);
struct Metadata {
  MemberId member = 0;
  ClusterId cluster = 0;
};
/// Errors: kCorrupt.
Result<Metadata> decode_metadata(BytesView bytes);

}  // namespace etcd::replica
