#include "raft/message.h"

#include <fmt/format.h>

#include <utility>

namespace etcd::raft {
namespace {

// Just enough protobuf for three small messages; codec is a room beside this one and cannot be used.
// Source: protobuf encoding guide; raftpb/raft.proto.
enum WireType : unsigned { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

std::uint64_t varint_bytes(std::uint64_t value) {
  std::uint64_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

void put_varint(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_number(Bytes& out, unsigned field, std::uint64_t value) {
  put_varint(out, field << 3 | kVarint);
  put_varint(out, value);
}

void put_bytes(Bytes& out, unsigned field, BytesView value) {
  put_varint(out, field << 3 | kLengthDelimited);
  put_varint(out, value.size());
  out.append(value);
}

/// One field at a time; ends at the end of its bytes or at the first mistake, which `broken()` tells apart.
class FieldReader {
 public:
  explicit FieldReader(BytesView message) : rest_(message) {}

  /// Moves to the next field; `number`, `wire`, and one of `value`, `bytes` describe it.
  bool next() {
    if (broken_ || rest_.empty()) return false;
    std::uint64_t tag = 0;
    if (!take_varint(tag) || tag >> 3 == 0) return fail();
    number = tag >> 3;
    wire = static_cast<unsigned>(tag & 7);
    switch (wire) {
      case kVarint: return take_varint(value) || fail();
      case kFixed64: return take(8) || fail();
      case kFixed32: return take(4) || fail();
      case kLengthDelimited: {
        std::uint64_t size = 0;
        return (take_varint(size) && take(size)) || fail();
      }
      default: return fail();
    }
  }

  [[nodiscard]] bool is(std::uint64_t field, unsigned type) const { return number == field && wire == type; }
  [[nodiscard]] bool broken() const { return broken_; }

  std::uint64_t number = 0;
  unsigned wire = 0;
  std::uint64_t value = 0;
  BytesView bytes;

 private:
  bool fail() {
    broken_ = true;
    return false;
  }
  bool take(std::uint64_t size) {
    if (size > rest_.size()) return false;
    bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool take_varint(std::uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      out |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  BytesView rest_;
  bool broken_ = false;
};

bool to_type(std::uint64_t value, ConfChangeType& out) {
  if (value > static_cast<std::uint64_t>(ConfChangeType::kAddLearnerNode)) return false;
  out = static_cast<ConfChangeType>(value);
  return true;
}

bool read_v1(BytesView data, ConfChangeV2& change) {
  FieldReader reader(data);
  change.v1 = true;
  ConfChangeSingle& single = change.changes.emplace_back();
  while (reader.next()) {
    if (reader.is(1, kVarint)) change.id = reader.value;
    if (reader.is(2, kVarint) && !to_type(reader.value, single.type)) return false;
    if (reader.is(3, kVarint)) single.node_id = reader.value;
    if (reader.is(4, kLengthDelimited)) change.context = reader.bytes;
  }
  return !reader.broken();
}

bool read_single(BytesView data, ConfChangeSingle& single) {
  FieldReader reader(data);
  while (reader.next()) {
    if (reader.is(1, kVarint) && !to_type(reader.value, single.type)) return false;
    if (reader.is(2, kVarint)) single.node_id = reader.value;
  }
  return !reader.broken();
}

bool read_v2(BytesView data, ConfChangeV2& change) {
  FieldReader reader(data);
  while (reader.next()) {
    if (reader.is(1, kVarint)) {
      if (reader.value > static_cast<std::uint64_t>(ConfChangeTransition::kJointExplicit)) return false;
      change.transition = static_cast<ConfChangeTransition>(reader.value);
    }
    if (reader.is(2, kLengthDelimited) && !read_single(reader.bytes, change.changes.emplace_back())) return false;
    if (reader.is(3, kLengthDelimited)) change.context = reader.bytes;
  }
  return !reader.broken();
}

}  // namespace

bool is_local(MessageType type) {
  switch (type) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kForgetLeader:
    case MessageType::kStorageApplyResp: return true;
    default: return false;
  }
}

bool is_response(MessageType type) {
  switch (type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kUnreachable:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp: return true;
    default: return false;
  }
}

ConfChangeV2 conf_change_v1(ConfChangeType type, MemberId node_id, Bytes context, std::uint64_t id) {
  return {.changes = {{.type = type, .node_id = node_id}}, .context = std::move(context), .v1 = true, .id = id};
}

Entry encode_conf_change(const ConfChangeV2& change) {
  Bytes out;
  if (change.v1) {
    const ConfChangeSingle single = change.changes.empty() ? ConfChangeSingle{} : change.changes.front();
    put_number(out, 1, change.id);
    put_number(out, 2, std::to_underlying(single.type));
    put_number(out, 3, single.node_id);
    if (!change.context.empty()) put_bytes(out, 4, change.context);
    return {.type = EntryType::kConfChange, .data = SharedBytes(std::move(out))};
  }
  // Empty data also reads as "leave", and has the merit that no limit on bytes can refuse it.
  if (!change.leaves_joint() || !change.context.empty()) {
    put_number(out, 1, std::to_underlying(change.transition));
    for (const ConfChangeSingle& single : change.changes) {
      Bytes inner;
      put_number(inner, 1, std::to_underlying(single.type));
      put_number(inner, 2, single.node_id);
      put_bytes(out, 2, inner);
    }
    if (!change.context.empty()) put_bytes(out, 3, change.context);
  }
  return {.type = EntryType::kConfChangeV2, .data = SharedBytes(std::move(out))};
}

Result<ConfChangeV2> decode_conf_change(const Entry& entry) {
  ConfChangeV2 change;
  if (entry.type == EntryType::kConfChange && read_v1(entry.data.view(), change)) return change;
  if (entry.type == EntryType::kConfChangeV2 && read_v2(entry.data.view(), change)) return change;
  return failure(ErrorCode::kInvalidArgument,
                 fmt::format("entry {}/{}: not a conf change", entry.term.value, entry.index.value));
}

std::uint64_t encoded_bytes(const Entry& entry) {
  std::uint64_t bytes = 2 + varint_bytes(entry.term.value) + varint_bytes(entry.index.value);
  if (entry.type != EntryType::kNormal) bytes += 2;
  if (const std::uint64_t size = entry.data.size(); size > 0) bytes += 1 + varint_bytes(size) + size;
  return bytes;
}

std::uint64_t encoded_bytes(std::span<const Entry> entries) {
  std::uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += encoded_bytes(entry);
  return bytes;
}

std::uint64_t payload_bytes(std::span<const Entry> entries) {
  std::uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.data.size();
  return bytes;
}

}  // namespace etcd::raft
