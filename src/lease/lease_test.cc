#include <gtest/gtest.h>

#include "base/rng.h"
#include "lease/expiry_index.h"
#include "lease/metrics.h"

namespace etcd::lease {
namespace {

constexpr WallTime kNoon{1'000'000'000'000'000};

std::vector<Bytes> paths(const std::vector<Due>& due) {
  std::vector<Bytes> all;
  for (const Due& node : due) all.push_back(node.path);
  return all;
}

TEST(ExpiryIndex, InTheOrderOfDeadlineAndPath) {
  ExpiryIndex index;
  const MonotonicTime start{0};
  index.set("/c", kNoon + 2s, 2s, start);
  index.set("/b", kNoon + 1s, 1s, start);
  index.set("/a", kNoon + 2s, 2s, start);
  index.set("/later", kNoon + 9s, 9s, start);
  EXPECT_EQ(index.next_due(), start + 1s);
  EXPECT_TRUE(index.take_due(start + 999ms, 10, 5s).empty());
  EXPECT_EQ(paths(index.take_due(start + 3s, 10, 5s)), (std::vector<Bytes>{"/b", "/a", "/c"}));
  EXPECT_TRUE(index.take_due(start + 3s, 10, 5s).empty()) << "handed out once";
  index.forget("/b");
  EXPECT_EQ(paths(index.take_due(start + 8s, 1, 5s)), (std::vector<Bytes>{"/a"})) << "its expiry got lost";
  index.check_invariants();
}

TEST(ExpiryIndex, ALaterWriteCounts) {
  ExpiryIndex index;
  const MonotonicTime start{0};
  index.set("/a", kNoon + 1s, 1s, start);
  index.set("/a", kNoon + 5s, 5s, start);
  EXPECT_TRUE(index.take_due(start + 2s, 10, 5s).empty());
  EXPECT_EQ(index.take_due(start + 5s, 10, 5s), (std::vector<Due>{{"/a", kNoon + 5s}}));
  index.set("/d", kNoon, 1s, start);
  index.set("/d/x", kNoon, 1s, start);
  index.set("/d-x", kNoon, 1s, start);
  index.forget_subtree("/d");
  EXPECT_EQ(index.size(), 2u);
  index.check_invariants();
}

TEST(ExpiryIndex, CountsWhatHappensOnceItMeasures) {
  telemetry::Registry registry;
  Metrics metrics(registry);
  ExpiryIndex index;
  const MonotonicTime start{0};
  index.set("/before", kNoon, 1s, start);
  index.measure(&metrics);
  index.set("/d/a", kNoon, 3s, start);
  index.set("/d/b", kNoon, 100s, start);
  index.set("/c", kNoon, 1s, start);
  index.set("/c", kNoon, 50s, start);
  EXPECT_EQ(metrics.granted.value(), 3u);
  EXPECT_EQ(metrics.renewed.value(), 1u);
  EXPECT_EQ(metrics.ttl.count(), 3u);
  EXPECT_DOUBLE_EQ(metrics.ttl.sum(), 104.0);
  EXPECT_EQ(metrics.revoked.value(), 0u);
  index.forget("/c");
  index.forget("/c");
  EXPECT_EQ(metrics.revoked.value(), 1u);
  index.forget_subtree("/d");
  EXPECT_EQ(metrics.revoked.value(), 3u);
}

TEST(ExpiryIndex, ANewLeaderGoesByTheDeadlineWithinBounds) {
  struct Row {
    const char* name;
    Duration deadline_from_now;
    Duration ttl;
    Duration due_in;
  };
  for (const Row& row : {Row{"half of it is left", 5s, 10s, 5s},
                         {"the clock went back by a year", std::chrono::hours(8760), 10s, 10s},
                         {"it has run out", -3s, 10s, 0s}}) {
    ExpiryIndex index;
    index.set("/a", kNoon + row.deadline_from_now, row.ttl, MonotonicTime{77});
    index.restart(MonotonicTime{1000}, kNoon);
    EXPECT_EQ(index.next_due(), MonotonicTime{1000} + row.due_in) << row.name;
  }
}

// Found by hand beside the differential fuzzer: now + TTL wrapped around, and the node was gone at once.
TEST(ExpiryIndex, ATtlBeyondTheClockIsNeverDue) {
  for (const Duration ttl : {Duration::max(), Duration(std::chrono::seconds(9'223'372'036))}) {
    ExpiryIndex index;
    const MonotonicTime now{12'345'678'901'234};
    index.set("/a", {INT64_MAX}, ttl, now);
    EXPECT_TRUE(index.take_due(now + std::chrono::hours(24 * 365 * 100), 10, 1s).empty());
    index.restart(now, {-1'000'000'000});
    EXPECT_TRUE(index.take_due(now + std::chrono::hours(24 * 365 * 100), 10, 1s).empty());
  }
}

TEST(ExpiryIndex, RandomCallsKeepItWhole) {
  ExpiryIndex index;
  Rng rng(5);
  MonotonicTime now{0};
  for (int step = 0; step < 5000; ++step) {
    const Bytes path = {'/', static_cast<char>('a' + rng.below(6)), '/', static_cast<char>('a' + rng.below(6))};
    now = now + Duration(rng.below(100'000'000));
    switch (rng.below(5)) {
      case 0: index.forget(path); break;
      case 1: index.forget_subtree(path.substr(0, 2)); break;
      case 2: index.take_due(now, rng.below(4), 1s); break;
      case 3:
        if (rng.chance(1, 20)) index.restart(now, kNoon);
        break;
      default:
        index.set(path, kNoon + Duration(rng.below(9) * 1'000'000'000), Duration(rng.below(3) * 1'000'000'000), now);
    }
    index.check_invariants();
  }
}

}  // namespace
}  // namespace etcd::lease
