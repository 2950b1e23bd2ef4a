#include <gtest/gtest.h>

#include "io/sim_scheduler.h"
#include "service/request_ids.h"
#include "service/waiters.h"

namespace etcd::service {
namespace {

TEST(RequestIds, AreMemberClockAndCounter) {
  RequestIds ids(0x1234'5678'9abc'def0, WallTime{0x12'3456'789a * std::int64_t{1'000'000}});
  EXPECT_EQ(ids.next(), 0xdef0'1234'5678'9a01);
  EXPECT_EQ(ids.next(), 0xdef0'1234'5678'9a02);
  RequestIds wraps(0xffff, WallTime{0xff'ffff'ffff * std::int64_t{1'000'000}});
  for (int count = 0; count < 300; ++count) EXPECT_EQ(wraps.next() >> 48, 0xffffu) << "the member's part never changes";
}

class WaitersTest : public testing::Test {
 protected:
  Answer answer(std::string& into) {
    return [&into](Result<apply::Outcome> result) {
      into += result ? "index " + std::to_string(result->index.value) : result.error().message;
      into += ';';
    };
  }
  void run() {
    while (scheduler_.run_one()) {
    }
  }
  io::SimScheduler scheduler_{1};
  io::Executor& loop_{scheduler_.new_executor("net")};
  Waiters waiters_;
  std::string one_, two_;
};

TEST_F(WaitersTest, EachIsAnsweredOnceOnItsLoop) {
  waiters_.add(1, {100}, loop_, answer(one_));
  waiters_.add(2, {200}, loop_, answer(two_));
  waiters_.deliver({{.request_id = 7, .term = {}, .index = Index{3}, .result = {}},
                    {.request_id = 1, .term = {}, .index = Index{4}, .result = {}}});
  EXPECT_EQ(one_, "") << "not on this stack";
  run();
  EXPECT_EQ(one_, "index 4;");
  waiters_.deliver({{.request_id = 1, .term = {}, .index = Index{5}, .result = {}}});
  waiters_.fail(1, {ErrorCode::kTimeout, "late"});
  waiters_.fail(2, {ErrorCode::kNoLeader, "refused"});
  run();
  EXPECT_EQ(one_, "index 4;");
  EXPECT_EQ(two_, "refused;");
  EXPECT_EQ(waiters_.count(), 0u);
}

TEST_F(WaitersTest, TimeRunsOutInOrder) {
  waiters_.add(1, {100}, loop_, answer(one_));
  waiters_.add(2, {200}, loop_, answer(two_));
  waiters_.expire({150}, {ErrorCode::kTimeout, "timed out"});
  run();
  EXPECT_EQ(one_ + two_, "timed out;");
  waiters_.deliver({{.request_id = 2, .term = {}, .index = Index{9}, .result = {}}});
  waiters_.expire({500}, {ErrorCode::kTimeout, "timed out"});
  run();
  EXPECT_EQ(two_, "index 9;");
}

TEST_F(WaitersTest, FailuresAreCountedWhileTheMemberRuns) {
  telemetry::Counter failures;
  Waiters waiters(&failures);
  for (const std::uint64_t id : {1, 2, 3, 4}) waiters.add(id, {100}, loop_, answer(one_));
  waiters.deliver({{.request_id = 1, .term = {}, .index = Index{3}, .result = {}}});
  EXPECT_EQ(failures.value(), 0u);
  waiters.fail(2, {ErrorCode::kTooManyRequests, "refused"});
  waiters.fail(2, {ErrorCode::kTimeout, "once more"});
  EXPECT_EQ(failures.value(), 1u);
  waiters.fail(3, {ErrorCode::kStopped, "stopped"});
  EXPECT_EQ(failures.value(), 1u) << "nobody asked in vain: the member ended";
  waiters.expire({150}, {ErrorCode::kTimeout, "timed out"});
  EXPECT_EQ(failures.value(), 2u);
  run();
}

TEST_F(WaitersTest, AfterTheEndEverybodyIsAnsweredAtOnce) {
  waiters_.add(1, {100}, loop_, answer(one_));
  waiters_.close({ErrorCode::kStopped, "stopped"});
  waiters_.add(2, {100}, loop_, answer(two_));
  run();
  EXPECT_EQ(one_, "stopped;");
  EXPECT_EQ(two_, "stopped;");
}

}  // namespace
}  // namespace etcd::service
