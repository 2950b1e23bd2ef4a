#include "codec/wire.h"

#include <cstring>

namespace etcd::codec {

std::optional<std::uint64_t> FieldReader::take_varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (left_.empty()) return std::nullopt;
    const auto byte = static_cast<unsigned char>(left_.front());
    left_.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

bool FieldReader::next() {
  if (!ok_ || left_.empty()) return false;
  ok_ = false;  // until the field has been read whole
  varint_ = 0;
  bytes_ = {};
  const std::optional<std::uint64_t> tag = take_varint();
  if (!tag || *tag >> 3 == 0 || *tag > UINT32_MAX) return false;
  field_ = static_cast<std::uint32_t>(*tag >> 3);
  switch (*tag & 7) {
    case 0: {
      const std::optional<std::uint64_t> value = take_varint();
      if (!value) return false;
      varint_ = *value;
      break;
    }
    case 1:
    case 5: {
      const std::size_t count = (*tag & 7) == 1 ? 8 : 4;
      if (left_.size() < count) return false;
      std::memcpy(&varint_, left_.data(), count);  // both wire and machine are little-endian
      left_.remove_prefix(count);
      break;
    }
    case 2: {
      const std::optional<std::uint64_t> size = take_varint();
      if (!size || *size > left_.size()) return false;
      bytes_ = left_.substr(0, *size);
      left_.remove_prefix(*size);
      break;
    }
    default: return false;
  }
  ok_ = true;
  return true;
}

}  // namespace etcd::codec
