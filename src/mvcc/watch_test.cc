#include "mvcc/watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "engine/memory_engine.h"
#include "io/sim_scheduler.h"
#include "io/thread_executor.h"

namespace etcd::mvcc {
namespace {

const std::vector<std::string> kTables = {std::string(kHistoryTable), std::string(kMetaTable), std::string(kLiveTable)};

struct Seen {
  Revision revision;
  Bytes key;
  bool is_delete;
  Bytes previous;  // "-" when there is none
  Action action;
  bool operator==(const Seen&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  return out << seen.revision.main << "." << seen.revision.sub << (seen.is_delete ? " delete " : " put ") << seen.key
             << " previous " << seen.previous << " action " << static_cast<int>(seen.action);
}

/// What was there before, as far as it is known.
Bytes previous_of(const Event& event, const Store& store) {
  if (!event.previous) return "-";
  const Result<EntryRef> whole = store.view().load(*event.previous);
  if (whole.has_value()) return Bytes((*whole)->value());
  EXPECT_EQ(whole.error().code, ErrorCode::kCompacted) << whole.error().message;
  return "-";
}

Seen seen_of(const Event& event, const Store& store) {
  EXPECT_TRUE(event.entry->has_value());
  return {event.entry->revision(), Bytes(event.entry->key()), event.is_delete(), previous_of(event, store),
          event.cause().action};
}

/// Takes what it is given, unless it is told to be full.
class Recorder final : public WatchReceiver {
 public:
  explicit Recorder(const Store& store) : store_(store) {}
  bool deliver(WatcherId watcher, const WatchDelivery& delivery) override {
    EXPECT_FALSE(delivery.events.empty());
    EXPECT_GE(delivery.store_revision, delivery.events.back()->revision());
    if (room[watcher] == 0) return false;
    if (room[watcher] > 0) --room[watcher];
    ++deliveries[watcher];
    for (const Event* event : delivery.events) seen[watcher].push_back(seen_of(*event, store_));
    if (const auto call = std::exchange(on_deliver, nullptr)) call(watcher);
    return true;
  }
  void compacted(WatcherId watcher, std::int64_t revision) override { compacted_at[watcher] = revision; }
  void failed(WatcherId watcher, const Error& error) override { failures[watcher] = error; }

  /// Deliveries it still takes; negative: any number.
  std::map<WatcherId, int> room;
  std::map<WatcherId, std::vector<Seen>> seen;
  std::map<WatcherId, int> deliveries;
  std::map<WatcherId, std::int64_t> compacted_at;
  std::map<WatcherId, Error> failures;
  std::function<void(WatcherId)> on_deliver;  // called once

 private:
  const Store& store_;
};

class WatchTest : public testing::Test {
 protected:
  explicit WatchTest(std::uint64_t seed = 1, std::uint64_t large_value_bytes = StoreOptions{}.large_value_bytes)
      : rng_(seed),
        scheduler_(seed),
        engine_(engine::open_memory(disk_, kTables)),
        store_(std::move(*Store::open(*engine_, scheduler_.clock(), {.large_value_bytes = large_value_bytes}))) {
    group_ = std::make_unique<WatchGroup>(*store_, loop_, workers_, CatchUpLimits{4, 7, 4'000'000});
  }
  ~WatchTest() override {
    settle();
    group_.reset();
    settle();
  }

  void put(BytesView key, BytesView value, Cause cause = {}) {
    WriteTxn txn = store_->begin();
    txn.put(key, value);
    txn.set_cause(std::move(cause));
    txn.commit();
  }
  void erase(BytesView key) {
    WriteTxn txn = store_->begin();
    txn.erase(key);
    txn.commit();
  }
  void flush() {
    store_->publish();
    engine::Batch batch;
    const std::int64_t revision = store_->take_changes(batch);
    ASSERT_TRUE(engine_->commit(batch).has_value());
    store_->committed(revision);
  }
  void compact(std::int64_t revision) {
    ASSERT_TRUE(store_->compact(revision).has_value());
    while (store_->compaction_finished() != revision) {
      engine::Batch batch;
      ASSERT_TRUE(store_->compact_slice(batch).has_value());
      ASSERT_TRUE(engine_->commit(batch).has_value());
    }
  }
  /// Runs every loop until nothing is left to do.
  void settle() {
    while (scheduler_.run_one()) {
    }
    if (group_) group_->check_invariants();
  }
  WatcherId watch(const KeyRange& range, const WatchOptions& options = {}, int room = -1) {
    const WatcherId id = group_->watch(range, options, recorder_);
    recorder_.room[id] = room;
    return id;
  }
  std::vector<std::int64_t> revisions(WatcherId id) {
    std::vector<std::int64_t> numbers;
    for (const Seen& seen : recorder_.seen[id]) numbers.push_back(seen.revision.main);
    return numbers;
  }

  Rng rng_;
  io::SimScheduler scheduler_;
  io::Executor& loop_ = scheduler_.new_executor("net");
  io::Executor& workers_ = scheduler_.new_executor("workers");
  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Store> store_;
  Recorder recorder_{*store_};
  std::unique_ptr<WatchGroup> group_;
};

using Revisions = std::vector<std::int64_t>;

TEST_F(WatchTest, ANewWatcherHearsWhatIsPublishedAfterIt) {
  put("a", "1");
  store_->publish();
  const WatcherId a = watch(KeyRange::one("a"));
  const WatcherId all = watch(KeyRange::from(""));
  const WatcherId deletes = watch(KeyRange::between("a", "c"), {.puts = false});
  EXPECT_TRUE(group_->is_synced(a));
  put("b", "1", {Action::kCreate, "/b"});
  put("a", "2");
  store_->publish();
  erase("a");
  erase("b");
  store_->publish();
  settle();
  EXPECT_EQ(recorder_.seen[a],
            (std::vector<Seen>{{{4, 0}, "a", false, "1", Action::kPut}, {{5, 0}, "a", true, "2", Action::kPut}}));
  EXPECT_EQ(recorder_.seen[all].front(), (Seen{{3, 0}, "b", false, "-", Action::kCreate}));
  EXPECT_EQ(revisions(all), (Revisions{3, 4, 5, 6}));
  EXPECT_EQ(recorder_.deliveries[all], 4) << "one delivery per transaction";
  EXPECT_EQ(revisions(deletes), (Revisions{5, 6}));
  EXPECT_EQ(group_->synced_revision(), 6);
}

TEST_F(WatchTest, BatchesUnderWayAreDroppedByAYoungerWatcher) {
  const WatcherId old = watch(KeyRange::from(""));
  put("a", "1");
  store_->publish();  // posted, perhaps not taken yet
  const WatcherId young = watch(KeyRange::from(""));
  put("a", "2");
  store_->publish();
  settle();
  EXPECT_EQ(revisions(old), (Revisions{2, 3}));
  EXPECT_EQ(revisions(young), (Revisions{3}));
}

TEST_F(WatchTest, AWatcherFromThePastReadsTheLogAndJoins) {
  for (int count = 0; count < 30; ++count)
    put(count % 2 == 0 ? "even" : "odd", std::to_string(count), {Action::kSet, ""});
  flush();
  for (int count = 30; count < 40; ++count) put("even", std::to_string(count));
  store_->publish();  // these are in the tail only
  const WatcherId even = watch(KeyRange::one("even"), {.start_revision = 25, .previous = true});
  const WatcherId all = watch(KeyRange::from(""), {.start_revision = 1});
  EXPECT_FALSE(group_->is_synced(even));
  put("even", "40");
  store_->publish();
  settle();
  EXPECT_TRUE(group_->is_synced(even));
  Revisions expected;
  for (std::int64_t revision = 26; revision <= 31; revision += 2) expected.push_back(revision);
  for (std::int64_t revision = 32; revision <= 42; ++revision) expected.push_back(revision);
  EXPECT_EQ(revisions(even), expected);
  EXPECT_EQ(recorder_.seen[even][0], (Seen{{26, 0}, "even", false, "22", Action::kSet}));
  EXPECT_EQ(recorder_.seen[even][4].previous, "30");
  EXPECT_EQ(revisions(all).size(), 41u);
}

TEST_F(WatchTest, AStartInTheFutureWaits) {
  const WatcherId id = watch(KeyRange::from(""), {.start_revision = 4});
  EXPECT_TRUE(group_->is_future(id));
  for (int count = 0; count < 4; ++count) put("a", "1");
  store_->publish();
  settle();
  EXPECT_EQ(revisions(id), (Revisions{4, 5}));
  EXPECT_FALSE(group_->is_future(id));
}

TEST_F(WatchTest, ASlowWatcherBecomesACursorAndMissesNothing) {
  const WatcherId slow = watch(KeyRange::from(""), {}, 2);
  const WatcherId fast = watch(KeyRange::from(""));
  for (int count = 0; count < 20; ++count) {
    put("a", std::to_string(count));
    if (count % 3 == 0) flush();
  }
  flush();
  settle();
  EXPECT_EQ(revisions(slow), (Revisions{2, 3}));
  EXPECT_FALSE(group_->is_synced(slow));
  EXPECT_EQ(revisions(fast).size(), 20u);
  group_->resume(slow);
  settle();
  EXPECT_EQ(revisions(slow), (Revisions{2, 3})) << "still no room";
  recorder_.room[slow] = -1;
  group_->resume(slow);
  group_->resume(slow);
  settle();
  EXPECT_EQ(recorder_.seen[slow].size(), 20u);
  EXPECT_EQ(revisions(slow), revisions(fast));
  EXPECT_TRUE(group_->is_synced(slow));
}

TEST_F(WatchTest, ACompactedStartIsToldAndTheCompactedRevisionItselfIsWhole) {
  put("a", "1");  // 2
  put("b", "1");  // 3
  {
    WriteTxn txn = store_->begin();  // 4
    txn.erase("a");
    txn.put("b", "2");
    txn.commit();
  }
  put("b", "3");  // 5
  flush();
  compact(4);
  flush();
  const WatcherId gone = watch(KeyRange::from(""), {.start_revision = 3});
  const WatcherId whole = watch(KeyRange::from(""), {.start_revision = 4, .previous = true});
  settle();
  EXPECT_EQ(recorder_.compacted_at[gone], 4);
  EXPECT_TRUE(recorder_.seen[gone].empty());
  EXPECT_EQ(group_->size(), 1u);
  EXPECT_EQ(recorder_.seen[whole],
            (std::vector<Seen>{{{4, 0}, "a", true, "-", Action::kPut},  // the version before is compacted
                               {{4, 1}, "b", false, "-", Action::kPut},
                               {{5, 0}, "b", false, "2", Action::kPut}}));
}

TEST_F(WatchTest, ADamagedLogIsToldAsFailure) {
  put("a", "1");
  put("a", "2");
  flush();
  const Bytes garbage = "garbage";
  disk_.damage("history", history_key({2, 0}), &garbage);
  const WatcherId id = watch(KeyRange::from(""), {.start_revision = 2});
  settle();
  EXPECT_EQ(recorder_.failures[id].code, ErrorCode::kCorrupt);
  EXPECT_EQ(group_->size(), 0u);
}

TEST_F(WatchTest, EventsKeepTheirLargeValuesAndLeaveThePreviousOnesToTheEngine) {
  const Bytes large(20'000, 'L');
  std::vector<Event> kept;
  class Keeper final : public WatchReceiver {
   public:
    explicit Keeper(std::vector<Event>& events) : events_(events) {}
    bool deliver(WatcherId, const WatchDelivery& delivery) override {
      for (const Event* event : delivery.events) events_.push_back(*event);
      return true;
    }
    void compacted(WatcherId, std::int64_t) override {}
    void failed(WatcherId, const Error&) override {}

   private:
    std::vector<Event>& events_;
  } keeper(kept);
  group_->watch(KeyRange::from(""), {}, keeper);
  put("a", large);
  flush();
  put("a", "small");
  flush();
  settle();
  group_->watch(KeyRange::from(""), {.start_revision = 2, .previous = true}, keeper);
  settle();
  ASSERT_EQ(kept.size(), 4u);
  for (const std::size_t first : {0, 2}) {  // live, then from history
    EXPECT_EQ(kept[first].entry->value(), large);
    ASSERT_TRUE(kept[first + 1].previous);
    EXPECT_FALSE(kept[first + 1].previous->has_value());
    EXPECT_EQ(previous_of(kept[first + 1], *store_), large);
  }
  compact(3);
  EXPECT_EQ(previous_of(kept[1], *store_), "-");
}

TEST_F(WatchTest, SeveralRangesOfOneWatcherTellAnEventOnce) {
  const KeyRange ranges[] = {KeyRange::one("/a/"), KeyRange::between("/a/b", "/a/d"), KeyRange::from("/a/c")};
  const WatcherId id = group_->watch(ranges, {}, recorder_);
  recorder_.room[id] = -1;
  for (const char* key : {"/", "/a/", "/a/b", "/a/c", "/x"}) put(key, "1");
  store_->publish();
  settle();
  EXPECT_EQ(revisions(id), (Revisions{3, 4, 5, 6}));
}

TEST_F(WatchTest, AReceiverMayCancelAndStartWatchersWhileItIsCalled) {
  std::vector<WatcherId> ids;
  for (int count = 0; count < 5; ++count) ids.push_back(watch(KeyRange::one("a")));
  WatcherId fresh = 0;
  recorder_.on_deliver = [&](WatcherId) {
    for (const WatcherId id : ids) group_->cancel(id);
    fresh = watch(KeyRange::one("a"), {.start_revision = 2});
  };
  put("a", "1");
  store_->publish();
  settle();
  int deliveries = 0;
  for (const WatcherId id : ids) deliveries += recorder_.deliveries[id];
  EXPECT_EQ(deliveries, 1);
  EXPECT_EQ(revisions(fresh), (Revisions{2}));
  group_->cancel(fresh);
  group_->cancel(fresh);
  put("a", "2");
  store_->publish();
  settle();
  EXPECT_EQ(revisions(fresh), (Revisions{2}));
}

TEST_F(WatchTest, PassesAndBatchesUnderWayOutliveTheGroup) {
  put("a", "1");
  flush();
  watch(KeyRange::from(""), {.start_revision = 2});
  put("a", "2");
  store_->publish();
  group_.reset();
  settle();
  EXPECT_TRUE(recorder_.seen.empty() || recorder_.seen.begin()->second.empty());
}

// --- gap-free, in order, once each, under every order that the scheduler can think of ---

class WatchModelTest : public WatchTest, public testing::WithParamInterface<std::uint64_t> {
 protected:
  // Every second pair of seeds leaves all values to the engine.
  WatchModelTest() : WatchTest(GetParam(), GetParam() / 2 % 2 == 0 ? StoreOptions{}.large_value_bytes : 0) {}
};

INSTANTIATE_TEST_SUITE_P(Seeds, WatchModelTest, testing::Range<std::uint64_t>(1, 41));

TEST_P(WatchModelTest, EachWatcherSeesExactlyItsEvents) {
  struct Expected {
    Bytes begin, end;
    std::int64_t start;
    bool previous;
  };
  std::map<WatcherId, Expected> watchers;
  std::vector<Seen> log;  // everything that ever happened
  std::map<Bytes, Bytes> state;
  std::int64_t compacted = -1;
  const auto any_key = [this] { return "k" + std::to_string(rng_.below(12)); };

  for (int step = 0; step < 800; ++step) {
    const std::uint64_t dice = rng_.below(100);
    if (dice < 35) {
      WriteTxn txn = store_->begin();
      std::int64_t sub = 0;
      const auto action = static_cast<Action>(rng_.below(9));
      std::map<Bytes, bool> written;
      for (std::uint64_t operations = 1 + rng_.below(3); operations-- > 0;) {
        const Bytes key = any_key();
        if (written.contains(key)) continue;
        written[key] = true;
        const Bytes previous = state.contains(key) ? state[key] : "-";
        if (rng_.chance(1, 3)) {
          if (txn.erase(key) == nullptr) continue;
          state.erase(key);
          log.push_back({{txn.revision(), sub++}, key, true, previous, action});
        } else {
          const Bytes value = std::to_string(step);
          txn.put(key, value);
          state[key] = value;
          log.push_back({{txn.revision(), sub++}, key, false, previous, action});
        }
      }
      txn.set_cause({action, ""});
      txn.commit();
    } else if (dice < 50) {
      store_->publish();
    } else if (dice < 58) {
      flush();
    } else if (dice < 66) {
      Expected expected{any_key(), any_key(), 0, rng_.chance(1, 2)};
      if (rng_.chance(1, 2)) {
        expected.start = 1 + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(store_->revision()) + 3));
      }
      const WatcherId id = watch(KeyRange::between(expected.begin, expected.end),
                                 {.start_revision = expected.start, .previous = expected.previous},
                                 rng_.chance(1, 2) ? -1 : static_cast<int>(rng_.below(4)));
      if (expected.start == 0) expected.start = store_->published_revision() + 1;
      watchers[id] = expected;
    } else if (dice < 70 && !watchers.empty()) {
      auto watcher = watchers.begin();
      std::advance(watcher, rng_.below(watchers.size()));
      recorder_.room[watcher->first] = rng_.chance(1, 2) ? -1 : 2;
      group_->resume(watcher->first);
    } else if (dice < 71 && GetParam() % 2 == 0) {
      flush();
      const std::int64_t to = std::max<std::int64_t>(store_->revision() - 5, 1);
      if (to > compacted) {
        compact(to);
        compacted = to;
      }
    } else {
      for (std::uint64_t tasks = rng_.below(6); tasks-- > 0;) scheduler_.run_one();
    }
    if (step % 10 == 0) group_->check_invariants();
  }
  flush();
  for (const auto& [id, expected] : watchers) {
    recorder_.room[id] = -1;
    group_->resume(id);
  }
  settle();
  EXPECT_EQ(group_->unsynced(), 0u);
  EXPECT_EQ(group_->synced_revision(), store_->revision());
  for (const auto& [id, expected] : watchers) {
    std::vector<Seen> wanted;
    for (const Seen& seen : log) {
      if (seen.revision.main >= expected.start && seen.key >= expected.begin && seen.key < expected.end) {
        wanted.push_back(seen);
      }
    }
    std::vector<Seen>& seen = recorder_.seen[id];
    if (recorder_.compacted_at.contains(id)) {
      // What it saw before is a beginning of what it should see.
      ASSERT_LE(seen.size(), wanted.size());
      wanted.resize(seen.size());
    }
    ASSERT_EQ(seen.size(), wanted.size()) << "watcher " << id << " from " << expected.start;
    for (std::size_t place = 0; place < seen.size(); ++place) {
      // From history it comes only when asked for, and not when it is compacted.
      const bool may_be_missing = !expected.previous || compacted != -1;
      if (may_be_missing && seen[place].previous == "-") wanted[place].previous = "-";
      ASSERT_EQ(seen[place], wanted[place]) << "watcher " << id;
    }
  }
  EXPECT_TRUE(recorder_.failures.empty());
}

// --- on threads ---

TEST(WatchThreads, LoopsWorkersAndTheWriterRunAtOnce) {
  engine::MemoryDisk disk;
  const auto engine = engine::open_memory(disk, kTables);
  const io::RealClock clock;
  const auto store = std::move(*Store::open(*engine, clock));
  io::ThreadExecutor workers("workers");
  struct Loop {
    explicit Loop(const Store& store) : recorder(store) {}
    io::ThreadExecutor executor{"net"};
    Recorder recorder;
    std::unique_ptr<WatchGroup> group;
    std::atomic<std::int64_t> synced{0};
  };
  Loop loops[] = {Loop(*store), Loop(*store)};
  for (Loop& loop : loops) {
    loop.executor.post([&] { loop.group = std::make_unique<WatchGroup>(*store, loop.executor, workers); });
  }
  constexpr std::int64_t kRevisions = 3000;
  for (std::int64_t count = 1; count <= kRevisions; ++count) {
    WriteTxn txn = store->begin();
    txn.put("k" + std::to_string(count % 7), std::to_string(count));
    txn.commit();
    if (count % 3 == 0) store->publish();
    if (count % 10 == 0) {
      store->publish();
      engine::Batch batch;
      const std::int64_t revision = store->take_changes(batch);
      ASSERT_TRUE(engine->commit(batch).has_value());
      store->committed(revision);
    }
    if (count % 300 == 150) {
      for (Loop& loop : loops) {
        loop.executor.post([&loop, start = count % 2 == 0 ? count / 2 : 2] {
          const WatcherId id = loop.group->watch(KeyRange::from(""), {.start_revision = start}, loop.recorder);
          loop.recorder.room[id] = -1;
        });
      }
    }
  }
  store->publish();
  for (Loop& loop : loops) {
    for (bool done = false; !done;) {
      std::atomic<bool> asked{false};
      loop.executor.post([&] {
        done = loop.group->unsynced() == 0 && loop.group->synced_revision() == store->revision();
        asked = true;
        asked.notify_all();
      });
      asked.wait(false);
    }
    std::atomic<bool> gone{false};
    loop.executor.post([&] {
      loop.group.reset();
      gone = true;
      gone.notify_all();
    });
    gone.wait(false);
    loop.executor.stop();
  }
  workers.stop();
  for (Loop& loop : loops) {
    EXPECT_EQ(loop.recorder.seen.size(), 10u);
    for (const auto& [id, seen] : loop.recorder.seen) {
      for (std::size_t place = 1; place < seen.size(); ++place) {
        ASSERT_EQ(seen[place].revision.main, seen[place - 1].revision.main + 1) << "watcher " << id;
      }
      ASSERT_EQ(seen.back().revision.main, kRevisions + 1);
    }
  }
}

}  // namespace
}  // namespace etcd::mvcc
