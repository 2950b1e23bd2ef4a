// wal/frame.h - one record as bytes: length field, Record message, padding; each checksum runs on from the last.
//
// Thread:  any (functions on values).
// Format:  docs/formats/wal.md
// Source:  etcd v3.7.1 server/storage/wal/{encoder,decoder}.go.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace etcd::wal {

enum class RecordType : std::uint8_t {
  kMetadata = 1,  // whose log this is; first in every segment, and the same in all
  kEntry = 2,     // a raftpb.Entry
  kState = 3,     // a raftpb.HardState
  kCrc = 4,       // the running checksum before this record; links a segment to the one before
  kSnapshot = 5,  // a walpb.Snapshot
};

constexpr std::size_t kFrameAlign = 8;     // every frame starts at a multiple of this
constexpr std::size_t kLengthBytes = 8;    // the length field
constexpr std::size_t kSectorBytes = 512;  // the unit in which a disk tears a write

/// The length field's two parts: low 56 bits the record, and in the top byte the padding behind it.
struct FrameLength {
  std::uint64_t record_bytes = 0;
  std::uint64_t pad_bytes = 0;
  [[nodiscard]] std::uint64_t frame_bytes() const { return kLengthBytes + record_bytes + pad_bytes; }
};

/// Reads the field at the front of `bytes`, which holds at least kLengthBytes. All zero means: nothing more here.
/// Errors: kCorrupt when the padding does not fit the length.
Result<FrameLength> decode_length(BytesView bytes);

/// The length that a record gives itself by its data field, from the first bytes of it; nothing when they do not tell.
/// It lies beside the length field, so where the two differ, something other than a crash has been at work.
std::optional<std::uint64_t> own_record_bytes(BytesView front);

/// Appends a frame. `running_crc` is the checksum so far and becomes the one behind this record. A kCrc record carries
/// the running value itself and no data.
void append_frame(Bytes& out, RecordType type, BytesView data, std::uint32_t& running_crc);

struct Record {
  std::uint64_t type = 0;  // as stored; may be none of RecordType
  std::uint32_t crc = 0;   // as stored
  BytesView data;          // borrowed from the input
};

/// Takes a Record message apart; the checksum is the caller's to compare. Errors: kCorrupt when it is no such message.
Result<Record> decode_record(BytesView bytes);

/// The Index field of a raftpb.Entry. Errors: kCorrupt.
Result<std::uint64_t> entry_index(BytesView entry);

}  // namespace etcd::wal
