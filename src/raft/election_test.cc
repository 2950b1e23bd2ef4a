// Elections: Raft paper 5.2 and 5.4.1, thesis 3.10, 6.2, 9.6.
#include <gtest/gtest.h>

#include <vector>

#include "raft/core.h"
#include "raft/network_test.h"

namespace etcd::raft {
namespace {

Message vote_request(MemberId from, MemberId to, std::uint64_t term, std::uint64_t last_term, std::uint64_t last_index,
                     MessageType type = MessageType::kVote) {
  Message message;
  message.type = type;
  message.from = from;
  message.to = to;
  message.term = Term{term};
  message.log_term = Term{last_term};
  message.index = Index{last_index};
  return message;
}

Message vote_answer(MemberId from, MemberId to, std::uint64_t term, bool reject) {
  Message message;
  message.type = MessageType::kVoteResp;
  message.from = from;
  message.to = to;
  message.term = Term{term};
  message.reject = reject;
  return message;
}

/// The message of this type among those a member sent, if any.
const Message* find_sent(const Network& network, MessageType type) {
  for (const Message& message : network.sent) {
    if (message.type == type) return &message;
  }
  return nullptr;
}

TEST(Election, StartsAsFollower) {
  Network network(3);
  EXPECT_EQ(network.core(1).role(), Role::kFollower);
  EXPECT_EQ(network.core(1).leader(), kNobody);
  EXPECT_FALSE(network.core(1).has_ready());
}

TEST(Election, IsWonByAMajorityOfVotes) {  // paper 5.2
  const struct {
    const char* name;
    std::size_t size;
    std::vector<std::pair<MemberId, bool>> votes;  // besides its own
    Role role;
  } rows[] = {
      {"alone", 1, {}, Role::kLeader},
      {"three, one more", 3, {{2, true}}, Role::kLeader},
      {"three, none", 3, {}, Role::kCandidate},
      {"three, one against", 3, {{2, false}}, Role::kCandidate},
      {"three, two against", 3, {{2, false}, {3, false}}, Role::kFollower},
      {"five, two more", 5, {{2, true}, {3, true}}, Role::kLeader},
      {"five, one more", 5, {{2, true}}, Role::kCandidate},
      {"five, the same one twice", 5, {{2, true}, {2, true}}, Role::kCandidate},
      {"five, three against", 5, {{2, false}, {3, false}, {4, false}}, Role::kFollower},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Network network(row.size);
    network.core(1).campaign();
    network.work(1);
    for (const auto& [from, granted] : row.votes) {
      ASSERT_TRUE(network.core(1).step(vote_answer(from, 1, 1, !granted)).has_value());
    }
    EXPECT_EQ(network.core(1).role(), row.role);
    EXPECT_EQ(network.core(1).term(), Term{1});
  }
}

TEST(Election, TheOwnVoteCountsOnceItIsSaved) {
  Network network(1);
  Core& core = network.core(1);
  core.campaign();
  EXPECT_EQ(core.role(), Role::kCandidate);
  const Ready ready = core.take_ready();
  EXPECT_EQ(ready.hard_state, (HardState{Term{1}, 1, Index{}}));
  EXPECT_TRUE(ready.must_sync);
  EXPECT_EQ(core.role(), Role::kCandidate);
  core.advance();
  EXPECT_EQ(core.role(), Role::kLeader);
}

TEST(Election, GivesOneVotePerTermFirstComeFirstServed) {  // paper 5.2
  const struct {
    const char* name;
    MemberId vote, asks;
    bool granted;
  } rows[] = {
      {"nobody yet", kNobody, 1, true},
      {"the same again", 1, 1, true},
      {"another", 2, 1, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Network network(3);
    network.add(3, {}, 1, row.vote);
    ASSERT_TRUE(network.core(3).step(vote_request(row.asks, 3, 1, 0, 0)).has_value());
    network.work(3);
    const Message* const answer = find_sent(network, MessageType::kVoteResp);
    ASSERT_NE(answer, nullptr);
    EXPECT_EQ(answer->reject, !row.granted);
    EXPECT_EQ(answer->to, row.asks);
  }
}

TEST(Election, RefusesACandidateWithAnOlderLog) {  // paper 5.4.1
  const struct {
    const char* name;
    std::vector<std::uint64_t> ours;
    std::uint64_t last_term, last_index;
    bool granted;
  } rows[] = {
      {"same", {1}, 1, 1, true},        {"longer", {1}, 1, 2, true},      {"later term", {1, 1}, 2, 1, true},
      {"shorter", {1, 1}, 1, 1, false}, {"older term", {2}, 1, 5, false}, {"empty against something", {1}, 0, 0, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Network network(3);
    network.add(3, row.ours, 2);
    ASSERT_TRUE(network.core(3).step(vote_request(1, 3, 3, row.last_term, row.last_index)).has_value());
    network.work(3);
    const Message* const answer = find_sent(network, MessageType::kVoteResp);
    ASSERT_NE(answer, nullptr);
    EXPECT_EQ(answer->reject, !row.granted);
    EXPECT_EQ(network.core(3).term(), Term{3}) << "the newer term is taken over either way";
  }
}

TEST(Election, AVoteLeavesOnlyOnceItIsSavedAndSurvivesACrash) {  // paper figure 2, thesis 3.8
  for (const bool async : {false, true}) {
    SCOPED_TRACE(async ? "async" : "sync");
    Options options;
    options.async_storage_writes = async;
    Network network(3, options);
    ASSERT_TRUE(network.core(3).step(vote_request(1, 3, 1, 0, 0)).has_value());
    const Ready ready = network.core(3).take_ready();
    EXPECT_TRUE(ready.must_sync);
    EXPECT_EQ(ready.hard_state, (HardState{Term{1}, 1, Index{}}));
    ASSERT_EQ(ready.messages.size(), 1u);
    const Message& first = ready.messages.front();
    if (async) {
      EXPECT_EQ(first.type, MessageType::kStorageAppend);
      EXPECT_EQ(first.vote, 1u);
      ASSERT_EQ(first.responses.size(), 1u);
      EXPECT_EQ(first.responses.front().type, MessageType::kVoteResp) << "waits for the write";
    } else {
      EXPECT_EQ(first.type, MessageType::kVoteResp);
    }
    network.member(3).log.set_hard_state(ready.hard_state);
    network.restart(3);
    ASSERT_TRUE(network.core(3).step(vote_request(2, 3, 1, 0, 0)).has_value());
    network.work(3);
    const Message* const answer = find_sent(network, MessageType::kVoteResp);
    ASSERT_NE(answer, nullptr);
    EXPECT_TRUE(answer->reject);
  }
}

TEST(Election, ACandidateFollowsALeaderOfItsTerm) {  // paper 5.2
  for (const MessageType type : {MessageType::kApp, MessageType::kHeartbeat}) {
    Network network(3);
    network.core(1).campaign();
    network.work(1);
    Message message;
    message.type = type;
    message.from = 2;
    message.to = 1;
    message.term = Term{1};
    ASSERT_TRUE(network.core(1).step(message).has_value());
    EXPECT_EQ(network.core(1).role(), Role::kFollower);
    EXPECT_EQ(network.core(1).leader(), 2u);
  }
}

TEST(Election, EveryRoleFollowsANewerTerm) {  // paper 5.1
  for (const Role role : {Role::kFollower, Role::kCandidate, Role::kLeader}) {
    Network network(3);
    if (role == Role::kCandidate) network.core(1).campaign();
    if (role == Role::kLeader) network.campaign(1);
    ASSERT_EQ(network.core(1).role(), role);
    Message message;
    message.type = MessageType::kApp;
    message.from = 2;
    message.to = 1;
    message.term = Term{7};
    ASSERT_TRUE(network.core(1).step(message).has_value());
    EXPECT_EQ(network.core(1).role(), Role::kFollower);
    EXPECT_EQ(network.core(1).term(), Term{7});
    EXPECT_EQ(network.core(1).leader(), 2u);
  }
}

TEST(Election, TimeOutsAreDrawnFromTheWholeInterval) {  // paper 5.2
  std::vector<int> seen(20);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    MemoryLog log(ConfState{.voters = {1, 2, 3}});
    Options options;
    options.id = 1;
    Core core(options, log, Rng(seed));
    const int drawn = core.randomized_election_timeout();
    ASSERT_GE(drawn, 10);
    ASSERT_LT(drawn, 20);
    ++seen[static_cast<std::size_t>(drawn)];
    for (int tick = 1; tick < drawn; ++tick) core.tick();
    EXPECT_EQ(core.role(), Role::kFollower);
    core.tick();
    EXPECT_EQ(core.role(), Role::kCandidate);
  }
  for (std::size_t ticks = 10; ticks < 20; ++ticks) EXPECT_GT(seen[ticks], 0) << ticks;
}

TEST(Election, ACandidateTriesAgainInANewTerm) {
  Network network(3);
  network.core(1).campaign();
  network.core(1).set_randomized_election_timeout(12);
  network.tick(1, 12);
  EXPECT_EQ(network.core(1).role(), Role::kCandidate);
  EXPECT_EQ(network.core(1).term(), Term{2});
}

TEST(Election, ALearnerNeverCampaigns) {
  Network network(ConfState{.voters = {1}, .learners = {2}});
  network.core(2).set_randomized_election_timeout(10);
  network.tick(2, 30);
  network.core(2).campaign();
  EXPECT_EQ(network.core(2).role(), Role::kFollower);
  EXPECT_EQ(network.core(2).term(), Term{0});
}

TEST(Election, ALearnerGrantsVotes) {  // it may have been promoted without knowing
  Network network(ConfState{.voters = {1}, .learners = {2}});
  ASSERT_TRUE(network.core(2).step(vote_request(1, 2, 1, 0, 0)).has_value());
  network.work(2);
  ASSERT_NE(find_sent(network, MessageType::kVoteResp), nullptr);
  EXPECT_FALSE(find_sent(network, MessageType::kVoteResp)->reject);
}

TEST(Election, DoesNotCampaignBeforeACommittedChangeIsApplied) {
  MemoryLog log(ConfState{.voters = {1, 2, 3}});
  Entry change = encode_conf_change(conf_change_v1(ConfChangeType::kRemoveNode, 3));
  change.term = Term{1};
  change.index = Index{1};
  log.append({&change, 1});
  log.set_hard_state({Term{1}, kNobody, Index{1}});
  Options options;
  options.id = 1;
  Core core(options, log, Rng(1));
  core.campaign();
  EXPECT_EQ(core.role(), Role::kFollower);
  (void)core.take_ready();
  core.apply_conf_change(*decode_conf_change(change));
  core.advance();
  core.campaign();
  EXPECT_EQ(core.role(), Role::kCandidate);
}

TEST(PreVote, ChangesNoTermUntilItIsWon) {  // thesis 9.6
  Options options;
  options.pre_vote = true;
  Network network(3, options);
  network.core(1).campaign();
  EXPECT_EQ(network.core(1).role(), Role::kPreCandidate);
  EXPECT_EQ(network.core(1).term(), Term{0});
  network.work(1);
  const Message* const request = find_sent(network, MessageType::kPreVote);
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(request->term, Term{1}) << "asks about the next term";
  network.deliver();
  EXPECT_EQ(network.core(2).term(), Term{0}) << "answering changes no term either";
  network.settle();
  EXPECT_EQ(network.core(1).role(), Role::kLeader);
  EXPECT_EQ(network.core(1).term(), Term{1});
}

TEST(PreVote, AReturningMemberDoesNotDisturb) {
  Options options;
  options.pre_vote = true;
  options.check_quorum = true;
  Network network(3, options);
  network.campaign(1);
  network.isolate(3);
  network.tick(3, 100);
  network.settle();
  EXPECT_EQ(network.core(3).role(), Role::kPreCandidate);
  network.heal();
  network.core(3).campaign();
  network.settle();
  EXPECT_TRUE(network.core(1).is_leader());
  EXPECT_EQ(network.core(1).term(), Term{1});
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(network.core(3).role(), Role::kFollower);
  EXPECT_EQ(network.core(3).leader(), 1u);
}

TEST(PreVote, IsRefusedToAnOlderLogWithTheNewerTerm) {
  Options options;
  options.pre_vote = true;
  Network network(3, options);
  network.add(2, {1, 2}, 2);
  ASSERT_TRUE(network.core(2).step(vote_request(1, 2, 2, 1, 1, MessageType::kPreVote)).has_value());
  network.work(2);
  const Message* const answer = find_sent(network, MessageType::kPreVoteResp);
  ASSERT_NE(answer, nullptr);
  EXPECT_TRUE(answer->reject);
  EXPECT_EQ(answer->term, Term{2});
}

TEST(PreVote, EqualCandidatesDoNotBlockEachOther) {
  Options options;
  options.pre_vote = true;
  Network network(3, options);
  network.core(1).campaign();
  network.core(2).campaign();
  network.settle();
  EXPECT_NE(network.core(1).is_leader(), network.core(2).is_leader());
}

TEST(CheckQuorum, ALeaderWithoutAnswersStepsDown) {  // thesis 6.2
  const struct {
    const char* name;
    std::vector<MemberId> isolated;
    bool leads;
  } rows[] = {
      {"all answer", {}, true},
      {"a majority answers", {4, 5}, true},
      {"a minority answers", {3, 4, 5}, false},
      {"nobody answers", {2, 3, 4, 5}, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Options options;
    options.check_quorum = true;
    Network network(5, options);
    network.campaign(1);
    for (const MemberId id : row.isolated) network.isolate(id);
    for (int tick = 0; tick < 2 * options.election_ticks; ++tick) {
      network.tick(1, 1);
      network.settle();
    }
    EXPECT_EQ(network.core(1).is_leader(), row.leads);
    EXPECT_EQ(network.core(1).term(), Term{1}) << "stepping down enters no new term";
  }
}

TEST(CheckQuorum, AFollowerThatHearsItsLeaderIgnoresCandidates) {  // thesis 4.2.3
  Options options;
  options.check_quorum = true;
  Network network(3, options);
  network.campaign(1);
  network.sent.clear();
  ASSERT_TRUE(network.core(2).step(vote_request(3, 2, 9, 1, 9)).has_value());
  EXPECT_EQ(network.core(2).term(), Term{1});
  network.work(2);
  EXPECT_TRUE(network.sent.empty());
  Message forced = vote_request(3, 2, 9, 1, 9);
  forced.context = "CampaignTransfer";
  ASSERT_TRUE(network.core(2).step(forced).has_value());
  EXPECT_EQ(network.core(2).term(), Term{9}) << "the leader itself asked for this one";
}

TEST(CheckQuorum, AStuckCandidateMakesTheLeaderTakeItsTerm) {
  Options options;
  options.check_quorum = true;
  Network network(3, options);
  network.campaign(1);
  network.isolate(3);
  network.core(3).campaign();
  network.work(3);
  network.sent.clear();
  EXPECT_EQ(network.core(3).term(), Term{2});
  network.heal();
  network.tick(1, 1);  // a heartbeat of term 1 reaches 3, whose answer carries term 2
  network.settle();
  EXPECT_FALSE(network.core(1).is_leader());
  EXPECT_EQ(network.core(1).term(), Term{2});
}

TEST(Transfer, HandsLeadershipOver) {  // thesis 3.10
  for (const bool behind : {false, true}) {
    SCOPED_TRACE(behind ? "transferee catches up first" : "transferee is up to date");
    Options options;
    options.check_quorum = true;
    options.pre_vote = true;
    Network network(3, options);
    network.campaign(1);
    if (behind) {
      network.isolate(3);
      ASSERT_TRUE(network.core(1).propose(bytes("x")).has_value());
      network.settle();
      network.heal();
    }
    network.core(1).transfer_leader(3);
    EXPECT_EQ(network.core(1).propose(bytes("y")).error().code, ErrorCode::kProposalDropped);
    network.settle();
    if (behind) {
      network.tick(1, 1);
      network.settle();
    }
    EXPECT_TRUE(network.core(3).is_leader());
    EXPECT_EQ(network.core(1).leader(), 3u);
    EXPECT_EQ(network.core(1).transferee(), kNobody);
  }
}

TEST(Transfer, GivesUpAfterAnElectionTimeOut) {
  Network network(3);
  network.campaign(1);
  network.isolate(3);
  network.core(1).transfer_leader(3);
  network.settle();
  EXPECT_EQ(network.core(1).transferee(), 3u);
  network.tick(1, 10);
  EXPECT_EQ(network.core(1).transferee(), kNobody);
  EXPECT_TRUE(network.core(1).is_leader());
  EXPECT_TRUE(network.core(1).propose(bytes("x")).has_value());
}

TEST(Transfer, IsIgnoredWhereItMakesNoSense) {
  const struct {
    const char* name;
    MemberId to;
  } rows[] = {{"to itself", 1}, {"to a learner", 4}, {"to a stranger", 9}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Network network(ConfState{.voters = {1, 2, 3}, .learners = {4}});
    network.campaign(1);
    network.core(1).transfer_leader(row.to);
    EXPECT_EQ(network.core(1).transferee(), kNobody);
    network.settle();
    EXPECT_TRUE(network.core(1).is_leader());
  }
}

TEST(Transfer, AFollowerForwardsIt) {
  Network network(3);
  network.campaign(1);
  network.core(2).transfer_leader(3);
  network.settle();
  EXPECT_TRUE(network.core(3).is_leader());
}

TEST(ForgetLeader, FreesTheVote) {
  Options options;
  options.check_quorum = true;
  Network network(3, options);
  network.campaign(1);
  network.core(2).forget_leader();
  EXPECT_EQ(network.core(2).leader(), kNobody);
  ASSERT_TRUE(network.core(2).step(vote_request(3, 2, 2, 1, 1)).has_value());
  EXPECT_EQ(network.core(2).term(), Term{2});
  network.core(1).forget_leader();
  EXPECT_EQ(network.core(1).leader(), 1u) << "nothing for the leader itself";
}

}  // namespace
}  // namespace etcd::raft
