#include "peer/message_codec.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "codec/wire.h"
#include "replica/entry_codec.h"

namespace etcd::peer {
namespace {

using codec::append_bytes_field;
using codec::append_varint_field;
using codec::FieldReader;

/// raftpb.Message
enum MessageField : std::uint32_t {
  kType = 1,
  kTo = 2,
  kFrom = 3,
  kTerm = 4,
  kLogTerm = 5,
  kIndex = 6,
  kEntries = 7,
  kCommit = 8,
  kSnapshot = 9,
  kReject = 10,
  kRejectHint = 11,
  kContext = 12,
  kVote = 13,
};

void append_number(Bytes& out, std::uint32_t field, std::uint64_t value) {
  if (value != 0) append_varint_field(out, field, value);
}

Bytes encode_conf_state(const raft::ConfState& state) {
  Bytes out;
  const auto append_ids = [&out](std::uint32_t field, const std::vector<MemberId>& ids) {
    for (const MemberId id : ids) append_varint_field(out, field, id);
  };
  append_ids(1, state.voters);
  append_ids(2, state.learners);
  append_ids(3, state.voters_outgoing);
  append_ids(4, state.learners_next);
  append_number(out, 5, state.auto_leave ? 1 : 0);
  return out;
}

Bytes encode_snapshot(const raft::Snapshot& snapshot) {
  Bytes metadata;
  append_bytes_field(metadata, 1, encode_conf_state(snapshot.metadata.conf_state));
  append_number(metadata, 2, snapshot.metadata.index.value);
  append_number(metadata, 3, snapshot.metadata.term.value);
  Bytes out;
  out.reserve(snapshot.data.size() + metadata.size() + 32);
  if (!snapshot.data.empty()) append_bytes_field(out, 1, snapshot.data.view());
  append_bytes_field(out, 2, metadata);
  return out;
}

/// A list of ids comes as a field each, or packed into one.
bool take_ids(const FieldReader& reader, std::vector<MemberId>& ids) {
  BytesView packed = reader.bytes();
  if (packed.empty()) {
    ids.push_back(reader.varint());
    return true;
  }
  while (!packed.empty()) {
    MemberId id = 0;
    unsigned shift = 0;
    for (bool more = true; more; shift += 7) {
      if (packed.empty() || shift >= 64) return false;
      const auto byte = static_cast<unsigned char>(packed.front());
      packed.remove_prefix(1);
      id |= static_cast<MemberId>(byte & 0x7f) << shift;
      more = byte >= 0x80;
    }
    ids.push_back(id);
  }
  return true;
}

bool decode_conf_state(BytesView bytes, raft::ConfState& state) {
  FieldReader reader(bytes);
  bool good = true;
  while (good && reader.next()) {
    switch (reader.field()) {
      case 1: good = take_ids(reader, state.voters); break;
      case 2: good = take_ids(reader, state.learners); break;
      case 3: good = take_ids(reader, state.voters_outgoing); break;
      case 4: good = take_ids(reader, state.learners_next); break;
      case 5: state.auto_leave = reader.varint() != 0; break;
      default: break;
    }
  }
  return good && reader.ok();
}

bool decode_metadata(BytesView bytes, raft::SnapshotMetadata& metadata) {
  FieldReader reader(bytes);
  bool good = true;
  while (good && reader.next()) {
    switch (reader.field()) {
      case 1: good = decode_conf_state(reader.bytes(), metadata.conf_state); break;
      case 2: metadata.index = Index{reader.varint()}; break;
      case 3: metadata.term = Term{reader.varint()}; break;
      default: break;
    }
  }
  return good && reader.ok();
}

bool decode_snapshot(BytesView bytes, raft::Snapshot& snapshot) {
  FieldReader reader(bytes);
  bool good = true;
  while (good && reader.next()) {
    switch (reader.field()) {
      case 1: snapshot.data = SharedBytes(Bytes(reader.bytes())); break;
      case 2: good = decode_metadata(reader.bytes(), snapshot.metadata); break;
      default: break;
    }
  }
  return good && reader.ok();
}

}  // namespace

void append_message(Bytes& out, const raft::Message& message) {
  append_number(out, kType, std::to_underlying(message.type));
  append_number(out, kTo, message.to);
  append_number(out, kFrom, message.from);
  append_number(out, kTerm, message.term.value);
  append_number(out, kLogTerm, message.log_term.value);
  append_number(out, kIndex, message.index.value);
  Bytes inner;
  for (const raft::Entry& entry : message.entries) {
    inner.clear();
    replica::append_entry(inner, entry);
    append_bytes_field(out, kEntries, inner);
  }
  append_number(out, kCommit, message.commit.value);
  if (message.snapshot.has_value()) append_bytes_field(out, kSnapshot, encode_snapshot(*message.snapshot));
  append_number(out, kReject, message.reject ? 1 : 0);
  append_number(out, kRejectHint, message.reject_hint.value);
  if (!message.context.empty()) append_bytes_field(out, kContext, message.context);
  append_number(out, kVote, message.vote);
}

Result<raft::Message> decode_message(BytesView bytes) {
  raft::Message message;
  std::uint64_t type = 0;
  FieldReader reader(bytes);
  while (reader.next()) {
    switch (reader.field()) {
      case kType: type = reader.varint(); break;
      case kTo: message.to = reader.varint(); break;
      case kFrom: message.from = reader.varint(); break;
      case kTerm: message.term = Term{reader.varint()}; break;
      case kLogTerm: message.log_term = Term{reader.varint()}; break;
      case kIndex: message.index = Index{reader.varint()}; break;
      case kEntries: {
        Result<raft::Entry> entry = replica::decode_entry(reader.bytes());
        if (!entry.has_value()) {
          return failure(ErrorCode::kInvalidArgument,
                         fmt::format("raft message: entry {}: {}", message.entries.size(), entry.error().message));
        }
        message.entries.push_back(std::move(*entry));
        break;
      }
      case kCommit: message.commit = Index{reader.varint()}; break;
      case kSnapshot:
        if (!decode_snapshot(reader.bytes(), message.snapshot.emplace())) {
          return failure(ErrorCode::kInvalidArgument, "raft message: not a snapshot");
        }
        break;
      case kReject: message.reject = reader.varint() != 0; break;
      case kRejectHint: message.reject_hint = Index{reader.varint()}; break;
      case kContext: message.context = reader.bytes(); break;
      case kVote: message.vote = reader.varint(); break;
      default: break;
    }
  }
  if (!reader.ok()) return failure(ErrorCode::kInvalidArgument, "raft message: malformed");
  if (type >= raft::kMessageTypeCount) {
    return failure(ErrorCode::kInvalidArgument, fmt::format("raft message: unknown type {}", type));
  }
  message.type = static_cast<raft::MessageType>(type);
  if (message.snapshot.has_value() && message.snapshot->empty() && message.snapshot->data.empty()) {
    message.snapshot.reset();
  }
  return message;
}

}  // namespace etcd::peer
