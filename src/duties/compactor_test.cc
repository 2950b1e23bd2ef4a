#include "duties/compactor.h"

#include <gtest/gtest.h>

#include <vector>

#include "io/sim_scheduler.h"

namespace etcd::duties {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

/// A keyspace that gets one revision a second, and the compactions that were asked for.
class CompactorTest : public testing::Test {
 protected:
  struct Asked {
    Duration at;
    std::int64_t revision;
    friend bool operator==(const Asked&, const Asked&) = default;
  };

  void start(CompactorOptions options, bool leads = true) {
    compactor_.emplace(
        options, scheduler_.clock(), loop_,
        Compactor::Ports{[this] { return revision(); }, [this](std::int64_t to) { asked_.push_back({time(), to}); }});
    compactor_->leader_changed(leads);
    compactor_->start();
  }
  Duration time() { return scheduler_.clock().now() - MonotonicTime{0}; }
  std::int64_t revision() { return still_ ? 100 : 1 + time() / 1s; }
  void pass(Duration time) {
    bool passed = false;
    loop_.post_at(scheduler_.clock().now() + time, [&passed] { passed = true; });
    ASSERT_TRUE(scheduler_.run_until([&] { return passed; }, time));
  }

  io::SimScheduler scheduler_{1};
  io::Executor& loop_{scheduler_.new_executor("loop")};
  bool still_ = false;
  std::vector<Asked> asked_;
  std::optional<Compactor> compactor_;
};

TEST_F(CompactorTest, AnHourIsKeptAndCompactionComesOnceInAnHour) {
  start({.period = hours(1)});
  pass(minutes(59));
  EXPECT_TRUE(asked_.empty());
  pass(hours(3));
  ASSERT_EQ(asked_.size(), 3u);
  for (const Asked& asked : asked_) EXPECT_EQ(asked.revision, 1 + (asked.at - hours(1)) / 1s);
  EXPECT_EQ(asked_[1].at - asked_[0].at, hours(1));
}

TEST_F(CompactorTest, ALongRetentionStillCompactsOnceInAnHour) {
  start({.period = hours(5)});
  pass(hours(5) - 1s);
  EXPECT_TRUE(asked_.empty());
  pass(hours(2));
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(asked_[1].at - asked_[0].at, hours(1));
  EXPECT_EQ(asked_[1].revision, 1 + (asked_[1].at - hours(5)) / 1s);
}

TEST_F(CompactorTest, SecondsWork) {
  start({.period = 10s});
  pass(61s);
  ASSERT_EQ(asked_.size(), 6u);
  for (const Asked& asked : asked_) EXPECT_EQ(asked.revision, 1 + (asked.at - 10s) / 1s);
}

TEST_F(CompactorTest, WhatDoesNotChangeIsNotCompactedTwice) {
  still_ = true;
  start({.period = 10s});
  pass(100s);
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(CompactorTest, AFollowerNotesAndANewLeaderGoesOnAtOnce) {
  start({.period = 10s}, false);
  pass(60s);
  EXPECT_TRUE(asked_.empty());
  compactor_->leader_changed(true);
  pass(1100ms);
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(CompactorTest, ByRevisionEveryFiveMinutes) {
  start({.mode = CompactorOptions::Mode::kRevision, .revisions = 1000});
  pass(minutes(15));
  EXPECT_TRUE(asked_.empty()) << "901 revisions at most";
  pass(minutes(10) + 1s);
  EXPECT_EQ(asked_, (std::vector<Asked>{{minutes(20), 201}, {minutes(25), 501}}));
}

TEST_F(CompactorTest, NothingToKeepMeansNoCompaction) {
  start({.period = Duration{}});
  pass(hours(30));
  EXPECT_TRUE(asked_.empty());
}

TEST_F(CompactorTest, AStoppedOneAsksForNothing) {
  start({.period = 10s});
  compactor_->stop();
  pass(60s);
  EXPECT_TRUE(asked_.empty());
}

}  // namespace
}  // namespace etcd::duties
