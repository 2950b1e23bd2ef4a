#include "wal/frame.h"

#include <cstring>

#include "base/crc32c.h"
#include "codec/wire.h"

namespace etcd::wal {
namespace {

constexpr std::uint64_t pad_bytes_for(std::uint64_t record_bytes) {
  return (kFrameAlign - record_bytes % kFrameAlign) % kFrameAlign;
}

}  // namespace

Result<FrameLength> decode_length(BytesView bytes) {
  std::uint64_t field;
  std::memcpy(&field, bytes.data(), kLengthBytes);  // both file and machine are little-endian
  FrameLength length;
  length.record_bytes = field & 0x00FF'FFFF'FFFF'FFFFu;
  length.pad_bytes = pad_bytes_for(length.record_bytes);
  // The top byte is 0 without padding, else 0x80 with the padding in its low bits.
  const std::uint64_t top = length.pad_bytes == 0 ? 0 : 0x80 | length.pad_bytes;
  if (field >> 56 != top) return failure(ErrorCode::kCorrupt, "bad length field");
  return length;
}

std::optional<std::uint64_t> own_record_bytes(BytesView front) {
  // Tags and varints of type, crc and the data's length; the data itself need not be there.
  std::size_t at = 0;
  const auto varint = [&]() -> std::optional<std::uint64_t> {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at < front.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(front[at++]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  };
  if (varint() != 8 || !varint() || varint() != 16 || !varint()) return std::nullopt;
  if (varint() != 26) return std::nullopt;
  const std::optional<std::uint64_t> data_bytes = varint();
  if (!data_bytes) return std::nullopt;
  return at + *data_bytes;
}

void append_frame(Bytes& out, RecordType type, BytesView data, std::uint32_t& running_crc) {
  if (type != RecordType::kCrc) running_crc = crc32c(running_crc, data);
  const std::size_t start = out.size();
  out.append(kLengthBytes, '\0');
  codec::append_varint_field(out, 1, static_cast<std::uint64_t>(type));
  codec::append_varint_field(out, 2, running_crc);
  if (type != RecordType::kCrc) codec::append_bytes_field(out, 3, data);
  const std::uint64_t record_bytes = out.size() - start - kLengthBytes;
  const std::uint64_t pad_bytes = pad_bytes_for(record_bytes);
  out.append(pad_bytes, '\0');
  std::uint64_t field = record_bytes;
  if (pad_bytes != 0) field |= (0x80 | pad_bytes) << 56;
  std::memcpy(out.data() + start, &field, kLengthBytes);
}

Result<Record> decode_record(BytesView bytes) {
  Record record;
  codec::FieldReader reader(bytes);
  while (reader.next()) {
    switch (reader.field()) {
      case 1: record.type = reader.varint(); break;
      case 2: record.crc = static_cast<std::uint32_t>(reader.varint()); break;
      case 3: record.data = reader.bytes(); break;
      default: break;
    }
  }
  if (!reader.ok()) return failure(ErrorCode::kCorrupt, "not a record");
  return record;
}

Result<std::uint64_t> entry_index(BytesView entry) {
  std::uint64_t index = 0;
  codec::FieldReader reader(entry);
  while (reader.next()) {
    if (reader.field() == 3) index = reader.varint();
  }
  if (!reader.ok()) return failure(ErrorCode::kCorrupt, "not an entry");
  return index;
}

}  // namespace etcd::wal
