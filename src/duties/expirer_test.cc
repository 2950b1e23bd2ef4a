#include "duties/expirer.h"

#include <gtest/gtest.h>

#include "codec/proto/raft_internal.pb.h"
#include "io/sim_scheduler.h"

namespace etcd::duties {
namespace {

class ExpirerTest : public testing::Test {
 protected:
  ExpirerTest()
      : expirer_(index_, scheduler_.clock(), loop_, [this](const std::vector<SharedBytes>& commands) {
          for (const SharedBytes& command : commands) {
            etcdserverpb::InternalRaftRequest request;
            ASSERT_TRUE(request.ParseFromArray(command.view().data(), static_cast<int>(command.size())));
            proposed_.emplace_back(scheduler_.clock().now(), request.v2_command().path());
          }
        }) {}

  void pass(Duration time) {
    bool passed = false;
    loop_.post_at(scheduler_.clock().now() + time, [&passed] { passed = true; });
    ASSERT_TRUE(scheduler_.run_until([&] { return passed; }, time));
  }
  void set(const char* path, Duration ttl) {
    index_.set(path, scheduler_.clock().wall() + ttl, ttl, scheduler_.clock().now());
  }

  io::SimScheduler scheduler_{1};
  io::Executor& loop_{scheduler_.new_executor("apply")};
  lease::ExpiryIndex index_;
  std::vector<std::pair<MonotonicTime, Bytes>> proposed_;
  Expirer expirer_;
};

TEST_F(ExpirerTest, ALeaderEndsNodesSoonAfterTheirTime) {
  expirer_.leader_changed(true);
  set("/a", 2s);
  set("/b", 1s);
  pass(990ms);
  EXPECT_TRUE(proposed_.empty()) << "never early";
  pass(2s);
  ASSERT_EQ(proposed_.size(), 2u);
  EXPECT_EQ(proposed_[0].second, "/b");
  EXPECT_EQ(proposed_[1].second, "/a");
  EXPECT_LE(proposed_[1].first - MonotonicTime{0}, 2500ms);
}

TEST_F(ExpirerTest, AFollowerEndsNothingUntilItLeads) {
  set("/a", 1s);
  pass(3s);
  EXPECT_TRUE(proposed_.empty());
  expirer_.leader_changed(true);
  pass(100ms);
  EXPECT_EQ(proposed_.size(), 1u);
}

TEST_F(ExpirerTest, AWallClockThatJumpsEndsNothingEarly) {
  expirer_.leader_changed(true);
  pass(1ms);
  set("/a", 10s);
  scheduler_.jump_wall(std::chrono::hours(24 * 40));
  pass(9s);
  EXPECT_TRUE(proposed_.empty());
  pass(2s);
  EXPECT_EQ(proposed_.size(), 1u);
}

TEST_F(ExpirerTest, WhatGotLostIsProposedAgain) {
  expirer_.leader_changed(true);
  set("/a", 1s);
  pass(5s);
  EXPECT_EQ(proposed_.size(), 2u) << "at one second, and again three later";
  index_.forget("/a");
  pass(10s);
  EXPECT_EQ(proposed_.size(), 2u);
}

TEST_F(ExpirerTest, AFloodGoesOutInSlices) {
  expirer_.leader_changed(true);
  for (int count = 0; count < 3500; ++count) set(("/k" + std::to_string(count)).c_str(), 1s);
  pass(1020ms);
  EXPECT_LE(proposed_.size(), 1750u);
  pass(300ms);
  EXPECT_EQ(proposed_.size(), 3500u);
}

}  // namespace
}  // namespace etcd::duties
