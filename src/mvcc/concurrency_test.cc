// One writer, several readers, on threads of their own: what the sanitizers look at.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "engine/memory_engine.h"
#include "io/clock.h"
#include "mvcc/epochs.h"
#include "mvcc/store.h"

namespace etcd::mvcc {
namespace {

const std::vector<std::string> kTables = {std::string(kHistoryTable), std::string(kMetaTable), std::string(kLiveTable)};

TEST(EpochsTest, ManyPinsAtOnceFindRoom) {
  Epochs epochs;
  epochs.advance(9);
  EXPECT_EQ(epochs.oldest_pin(77), 77u);
  {
    std::vector<Epochs::Pin> pins;
    for (int count = 0; count < 500; ++count) pins.push_back(epochs.pin());
    EXPECT_EQ(epochs.oldest_pin(77), 9u);
    epochs.advance(12);
    pins.erase(pins.begin() + 1, pins.end());
    pins.push_back(epochs.pin());
    EXPECT_EQ(epochs.oldest_pin(77), 9u);
    pins.erase(pins.begin());
    EXPECT_EQ(epochs.oldest_pin(77), 12u);
  }
  EXPECT_EQ(epochs.oldest_pin(77), 77u);
}

TEST(EpochsTest, ThreadsPinAndLetGo) {
  Epochs epochs;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&epochs] {
      for (int round = 0; round < 2000; ++round) {
        const Epochs::Pin one = epochs.pin();
        std::vector<Epochs::Pin> more;
        for (int count = 0; count < round % 40; ++count) more.push_back(epochs.pin());
      }
    });
  }
  for (std::uint64_t number = 2; number < 2000; ++number) {
    epochs.advance(number);
    EXPECT_LE(epochs.oldest_pin(number), number);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(epochs.oldest_pin(77), 77u);
}

/// Every revision r >= 3 writes r to "counter" and to one of 200 keys, and keeps the sum over those keys in "sum". So
/// any single revision can be checked from what it holds.
class StoreConcurrency : public testing::TestWithParam<std::uint64_t> {};

// The second one leaves every value to the engine.
INSTANTIATE_TEST_SUITE_P(LargeValueBytes, StoreConcurrency, testing::Values(StoreOptions{}.large_value_bytes, 0));

TEST_P(StoreConcurrency, EveryViewIsOneRevisionWhileWritesCommitsAndCompactionsGoOn) {
  engine::MemoryDisk disk;
  const auto engine = engine::open_memory(disk, kTables);
  const io::RealClock clock;
  const auto store = std::move(*Store::open(*engine, clock, {.large_value_bytes = GetParam()}));
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> views{0};
  std::atomic<std::uint64_t> compacted_reads{0};

  const auto number = [](BytesView text) { return std::stoll(std::string(text)); };
  const auto check_range = [&](const View& view, std::int64_t revision) {
    std::int64_t total = 0;
    std::int64_t sum = 0;
    std::int64_t counter = 0;
    std::optional<Error> error;
    const Result<bool> read = view.range(KeyRange::from(""), {.revision = revision}, [&](const Entry& entry) {
      const Result<EntryRef> whole = view.load(entry);
      if (!whole.has_value()) {
        error = whole.error();
        return false;
      }
      const BytesView value = (*whole)->value();
      if (entry.key() == "counter") {
        counter = number(value);
      } else if (entry.key() == "sum") {
        sum = number(value);
      } else {
        total += number(value);
      }
      return true;
    });
    if (!read.has_value()) error = read.error();
    if (error) {
      ASSERT_EQ(error->code, ErrorCode::kCompacted) << error->message;
      compacted_reads.fetch_add(1);
      return;
    }
    ASSERT_EQ(total, sum) << revision;
    if (revision >= 2) {
      ASSERT_EQ(counter, revision);
    }
  };
  std::vector<std::thread> readers;
  for (std::uint64_t reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&, reader] {
      Rng rng(reader + 100);
      std::int64_t last = 0;
      while (!done.load()) {
        View view = store->view();
        ASSERT_GE(view.revision(), last);
        last = view.revision();
        check_range(view, last);
        const std::int64_t floor = std::max<std::int64_t>(view.compacted(), 1);
        check_range(view, floor + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(last - floor) + 1)));
        const View later = store->view();
        view = store->view();  // lets go of the first pin
        ASSERT_GE(view.revision(), later.revision());
        EXPECT_EQ(later.count(KeyRange::from("")), *later.count(KeyRange::from(""), later.revision()));
        views.fetch_add(1);
      }
    });
  }

  Rng rng(1);
  std::map<Bytes, std::int64_t> values;
  std::int64_t sum = 0;
  std::int64_t handed_over = 1;
  for (int round = 0; round < 1200 || views.load() < 60; ++round) {
    for (std::uint64_t commands = 1 + rng.below(4); commands-- > 0;) {
      WriteTxn txn = store->begin();
      const Bytes key = "key" + std::to_string(rng.below(200));
      sum -= values[key];
      values[key] = 0;
      if (rng.chance(1, 4)) {
        txn.erase(key);
      } else {
        values[key] = txn.revision();
        sum += txn.revision();
        txn.put(key, std::to_string(txn.revision()));
      }
      txn.put("sum", std::to_string(sum));
      txn.put("counter", std::to_string(txn.revision()));
      txn.commit();
    }
    store->publish();
    if (rng.chance(1, 3)) {
      engine::Batch batch;
      handed_over = store->take_changes(batch);
      ASSERT_TRUE(engine->commit(batch).has_value());
      store->committed(handed_over);
    }
    if (round % 50 == 49 && handed_over > 30 && store->compacted() < handed_over - 20) {
      ASSERT_TRUE(store->compact(handed_over - 20).has_value());
    }
    engine::Batch batch;
    ASSERT_TRUE(store->compact_slice(batch, {.records = 50}).has_value());
    if (!batch.empty()) {
      ASSERT_TRUE(engine->commit(batch).has_value());
    }
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  store->check_invariants();
  RecordProperty("views", std::to_string(views.load()));
  RecordProperty("compacted_reads", std::to_string(compacted_reads.load()));
}

}  // namespace
}  // namespace etcd::mvcc
