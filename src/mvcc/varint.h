// mvcc/varint.h - base-128 numbers as protobuf writes them, on plain pointers for the hot paths of this room.
//
// Thread:  any (pure functions).
// Source:  Protocol Buffers encoding guide, "Base 128 Varints".
#pragma once
#include <cstdint>

#include "base/bytes.h"

namespace etcd::mvcc {

inline constexpr std::size_t kVarintBytesMax = 10;

inline std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

inline char* write_varint(std::uint64_t value, char* out) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<char>(value | 0x80);
  *out++ = static_cast<char>(value);
  return out;
}

inline void append_varint(std::uint64_t value, Bytes& out) {
  char buffer[kVarintBytesMax];
  out.append(buffer, write_varint(value, buffer));
}

/// Takes a number off the front of `bytes`. False when they end early or the number has more than 64 bits.
inline bool read_varint(BytesView& bytes, std::uint64_t& value) {
  value = 0;
  for (std::size_t place = 0; place < bytes.size() && place < kVarintBytesMax; ++place) {
    const auto byte = static_cast<unsigned char>(bytes[place]);
    if (place == kVarintBytesMax - 1 && byte > 1) return false;
    value |= std::uint64_t{byte & 0x7Fu} << (7 * place);
    if (byte < 0x80) {
      bytes.remove_prefix(place + 1);
      return true;
    }
  }
  return false;
}

}  // namespace etcd::mvcc
