// peer/message_codec.h - raft's messages as members send them to each other.
//
// Thread:  any (functions on values).
// Source:  etcd-io/raft v3.6.0 raftpb/raft.proto (Message, Snapshot); what members of 3.4 to 3.7 write and accept.
//
// A field that is zero is left out, as 3.7 does; members up to 3.6 write every scalar and an empty snapshot, and read
// both forms. Entries have the WAL's form (replica/entry_codec.h).
#pragma once
#include "base/bytes.h"
#include "base/result.h"
#include "raft/message.h"

namespace etcd::peer {

/// Appends a raftpb.Message. `responses` are for a member's own storage threads and never leave it.
void append_message(Bytes& out, const raft::Message& message);

/// Shape:   a present but empty snapshot counts as none; unknown fields and responses are skipped.
/// Memory:  the message's bytes once more, and sizeof(raft::Entry) for each entry.
/// Errors:  kInvalidArgument, also for a message type or an entry type that we do not know.
Result<raft::Message> decode_message(BytesView bytes);

}  // namespace etcd::peer
