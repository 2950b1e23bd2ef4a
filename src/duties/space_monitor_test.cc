#include "duties/space_monitor.h"

#include <gtest/gtest.h>

#include "io/sim_scheduler.h"

namespace etcd::duties {
namespace {

constexpr std::uint64_t kMega = 1 << 20;

class SpaceMonitorTest : public testing::Test {
 protected:
  void start(SpaceMonitorOptions options = {}) {
    monitor_.emplace(options, scheduler_.clock(), loop_,
                     SpaceMonitor::Ports{[this]() -> Result<io::Space> { return space_; }, [this] { return use_; },
                                         [this] { return raised_; },
                                         [this](bool raise) {
                                           ++proposals_;
                                           if (!deaf_) raised_ = raise;
                                         }});
    monitor_->start();
    pass(1s);
  }
  void pass(Duration time) {
    bool passed = false;
    loop_.post_at(scheduler_.clock().now() + time, [&passed] { passed = true; });
    ASSERT_TRUE(scheduler_.run_until([&] { return passed; }, time));
  }

  io::SimScheduler scheduler_{1};
  io::Executor& loop_{scheduler_.new_executor("loop")};
  Result<io::Space> space_ = io::Space{.free_bytes = 500 * kMega, .total_bytes = 1000 * kMega};  // reserve: 50
  SpaceMonitor::Use use_;
  bool raised_ = false;
  bool deaf_ = false;
  int proposals_ = 0;
  std::optional<SpaceMonitor> monitor_;
};

TEST_F(SpaceMonitorTest, TheAlarmComesBeforeTheDiskIsFullAndGoesWithHysteresis) {
  start();
  EXPECT_FALSE(monitor_->full());
  space_->free_bytes = 51 * kMega;
  pass(1s);
  EXPECT_FALSE(raised_);
  space_->free_bytes = 49 * kMega;
  pass(1s);
  EXPECT_TRUE(raised_);
  EXPECT_TRUE(monitor_->full());
  space_->free_bytes = 60 * kMega;
  pass(1s);
  EXPECT_TRUE(raised_) << "not back and forth";
  EXPECT_TRUE(monitor_->full());
  space_->free_bytes = 80 * kMega;
  pass(1s);
  EXPECT_FALSE(raised_);
  EXPECT_FALSE(monitor_->full());
  EXPECT_EQ(proposals_, 2);
}

TEST_F(SpaceMonitorTest, RoomInsideTheStoresFileCounts) {
  space_->free_bytes = 10 * kMega;
  use_.free_bytes = 100 * kMega;
  start();
  EXPECT_FALSE(raised_);
  use_.free_bytes = 30 * kMega;
  pass(1s);
  EXPECT_TRUE(raised_);
}

TEST_F(SpaceMonitorTest, WhatIsOnItsWayCounts) {
  space_->free_bytes = 100 * kMega;
  use_.pending_bytes = 60 * kMega;
  start();
  EXPECT_TRUE(raised_);
}

TEST_F(SpaceMonitorTest, AQuotaCountsData) {
  use_.bytes = 99 * kMega;
  start({.quota_bytes = 100 * kMega});
  EXPECT_FALSE(raised_);
  use_.bytes = 101 * kMega;
  pass(1s);
  EXPECT_TRUE(raised_);
  use_.bytes = 95 * kMega;
  pass(1s);
  EXPECT_TRUE(raised_);
  use_.bytes = 89 * kMega;
  pass(1s);
  EXPECT_FALSE(raised_);
}

TEST_F(SpaceMonitorTest, AProposalThatCameToNothingIsMadeAgain) {
  deaf_ = true;
  space_->free_bytes = 0;
  start();
  pass(2s);
  EXPECT_GE(proposals_, 4);
  EXPECT_FALSE(raised_);
  EXPECT_TRUE(monitor_->full()) << "our own word counts at once";
  deaf_ = false;
  pass(1s);
  EXPECT_TRUE(raised_);
}

TEST_F(SpaceMonitorTest, WhoeverFindsNoSpaceIsHeardAtOnce) {
  start({.interval_most = std::chrono::hours(1)});
  space_->free_bytes = 0;
  monitor_->look_soon();
  pass(1ms);
  EXPECT_TRUE(raised_);
}

TEST_F(SpaceMonitorTest, AFileSystemThatCannotBeAskedIsNotFull) {
  space_ = failure(ErrorCode::kIo, "statvfs");
  start();
  EXPECT_FALSE(raised_);
}

}  // namespace
}  // namespace etcd::duties
