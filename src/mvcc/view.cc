#include "mvcc/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/check.h"
#include "mvcc/links.h"
#include "mvcc/store.h"

namespace etcd::mvcc {

/// Reads versions by revision, from the tail or from the engine; opens an engine snapshot when the first one is needed.
class Reader::HistoryReads {
 public:
  explicit HistoryReads(const Reader& reader) : reader_(reader) {}

  enum class Part : std::uint8_t {
    kNoValue,
    kSmallValue,  // an entry, or a stub
    kAll,
  };

  /// The record at exactly `revision`, or nothing. Its views live until the next call.
  Result<std::optional<HistoryRecord>> find(Revision revision, Part part) {
    in_tail_ = nullptr;
    if (const TailSlot* slot = reader_.tail_.find(revision)) {
      in_tail_ = slot->entry;
      return record_of(*slot->entry, slot->cause.get());
    }
    // A cold read takes about 0.1 ms and no snapshot may live longer than 50 ms.
    constexpr int kReadsPerSnapshot = 500;
    const Store& store = *reader_.store_;
    if (snapshot_ == nullptr || reads_ == kReadsPerSnapshot) {
      snapshot_.reset();
      ETCD_TRY(snapshot_, store.engine_.snapshot());
      reads_ = 0;
    }
    ++reads_;
    const Bytes key = history_key(revision);
    ETCD_TRY(const std::optional<BytesView> value, snapshot_->get(store.options_.history, key));
    if (!value.has_value()) return std::nullopt;
    ETCD_TRY(const HistoryRecord record,
             part == Part::kAll
                 ? decode_history_record(key, *value)
                 : peek_history_record(key, *value, part == Part::kNoValue ? 0 : store.options_.large_value_bytes));
    return record;
  }

  /// The version at exactly `revision`, or null. It is the tail's own where it came from there. Not for kNoValue.
  Result<EntryRef> entry_at(Revision revision, Part part) {
    ETCD_TRY(const std::optional<HistoryRecord> record, find(revision, part));
    if (!record.has_value()) return EntryRef();
    if (in_tail_ != nullptr) return EntryRef(in_tail_);
    return part == Part::kAll ? record->to_entry()
                              : record->to_entry_or_stub(reader_.store_->options_.large_value_bytes);
  }

  /// The version of the key of `newest`, which is newer than `revision`, as of `revision`; null when it was not alive.
  Result<EntryRef> version_at(const Entry& newest, std::int64_t revision, Part part) {
    ETCD_TRY(const Before before, walk_to(newest, revision));
    if (!before.alive) return EntryRef();
    ETCD_TRY(EntryRef entry, entry_at(before.revision, part));
    if (!entry) return gone(before.revision, revision);
    return entry;
  }

  /// Whether there was such a version; needs one read less.
  Result<bool> was_alive_at(const Entry& newest, std::int64_t revision) {
    ETCD_TRY(const Before before, walk_to(newest, revision));
    return before.alive;
  }

 private:
  /// The version that was the newest at some revision.
  struct Before {
    bool alive;  // false: a tombstone, or none at all
    Revision revision{};
  };

  Result<Before> walk_to(const Entry& newest, std::int64_t revision) {
    Revision at = newest.revision();
    std::optional<Links> links = decode_links(at, newest.links());
    bool creation = !newest.is_tombstone() && newest.version() == 1;
    for (;;) {
      CHECK(links.has_value(), "links of revision {}.{}", at.main, at.sub);
      const auto readable = std::find_if(links->begin(), links->end(),
                                         [revision](const Revision& link) { return link.main <= revision; });
      if (readable == links->begin()) {
        // The version before this one is the answer, or there is none. What lies before a creation is a tombstone, and
        // before a tombstone or a later version is a live one.
        if (links->empty() || creation) return Before{.alive = false};
        return Before{.alive = true, .revision = links->front()};
      }
      at = *(readable - 1);
      ETCD_TRY(const std::optional<HistoryRecord> record, find(at, Part::kNoValue));
      if (!record.has_value()) return gone(at, revision);
      links = decode_links(at, record->links);
      creation = false;
      if (!record->tombstone) {
        ETCD_TRY(const KeyValue kv, decode_key_value(record->encoded));
        creation = kv.version == 1;
      }
    }
  }

  /// A record on the way to the version at `revision` is not there.
  [[nodiscard]] std::unexpected<Error> gone(Revision missing, std::int64_t revision) const {
    // A walk for a readable revision meets no record that compaction deletes, so either a compaction has come since the
    // view was taken (it is published before it deletes anything), or the table is damaged.
    const std::int64_t compacted = reader_.store_->compacted();
    if (revision < compacted) {
      return failure(ErrorCode::kCompacted, fmt::format("revision {} is compacted, at {}", revision, compacted));
    }
    return failure(ErrorCode::kCorrupt, fmt::format("table {}, revision {}.{}: missing, wanted for revision {}",
                                                    kHistoryTable, missing.main, missing.sub, revision));
  }

  const Reader& reader_;
  std::unique_ptr<engine::Snapshot> snapshot_;
  int reads_ = 0;
  const Entry* in_tail_ = nullptr;  // what the last find() found, when it came from the tail
};

Result<void> Reader::check_readable(std::int64_t revision) const {
  if (revision > readable_) {
    return failure(ErrorCode::kFutureRevision, fmt::format("revision {} is past {}", revision, readable_));
  }
  if (revision < compacted_) {
    return failure(ErrorCode::kCompacted, fmt::format("revision {} is compacted, at {}", revision, compacted_));
  }
  return {};
}

Result<EntryRef> Reader::get(BytesView key, std::int64_t revision) const {
  if (is_latest(revision)) return EntryRef(get(key));
  ETCD_TRY_VOID(check_readable(revision));
  const Entry* entry = tree_.find(key);
  if (entry == nullptr) return EntryRef();
  if (entry->mod_revision() <= revision) return entry->is_tombstone() ? EntryRef() : EntryRef(entry);
  return HistoryReads(*this).version_at(*entry, revision, HistoryReads::Part::kAll);
}

Result<EntryRef> Reader::as_of(const Entry& newest, std::int64_t revision) const {
  ETCD_TRY_VOID(check_readable(revision));
  if (newest.mod_revision() <= revision) return newest.is_tombstone() ? EntryRef() : EntryRef(&newest);
  return HistoryReads(*this).version_at(newest, revision, HistoryReads::Part::kSmallValue);
}

Result<EntryRef> Reader::load(const Entry& entry) const {
  if (entry.has_value()) return EntryRef(&entry);
  const Revision at = entry.revision();
  ETCD_TRY(EntryRef whole, HistoryReads(*this).entry_at(at, HistoryReads::Part::kAll));
  const auto lost = [at](ErrorCode code, const char* what) {
    return failure(code, fmt::format("table {}, revision {}.{}: {}", kHistoryTable, at.main, at.sub, what));
  };
  if (whole) {
    if (whole->key() == entry.key() && whole->value_size() == entry.value_size()) return whole;
    return lost(ErrorCode::kCorrupt, "is another version than it was");
  }
  // Compaction takes a version that a newer one has replaced, and is published before it takes the first.
  const View now = store_->view();
  const Entry* newest = now.tree_.find(entry.key());
  const bool replaced = newest == nullptr || newest->revision() != at;
  if (replaced && at.main <= now.compacted()) return lost(ErrorCode::kCompacted, "is compacted");
  return lost(ErrorCode::kCorrupt, "missing");
}

Result<bool> Reader::range(const KeyRange& range, const RangeOptions& options, EntryVisitor visit) const {
  const bool latest = is_latest(options.revision);
  if (!latest) ETCD_TRY_VOID(check_readable(options.revision));
  if (range.is_empty()) return false;
  if (range.is_one()) {
    ETCD_TRY(const EntryRef entry, get(range.begin(), options.revision));
    if (entry) visit(*entry);
    return false;
  }
  std::uint64_t shown = 0;
  HistoryReads reads(*this);
  const HistoryReads::Part part = options.keys_only ? HistoryReads::Part::kSmallValue : HistoryReads::Part::kAll;
  for (Cursor cursor = latest ? tree_.cursor(range.begin()) : tree_.cursor_all(range.begin()); cursor.valid();
       cursor.next()) {
    const Entry* entry = &cursor.entry();
    if (range.is_past(entry->key())) break;
    EntryRef older;
    if (!latest && entry->mod_revision() > options.revision) {
      ETCD_TRY(older, reads.version_at(*entry, options.revision, part));
      entry = older.get();
    }
    if (entry == nullptr || entry->is_tombstone()) continue;
    if (options.limit > 0 && shown == options.limit) return true;
    ++shown;
    if (!visit(*entry)) return false;
  }
  return false;
}

Result<std::uint64_t> Reader::count(const KeyRange& range, std::int64_t revision) const {
  if (is_latest(revision)) return count(range);
  ETCD_TRY_VOID(check_readable(revision));
  HistoryReads reads(*this);
  return tree_.count_at(range, revision,
                        [&reads, revision](const Entry& entry) { return reads.was_alive_at(entry, revision); });
}

const Entry* Reader::first_in(const KeyRange& range) const {
  if (range.is_empty()) return nullptr;
  if (range.is_one()) return get(range.begin());
  const Cursor first = tree_.cursor(range.begin());
  return first.valid() && !range.is_past(first.key()) ? &first.entry() : nullptr;
}

Result<void> Reader::history(std::int64_t first, std::int64_t last, RecordVisitor visit) const {
  last = std::min(last, readable_);
  first = std::max<std::int64_t>(first, 0);
  if (first > last) return {};
  // What lies before the tail is committed, and a snapshot opened now has it.
  const bool has_tail = tail_.begin < tail_.end;
  const Revision tail_starts = has_tail ? tail_.at(tail_.begin).entry->revision() : Revision{readable_ + 1, 0};
  bool more = true;
  if (first < tail_starts.main || tail_starts.sub > 0) {
    ETCD_TRY(const auto snapshot, store_->engine_.snapshot());
    std::optional<Error> error;
    ETCD_TRY_VOID(
        snapshot->scan(store_->options_.history, history_key({first, 0}), [&](BytesView key, BytesView value) {
          const Result<HistoryRecord> record = decode_history_record(key, value);
          if (!record.has_value()) {
            error = record.error();
            return false;
          }
          if (record->revision.main > last || record->revision >= tail_starts) return false;
          return more = visit(*record);
        }));
    if (error) return std::unexpected(std::move(*error));
  }
  if (!has_tail) return {};
  for (std::uint64_t place = tail_.lower_bound({first, 0}); more && place < tail_.end; ++place) {
    const TailSlot& slot = tail_.at(place);
    if (slot.entry->mod_revision() > last) break;
    more = visit(record_of(*slot.entry, slot.cause.get()));
  }
  return {};
}

Result<EntryRef> Reader::version(Revision revision) const {
  if (revision.main > readable_ || revision.main < 0) return EntryRef();
  return HistoryReads(*this).entry_at(revision, HistoryReads::Part::kSmallValue);
}

}  // namespace etcd::mvcc
