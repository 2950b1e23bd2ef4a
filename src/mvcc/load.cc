#include "mvcc/load.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "base/check.h"
#include "mvcc/history.h"
#include "mvcc/links.h"
#include "mvcc/parallel.h"
#include "mvcc/sort.h"

namespace etcd::mvcc {

namespace {

/// What one thread reads.
struct Share {
  std::vector<const Entry*> entries;
  std::vector<const Entry*> deadlines;                          // those of `entries` that have one
  std::vector<std::pair<std::int64_t, std::uint32_t>> several;  // revisions with more than one record, how many
  std::optional<Error> error;
  std::size_t error_at = ~std::size_t{0};  // in which stretch

  void take(const HistoryRecord& record, std::uint64_t large_value_bytes) {
    entries.push_back(record.to_entry_or_stub(large_value_bytes).detach());
    if (record.attributes.deadline.ns != 0) deadlines.push_back(entries.back());
  }
};

std::unexpected<Error> newest_twice(const Entry& left, const Entry& right) {
  const auto [older, newer] = std::minmax({left.mod_revision(), right.mod_revision()});
  return failure(ErrorCode::kCorrupt,
                 fmt::format("table {}, revisions {} and {}: both are the newest version of one key", kHistoryTable,
                             older, newer));
}

/// Of entries with equal keys, which lie side by side, leaves the newest. The others must be of revisions with several
/// records: there the map does not tell which of them is superseded.
Result<void> drop_superseded(Loaded& loaded, LiveMap& live) {
  absl::flat_hash_set<const Entry*> dropped;
  std::optional<std::pair<const Entry*, const Entry*>> twice;
  std::vector<const Entry*>& entries = loaded.entries;
  std::size_t kept = 0;
  for (std::size_t place = 0; place < entries.size(); ++place) {
    const Entry* entry = entries[place];
    if (kept > 0 && entries[kept - 1]->key() == entry->key()) {
      if (entries[kept - 1]->revision() < entry->revision()) std::swap(entries[kept - 1], entry);
      if (!live.found_dead(entry->mod_revision()) && !twice) twice.emplace(entry, entries[kept - 1]);
      dropped.insert(entry);
    } else {
      entries[kept++] = entry;
    }
  }
  entries.resize(kept);
  std::erase_if(loaded.deadlines, [&](const EntryRef& entry) { return dropped.contains(entry.get()); });
  Result<void> good;
  if (twice) good = newest_twice(*twice->first, *twice->second);
  for (const Entry* entry : dropped) EntryRef::adopt(entry);
  return good;
}

/// What the threads have read becomes one, in key order.
Result<Loaded> join(std::vector<Share>& shares, unsigned threads, LiveMap& live) {
  Loaded loaded;
  std::size_t count = 0;
  for (const Share& share : shares) count += share.entries.size();
  loaded.entries.reserve(count);
  const Share* failed = nullptr;
  for (const Share& share : shares) {
    loaded.entries.insert(loaded.entries.end(), share.entries.begin(), share.entries.end());
    for (const Entry* entry : share.deadlines) loaded.deadlines.emplace_back(entry);
    for (const auto& [revision, records] : share.several) live.found(revision, records);
    if (share.error && (failed == nullptr || share.error_at < failed->error_at)) failed = &share;
  }
  if (failed != nullptr) return std::unexpected(*failed->error);
  if (sort_by_key(loaded.entries, threads)) ETCD_TRY_VOID(drop_superseded(loaded, live));
  return loaded;
}

// --- by the map ---

/// If the wanted revision is more than so many further on, it is looked for; else the records between are stepped over.
/// Measured on LMDB with ten records of 400 bytes to a key: from 4 to 32 it hardly matters, without jumps the walk takes
/// half as long again.
constexpr std::int64_t kJumpRevisions = 8;

/// The revisions with a bit in a row of blocks, one after the other.
class Wanted {
 public:
  Wanted(const LiveMap& live, const std::int64_t* begin, const std::int64_t* end)
      : live_(live), number_(begin), end_(end) {
    if (number_ != end_) word_ = live_.block(*number_).words[0];
    next();
  }

  [[nodiscard]] bool valid() const { return number_ != end_; }
  [[nodiscard]] std::int64_t revision() const { return revision_; }
  void next() {
    while (number_ != end_ && word_ == 0) {
      if (++place_ == LiveBlock::kWords) {
        place_ = 0;
        ++number_;
      }
      if (number_ != end_) word_ = live_.block(*number_).words[place_];
    }
    if (number_ == end_) return;
    revision_ = *number_ * LiveBlock::kRevisions + static_cast<std::int64_t>(place_) * 64 + std::countr_zero(word_);
    word_ &= word_ - 1;
  }

 private:
  const LiveMap& live_;
  const std::int64_t* number_;
  const std::int64_t* end_;
  std::size_t place_ = 0;
  std::uint64_t word_ = 0;  // the bits that are still to come
  std::int64_t revision_ = 0;
};

/// Reads the records of some blocks in one walk over the history.
class Stretch {
 public:
  Stretch(const LoadOptions& options, Wanted wanted, Share& share)
      : options_(options), wanted_(wanted), share_(share) {}

  void read(const engine::Snapshot& snapshot) {
    if (!wanted_.valid()) return;
    const Bytes from = history_key({wanted_.revision(), 0});
    Result<void> walked =
        snapshot.walk(options_.history, from, [this](BytesView key, BytesView value) { return look(key, value); });
    if (!walked.has_value() && !share_.error) share_.error = std::move(walked).error();
    if (share_.error) return;
    leave_revision();
    if (wanted_.valid()) share_.error = missing();
  }

 private:
  std::optional<BytesView> look(BytesView key, BytesView value) {
    // The key's main revision; one of another size does not pass the decoder.
    std::uint64_t read = 0;
    std::memcpy(&read, key.data(), std::min(key.size(), sizeof read));
    const auto main = static_cast<std::int64_t>(__builtin_bswap64(read));
    if (main > wanted_.revision()) {
      leave_revision();
      if (!wanted_.valid()) return std::nullopt;
    }
    if (main == wanted_.revision()) {
      const Result<HistoryRecord> record = peek_history_record(key, value, options_.large_value_bytes);
      if (!record.has_value()) {
        share_.error = record.error();
        return std::nullopt;
      }
      share_.take(*record, options_.large_value_bytes);
      ++records_;
      stepped_ = false;
      return BytesView();
    }
    if (main > wanted_.revision() || main < 0) {
      share_.error = missing();
      return std::nullopt;
    }
    // Where the history was compacted, the next record is mostly the one that is wanted, however far its revision.
    if (!std::exchange(stepped_, true) || wanted_.revision() - main <= kJumpRevisions) return BytesView();
    stepped_ = false;
    jump_ = history_key({wanted_.revision(), 0});
    return jump_;
  }

  /// The walk is past the wanted revision, if it has met it at all.
  void leave_revision() {
    if (records_ == 0) return;
    if (records_ > 1) share_.several.emplace_back(wanted_.revision(), records_);
    records_ = 0;
    const std::int64_t before = wanted_.revision();
    wanted_.next();
    CHECK(!wanted_.valid() || wanted_.revision() > before, "revision {} after {}", wanted_.revision(), before);
  }

  [[nodiscard]] Error missing() const {
    return {ErrorCode::kCorrupt, fmt::format("table {}, revision {}: missing, table {} names it", kHistoryTable,
                                             wanted_.revision(), kLiveTable)};
  }

  const LoadOptions& options_;
  Wanted wanted_;
  Share& share_;
  std::uint32_t records_ = 0;  // met of the wanted revision
  bool stepped_ = false;       // over a record that is not wanted, just before
  Bytes jump_;
};

}  // namespace

Result<Loaded> load_live(const engine::Engine& engine, const LoadOptions& options, LiveMap& live) {
  constexpr std::size_t kStretchBlocks = 8;
  const std::vector<std::int64_t> blocks = live.blocks();
  const std::size_t stretches = (blocks.size() + kStretchBlocks - 1) / kStretchBlocks;
  const auto threads = static_cast<unsigned>(std::clamp<std::size_t>(stretches, 1, std::max(options.threads, 1U)));
  std::vector<Share> shares(threads);
  std::atomic<std::size_t> next{0};
  run_on_threads(threads, [&](unsigned thread) {
    Share& share = shares[thread];
    share.entries.reserve(live.bits() / threads + live.bits() / 16);
    // One for all that this thread reads, past the 50 ms: nobody writes yet.
    Result<std::unique_ptr<engine::Snapshot>> snapshot = engine.snapshot();
    if (!snapshot.has_value()) {
      share.error = std::move(snapshot).error();
      return;
    }
    std::size_t at = 0;
    while (!share.error && (at = next.fetch_add(1)) < stretches) {
      const std::int64_t* const begin = blocks.data() + at * kStretchBlocks;
      const std::int64_t* const end = blocks.data() + std::min((at + 1) * kStretchBlocks, blocks.size());
      share.error_at = at;
      Stretch(options, Wanted(live, begin, end), share).read(**snapshot);
    }
  });
  return join(shares, threads, live);
}

// --- the whole history ---

Result<Loaded> load_all(const engine::Snapshot& snapshot, const LoadOptions& options, std::int64_t finished,
                        LiveMap& live) {
  // From the newest record back, each names the one it superseded, so no key is hashed and no dead version copied.
  absl::flat_hash_set<std::pair<std::int64_t, std::int64_t>> superseded;
  std::vector<Share> shares(1);
  Share& share = shares.front();
  const Result<void> scanned = snapshot.scan_back(options.history, {}, [&](BytesView key, BytesView value) {
    const Result<HistoryRecord> record = peek_history_record(key, value, options.large_value_bytes);
    if (!record.has_value()) {
      share.error = record.error();
      return false;
    }
    const Revision at = record->revision;
    const bool newest = superseded.empty() || superseded.erase({at.main, at.sub}) == 0;
    // A finished compaction has deleted what the records up to it superseded.
    if (!record->links.empty() && at.main > finished) {
      const Revision before = decode_links(at, record->links)->front();
      superseded.emplace(before.main, before.sub);
    }
    if (newest) share.take(*record, options.large_value_bytes);
    return true;
  });
  if (!scanned.has_value() && !share.error) share.error = scanned.error();
  ETCD_TRY(Loaded loaded, join(shares, options.threads, live));
  for (const Entry* entry : loaded.entries) live.add(entry->mod_revision());
  return loaded;
}

}  // namespace etcd::mvcc
