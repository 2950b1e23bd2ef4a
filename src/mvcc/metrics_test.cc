// What the store and its watches count, and that they count it once.
#include "mvcc/metrics.h"

#include <gtest/gtest.h>

#include "engine/memory_engine.h"
#include "io/sim_scheduler.h"
#include "mvcc/store.h"
#include "mvcc/watch.h"

namespace etcd::mvcc {
namespace {

class Taker final : public WatchReceiver {
 public:
  bool deliver(WatcherId, const WatchDelivery&) override { return takes; }
  void compacted(WatcherId, std::int64_t) override {}
  void failed(WatcherId, const Error&) override {}
  bool takes = true;
};

class MetricsTest : public testing::Test {
 protected:
  MetricsTest() {
    const std::vector<std::string> tables = {std::string(kHistoryTable), std::string(kMetaTable),
                                             std::string(kLiveTable)};
    engine_ = engine::open_memory(disk_, tables);
    store_ = Store::open(*engine_, scheduler_.clock(), {.metrics = &metrics_}).value();
    group_ = std::make_unique<WatchGroup>(*store_, scheduler_.new_executor("net"), scheduler_.new_executor("workers"));
  }
  ~MetricsTest() override {
    group_.reset();
    settle();
  }

  /// One command that puts and erases.
  void write(std::vector<Bytes> puts, std::vector<Bytes> erases = {}) {
    WriteTxn txn = store_->begin();
    for (const Bytes& key : puts) txn.put(key, "12345");
    for (const Bytes& key : erases) txn.erase(key);
    txn.commit();
  }
  void flush() {
    store_->publish();
    engine::Batch batch;
    const std::int64_t revision = store_->take_changes(batch);
    ASSERT_TRUE(engine_->commit(batch).has_value());
    store_->committed(revision);
  }
  void settle() {
    while (scheduler_.run_one()) {
    }
  }

  telemetry::Registry registry_;
  Metrics metrics_{registry_};
  io::SimScheduler scheduler_{1};
  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<WatchGroup> group_;
  Taker taker_;
};

TEST_F(MetricsTest, WritesAreCountedOnceTheyArePublished) {
  write({"a"});
  write({"bb", "cc"});
  write({}, {"a"});
  write({}, {"none"});
  {
    WriteTxn txn = store_->begin();
    txn.put("d", "x");
    txn.abort();
  }
  EXPECT_EQ(metrics_.puts.value(), 0u);
  store_->publish();
  store_->publish();
  EXPECT_EQ(metrics_.puts.value(), 3u);
  EXPECT_EQ(metrics_.deletes.value(), 1u);
  EXPECT_EQ(metrics_.transactions.value(), 1u);
  EXPECT_EQ(metrics_.put_bytes.value(), 6 + 7 + 7);
  write({"e", "f"}, {"bb"});
  flush();
  EXPECT_EQ(metrics_.puts.value(), 5u);
  EXPECT_EQ(metrics_.deletes.value(), 2u);
  EXPECT_EQ(metrics_.transactions.value(), 2u);
}

TEST_F(MetricsTest, WatchersAndWhatTheyTake) {
  write({"a"});
  flush();
  const WatcherId synced = group_->watch(KeyRange::one("a"), {}, taker_);
  const WatcherId behind = group_->watch(KeyRange::from(""), {.start_revision = 1}, taker_);
  EXPECT_EQ(metrics_.watchers.value(), 2);
  EXPECT_EQ(metrics_.slow_watchers.value(), 1);
  settle();
  EXPECT_EQ(metrics_.slow_watchers.value(), 0);
  EXPECT_EQ(metrics_.events.value(), 1u) << "from the history";
  write({"a", "b"});
  store_->publish();
  settle();
  EXPECT_EQ(metrics_.events.value(), 4u);

  taker_.takes = false;
  write({"b"});
  store_->publish();
  settle();
  EXPECT_EQ(metrics_.events.value(), 4u);
  EXPECT_EQ(metrics_.slow_watchers.value(), 1) << "who refuses falls behind";
  group_->cancel(behind);
  group_->cancel(behind);
  EXPECT_EQ(metrics_.watchers.value(), 1);
  EXPECT_EQ(metrics_.slow_watchers.value(), 0);
  write({"a"});
  store_->publish();
  settle();
  EXPECT_FALSE(group_->is_synced(synced));
  EXPECT_EQ(metrics_.slow_watchers.value(), 1);
  group_.reset();
  EXPECT_EQ(metrics_.watchers.value(), 0);
  EXPECT_EQ(metrics_.slow_watchers.value(), 0);
}

TEST_F(MetricsTest, Compaction) {
  write({"a"});
  write({"a"});
  write({"a"});
  write({}, {"a"});
  write({"b"});
  flush();
  ASSERT_TRUE(store_->compact(6).has_value());
  while (store_->compaction_finished() != 6) {
    engine::Batch batch;
    ASSERT_TRUE(store_->compact_slice(batch).has_value());
    ASSERT_TRUE(engine_->commit(batch).has_value());
  }
  EXPECT_EQ(metrics_.compacted_records.value(), 4u) << "three versions and the tombstone of a";
  EXPECT_EQ(metrics_.compaction_total_ms.count(), 1u);
  EXPECT_GE(metrics_.compaction_slice_ms.count(), 1u);
  engine::Batch none;
  ASSERT_TRUE(store_->compact_slice(none).has_value());
  EXPECT_EQ(metrics_.compaction_total_ms.count(), 1u);
}

}  // namespace
}  // namespace etcd::mvcc
