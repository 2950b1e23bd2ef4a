// One member over and over: power goes at a random change of the disk, unsynced data is lost and writes are torn, and
// every acknowledged write must be found again.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "sim/world.h"

namespace etcd::sim {
namespace {

/// Five lives; returns what the judge has to say.
std::optional<std::string> live(std::uint64_t seed, const WorldOptions& options, int* acknowledged = nullptr) {
  Rng rng(seed * 7919);
  World world(seed, options);
  for (int life = 0; life < 5 && !world.verdict(); ++life) {
    switch (rng.below(4)) {
      case 0: break;  // power goes between two tasks
      case 1: world.lose_power_after(rng.below(20)); break;  // perhaps while it starts
      default: world.lose_power_after(rng.below(300)); break;
    }
    if (rng.chance(1, 5)) world.fill_engine(static_cast<int>(rng.below(4)));
    if (rng.chance(1, 5)) world.scheduler().jump_wall(std::chrono::hours(rng.below(2000)) - 1000h);
    if (world.start()) {
      world.run(static_cast<int>(rng.below(120)));
      if (rng.chance(1, 4)) {
        world.stop();
        continue;
      }
    }
    world.crash();
  }
  if (!world.verdict() && world.start()) world.crash();
  if (acknowledged != nullptr) *acknowledged += world.acknowledged();
  return world.verdict();
}

TEST(MemberCrash, EveryAcknowledgedWriteIsThereAgain) {
  int acknowledged = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const auto verdict = live(seed, {}, &acknowledged);
    ASSERT_FALSE(verdict.has_value()) << "seed " << seed << ": " << *verdict;
  }
  EXPECT_GT(acknowledged, 10'000) << "the clients hardly got to write";
}

TEST(MemberCrash, ASeedReplaysExactly) {
  int once = 0, again = 0;
  live(17, {}, &once);
  live(17, {}, &again);
  EXPECT_EQ(once, again);
}

// The judge itself: with a planted bug it must speak up.
TEST(MemberCrash, AcknowledgingBeforeTheSyncIsFound) {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    if (live(seed, {.no_fsync = true})) ++found;
  }
  EXPECT_GT(found, 10) << "of 60 seeds";
}

}  // namespace
}  // namespace etcd::sim
