#include "service/raft_status.h"

#include <gtest/gtest.h>

namespace etcd::service {
namespace {

TEST(RaftStatus, AMemberThatKnowsNobody) {
  raft::Status status;
  status.id = 0xabc;
  EXPECT_EQ(raft_status_json(status),
            R"({"id":"abc","term":0,"vote":"0","commit":0,"lead":"0","raftState":"StateFollower","applied":0,)"
            R"("progress":{},"leadtransferee":"0"})");
}

TEST(RaftStatus, ALeaderAndItsFollower) {
  raft::Status status;
  status.id = 0xabc;
  status.hard_state = {Term{4}, 0xabc, Index{9}};
  status.soft_state = {0xabc, raft::Role::kLeader};
  status.applied = Index{8};
  raft::Progress own;
  own.match = Index{9};
  own.next = Index{10};
  own.state = raft::ProgressState::kReplicate;
  status.progress.put(0xabc, own);
  raft::Progress other;
  status.progress.put(0xdef, other);
  status.transferee = 0xdef;
  EXPECT_EQ(raft_status_json(status),
            R"({"id":"abc","term":4,"vote":"abc","commit":9,"lead":"abc","raftState":"StateLeader","applied":8,)"
            R"("progress":{"abc":{"match":9,"next":10,"state":"StateReplicate"},)"
            R"("def":{"match":0,"next":1,"state":"StateProbe"}},"leadtransferee":"def"})");
}

}  // namespace
}  // namespace etcd::service
