// Linearizable reads: Raft thesis 6.4.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "raft/core.h"
#include "raft/network_test.h"
#include "raft/read_queue.h"

namespace etcd::raft {
namespace {

Message heartbeat_answer(MemberId from, Bytes context) {
  Message message;
  message.type = MessageType::kHeartbeatResp;
  message.from = from;
  message.to = 1;
  message.term = Term{1};
  message.context = std::move(context);
  return message;
}

/// The context of the newest heartbeat to `to`.
Bytes context_to(const Network& network, MemberId to) {
  Bytes context;
  for (const Message& message : network.sent) {
    if (message.type == MessageType::kHeartbeat && message.to == to) context = message.context;
  }
  return context;
}

TEST(Read, IsAnsweredWithTheCommitIndexByEveryMember) {
  for (const ReadOnly read_only : {ReadOnly::kSafe, ReadOnly::kLeaseBased}) {
    for (const bool async : {false, true}) {
      Options options;
      options.read_only = read_only;
      options.check_quorum = true;
      options.async_storage_writes = async;
      Network network(ConfState{.voters = {1, 2, 3}, .learners = {4}}, options);
      network.campaign(1);
      std::uint64_t committed = 1;
      for (const MemberId id : {1, 2, 3, 4}) {
        (void)network.core(1).propose(bytes("x"));
        network.settle();
        network.core(id).read_index(bytes("read"));
        network.settle();
        ASSERT_EQ(network.member(id).reads.size(), 1u) << id;
        EXPECT_EQ(network.member(id).reads[0], (ReadState{Index{++committed}, bytes("read")}));
      }
    }
  }
}

TEST(Read, NeedsAMajority) {
  Network network(5);
  network.campaign(1);
  network.core(1).read_index(bytes("read"));
  network.work(1);
  const Bytes context = context_to(network, 2);
  ASSERT_FALSE(context.empty());
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(2, context)).has_value());
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(2, context)).has_value());
  network.work(1);
  EXPECT_TRUE(network.member(1).reads.empty()) << "two of five, one of them twice";
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(3, context)).has_value());
  network.work(1);
  EXPECT_EQ(network.member(1).reads.size(), 1u);
}

TEST(Read, AnOlderAcknowledgementDoesNotCount) {
  Network network(3);
  network.campaign(1);
  network.core(1).read_index(bytes("first"));
  network.work(1);
  const Bytes older = context_to(network, 2);
  network.core(1).read_index(bytes("second"));
  network.work(1);
  const Bytes newer = context_to(network, 2);
  ASSERT_NE(older, newer);
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(2, older)).has_value());
  network.work(1);
  ASSERT_EQ(network.member(1).reads.size(), 1u);
  EXPECT_EQ(network.member(1).reads[0].context, bytes("first"));
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(2, {})).has_value());  // answers a heartbeat without a round
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(3, older)).has_value());
  network.work(1);
  EXPECT_EQ(network.member(1).reads.size(), 1u);
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(3, newer)).has_value());
  network.work(1);
  EXPECT_EQ(network.member(1).reads.size(), 2u);
}

TEST(Read, ALaterAcknowledgementConfirmsAllBefore) {
  Network network(3);
  network.campaign(1);
  for (const char* const name : {"a", "b", "c"}) network.core(1).read_index(bytes(name));
  network.work(1);
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(3, context_to(network, 3))).has_value());
  network.work(1);
  ASSERT_EQ(network.member(1).reads.size(), 3u);
  EXPECT_EQ(network.member(1).reads[0].context, bytes("a"));
  EXPECT_EQ(network.member(1).reads[2].context, bytes("c"));
}

TEST(Read, ALearnersAcknowledgementDoesNotCount) {
  Network network(ConfState{.voters = {1, 2, 3}, .learners = {4}});
  network.campaign(1);
  network.core(1).read_index(bytes("read"));
  network.work(1);
  ASSERT_TRUE(network.core(1).step(heartbeat_answer(4, context_to(network, 4))).has_value());
  network.work(1);
  EXPECT_TRUE(network.member(1).reads.empty());
}

TEST(Read, WaitsUntilTheLeaderHasCommittedInItsTerm) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{3}}) {
    SCOPED_TRACE(std::to_string(size) + " voters");
    Options options;
    options.async_storage_writes = true;
    Network network(size, options);
    network.add(1, {1, 1}, 1, 1);  // entries 1 and 2 were committed, and even read, but the commit index was not saved
    network.core(1).campaign();
    Ready vote = network.core(1).take_ready();
    for (Message& message : vote.messages) {
      for (Message& response : message.responses) (void)network.core(1).step(std::move(response));
    }
    if (size == 3) {
      Message granted;
      granted.type = MessageType::kVoteResp;
      granted.from = 2;
      granted.term = Term{2};
      (void)network.core(1).step(granted);
    }
    ASSERT_TRUE(network.core(1).is_leader());
    network.core(1).read_index(bytes("read"));
    Ready ready = network.core(1).take_ready();
    EXPECT_TRUE(ready.read_states.empty());
    network.member(1).log.append(ready.entries);
    for (Message& message : ready.messages) {
      if (message.to != kAppendThread) network.sent.push_back(message);
      for (Message& response : message.responses) (void)network.core(1).step(std::move(response));
    }
    network.settle();
    network.tick(1, 1);
    network.settle();
    ASSERT_EQ(network.member(1).reads.size(), 1u);
    EXPECT_EQ(network.member(1).reads[0].index, Index{3});
  }
}

TEST(Read, IsLostWithLeadership) {
  Network network(3);
  network.campaign(1);
  network.isolate(1);
  network.core(1).read_index(bytes("read"));
  network.settle();
  network.campaign(2);
  (void)network.core(2).propose(bytes("x"));
  network.settle();
  network.heal();
  network.tick(2, 1);
  network.settle();
  EXPECT_FALSE(network.core(1).is_leader());
  EXPECT_TRUE(network.member(1).reads.empty());
}

TEST(Read, IsDroppedWithoutALeader) {
  Network network(3);
  network.core(1).read_index(bytes("read"));
  network.settle();
  EXPECT_TRUE(network.member(1).reads.empty());
}

TEST(Read, ASmallerQuorumMayConfirmIt) {
  Network network(2);
  network.campaign(1);
  ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(ConfChangeType::kRemoveNode, 2)).has_value());
  network.core(1).read_index(bytes("read"));
  network.drop = [](const Message& message) { return message.type == MessageType::kHeartbeatResp; };
  network.settle();
  EXPECT_EQ(network.member(1).reads.size(), 1u);
}

TEST(ReadQueue, IgnoresEchoesThatItNeverAskedFor) {
  ReadQueue queue;
  EXPECT_TRUE(queue.heartbeat_context().empty());
  queue.add(Index{5}, Message());
  const JointVoters voters{{1, 2, 3}, {}};
  queue.acknowledge(1, queue.heartbeat_context());
  queue.acknowledge(2, "short");
  queue.acknowledge(2, Bytes(8, '\xff'));
  EXPECT_TRUE(queue.take_confirmed(voters).empty());
  queue.acknowledge(2, Bytes("\x01\0\0\0\0\0\0\0", 8));
  const std::vector<WaitingRead> taken = queue.take_confirmed(voters);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].index, Index{5});
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace etcd::raft
