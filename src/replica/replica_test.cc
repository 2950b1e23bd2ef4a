// The drive around the core: what goes to disk, and what a restart makes of it. Crashes are the simulator's (sim/).
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "apply/tables.h"
#include "base/rng.h"
#include "codec/proto/raft_internal.pb.h"
#include "engine/memory_engine.h"
#include "io/sim_disk.h"
#include "io/sim_scheduler.h"
#include "members/id.h"
#include "replica/entry_codec.h"
#include "replica/metrics.h"
#include "replica/replica.h"

namespace etcd::replica {
namespace {

TEST(EntryCodec, RoundTripsAndRefusesWhatIsNone) {
  const raft::Entry entry{Term{7}, Index{UINT64_MAX}, raft::EntryType::kConfChangeV2, SharedBytes(Bytes("ab\0c", 4))};
  Bytes bytes;
  append_entry(bytes, entry);
  EXPECT_EQ(decode_entry(bytes).value(), entry);
  const raft::HardState state{Term{3}, 0xffff'ffff'ffff'ffff, Index{9}};
  EXPECT_EQ(decode_hard_state(encode_hard_state(state)).value(), state);
  EXPECT_TRUE(decode_hard_state("").value().empty());
  EXPECT_EQ(decode_metadata(encode_metadata(5, 6)).value().cluster, 6u);
  EXPECT_FALSE(decode_metadata(""));
  EXPECT_FALSE(decode_entry(bytes.substr(0, bytes.size() - 1)));
  EXPECT_FALSE(decode_entry("\x08\x09"));
}

class ReplicaTest : public testing::Test, protected Observer {
 protected:
  ~ReplicaTest() override { end(); }

  Result<std::unique_ptr<Replica>> open(bool restart) {
    wal_directory_ = disk_.open_directory("/wal");
    const std::vector<std::string> tables = apply::table_names();
    engine_ = engine::open_memory(engine_disk_, tables);
    loops_.clear();
    for (const char* name : {"replica", "disk", "apply", "store"}) loops_.push_back(&scheduler_.new_executor(name));
    Parts parts{
        *wal_directory_, *engine_, scheduler_.clock(),  {*loops_[0], *loops_[1], *loops_[2], *loops_[3], nullptr},
        transport_,      *this,    telemetry::Logger(), Rng(1)};
    const members::Member self{.id = 0x77, .name = "one", .peer_urls = {"http://one:2380"}, .client_urls = {}};
    ReplicaOptions options;
    options.metrics = &metrics_;
    return restart ? Replica::restart(std::move(parts), options)
                   : Replica::bootstrap(std::move(parts), options, {self.id, members::cluster_id({self.id})}, {self});
  }

  void begin(bool restart) {
    auto opened = open(restart);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    replica_ = *std::move(opened);
    replica_->start();
    bool ready = false;
    replica_->read_index([&](Result<void> result) { ready = result.has_value(); });
    ASSERT_TRUE(scheduler_.run_until([&] { return ready; }, 10s));
  }

  void end() {
    for (io::Executor* loop : loops_) scheduler_.kill(*loop);
    replica_.reset();
  }

  std::uint64_t set(const std::string& path, const std::string& value) {
    etcdserverpb::InternalRaftRequest request;
    request.mutable_header()->set_id(++last_id_);
    request.mutable_v2_command()->set_path(path);
    request.mutable_v2_command()->set_value(value);
    replica_->propose(SharedBytes(request.SerializeAsString()),
                      [this](const Error& error) { refused_ = error.message; });
    return last_id_;
  }

  bool run_until_applied(std::uint64_t id) {
    return scheduler_.run_until([&] { return applied_ids_.contains(id); }, 10s);
  }

  void applied(std::vector<apply::Outcome> outcomes) override {
    for (const apply::Outcome& outcome : outcomes) applied_ids_.insert(outcome.request_id);
  }
  void leader_changed(MemberId leader) override { leader_ = leader; }
  void no_space() override { ++no_space_; }
  void failed(const Error& error) override { failure_ = error.message; }

  io::SimScheduler scheduler_{3};
  io::SimDisk disk_{3};
  engine::MemoryDisk engine_disk_;
  std::unique_ptr<io::Directory> wal_directory_;
  std::unique_ptr<engine::Engine> engine_;
  std::vector<io::Executor*> loops_;
  NoTransport transport_;
  telemetry::Registry registry_;
  Metrics metrics_{registry_};
  std::unique_ptr<Replica> replica_;
  std::set<std::uint64_t> applied_ids_;
  std::uint64_t last_id_ = 0;
  MemberId leader_ = 0;
  std::string refused_, failure_;
  int no_space_ = 0;
};

TEST_F(ReplicaTest, AMemberAloneLeadsAtOnceAndKnowsItself) {
  begin(false);
  EXPECT_EQ(leader_, 0x77u);
  EXPECT_LT(scheduler_.clock().now().ns, Duration(1s).count()) << "no election time-out has to pass";
  EXPECT_EQ(replica_->members().current()->members.at(0x77).name, "one");
  EXPECT_EQ(replica_->status().term, Term{2});
}

TEST_F(ReplicaTest, ProposalsThatComeTogetherShareASync) {
  begin(false);
  const std::uint64_t before = replica_->wal_syncs();
  std::uint64_t last = 0;
  for (int count = 0; count < 100; ++count) last = set(fmt::format("/k{}", count), "v");
  ASSERT_TRUE(run_until_applied(last));
  EXPECT_LE(replica_->wal_syncs() - before, 10u) << "for 100 writes";
  EXPECT_EQ(replica_->store().view().revision(), 101);
}

TEST_F(ReplicaTest, LargeValuesDoNotPileUpInTheLog) {
  begin(false);
  // Far fewer entries than --snapshot-count, but more bytes than are kept.
  for (int count = 0; count < 40; ++count) ASSERT_TRUE(run_until_applied(set("/large", Bytes(10'000, 'v'))));
  const auto segments = [&] { return wal_directory_->list()->size(); };
  const std::size_t most = segments();
  for (int count = 0; count < 100; ++count) ASSERT_TRUE(run_until_applied(set("/large", Bytes(10'000, 'v'))));
  EXPECT_LE(segments(), most);
  EXPECT_EQ(failure_, "");
}

TEST_F(ReplicaTest, AStoreWithoutRoomIsTold) {
  begin(false);
  engine_disk_.fail_no_space(2);
  ASSERT_TRUE(run_until_applied(set("/a", "1")));
  ASSERT_TRUE(scheduler_.run_until([&] { return no_space_ == 2; }, 20s));
  EXPECT_EQ(failure_, "") << "the log has it; the batch is tried again";
}

TEST_F(ReplicaTest, EverySyncOfTheLogIsTimed) {
  begin(false);
  EXPECT_EQ(metrics_.leader_changes.value(), 1u);
  const std::uint64_t syncs = replica_->wal_syncs();
  const std::uint64_t timed = metrics_.wal_sync.count();
  const std::uint64_t bytes = replica_->wal_bytes_written();
  ASSERT_TRUE(run_until_applied(set("/a", "1")));
  EXPECT_GT(replica_->wal_syncs(), syncs);
  EXPECT_GE(metrics_.wal_sync.count() - timed, replica_->wal_syncs() - syncs);
  EXPECT_EQ(metrics_.wal_write.count(), metrics_.wal_sync.count());
  EXPECT_GT(replica_->wal_bytes_written(), bytes);
}

TEST_F(ReplicaTest, ItsRaftStatusIsToldOnItsLoop) {
  begin(false);
  raft::Status status;
  replica_->raft_status([&status](const raft::Status& now) { status = now; });
  EXPECT_EQ(status.id, 0u) << "not on this stack";
  ASSERT_TRUE(scheduler_.run_until([&] { return status.id != 0; }, 10s));
  EXPECT_EQ(status.id, 0x77u);
  EXPECT_EQ(status.soft_state.role, raft::Role::kLeader);
  EXPECT_EQ(status.progress.size(), 1u);
}

TEST_F(ReplicaTest, AStopSavesEverythingAndARestartReplaysNothing) {
  begin(false);
  ASSERT_TRUE(run_until_applied(set("/a", "1")));
  bool stopped = false;
  replica_->stop([&] { stopped = true; });
  ASSERT_TRUE(scheduler_.run_until([&] { return stopped; }, 10s));
  set("/b", "2");
  scheduler_.run_until([&] { return !refused_.empty(); }, 1s);
  EXPECT_EQ(refused_, "etcdserver: server stopped");
  end();
  begin(true);
  EXPECT_TRUE(applied_ids_.size() == 1) << "nothing was applied again";
  EXPECT_EQ(replica_->store().view().get("/a")->value(), "1");
  EXPECT_EQ(replica_->store().view().get("/b"), nullptr);
}

TEST_F(ReplicaTest, LogAndStoreMustFitEachOther) {
  begin(false);
  ASSERT_TRUE(run_until_applied(set("/a", "1")));
  scheduler_.run_until([] { return false; }, 3s);  // the store's batch goes out
  end();
  // The store is as it was, the log is another one's beginning: entries that were applied are missing.
  disk_.open_directory("/wal")->remove(disk_.open_directory("/wal")->list().value().front()).value();
  EXPECT_TRUE(open(false).error().message.contains("has applied entry")) << "a new log beside an old store";
  end();
  wal_directory_ = disk_.open_directory("/wal");
  wal::Log::create(*wal_directory_, encode_metadata(0x77, 1), {}, nullptr).value().reset();
  EXPECT_TRUE(open(true).error().message.contains("the log ends before entry")) << "a shorter log";
}

TEST_F(ReplicaTest, AFailedSyncStopsTheMemberAndAcknowledgesNothing) {
  begin(false);
  disk_.fail_next_sync();
  const std::uint64_t id = set("/a", "1");
  ASSERT_TRUE(scheduler_.run_until([&] { return !failure_.empty(); }, 10s));
  EXPECT_TRUE(failure_.contains("fdatasync"));
  std::string read;
  replica_->read_index([&](Result<void> result) { read = result ? "done" : result.error().message; });
  scheduler_.run_until([] { return false; }, 5s);
  EXPECT_FALSE(applied_ids_.contains(id));
  EXPECT_EQ(read, "etcdserver: server stopped");
}

TEST_F(ReplicaTest, AReadThatWaitsWhenTheMemberFailsIsAnswered) {
  auto opened = open(false);
  ASSERT_TRUE(opened.has_value());
  replica_ = *std::move(opened);
  std::string read;
  replica_->read_index([&](Result<void> result) { read = result ? "done" : result.error().message; });
  disk_.fail_next_sync();
  replica_->start();
  ASSERT_TRUE(scheduler_.run_until([&] { return !read.empty(); }, 10s));
  EXPECT_EQ(read, "etcdserver: server stopped");
}

TEST_F(ReplicaTest, ACommandThatNobodyKnowsStopsTheMember) {
  begin(false);
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header()->set_id(1);
  request.mutable_downgrade_info_set()->set_ver("3.6.0");
  replica_->propose(SharedBytes(request.SerializeAsString()), [](const Error&) {});
  ASSERT_TRUE(scheduler_.run_until([&] { return !failure_.empty(); }, 10s));
  EXPECT_TRUE(failure_.contains("does not know")) << failure_;
}

}  // namespace
}  // namespace etcd::replica
