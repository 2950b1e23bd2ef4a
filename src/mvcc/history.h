// mvcc/history.h - the stored form of one version of one key, and the marks of progress beside it.
//
// Thread:  any (pure functions).
// Format:  docs/formats/store.md
#pragma once
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "mvcc/cause.h"
#include "mvcc/entry.h"

namespace etcd::mvcc {

inline constexpr std::string_view kHistoryTable = "history";
inline constexpr std::string_view kMetaTable = "mvcc";
inline constexpr std::string_view kLiveTable = "live";

/// A record of the revision log. The views are borrowed from whoever shows it.
struct HistoryRecord {
  Revision revision;
  bool tombstone = false;
  BytesView encoded;         // mvccpb.KeyValue; a tombstone's has key and mod_revision only
  std::uint32_t key_offset;  // where the key lies in `encoded`
  std::uint32_t key_size;
  std::uint32_t value_size = 0;
  Attributes attributes{};
  std::uint32_t position = 1;  // see links.h
  BytesView links;
  bool has_cause = false;
  Action action = Action::kPut;
  BytesView cause_path;

  [[nodiscard]] BytesView key() const { return encoded.substr(key_offset, key_size); }
  /// The bytes upstream stores for this revision, which HashKV hashes.
  [[nodiscard]] BytesView upstream_value() const {
    return tombstone ? encoded.substr(0, key_offset + std::size_t{key_size}) : encoded;
  }
  /// Null when it is the default one.
  [[nodiscard]] SharedCause cause() const {
    return has_cause ? std::make_shared<const Cause>(Cause{action, Bytes(cause_path)}) : nullptr;
  }
  [[nodiscard]] EntryRef to_entry() const {
    return Entry::make_encoded(encoded, key_offset, key_size, revision, tombstone, attributes, position, links);
  }
  /// A stub where the value has more than `large_value_bytes`; what a record that was peeked at with that is made into.
  [[nodiscard]] EntryRef to_entry_or_stub(std::uint64_t large_value_bytes) const;
};

/// The record that shows `entry`; its views point into it and into `cause`.
HistoryRecord record_of(const Entry& entry, const Cause* cause);

inline constexpr std::size_t kHistoryKeyBytes = 12;

/// Values of so many bytes and more lie on pages of their own in the engine; the record then has a checksum of all but
/// the value beside that of the whole.
inline constexpr std::size_t kPeekedValueBytesMin = 4096;

/// The table's key: main as 8 bytes, sub as 4, big-endian.
Bytes history_key(Revision revision);
/// Errors: kCorrupt.
Result<Revision> parse_history_key(BytesView key);

Bytes encode_history_record(const HistoryRecord& record);
/// Checks checksum and form. Errors: kCorrupt, naming table and revision.
Result<HistoryRecord> decode_history_record(BytesView key, BytesView value);
/// As above, but a value of more than `large_value_bytes`, which `encoded` spans, is neither read nor checked (when it
/// has kPeekedValueBytesMin at least), so that the pages it lies on stay where they are. All else is checked.
Result<HistoryRecord> peek_history_record(BytesView key, BytesView value, std::uint64_t large_value_bytes);

}  // namespace etcd::mvcc
