#include "replica/entry_codec.h"

#include "codec/wire.h"

namespace etcd::replica {
namespace {

using codec::append_bytes_field;
using codec::append_varint_field;
using codec::FieldReader;

}  // namespace

void append_entry(Bytes& out, const raft::Entry& entry) {
  append_varint_field(out, 1, static_cast<std::uint64_t>(entry.type));
  append_varint_field(out, 2, entry.term.value);
  append_varint_field(out, 3, entry.index.value);
  if (!entry.data.empty()) append_bytes_field(out, 4, entry.data.view());
}

Result<raft::Entry> decode_entry(BytesView bytes) {
  raft::Entry entry;
  FieldReader reader(bytes);
  std::uint64_t type = 0;
  while (reader.next()) {
    switch (reader.field()) {
      case 1: type = reader.varint(); break;
      case 2: entry.term = Term{reader.varint()}; break;
      case 3: entry.index = Index{reader.varint()}; break;
      case 4: entry.data = SharedBytes(Bytes(reader.bytes())); break;
      default: break;
    }
  }
  if (!reader.ok() || type > static_cast<std::uint64_t>(raft::EntryType::kConfChangeV2)) {
    return failure(ErrorCode::kCorrupt, "not an entry");
  }
  entry.type = static_cast<raft::EntryType>(type);
  return entry;
}

Bytes encode_hard_state(const raft::HardState& state) {
  Bytes out;
  append_varint_field(out, 1, state.term.value);
  append_varint_field(out, 2, state.vote);
  append_varint_field(out, 3, state.commit.value);
  return out;
}

Result<raft::HardState> decode_hard_state(BytesView bytes) {
  raft::HardState state;
  FieldReader reader(bytes);
  while (reader.next()) {
    switch (reader.field()) {
      case 1: state.term = Term{reader.varint()}; break;
      case 2: state.vote = reader.varint(); break;
      case 3: state.commit = Index{reader.varint()}; break;
      default: break;
    }
  }
  if (!reader.ok()) return failure(ErrorCode::kCorrupt, "not a hard state");
  return state;
}

Bytes encode_snapshot_record(Index index, Term term, const raft::ConfState& conf_state) {
  Bytes inner;
  const auto list = [&](std::uint32_t field, const std::vector<MemberId>& ids) {
    for (const MemberId id : ids) append_varint_field(inner, field, id);
  };
  list(1, conf_state.voters);
  list(2, conf_state.learners);
  list(3, conf_state.voters_outgoing);
  list(4, conf_state.learners_next);
  append_varint_field(inner, 5, conf_state.auto_leave ? 1 : 0);
  Bytes out;
  append_varint_field(out, 1, index.value);
  append_varint_field(out, 2, term.value);
  append_bytes_field(out, 3, inner);
  return out;
}

Bytes encode_metadata(MemberId member, ClusterId cluster) {
  Bytes out;
  append_varint_field(out, 1, member);
  append_varint_field(out, 2, cluster);
  return out;
}

Result<Metadata> decode_metadata(BytesView bytes) {
  Metadata metadata;
  FieldReader reader(bytes);
  while (reader.next()) {
    if (reader.field() == 1) metadata.member = reader.varint();
    if (reader.field() == 2) metadata.cluster = reader.varint();
  }
  if (!reader.ok() || metadata.member == 0) return failure(ErrorCode::kCorrupt, "not a metadata record");
  return metadata;
}

}  // namespace etcd::replica
