#include "mvcc/history.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/crc32c.h"
#include "mvcc/links.h"
#include "mvcc/varint.h"

namespace etcd::mvcc {

namespace {

constexpr unsigned kTombstone = 1;
constexpr unsigned kHasAttributes = 2;
constexpr unsigned kHasCause = 4;
constexpr unsigned kHasLinks = 8;
constexpr unsigned kHasPeekCrc = 16;
constexpr unsigned kKnownFlags = 31;
constexpr std::size_t kCrcBytes = 4;

void store_little_endian(std::uint64_t value, std::size_t bytes, char* out) {
  for (std::size_t place = 0; place < bytes; ++place) out[place] = static_cast<char>(value >> (8 * place));
}

std::uint64_t load_little_endian(BytesView bytes) {
  std::uint64_t value = 0;
  for (std::size_t place = bytes.size(); place-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[place]);
  return value;
}

std::unexpected<Error> damaged(Revision revision, const char* what) {
  return failure(ErrorCode::kCorrupt,
                 fmt::format("table {}, revision {}.{}: {}", kHistoryTable, revision.main, revision.sub, what));
}

/// Takes `size` bytes off the front; false when there are fewer.
bool take(BytesView& bytes, std::uint64_t size, BytesView& out) {
  if (size > bytes.size()) return false;
  out = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return true;
}

/// The checksum of a record's row key, flags and all behind the checksums but for `value`, which `rest` spans.
std::uint32_t peek_crc(BytesView key, char flags, BytesView rest, BytesView value) {
  const auto before = static_cast<std::size_t>(value.data() - rest.data());
  std::uint32_t crc = crc32c(crc32c(key), {&flags, 1});
  crc = crc32c(crc, rest.substr(0, before));
  return crc32c(crc, rest.substr(before + value.size()));
}

}  // namespace

EntryRef HistoryRecord::to_entry_or_stub(std::uint64_t large_value_bytes) const {
  if (value_size <= large_value_bytes) return to_entry();
  const Result<KeyValue> kv = decode_key_value(encoded);
  CHECK(kv.has_value(), "revision {}.{}: {}", revision.main, revision.sub, kv.error().message);
  Entry::Parts parts;
  parts.kv = *kv;
  parts.kv.value = {};
  parts.left_out = value_size;
  parts.sub = revision.sub;
  parts.tombstone = tombstone;
  parts.attributes = attributes;
  parts.position = position;
  parts.links = links;
  return Entry::make(parts);
}

HistoryRecord record_of(const Entry& entry, const Cause* cause) {
  HistoryRecord record{};
  record.revision = entry.revision();
  record.tombstone = entry.is_tombstone();
  record.encoded = entry.encoded();
  record.key_offset = static_cast<std::uint32_t>(entry.key().data() - entry.encoded().data());
  record.key_size = static_cast<std::uint32_t>(entry.key().size());
  record.value_size = static_cast<std::uint32_t>(entry.value_size());
  record.attributes = entry.attributes();
  record.position = entry.position();
  record.links = entry.links();
  if (cause != nullptr && !cause->is_default()) {
    record.has_cause = true;
    record.action = cause->action;
    record.cause_path = cause->path;
  }
  return record;
}

Bytes history_key(Revision revision) {
  CHECK(revision.main >= 0 && revision.sub >= 0 && revision.sub <= 0xFFFFFFFF, "revision {}.{}", revision.main,
        revision.sub);
  Bytes key(kHistoryKeyBytes, '\0');
  for (int place = 0; place < 8; ++place) key[place] = static_cast<char>(revision.main >> (56 - 8 * place));
  for (int place = 0; place < 4; ++place) key[8 + place] = static_cast<char>(revision.sub >> (24 - 8 * place));
  return key;
}

Result<Revision> parse_history_key(BytesView key) {
  if (key.size() != kHistoryKeyBytes) {
    return failure(ErrorCode::kCorrupt, fmt::format("table {}: a key of {} bytes", kHistoryTable, key.size()));
  }
  std::uint64_t main = 0;
  std::uint64_t sub = 0;
  for (int place = 0; place < 8; ++place) main = main << 8 | static_cast<unsigned char>(key[place]);
  for (int place = 8; place < 12; ++place) sub = sub << 8 | static_cast<unsigned char>(key[place]);
  if (main > 0x7FFFFFFFFFFFFFFFu) {
    return failure(ErrorCode::kCorrupt, fmt::format("table {}: revision {} is negative", kHistoryTable, main));
  }
  return Revision{static_cast<std::int64_t>(main), static_cast<std::int64_t>(sub)};
}

Bytes encode_history_record(const HistoryRecord& record) {
  CHECK(record.encoded.substr(record.key_offset, record.key_size) == record.key() && record.key_size > 0,
        "revision {}.{} has no key", record.revision.main, record.revision.sub);
  const bool has_attributes = !record.attributes.is_default();
  const bool has_links = record.position != 1;
  CHECK(has_links || record.links.empty(), "revision {}.{} is the first of its key and has links", record.revision.main,
        record.revision.sub);
  const bool has_peek_crc = record.value_size >= kPeekedValueBytesMin;
  std::size_t size = kCrcBytes + 1 + (has_peek_crc ? kCrcBytes : 0) + record.encoded.size();
  if (has_links) size += varint_size(record.position) + varint_size(record.links.size()) + record.links.size();
  if (has_attributes) size += kAttributesBytes;
  if (record.has_cause) size += 1 + varint_size(record.cause_path.size()) + record.cause_path.size();

  Bytes bytes(size, '\0');
  char* out = bytes.data() + kCrcBytes;
  const auto flags = static_cast<char>((record.tombstone ? kTombstone : 0) | (has_attributes ? kHasAttributes : 0) |
                                       (record.has_cause ? kHasCause : 0) | (has_links ? kHasLinks : 0) |
                                       (has_peek_crc ? kHasPeekCrc : 0));
  *out++ = flags;
  char* const peek_crc_at = out;
  if (has_peek_crc) out += kCrcBytes;
  const auto copy = [&out](BytesView part) {
    if (!part.empty()) std::memcpy(out, part.data(), part.size());
    out += part.size();
  };
  if (has_links) {
    out = write_varint(record.position, out);
    out = write_varint(record.links.size(), out);
    copy(record.links);
  }
  if (has_attributes) {
    store_little_endian(static_cast<std::uint64_t>(record.attributes.created_index), 8, out);
    store_little_endian(static_cast<std::uint64_t>(record.attributes.deadline.ns), 8, out + 8);
    store_little_endian(static_cast<std::uint64_t>(record.attributes.ttl.count()), 8, out + 16);
    out += kAttributesBytes;
  }
  if (record.has_cause) {
    *out++ = static_cast<char>(record.action);
    out = write_varint(record.cause_path.size(), out);
    copy(record.cause_path);
  }
  copy(record.encoded);
  CHECK(out == bytes.data() + bytes.size(), "record of {} bytes, {} written", size, out - bytes.data());
  const Bytes key = history_key(record.revision);
  if (has_peek_crc) {
    const BytesView encoded = BytesView(bytes).substr(bytes.size() - record.encoded.size());
    const Result<KeyValue> kv = decode_key_value(encoded);
    CHECK(kv.has_value() && kv->value.size() == record.value_size, "revision {}.{} has no value of {} bytes",
          record.revision.main, record.revision.sub, record.value_size);
    const BytesView rest = BytesView(bytes).substr(2 * kCrcBytes + 1);
    store_little_endian(peek_crc(key, flags, rest, kv->value), kCrcBytes, peek_crc_at);
  }
  const std::uint32_t crc = crc32c(crc32c(key), BytesView(bytes).substr(kCrcBytes));
  store_little_endian(crc, kCrcBytes, bytes.data());
  return bytes;
}

namespace {

Result<HistoryRecord> decode(BytesView key, BytesView value, std::uint64_t large_value_bytes) {
  HistoryRecord record{};
  ETCD_TRY(record.revision, parse_history_key(key));
  const Revision at = record.revision;
  BytesView crc;
  if (!take(value, kCrcBytes, crc) || value.empty()) return damaged(at, "record too short");
  const auto flags = static_cast<unsigned char>(value[0]);
  const bool has_peek_crc = (flags & kHasPeekCrc) != 0;
  const bool peek = has_peek_crc && large_value_bytes < value.size();
  const auto is_good = [&key, &crc, whole = value] { return crc32c(crc32c(key), whole) == load_little_endian(crc); };
  if (!peek && !is_good()) return damaged(at, "checksum mismatch");

  // What follows was written by encode_history_record(), or is damaged and peeked at: then what it says is believed at
  // the end only, where the place of the value is known.
  value.remove_prefix(1);
  if ((flags & ~kKnownFlags) != 0) return damaged(at, "unknown flags");
  BytesView crc_of_rest;
  if (has_peek_crc && !take(value, kCrcBytes, crc_of_rest)) return damaged(at, "record too short");
  const BytesView rest = value;
  record.tombstone = (flags & kTombstone) != 0;
  if ((flags & kHasLinks) != 0) {
    std::uint64_t position = 0;
    std::uint64_t size = 0;
    if (!read_varint(value, position) || position < 2 || position > 0xFFFFFFFDu) return damaged(at, "bad position");
    if (!read_varint(value, size) || size > 0xFFFF || !take(value, size, record.links)) return damaged(at, "bad links");
    record.position = static_cast<std::uint32_t>(position);
    const std::optional<Links> links = decode_links(at, record.links);
    if (!links || links->size() != link_count(record.position)) return damaged(at, "bad links");
  }
  if ((flags & kHasAttributes) != 0) {
    BytesView fixed;
    if (!take(value, kAttributesBytes, fixed)) return damaged(at, "bad attributes");
    record.attributes.created_index = static_cast<std::int64_t>(load_little_endian(fixed.substr(0, 8)));
    record.attributes.deadline.ns = static_cast<std::int64_t>(load_little_endian(fixed.substr(8, 8)));
    record.attributes.ttl = Duration(static_cast<std::int64_t>(load_little_endian(fixed.substr(16))));
  }
  if ((flags & kHasCause) != 0) {
    std::uint64_t size = 0;
    if (value.empty() || static_cast<unsigned char>(value[0]) > static_cast<unsigned char>(kLastAction)) {
      return damaged(at, "unknown action");
    }
    record.has_cause = true;
    record.action = static_cast<Action>(value[0]);
    value.remove_prefix(1);
    if (!read_varint(value, size) || !take(value, size, record.cause_path)) return damaged(at, "bad cause");
  }
  record.encoded = value;
  const Result<KeyValue> kv = decode_key_value(value);
  if (!kv.has_value()) return damaged(at, kv.error().message.c_str());
  if (kv->key.empty() || value[0] != 0x0A) return damaged(at, "key is not the first field");
  if (kv->mod_revision != at.main) return damaged(at, "mod_revision is another one");
  const auto key_offset = static_cast<std::size_t>(kv->key.data() - value.data());
  if (key_offset > kVarintBytesMax) return damaged(at, "key is not the first field");
  record.key_offset = static_cast<std::uint32_t>(key_offset);
  record.key_size = static_cast<std::uint32_t>(kv->key.size());
  record.value_size = static_cast<std::uint32_t>(kv->value.size());
  if (peek) {
    if (kv->value.empty() ||
        peek_crc(key, static_cast<char>(flags), rest, kv->value) != load_little_endian(crc_of_rest) ||
        (record.value_size <= large_value_bytes && !is_good())) {
      return damaged(at, "checksum mismatch");
    }
  }
  return record;
}

}  // namespace

Result<HistoryRecord> decode_history_record(BytesView key, BytesView value) {
  return decode(key, value, std::numeric_limits<std::uint64_t>::max());
}

Result<HistoryRecord> peek_history_record(BytesView key, BytesView value, std::uint64_t large_value_bytes) {
  return decode(key, value, large_value_bytes);
}

}  // namespace etcd::mvcc
