#include "apply/applier.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "apply/tables.h"
#include "codec/proto/raft_internal.pb.h"
#include "engine/memory_engine.h"
#include "io/sim_scheduler.h"

namespace etcd::apply {
namespace {

using etcdserverpb::AlarmRequest;
using etcdserverpb::InternalRaftRequest;

class ApplierTest : public testing::Test, public Listener {
 protected:
  void SetUp() override { open(); }
  void open() {
    close();
    loop_ = &scheduler_.new_executor("apply");
    store_loop_ = &scheduler_.new_executor("store");
    engine_ = engine::open_memory(disk_, table_names());
    applier_ = Applier::open(*engine_, scheduler_.clock(), *loop_, *store_loop_, *this,
                             {.batch_bytes = 1 << 20, .slice = {.records = 10}, .slice_erasures_max = 50})
                   .value();
  }

  /// As a crash: tasks and timers go before what they use.
  void close() {
    for (io::Executor* loop : {loop_, store_loop_}) {
      if (loop != nullptr) scheduler_.kill(*loop);
    }
    applier_.reset();
  }
  void TearDown() override { close(); }

  const Outcome& apply(InternalRaftRequest request) {
    request.mutable_header()->set_id(1);
    const CommittedEntry entry{.term = Term{1},
                               .index = applier_->applied() + 1,
                               .kind = CommittedEntry::Kind::kCommand,
                               .data = SharedBytes(request.SerializeAsString())};
    EXPECT_TRUE(applier_->apply(std::span(&entry, 1)).has_value());
    return outcome_;
  }
  const Outcome& write(etcdv2pb::Command::Verb verb, const std::string& path, const std::string& value = "") {
    InternalRaftRequest request;
    request.mutable_v2_command()->set_verb(verb);
    request.mutable_v2_command()->set_path(path);
    request.mutable_v2_command()->set_value(value);
    return apply(request);
  }
  const Outcome& compact(std::int64_t revision) {
    InternalRaftRequest request;
    request.mutable_compaction()->set_revision(revision);
    return apply(request);
  }
  void alarm(AlarmRequest::AlarmAction action, MemberId member) {
    InternalRaftRequest request;
    request.mutable_alarm()->set_action(action);
    request.mutable_alarm()->set_memberid(member);
    request.mutable_alarm()->set_alarm(etcdserverpb::NOSPACE);
    apply(request);
  }
  static bool done(const Outcome& outcome) {
    const auto* event = std::get_if<tree::Outcome<tree::Event>>(&outcome.result);
    return event != nullptr && event->has_value();
  }
  static std::string error_of(const Outcome& outcome) {
    const auto* error = std::get_if<Error>(&outcome.result);
    return error == nullptr ? "" : error->message;
  }
  std::size_t history_records() {
    std::size_t count = 0;
    const auto snapshot = engine_->snapshot().value();
    EXPECT_TRUE(snapshot->scan(kHistoryTable, "", [&](BytesView, BytesView) { return ++count, true; }).has_value());
    return count;
  }
  bool run_until_durable() {
    return scheduler_.run_until([&] { return applier_->durable() == applier_->applied(); }, 10s);
  }

  void applied(std::vector<Outcome> outcomes) override { outcome_ = std::move(outcomes.back()); }
  void durable(Index) override {}
  void no_space(const Error&) override { ++no_space_; }
  void alarm_changed(const members::Alarm& alarm, bool raised) override {
    changes_ += fmt::format("{}{} ", raised ? '+' : '-', alarm.member);
  }
  void failed(const Error& error) override { failure_ = error.message; }

  io::SimScheduler scheduler_{5};
  io::Executor* loop_ = nullptr;
  io::Executor* store_loop_ = nullptr;
  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Applier> applier_;
  Outcome outcome_;
  std::string changes_, failure_;
  int no_space_ = 0;
};

TEST_F(ApplierTest, ACompactionRunsInSlicesBesideTheWrites) {
  for (int count = 0; count < 500; ++count) EXPECT_TRUE(done(write(etcdv2pb::Command::SET, "/a", "v")));
  const std::int64_t revision = applier_->store().revision();
  compact(revision);
  EXPECT_EQ(outcome_.result.index(), 0u) << "nothing to say";
  ASSERT_TRUE(scheduler_.run_until([&] { return applier_->store().compaction_finished() == revision; }, 60s));
  ASSERT_TRUE(scheduler_.run_until([&] { return history_records() == 1; }, 10s));
  EXPECT_TRUE(done(write(etcdv2pb::Command::SET, "/a", "w")));
  EXPECT_EQ(applier_->store().view().get("/a", revision).value()->value(), "v");
  EXPECT_EQ(applier_->store().view().get("/a", revision - 1).error().code, ErrorCode::kCompacted);
}

TEST_F(ApplierTest, ACompactionThatCannotBeIsRefused) {
  write(etcdv2pb::Command::SET, "/a", "v");
  compact(2);
  EXPECT_FALSE(error_of(compact(2)).empty());
  EXPECT_FALSE(error_of(compact(100)).empty());
  EXPECT_EQ(failure_, "");
}

TEST_F(ApplierTest, ACompactionGoesOnAfterARestart) {
  for (int count = 0; count < 300; ++count) write(etcdv2pb::Command::SET, "/a", "v");
  compact(applier_->store().revision());
  ASSERT_TRUE(run_until_durable());
  EXPECT_GT(history_records(), 1u) << "it has only begun";
  bool stopped = false;
  applier_->stop([&] { stopped = true; });
  ASSERT_TRUE(scheduler_.run_until([&] { return stopped; }, 10s));
  open();
  ASSERT_TRUE(scheduler_.run_until([&] { return history_records() == 1; }, 60s));
  applier_->store().check_invariants();
}

TEST_F(ApplierTest, UnderTheAlarmOnlyWhatNeedsNoRoomIsDone) {
  using etcdv2pb::Command;
  write(Command::SET, "/a", "v");
  write(Command::SET, "/b", "v");
  alarm(AlarmRequest::ACTIVATE, 7);
  alarm(AlarmRequest::ACTIVATE, 7);
  alarm(AlarmRequest::ACTIVATE, 8);
  for (const auto verb :
       {Command::SET, Command::UPDATE, Command::CREATE, Command::CREATE_IN_ORDER, Command::COMPARE_AND_SWAP}) {
    EXPECT_EQ(error_of(write(verb, "/a", "w")), "etcdserver: mvcc: database space exceeded");
  }
  EXPECT_TRUE(done(write(Command::DELETE, "/a")));
  compact(applier_->store().revision());
  EXPECT_EQ(error_of(outcome_), "");
  alarm(AlarmRequest::DEACTIVATE, 7);
  EXPECT_FALSE(done(write(Command::SET, "/c", "v"))) << "member 8 still has it";
  ASSERT_TRUE(run_until_durable());
  open();
  EXPECT_FALSE(done(write(Command::SET, "/c", "v"))) << "and a restart does not forget";
  alarm(AlarmRequest::DEACTIVATE, 8);
  EXPECT_TRUE(done(write(Command::SET, "/c", "v")));
  EXPECT_EQ(changes_, "+7 +8 -7 -8 ");
}

TEST_F(ApplierTest, AnEngineWithoutRoomLosesNothing) {
  disk_.fail_no_space(3);
  write(etcdv2pb::Command::SET, "/a", "v");
  ASSERT_TRUE(run_until_durable());
  EXPECT_EQ(no_space_, 3);
  open();
  const mvcc::View view = applier_->store().view();
  ASSERT_NE(view.get("/a"), nullptr);
  EXPECT_EQ(view.get("/a")->value(), "v");
}

}  // namespace
}  // namespace etcd::apply
