// Replication and commitment: Raft paper 5.3 and 5.4; flow control; storage writes.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "raft/core.h"
#include "raft/describe.h"
#include "raft/network_test.h"
#include "raft/unstable.h"

namespace etcd::raft {
namespace {

std::vector<Message> take(Network& network, MessageType type, MemberId to) {
  std::vector<Message> found;
  for (const Message& message : network.sent) {
    if (message.type == type && message.to == to) found.push_back(message);
  }
  network.sent.clear();
  return found;
}

Message acknowledge(MemberId from, MemberId to, Term term, Index index) {
  Message message;
  message.type = MessageType::kAppResp;
  message.from = from;
  message.to = to;
  message.term = term;
  message.index = index;
  return message;
}

TEST(Replication, ACommandIsAppliedEverywhere) {  // paper 5.3
  for (const bool async : {false, true}) {
    for (std::size_t size = 1; size <= 5; ++size) {
      SCOPED_TRACE(std::to_string(size) + (async ? " async" : " sync"));
      Options options;
      options.async_storage_writes = async;
      Network network(size, options);
      network.campaign(1);
      ASSERT_TRUE(network.core(1).propose(bytes("one")).has_value());
      ASSERT_TRUE(network.core(1).propose_batch({bytes("two"), bytes("three")}).has_value());
      network.settle();
      for (MemberId id = 1; id <= size; ++id) {
        EXPECT_EQ(network.commands_of(id), (std::vector<std::string>{"one", "two", "three"})) << id;
        EXPECT_EQ(network.core(id).applied(), Index{4});
      }
    }
  }
}

TEST(Replication, CommitsWithAMajorityOnly) {
  Network network(5);
  network.campaign(1);
  for (const MemberId id : {3, 4, 5}) network.isolate(id);
  ASSERT_TRUE(network.core(1).propose(bytes("x")).has_value());
  network.settle();
  EXPECT_EQ(network.core(1).committed(), Index{1});
  network.heal();
  network.isolate(4);
  network.isolate(5);
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(1).committed(), Index{2});
  EXPECT_EQ(network.commands_of(3), std::vector<std::string>{"x"});
}

TEST(Replication, AFollowersProposalIsForwarded) {
  Network network(3);
  network.campaign(1);
  ASSERT_TRUE(network.core(2).propose(bytes("x")).has_value());
  network.settle();
  EXPECT_EQ(network.commands_of(2), std::vector<std::string>{"x"});
}

TEST(Replication, DropsProposalsItCannotTake) {
  const auto code = [](Result<void> result) { return result.has_value() ? ErrorCode{} : result.error().code; };
  Network no_leader(3);
  EXPECT_EQ(code(no_leader.core(1).propose(bytes("x"))), ErrorCode::kProposalDropped);
  no_leader.core(1).campaign();
  EXPECT_EQ(code(no_leader.core(1).propose(bytes("x"))), ErrorCode::kProposalDropped);

  Options options;
  options.disable_proposal_forwarding = true;
  Network not_forwarded(3, options);
  not_forwarded.campaign(1);
  EXPECT_EQ(code(not_forwarded.core(2).propose(bytes("x"))), ErrorCode::kProposalDropped);
  EXPECT_TRUE(not_forwarded.core(1).propose(bytes("x")).has_value());
}

TEST(Replication, BringsEveryLogInLine) {  // paper figure 7
  const std::vector<std::uint64_t> leader = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
  const struct {
    const char* name;
    std::vector<std::uint64_t> follower;
  } rows[] = {
      {"a: one short", {1, 1, 1, 4, 4, 5, 5, 6, 6}},
      {"b: many short", {1, 1, 1, 4}},
      {"c: one more", {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}},
      {"d: a later term more", {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}},
      {"e: short, with another tail", {1, 1, 1, 4, 4, 4, 4}},
      {"f: with tails of two old terms", {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3}},
      {"empty", {}},
  };
  for (const auto& row : rows) {
    for (const std::uint64_t bytes_max : {std::uint64_t{0}, kNoLimit}) {
      SCOPED_TRACE(row.name);
      Options options;
      options.message_bytes_max = bytes_max;
      Network network(3, options);
      network.add(1, leader, 7);
      network.add(2, row.follower, 7);
      network.isolate(2);
      network.campaign(1);
      network.heal();
      network.tick(1, 1);
      network.settle();
      std::vector<std::uint64_t> expected = leader;
      expected.push_back(8);
      EXPECT_EQ(network.terms_of(2), expected);
      EXPECT_EQ(network.core(2).committed(), Index{11});
    }
  }
}

TEST(Replication, ProbesOncePerTermNotOncePerEntry) {
  Options options;
  options.message_bytes_max = 0;
  Network network(3, options);
  std::vector<std::uint64_t> ours(1, 1);
  std::vector<std::uint64_t> theirs(1, 1);
  ours.insert(ours.end(), 200, 5);
  theirs.insert(theirs.end(), 200, 3);
  network.add(1, ours, 5);
  network.add(2, theirs, 5);
  int rejected = 0;
  network.drop = [&](const Message& message) {
    rejected += message.type == MessageType::kAppResp && message.reject ? 1 : 0;
    return false;
  };
  network.campaign(1);
  EXPECT_LE(rejected, 3);
  EXPECT_EQ(network.terms_of(2), network.terms_of(1));
}

TEST(Replication, AnOlderTermsEntryIsNotCommittedByCounting) {  // paper figure 8 and 5.4.2
  Options options;
  options.message_bytes_max = 0;  // one entry per message
  Network network(5, options);
  // (a), (b): S1 led in term 2 and brought entry 2 to S2; S5 led in term 3 and wrote another entry 2.
  network.add(1, {1, 2}, 3);
  network.add(2, {1, 2}, 3);
  network.add(3, {1}, 3);
  network.add(4, {1}, 3);
  network.add(5, {1, 3}, 3);
  // (c): S1 leads again, in term 4, and brings entry 2 to a majority; its own entry gets lost.
  network.isolate(4);
  network.isolate(5);
  network.drop = [&](const Message& message) {
    return message.type == MessageType::kApp && !message.entries.empty() && message.entries.back().term == Term{4} &&
           network.core(message.to).last_index() >= Index{2};
  };
  network.campaign(1);
  ASSERT_TRUE(network.core(1).is_leader());
  ASSERT_EQ(network.core(1).term(), Term{4});
  for (int beat = 0; beat < 5; ++beat) {
    network.tick(1, 1);
    network.settle();
  }
  EXPECT_EQ(network.terms_of(3), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(network.core(1).progress().find(3)->match, Index{2}) << "on S1, S2 and S3";
  EXPECT_EQ(network.core(1).committed(), Index{}) << "and yet not committed";

  // (d): S1 crashes; S5 can still win, and replaces entry 2 everywhere.
  network.heal();
  network.isolate(1);
  network.campaign(5);  // finds out about term 4
  network.campaign(5);
  ASSERT_TRUE(network.core(5).is_leader());
  for (const MemberId id : {2, 3, 4, 5}) EXPECT_EQ(network.terms_of(id), (std::vector<std::uint64_t>{1, 3, 5})) << id;
  EXPECT_EQ(network.core(5).committed(), Index{3});
  network.heal();
  network.tick(5, 1);
  network.settle();
  EXPECT_EQ(network.terms_of(1), (std::vector<std::uint64_t>{1, 3, 5}));
}

TEST(Replication, AnOlderTermsEntryIsCommittedByOneOfTheOwnTerm) {  // paper figure 8 (e)
  Network network(5);
  network.add(1, {1, 2}, 3);
  network.add(5, {1, 3}, 3);
  network.isolate(4);
  network.isolate(5);
  network.campaign(1);
  EXPECT_EQ(network.core(1).committed(), Index{3});
  network.heal();
  network.isolate(1);
  network.campaign(5);
  EXPECT_FALSE(network.core(5).is_leader()) << "a majority has a newer log now";
}

TEST(Replication, AnAppendIsAcknowledgedOnceItIsSaved) {  // thesis 3.8
  Options options;
  options.async_storage_writes = true;
  Network network(3, options);
  Message append;
  append.type = MessageType::kApp;
  append.from = 1;
  append.to = 2;
  append.term = Term{1};
  append.entries = entries_of(Index{}, {1});
  ASSERT_TRUE(network.core(2).step(append).has_value());
  const Ready ready = network.core(2).take_ready();
  ASSERT_EQ(ready.messages.size(), 1u);
  EXPECT_EQ(ready.messages[0].type, MessageType::kStorageAppend);
  ASSERT_EQ(ready.messages[0].responses.size(), 2u);
  EXPECT_EQ(ready.messages[0].responses[0].type, MessageType::kAppResp);
  EXPECT_EQ(ready.messages[0].responses[0].to, 1u);
  EXPECT_EQ(ready.messages[0].responses[1].type, MessageType::kStorageAppendResp);
}

TEST(StorageWrites, ASoleVoterCommitsAfterItsOwnAppend) {
  Options options;
  options.async_storage_writes = true;
  Network network(1, options);
  Core& core = network.core(1);
  MemoryLog& log = network.member(1).log;
  core.campaign();
  Ready vote = core.take_ready();
  ASSERT_EQ(vote.messages.size(), 1u);
  EXPECT_EQ(core.role(), Role::kCandidate) << "its vote is not saved yet";
  log.set_hard_state(vote.hard_state);
  for (Message& message : vote.messages[0].responses) ASSERT_TRUE(core.step(std::move(message)).has_value());
  EXPECT_TRUE(core.is_leader());

  ASSERT_TRUE(core.propose(bytes("x")).has_value());
  Ready append = core.take_ready();
  ASSERT_EQ(append.messages.size(), 1u);
  EXPECT_EQ(append.entries.size(), 2u);
  EXPECT_EQ(core.committed(), Index{}) << "the leader's own log does not count before it is saved";
  EXPECT_FALSE(core.has_ready());
  log.append(append.entries);
  for (Message& message : append.messages[0].responses) ASSERT_TRUE(core.step(std::move(message)).has_value());
  EXPECT_EQ(core.committed(), Index{2});

  Ready apply = core.take_ready();
  ASSERT_EQ(apply.committed_entries.size(), 2u);
  EXPECT_EQ(apply.committed_entries[1].data, bytes("x"));
  EXPECT_FALSE(apply.must_sync) << "a commit index alone need not be synced";
  EXPECT_EQ(core.applied(), Index{});
  for (Message& message : apply.messages) {
    for (Message& response : message.responses) ASSERT_TRUE(core.step(std::move(response)).has_value());
  }
  EXPECT_EQ(core.applied(), Index{2});
  EXPECT_EQ(core.uncommitted_bytes(), 0u);
  EXPECT_FALSE(core.has_ready());
  core.check_invariants();
}

TEST(StorageWrites, WritesArePipelined) {
  Options options;
  options.async_storage_writes = true;
  Network network(1, options);
  network.campaign(1);
  Core& core = network.core(1);
  MemoryLog& log = network.member(1).log;
  std::vector<Ready> pipeline;
  for (int number = 0; number < 3; ++number) {
    ASSERT_TRUE(core.propose(bytes(std::to_string(number))).has_value());
    pipeline.push_back(core.take_ready());
    ASSERT_EQ(pipeline.back().entries.size(), 1u) << "each entry is handed out once";
    EXPECT_FALSE(core.has_ready());
  }
  for (Ready& ready : pipeline) {
    log.append(ready.entries);
    for (Message& message : ready.messages[0].responses) ASSERT_TRUE(core.step(std::move(message)).has_value());
    EXPECT_EQ(core.committed(), ready.entries.back().index);
  }
}

TEST(StorageWrites, AnAcknowledgementOfAnOlderTermIsIgnored) {
  // Entry 1 is written in term 1, replaced in term 2, and put back in term 3, all before the first write is done. Its
  // acknowledgement names the entry that is there now; but the second write will still replace that in storage.
  Options options;
  options.async_storage_writes = true;
  Network network(3, options);
  Core& core = network.core(2);
  MemoryLog& log = network.member(2).log;
  std::vector<Ready> writes;
  const auto append_from = [&](MemberId leader, std::uint64_t term, std::vector<Entry> entries, EntryId previous) {
    Message append;
    append.type = MessageType::kApp;
    append.from = leader;
    append.to = 2;
    append.term = Term{term};
    append.index = previous.index;
    append.log_term = previous.term;
    append.entries = std::move(entries);
    ASSERT_TRUE(core.step(append).has_value());
    writes.push_back(core.take_ready());
  };
  const auto finish = [&](Ready& write) {
    log.append(write.entries);
    for (const Message& message : write.messages[0].responses) {
      if (message.to != 2) continue;
      ASSERT_TRUE(core.step(message).has_value());
    }
    core.check_invariants();
  };
  append_from(1, 1, entries_of(Index{}, {1}), {});
  append_from(3, 2, entries_of(Index{}, {2}), {});
  append_from(1, 3, entries_of(Index{}, {1}), {});
  finish(writes[0]);
  finish(writes[1]);
  EXPECT_EQ(*log.term(Index{1}), Term{2}) << "what storage holds in between is not to be believed";
  append_from(1, 3, {}, {Term{1}, Index{1}});
  const Message& answer = writes.back().messages.front().responses.front();
  EXPECT_EQ(answer.type, MessageType::kAppResp);
  EXPECT_FALSE(answer.reject);
  finish(writes[2]);
  finish(writes[3]);
  EXPECT_EQ(*log.term(Index{1}), Term{1});
  EXPECT_FALSE(core.has_ready());
}

TEST(Flow, TheWindowLimitsMessagesAndBytes) {
  const struct {
    const char* name;
    std::uint32_t messages_max;
    std::uint64_t bytes_max;
    std::size_t sent;
  } rows[] = {
      {"three messages", 3, 0, 3},
      {"250 bytes, the last may cross", 100, 250, 3},
      {"both", 2, 250, 2},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Options options;
    options.inflight_messages_max = row.messages_max;
    options.inflight_bytes_max = row.bytes_max;
    options.message_bytes_max = 150;
    Network network(2, options);
    network.campaign(1);
    for (int number = 0; number < 10; ++number)
      ASSERT_TRUE(network.core(1).propose(bytes(std::string(100, 'x'))).has_value());
    network.work(1);
    const std::vector<Message> first = take(network, MessageType::kApp, 2);
    ASSERT_EQ(first.size(), row.sent);
    EXPECT_TRUE(network.core(1).progress().find(2)->paused());

    // Each acknowledgement lets as much out again.
    const Index last = first.front().entries.back().index;
    ASSERT_TRUE(network.core(1).step(acknowledge(2, 1, Term{1}, last)).has_value());
    network.work(1);
    std::size_t with_entries = 0;
    for (const Message& message : take(network, MessageType::kApp, 2)) with_entries += message.entries.empty() ? 0 : 1;
    EXPECT_EQ(with_entries, 1u);
  }
}

TEST(Flow, AFullWindowWhoseMessagesWereLostRecovers) {
  Options options;
  options.inflight_messages_max = 2;
  options.message_bytes_max = 0;
  Network network(2, options);
  network.campaign(1);
  network.isolate(2);
  for (int number = 0; number < 6; ++number) ASSERT_TRUE(network.core(1).propose(bytes("x")).has_value());
  network.settle();
  network.heal();
  for (int beat = 0; beat < 3; ++beat) {
    network.tick(1, 1);
    network.settle();
  }
  EXPECT_EQ(network.core(2).last_index(), network.core(1).last_index());
}

TEST(Flow, TheUncommittedTailIsLimited) {
  Options options;
  options.uncommitted_bytes_max = 100;
  Network network(2, options);
  network.campaign(1);
  network.isolate(2);
  EXPECT_TRUE(network.core(1).propose(bytes(std::string(500, 'x'))).has_value()) << "the first always passes";
  EXPECT_EQ(network.core(1).propose(bytes("y")).error().code, ErrorCode::kProposalDropped);
  EXPECT_TRUE(network.core(1).propose(SharedBytes()).has_value()) << "so does an empty one";
  EXPECT_EQ(network.core(1).uncommitted_bytes(), 500u);
  network.heal();
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(1).uncommitted_bytes(), 0u);
  EXPECT_TRUE(network.core(1).propose(bytes(std::string(60, 'x'))).has_value());
  EXPECT_EQ(network.core(1).propose(bytes(std::string(60, 'x'))).error().code, ErrorCode::kProposalDropped);
}

TEST(Flow, AnUnreachableFollowerIsProbed) {
  Network network(2);
  network.campaign(1);
  EXPECT_EQ(network.core(1).progress().find(2)->state, ProgressState::kReplicate);
  network.core(1).report_unreachable(2);
  EXPECT_EQ(network.core(1).progress().find(2)->state, ProgressState::kProbe);
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(1).progress().find(2)->state, ProgressState::kReplicate);
}

/// Member 3 misses what member 1 then compacts away.
class SnapshotTest : public ::testing::Test {
 protected:
  SnapshotTest() : network(3) {
    network.campaign(1);
    network.isolate(3);
    for (int number = 0; number < 5; ++number) (void)network.core(1).propose(bytes(std::to_string(number)));
    network.settle();
    MemoryLog& log = network.member(1).log;
    EXPECT_TRUE(log.create_snapshot(Index{5}, {.voters = {1, 2, 3}}, bytes("state at 5")).has_value());
    EXPECT_TRUE(log.compact(Index{5}).has_value());
    network.heal();
  }

  Network network;
};

TEST_F(SnapshotTest, BringsAMemberForward) {
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(3).committed(), Index{6});
  EXPECT_EQ(network.member(3).log.first_index(), Index{6});
  EXPECT_EQ(network.commands_of(3), std::vector<std::string>{"4"}) << "the rest is in the snapshot";
  EXPECT_EQ(network.core(1).progress().find(3)->state, ProgressState::kReplicate);
}

TEST_F(SnapshotTest, NothingElseIsSentWhileItIsOnItsWay) {
  network.drop = [](const Message& message) { return message.type == MessageType::kSnap; };
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(1).progress().find(3)->state, ProgressState::kSnapshot);
  EXPECT_EQ(network.core(1).progress().find(3)->pending_snapshot, Index{5});
  (void)network.core(1).propose(bytes("more"));
  network.work(1);
  EXPECT_TRUE(take(network, MessageType::kApp, 3).empty());
}

TEST_F(SnapshotTest, AFailureIsTriedAgain) {
  network.drop = [](const Message& message) { return message.type == MessageType::kSnap; };
  network.tick(1, 1);
  network.settle();
  network.core(1).report_snapshot(3, SnapshotStatus::kFailed);
  EXPECT_EQ(network.core(1).progress().find(3)->state, ProgressState::kProbe);
  EXPECT_EQ(network.core(1).progress().find(3)->next, Index{2});
  network.drop = nullptr;
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(3).committed(), Index{6});
}

TEST_F(SnapshotTest, AReportedSuccessGoesOnBehindIt) {
  network.drop = [](const Message& message) {
    return message.type == MessageType::kAppResp && message.from == 3 && !message.reject;
  };
  network.tick(1, 1);
  network.settle();
  network.core(1).report_snapshot(3, SnapshotStatus::kFinished);
  EXPECT_EQ(network.core(1).progress().find(3)->state, ProgressState::kProbe);
  EXPECT_EQ(network.core(1).progress().find(3)->next, Index{6});
  EXPECT_TRUE(network.core(1).progress().find(3)->paused());
}

TEST(Snapshot, IsNotSentToAMemberThatIsNotHeard) {
  Options options;
  options.check_quorum = true;
  Network network(3, options);
  network.campaign(1);
  network.isolate(3);
  for (int beat = 0; beat < 30; ++beat) {
    network.tick(1, 1);
    network.settle();
  }
  (void)network.core(1).propose(bytes("x"));
  network.settle();
  MemoryLog& log = network.member(1).log;
  ASSERT_TRUE(log.create_snapshot(Index{2}, {.voters = {1, 2, 3}}, {}).has_value());
  ASSERT_TRUE(log.compact(Index{2}).has_value());
  network.core(1).report_unreachable(3);  // so it probes behind entry 1, which is compacted
  (void)network.core(1).propose(bytes("y"));
  network.work(1);
  EXPECT_EQ(network.core(1).progress().find(3)->state, ProgressState::kProbe);
  EXPECT_FALSE(network.core(1).progress().find(3)->recent_active);
  network.heal();
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(3).committed(), Index{3}) << "its answer to a heartbeat changed that";
}

TEST(Snapshot, OfAnOlderStateIsIgnored) {
  Network network(3);
  network.campaign(1);
  (void)network.core(1).propose(bytes("x"));
  network.settle();
  const auto snapshot_at = [](std::uint64_t index, std::uint64_t term, std::vector<MemberId> voters) {
    Message message;
    message.type = MessageType::kSnap;
    message.from = 1;
    message.to = 2;
    message.term = Term{1};
    message.snapshot =
        Snapshot{.data = {},
                 .metadata = {.conf_state = {.voters = std::move(voters)}, .index = Index{index}, .term = Term{term}}};
    return message;
  };
  const struct {
    const char* name;
    Message message;
    std::uint64_t committed;
  } rows[] = {
      {"older", snapshot_at(1, 1, {1, 2, 3}), 2},
      {"as new", snapshot_at(2, 1, {1, 2, 3}), 2},
      {"without this member", snapshot_at(9, 1, {1, 3}), 2},
      {"newer", snapshot_at(9, 1, {1, 2, 3}), 9},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    ASSERT_TRUE(network.core(2).step(row.message).has_value());
    network.work(2);
    EXPECT_EQ(network.core(2).committed(), Index{row.committed});
  }
}

TEST(Restart, GoesOnWhereItWas) {
  Network network(3);
  network.campaign(1);
  (void)network.core(1).propose(bytes("x"));
  network.settle();
  const HardState before = network.core(2).hard_state();
  network.restart(2);
  EXPECT_EQ(network.core(2).hard_state(), before);
  network.work(2);
  EXPECT_EQ(network.commands_of(2), std::vector<std::string>{"x"}) << "applied anew, as nothing said it was";
  (void)network.core(1).propose(bytes("y"));
  network.settle();
  EXPECT_EQ(network.commands_of(2), (std::vector<std::string>{"x", "y"}));
}

TEST(Restart, DoesNotApplyAgainWhatIsSaidToBeApplied) {
  MemoryLog log(ConfState{.voters = {1}});
  log.append(entries_of(Index{}, {1, 1, 1}));
  log.set_hard_state({Term{1}, 1, Index{1}});
  Options options;
  options.id = 1;
  options.applied = Index{2};  // further than the saved commit index
  Core core(options, log, Rng(1));
  EXPECT_EQ(core.applied(), Index{2});
  EXPECT_EQ(core.committed(), Index{2});
  EXPECT_FALSE(core.has_ready());
  core.check_invariants();
}

TEST(Core, RefusesWhatNoCorrectMemberSends) {
  const auto from_two = [](MessageType type, std::uint64_t term) {
    Message message;
    message.type = type;
    message.from = 2;
    message.to = 1;
    message.term = Term{term};
    return message;
  };
  Message gap = from_two(MessageType::kApp, 1);
  gap.entries = entries_of(Index{3}, {1});
  Message future = from_two(MessageType::kApp, 1);
  future.entries = entries_of(Index{}, {2});
  Message back = from_two(MessageType::kApp, 3);
  back.entries = entries_of(Index{}, {2, 1});
  Message bad_change = from_two(MessageType::kProp, 0);
  bad_change.entries = {{.type = EntryType::kConfChange, .data = bytes("\xff")}};
  Message no_voters = from_two(MessageType::kSnap, 1);
  no_voters.snapshot = Snapshot{.metadata = {.conf_state = {.learners = {1}}, .index = Index{5}, .term = Term{1}}};
  Message stranger = from_two(MessageType::kAppResp, 1);
  stranger.from = 9;
  Message beyond = from_two(MessageType::kAppResp, 1);
  beyond.index = Index{99};
  const struct {
    const char* name;
    Message message;
    ErrorCode code;
  } rows[] = {
      {"a local message", from_two(MessageType::kHup, 0), ErrorCode::kInvalidArgument},
      {"to forget the leader", from_two(MessageType::kForgetLeader, 0), ErrorCode::kInvalidArgument},
      {"a storage thread's answer", from_two(MessageType::kStorageAppendResp, 1), ErrorCode::kInvalidArgument},
      {"an append without a term", from_two(MessageType::kApp, 0), ErrorCode::kInvalidArgument},
      {"entries behind a gap", gap, ErrorCode::kInvalidArgument},
      {"an entry of a later term than the leader's", future, ErrorCode::kInvalidArgument},
      {"terms that go back", back, ErrorCode::kInvalidArgument},
      {"an empty proposal", from_two(MessageType::kProp, 0), ErrorCode::kInvalidArgument},
      {"a change that cannot be read", bad_change, ErrorCode::kInvalidArgument},
      {"a read without its name", from_two(MessageType::kReadIndex, 0), ErrorCode::kInvalidArgument},
      {"a snapshot of a configuration that cannot be", no_voters, ErrorCode::kInvalidArgument},
      {"an answer from a stranger", stranger, ErrorCode::kNotFound},
      {"an acknowledgement beyond the log", beyond, ErrorCode::kInvalidArgument},
  };
  Network network(3);
  network.campaign(1);
  const HardState before = network.core(1).hard_state();
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto stepped = network.core(1).step(row.message);
    ASSERT_FALSE(stepped.has_value());
    EXPECT_EQ(stepped.error().code, row.code);
    EXPECT_EQ(network.core(1).hard_state(), before);
    EXPECT_FALSE(network.core(1).has_ready());
  }
}

TEST(Core, ChecksItsOptions) {
  const auto changed = [](auto change) {
    Options options;
    options.id = 1;
    change(options);
    return options;
  };
  const struct {
    const char* name;
    Options options;
  } rows[] = {
      {"no id", changed([](Options& o) { o.id = 0; })},
      {"a storage thread's id", changed([](Options& o) { o.id = kApplyThread; })},
      {"no heartbeats", changed([](Options& o) { o.heartbeat_ticks = 0; })},
      {"elections as often as heartbeats", changed([](Options& o) { o.election_ticks = o.heartbeat_ticks; })},
      {"no window", changed([](Options& o) { o.inflight_messages_max = 0; })},
      {"a window smaller than a message",
       changed([](Options& o) { o.message_bytes_max = 10, o.inflight_bytes_max = 9; })},
      {"a lease without checking the quorum", changed([](Options& o) { o.read_only = ReadOnly::kLeaseBased; })},
  };
  EXPECT_TRUE(changed([](Options&) {}).check().has_value());
  for (const auto& row : rows) EXPECT_FALSE(row.options.check().has_value()) << row.name;
}

TEST(Core, NotesOnlyWhatIsWanted) {
  Options options;
  options.note_level = NoteLevel::kWarning;
  options.id = 1;
  MemoryLog log(ConfState{.voters = {2}, .learners = {1}});
  Core core(options, log, Rng(1));
  EXPECT_FALSE(core.has_notes());
  core.campaign();
  const std::vector<Note> notes = core.take_notes();
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0].level, NoteLevel::kWarning);
  EXPECT_EQ(notes[0].text, "1 is unpromotable and can not campaign");
  EXPECT_FALSE(core.has_notes());
}

TEST(Describe, QuotesBytes) {
  const struct {
    const char* name;
    Bytes bytes;
    const char* quoted;
  } rows[] = {
      {"plain", "abc", "\"abc\""},
      {"quotes", "a\"b\\", "\"a\\\"b\\\\\""},
      {"control", Bytes("\n\t\0\x1b\x7f", 5), "\"\\n\\t\\x00\\x1b\\x7f\""},
      {"UTF-8", "\u00fc\u221e\U0001F600", "\"\u00fc\u221e\U0001F600\""},
      {"not UTF-8", "\xff\xc3(\xe2\x82", "\"\\xff\\xc3(\\xe2\\x82\""},
      {"overlong", "\xc0\x80", "\"\\xc0\\x80\""},
  };
  for (const auto& row : rows) EXPECT_EQ(quote(row.bytes), row.quoted) << row.name;
}

TEST(Describe, TellsAStatus) {
  Network network(2);
  network.campaign(1);
  EXPECT_EQ(describe(network.core(1).status()),
            R"({"id":"1","term":1,"vote":"1","commit":1,"lead":"1","raftState":"StateLeader","applied":1,)"
            R"("progress":{"1":{"match":1,"next":2,"state":"StateReplicate"},)"
            R"("2":{"match":1,"next":2,"state":"StateReplicate"}},"leadtransferee":"0"})");
  EXPECT_EQ(describe(Ready()), "<empty Ready>");
}

}  // namespace
}  // namespace etcd::raft
