// codec/wire.h - protobuf's wire form by hand, for the few messages that every write passes through.
//
// Thread:  any (functions on values).
// Source:  protobuf encoding guide: varints, tags, length-delimited fields.
//
// A generated message costs an allocation for itself and one for each bytes field; a log entry is encoded and decoded
// on the way to the disk and back, so its five fields are worth the hand-written form.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace etcd::codec {

inline void append_varint(Bytes& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

constexpr std::size_t varint_bytes(std::uint64_t value) {
  std::size_t count = 1;
  for (; value >= 0x80; value >>= 7) ++count;
  return count;
}

/// A varint field, written even when it is zero.
inline void append_varint_field(Bytes& out, std::uint32_t field, std::uint64_t value) {
  append_varint(out, field << 3);
  append_varint(out, value);
}

inline void append_bytes_field(Bytes& out, std::uint32_t field, BytesView value) {
  append_varint(out, (field << 3) | 2);
  append_varint(out, value.size());
  out.append(value);
}

/// Walks the fields of one message. After next() has returned false, `ok()` tells an end from a malformed message.
class FieldReader {
 public:
  explicit FieldReader(BytesView bytes) : left_(bytes) {}

  /// Moves to the next field; varint, fixed and length-delimited fields are taken, groups are malformed.
  bool next();
  [[nodiscard]] std::uint32_t field() const { return field_; }
  /// The value of a varint or fixed field; 0 for a length-delimited one.
  [[nodiscard]] std::uint64_t varint() const { return varint_; }
  /// The bytes of a length-delimited field; empty for others.
  [[nodiscard]] BytesView bytes() const { return bytes_; }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  std::optional<std::uint64_t> take_varint();

  BytesView left_;
  BytesView bytes_;
  std::uint64_t varint_ = 0;
  std::uint32_t field_ = 0;
  bool ok_ = true;
};

}  // namespace etcd::codec
