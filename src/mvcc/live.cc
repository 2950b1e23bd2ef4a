#include "mvcc/live.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/check.h"
#include "base/crc32c.h"
#include "mvcc/history.h"

namespace etcd::mvcc {

namespace {

constexpr std::uint64_t kFull = ~std::uint64_t{0};
constexpr std::size_t kKeyBytes = 8;
constexpr std::size_t kCrcBytes = 4;
constexpr std::size_t kHeadBytes = kCrcBytes + 2 * sizeof(std::uint64_t);
constexpr std::int64_t kLastBlock = 0x7FFFFFFFFFFFFFFF / LiveBlock::kRevisions;
static_assert(LiveBlock::kWords * 64 == LiveBlock::kRevisions);
static_assert(std::endian::native == std::endian::little, "numbers in rows are little-endian");

template <class Number>
void append_number(Number number, Bytes& out) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

template <class Number>
Number number_at(BytesView bytes, std::size_t place) {
  Number number = 0;
  std::memcpy(&number, bytes.data() + place, sizeof number);
  return number;
}

std::unexpected<Error> damaged(std::int64_t number, const char* what) {
  const std::int64_t first = number * LiveBlock::kRevisions;
  return failure(ErrorCode::kCorrupt, fmt::format("table {}, revisions {} to {}: {}", kLiveTable, first,
                                                  first + (LiveBlock::kRevisions - 1), what));
}

}  // namespace

Bytes live_key(std::int64_t number) {
  CHECK(number >= 0 && number <= kLastBlock, "block {}", number);
  Bytes key(kKeyBytes, '\0');
  for (std::size_t place = 0; place < kKeyBytes; ++place) key[place] = static_cast<char>(number >> (56 - 8 * place));
  return key;
}

Bytes encode_live_block(std::int64_t number, const LiveBlock& block) {
  std::uint64_t used = 0;  // bit i: words[i] has bits
  std::uint64_t full = 0;  // bit i: words[i] has all of them
  Bytes words;
  for (std::size_t place = 0; place < LiveBlock::kWords; ++place) {
    const std::uint64_t word = block.words[place];
    if (word != 0) used |= std::uint64_t{1} << place;
    if (word == kFull) full |= std::uint64_t{1} << place;
    if (word != 0 && word != kFull) append_number(word, words);
  }
  CHECK(used != 0, "block {} is empty", number);
  Bytes row;
  row.reserve(kHeadBytes + words.size());
  append_number(std::uint32_t{0}, row);
  append_number(used, row);
  append_number(full, row);
  row += words;
  const std::uint32_t crc = crc32c(crc32c(live_key(number)), BytesView(row).substr(kCrcBytes));
  std::memcpy(row.data(), &crc, sizeof crc);
  return row;
}

Result<std::pair<std::int64_t, LiveBlock>> decode_live_block(BytesView key, BytesView value) {
  if (key.size() != kKeyBytes) {
    return failure(ErrorCode::kCorrupt, fmt::format("table {}: a key of {} bytes", kLiveTable, key.size()));
  }
  std::uint64_t read = 0;
  for (const char byte : key) read = read << 8 | static_cast<unsigned char>(byte);
  if (read > static_cast<std::uint64_t>(kLastBlock)) {
    return failure(ErrorCode::kCorrupt, fmt::format("table {}: there is no block {}", kLiveTable, read));
  }
  const auto number = static_cast<std::int64_t>(read);
  if (value.size() < kHeadBytes) return damaged(number, "row too short");
  if (crc32c(crc32c(key), value.substr(kCrcBytes)) != number_at<std::uint32_t>(value, 0)) {
    return damaged(number, "checksum mismatch");
  }
  const auto used = number_at<std::uint64_t>(value, kCrcBytes);
  const auto full = number_at<std::uint64_t>(value, kCrcBytes + sizeof used);
  const auto partial = static_cast<std::size_t>(std::popcount(used & ~full));
  if (used == 0 || (full & ~used) != 0 || value.size() != kHeadBytes + 8 * partial) return damaged(number, "bad row");
  LiveBlock block;
  std::size_t at = kHeadBytes;
  for (std::size_t place = 0; place < LiveBlock::kWords; ++place) {
    if ((full >> place & 1) != 0) {
      block.words[place] = kFull;
    } else if ((used >> place & 1) != 0) {
      block.words[place] = number_at<std::uint64_t>(value, at);
      at += 8;
    }
  }
  return std::pair(number, block);
}

Result<void> LiveMap::load(const engine::Snapshot& snapshot, engine::TableId table) {
  std::optional<Error> error;
  ETCD_TRY_VOID(snapshot.scan(table, {}, [&](BytesView key, BytesView value) {
    Result<std::pair<std::int64_t, LiveBlock>> row = decode_live_block(key, value);
    if (!row.has_value()) {
      error = std::move(row).error();
      return false;
    }
    bits_ += row->second.count();
    blocks_[row->first].block = std::make_unique<LiveBlock>(row->second);
    return true;
  }));
  if (error) return std::unexpected(std::move(*error));
  return {};
}

Result<void> LiveMap::discard(const engine::Snapshot& snapshot, engine::TableId table) {
  return snapshot.scan(table, {}, [&](BytesView key, BytesView) {
    stale_.emplace_back(key);
    return true;
  });
}

bool LiveMap::found_dead(std::int64_t revision) {
  const auto several = records_.find(revision);
  if (several == records_.end()) return false;
  if (--several->second == 1) records_.erase(several);
  return true;
}

std::uint64_t& LiveMap::change(std::int64_t revision) {
  const std::int64_t number = revision / LiveBlock::kRevisions;
  Slot& slot = blocks_[number];
  if (slot.block == nullptr) slot.block = std::make_unique<LiveBlock>();
  if (!slot.changed) changed_.push_back(number);
  slot.changed = true;
  return slot.block->words[static_cast<std::size_t>(revision % LiveBlock::kRevisions) / 64];
}

void LiveMap::add(std::int64_t revision) {
  const std::uint64_t bit = std::uint64_t{1} << (revision % 64);
  std::uint64_t& word = change(revision);
  if ((word & bit) == 0) {
    word |= bit;
    ++bits_;
    return;
  }
  const auto [several, fresh] = records_.try_emplace(revision, 1);
  ++several->second;
}

void LiveMap::remove(std::int64_t revision) {
  if (found_dead(revision)) return;
  const std::uint64_t bit = std::uint64_t{1} << (revision % 64);
  std::uint64_t& word = change(revision);
  CHECK((word & bit) != 0, "no record of revision {} was the newest of its key", revision);
  word &= ~bit;
  --bits_;
}

void LiveMap::take_changes(engine::Batch& batch, engine::TableId table) {
  for (Bytes& key : stale_) batch.erase(table, std::move(key));
  stale_.clear();
  for (const std::int64_t number : changed_) {
    const auto slot = blocks_.find(number);
    slot->second.changed = false;
    const LiveBlock& block = *slot->second.block;
    if (block == LiveBlock{}) {
      batch.erase(table, live_key(number));
      blocks_.erase(slot);
    } else {
      batch.put(table, live_key(number), SharedBytes(encode_live_block(number, block)));
    }
  }
  changed_.clear();
}

std::uint32_t LiveMap::live_in(std::int64_t revision) const {
  const auto slot = blocks_.find(revision / LiveBlock::kRevisions);
  if (slot == blocks_.end()) return 0;
  const std::uint64_t word = slot->second.block->words[static_cast<std::size_t>(revision % LiveBlock::kRevisions) / 64];
  if ((word >> (revision % 64) & 1) == 0) return 0;
  const auto several = records_.find(revision);
  return several == records_.end() ? 1 : several->second;
}

std::vector<std::int64_t> LiveMap::blocks() const {
  std::vector<std::int64_t> numbers;
  numbers.reserve(blocks_.size());
  for (const auto& [number, slot] : blocks_) numbers.push_back(number);
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace etcd::mvcc
