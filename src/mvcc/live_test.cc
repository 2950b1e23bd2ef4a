#include "mvcc/live.h"

#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/memory_engine.h"

namespace etcd::mvcc {
namespace {

const std::vector<std::string> kTables = {"live"};

TEST(LiveRow, LeavesOutWordsThatAreEmptyOrFull) {
  constexpr std::uint64_t kAll = ~std::uint64_t{0};
  struct Row {
    const char* name;
    std::map<std::size_t, std::uint64_t> words;
    std::uint64_t others;
    std::size_t bytes;
    std::uint64_t count;
  };
  const Row rows[] = {
      {"one bit", {{0, 1}}, 0, 28, 1},
      {"the last bit", {{63, std::uint64_t{1} << 63}}, 0, 28, 1},
      {"full", {}, kAll, 20, 4096},
      {"full but for a bit", {{17, kAll - 1}}, kAll, 28, 4095},
      {"one full word", {{5, kAll}}, 0, 20, 64},
      {"some of each kind", {{0, kAll}, {1, 5}, {62, 1}, {63, kAll}}, 0, 36, 131},
      {"no word is left out", {}, 0x5555555555555555, 532, 2048},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    LiveBlock block;
    block.words.fill(row.others);
    for (const auto& [place, word] : row.words) block.words[place] = word;
    EXPECT_EQ(block.count(), row.count);
    for (const std::int64_t number : {std::int64_t{0}, std::int64_t{300}, (std::int64_t{1} << 51) - 1}) {
      const Bytes encoded = encode_live_block(number, block);
      EXPECT_EQ(encoded.size(), row.bytes);
      const auto decoded = decode_live_block(live_key(number), encoded);
      ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
      EXPECT_EQ(decoded->first, number);
      EXPECT_EQ(decoded->second, block);
    }
  }
}

TEST(LiveRow, AnyDamageIsFoundAndNamed) {
  LiveBlock block;
  block.words[3] = 77;
  block.words[9] = ~std::uint64_t{0};
  const Bytes key = live_key(2);
  const Bytes good = encode_live_block(2, block);
  const auto error_of = [](BytesView row_key, BytesView row) {
    const auto decoded = decode_live_block(row_key, row);
    EXPECT_FALSE(decoded.has_value());
    if (decoded.has_value()) return Bytes();
    EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
    return decoded.error().message;
  };
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    Bytes damaged = good;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(error_of(key, damaged), "table live, revisions 8192 to 12287: checksum mismatch");
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(error_of(key, BytesView(good).substr(0, size)),
              size < 20 ? "table live, revisions 8192 to 12287: row too short"
                        : "table live, revisions 8192 to 12287: checksum mismatch");
  }
  EXPECT_EQ(error_of(live_key(3), good), "table live, revisions 12288 to 16383: checksum mismatch");
  EXPECT_EQ(error_of("1234567", good), "table live: a key of 7 bytes");
  EXPECT_EQ(error_of(Bytes(8, '\xFF'), good), "table live: there is no block 18446744073709551615");
}

/// A store of rows, and the map as naively as can be.
class LiveMapTest : public testing::Test {
 protected:
  void commit(LiveMap& map) {
    engine::Batch batch;
    map.take_changes(batch, 0);
    EXPECT_FALSE(map.changed());
    ASSERT_TRUE(engine_->commit(batch).has_value());
  }
  std::vector<std::int64_t> blocks_on_disk() {
    std::vector<std::int64_t> numbers;
    const auto snapshot = *engine_->snapshot();
    EXPECT_TRUE(snapshot
                    ->scan(0, {},
                           [&](BytesView key, BytesView row) {
                             numbers.push_back(decode_live_block(key, row)->first);
                             return true;
                           })
                    .has_value());
    return numbers;
  }

  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_ = engine::open_memory(disk_, kTables);
};

class LiveMapModelTest : public LiveMapTest, public testing::WithParamInterface<std::uint64_t> {};

INSTANTIATE_TEST_SUITE_P(Seeds, LiveMapModelTest, testing::Range<std::uint64_t>(1, 6));

TEST_P(LiveMapModelTest, AgreesWithAListOfRevisions) {
  Rng rng(GetParam());
  LiveMap map;
  std::map<std::int64_t, std::uint32_t> model;  // newest records by revision
  std::int64_t revision = 2;
  for (int step = 0; step < 4000; ++step) {
    if (rng.chance(3, 5) || model.empty()) {
      revision += 1 + static_cast<std::int64_t>(rng.chance(1, 10) ? rng.below(9000) : 0);
      for (std::uint64_t records = 1 + (rng.chance(1, 4) ? rng.below(5) : 0); records-- > 0;) {
        map.add(revision);
        ++model[revision];
      }
    } else {
      // Mostly the oldest, so that blocks run empty.
      auto gone = model.begin();
      std::advance(gone, static_cast<std::ptrdiff_t>(rng.below(rng.chance(1, 5) ? model.size() : 1)));
      map.remove(gone->first);
      if (--gone->second == 0) model.erase(gone);
    }
    if (rng.chance(1, 100)) commit(map);
    if (rng.chance(1, 500)) {
      // A restart: what is on disk comes back; the counts come with the records.
      commit(map);
      map = LiveMap();
      ASSERT_TRUE(map.load(**engine_->snapshot(), 0).has_value());
      EXPECT_FALSE(map.changed());
      for (const auto& [at, records] : model) {
        EXPECT_EQ(map.live_in(at), 1u);
        if (records == 1) continue;
        map.found(at, records + 2);
        EXPECT_TRUE(map.found_dead(at));
        EXPECT_TRUE(map.found_dead(at));
      }
    }
    if (step % 50 == 0) {
      EXPECT_EQ(map.bits(), model.size());
      for (const auto& [at, records] : model) EXPECT_EQ(map.live_in(at), records) << at;
      for (int look = 0; look < 50; ++look) {
        const auto at = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(revision) + 10));
        EXPECT_EQ(map.live_in(at) > 0, model.contains(at)) << at;
      }
    }
    if (HasFailure()) FAIL() << "step " << step;
  }
  commit(map);
  EXPECT_EQ(blocks_on_disk(), map.blocks()) << "what is empty has no row";
  while (!model.empty()) {
    for (; model.begin()->second > 0; --model.begin()->second) map.remove(model.begin()->first);
    model.erase(model.begin());
  }
  commit(map);
  EXPECT_EQ(blocks_on_disk(), std::vector<std::int64_t>{});
}

TEST_F(LiveMapTest, OfARevisionWithOneRecordNoneIsDead) {
  LiveMap map;
  map.add(5);
  map.found(7, 2);
  EXPECT_FALSE(map.found_dead(5));
  EXPECT_TRUE(map.found_dead(7));
  EXPECT_FALSE(map.found_dead(7)) << "one of them is the newest of its key";
}

TEST_F(LiveMapTest, WhatIsDiscardedGoesWithTheNextChanges) {
  LiveMap map;
  for (const std::int64_t revision : {2, 5000, 9000, 20'000}) map.add(revision);
  commit(map);
  EXPECT_EQ(blocks_on_disk(), (std::vector<std::int64_t>{0, 1, 2, 4}));
  LiveMap other;
  ASSERT_TRUE(other.discard(**engine_->snapshot(), 0).has_value());
  EXPECT_TRUE(other.changed());
  EXPECT_EQ(other.bits(), 0u);
  other.add(5001);
  commit(other);
  EXPECT_EQ(blocks_on_disk(), std::vector<std::int64_t>{1});
  map = LiveMap();
  ASSERT_TRUE(map.load(**engine_->snapshot(), 0).has_value());
  EXPECT_EQ(map.bits(), 1u);
  EXPECT_EQ(map.live_in(5001), 1u);
}

TEST_F(LiveMapTest, ADamagedRowIsNamed) {
  LiveMap map;
  for (const std::int64_t revision : {2, 5000}) map.add(revision);
  commit(map);
  const Bytes damaged = "no row";
  disk_.damage("live", live_key(1), &damaged);
  LiveMap other;
  EXPECT_EQ(other.load(**engine_->snapshot(), 0).error(),
            (Error{ErrorCode::kCorrupt, "table live, revisions 4096 to 8191: row too short"}));
}

}  // namespace
}  // namespace etcd::mvcc
