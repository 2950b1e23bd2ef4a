// Changes of configuration: Raft paper 6, thesis 4.
#include <gtest/gtest.h>

#include <vector>

#include "raft/core.h"
#include "raft/describe.h"
#include "raft/network_test.h"

namespace etcd::raft {
namespace {

using enum ConfChangeType;

ConfChangeV2 change_of(std::vector<ConfChangeSingle> changes,
                       ConfChangeTransition transition = ConfChangeTransition::kAuto) {
  return {.transition = transition, .changes = std::move(changes)};
}

std::string config_of(Network& network, MemberId id) {
  return describe(network.core(id).config());
}

TEST(Membership, Bootstraps) {
  for (const bool async : {false, true}) {
    MemoryLog log;
    Options options;
    options.id = 1;
    options.async_storage_writes = async;
    Core core(options, log, Rng(1));
    EXPECT_EQ(core.bootstrap({}).error().code, ErrorCode::kInvalidArgument);
    ASSERT_TRUE(core.bootstrap({{1, "a"}, {2, "b"}}).has_value());
    EXPECT_EQ(describe(core.config()), "voters=(1 2)");
    EXPECT_EQ(core.committed(), Index{2});
    const Ready ready = core.take_ready();
    EXPECT_EQ(ready.entries.size(), 2u);
    EXPECT_EQ(ready.hard_state, (HardState{Term{1}, kNobody, Index{2}}));
    EXPECT_EQ(ready.committed_entries.size(), async ? 0u : 2u);
    EXPECT_EQ(decode_conf_change(ready.entries[1])->context, "b");
    log.append(ready.entries);
    MemoryLog used;
    used.append(entries_of(Index{}, {1}));
    Core other(options, used, Rng(1));
    EXPECT_EQ(other.bootstrap({{1, {}}}).error().code, ErrorCode::kAlreadyExists);
  }
}

TEST(Membership, AddsALearnerAndPromotesIt) {
  Network network(ConfState{.voters = {1}});
  network.add(2);
  network.campaign(1);
  ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(kAddLearnerNode, 2)).has_value());
  network.settle();
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(config_of(network, 1), "voters=(1) learners=(2)");
  EXPECT_EQ(config_of(network, 2), "voters=(1) learners=(2)") << "it applied the same log";
  EXPECT_TRUE(network.core(2).is_learner());
  ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(kAddNode, 2)).has_value());
  network.settle();
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(config_of(network, 2), "voters=(1 2)");
  EXPECT_FALSE(network.core(2).is_learner());
}

TEST(Membership, ALearnerDoesNotCount) {
  Network network(ConfState{.voters = {1, 2}, .learners = {3}});
  network.campaign(1);
  network.isolate(2);
  (void)network.core(1).propose(bytes("x"));
  network.settle();
  EXPECT_EQ(network.core(3).last_index(), Index{2});
  EXPECT_EQ(network.core(1).committed(), Index{1});
}

TEST(Membership, TwoChangesGoThroughAJointConfiguration) {
  using enum ConfChangeTransition;
  const std::vector<ConfChangeSingle> replace = {{kAddNode, 4}, {kRemoveNode, 3}};
  const struct {
    const char* name;
    ConfChangeV2 change;
    const char* config;
  } rows[] = {
      {"auto", change_of(replace), "voters=(1 2 4)"},
      {"implicit", change_of(replace, kJointImplicit), "voters=(1 2 4)"},
      {"one change, implicit", change_of({{kAddNode, 4}}, kJointImplicit), "voters=(1 2 3 4)"},
      {"explicit stays joint", change_of(replace, kJointExplicit), "voters=(1 2 4)&&(1 2 3)"},
      {"demotion waits", change_of({{kAddLearnerNode, 3}, {kAddNode, 4}}, kJointExplicit),
       "voters=(1 2 4)&&(1 2 3) learners_next=(3)"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Network network(3);
    network.add(4);
    network.campaign(1);
    ASSERT_TRUE(network.core(1).propose_conf_change(row.change).has_value());
    network.settle();
    EXPECT_EQ(config_of(network, 1), row.config);
    EXPECT_EQ(config_of(network, 2), row.config);
    if (network.core(1).config().voters.joint()) {
      ASSERT_TRUE(network.core(1).propose_conf_change({}).has_value());
      network.settle();
      EXPECT_FALSE(network.core(1).config().voters.joint());
      EXPECT_FALSE(network.core(2).config().voters.joint());
    }
  }
}

TEST(Membership, AJointConfigurationNeedsBothMajorities) {  // paper 6
  const struct {
    const char* name;
    std::vector<MemberId> isolated;
    bool commits;
  } rows[] = {
      {"all", {}, true},
      {"a majority of each", {3, 5}, true},
      {"only the incoming", {2, 3}, false},
      {"only the outgoing", {4, 5}, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    // 1 is in both: incoming (1 4 5), outgoing (1 2 3).
    Network network(ConfState{.voters = {1, 4, 5}, .voters_outgoing = {1, 2, 3}});
    network.campaign(1);
    ASSERT_TRUE(network.core(1).is_leader());
    for (const MemberId id : row.isolated) network.isolate(id);
    (void)network.core(1).propose(bytes("x"));
    network.settle();
    EXPECT_EQ(network.core(1).committed() == network.core(1).last_index(), row.commits);

    Network election(ConfState{.voters = {1, 4, 5}, .voters_outgoing = {1, 2, 3}});
    for (const MemberId id : row.isolated) election.isolate(id);
    election.campaign(1);
    EXPECT_EQ(election.core(1).is_leader(), row.commits);
  }
}

TEST(Membership, OneChangeAtATime) {
  Network network(3);
  network.campaign(1);
  network.isolate(2);
  network.isolate(3);
  const auto propose = [&](const ConfChangeV2& change) {
    EXPECT_TRUE(network.core(1).propose_conf_change(change).has_value());
    network.work(1);
    const MemoryLog& log = network.member(1).log;
    const auto last = log.entries(log.last_index(), log.last_index() + 1, kNoLimit);
    return last->front().type;
  };
  EXPECT_EQ(propose(change_of({})), EntryType::kNormal) << "there is nothing to leave";
  EXPECT_EQ(propose(conf_change_v1(kAddNode, 4)), EntryType::kConfChange);
  EXPECT_EQ(propose(conf_change_v1(kAddNode, 5)), EntryType::kNormal) << "replaced: one is pending";
}

TEST(Membership, ValidationCanBeLeftToTheDriver) {
  Options options;
  options.disable_conf_change_validation = true;
  Network network(1, options);
  network.campaign(1);
  ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(kAddLearnerNode, 4)).has_value());
  ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(kAddLearnerNode, 5)).has_value());
  network.settle();
  EXPECT_EQ(config_of(network, 1), "voters=(1) learners=(4 5)");
}

TEST(Membership, AV1ChangeIsExactlyOneStep) {
  Network network(1);
  network.campaign(1);
  ConfChangeV2 change = change_of({{kAddNode, 2}, {kAddNode, 3}});
  change.v1 = true;
  EXPECT_EQ(network.core(1).propose_conf_change(change).error().code, ErrorCode::kInvalidArgument);
}

TEST(Membership, ARefusedChangeHasNoEffect) {  // etcd sets its node id to 0
  Network network(3);
  network.campaign(1);
  EXPECT_EQ(network.core(1).apply_conf_change(conf_change_v1(kRemoveNode, 0)).voters, (std::vector<MemberId>{1, 2, 3}));
}

TEST(Membership, ARemovedLeader) {
  for (const bool steps_down : {false, true}) {
    SCOPED_TRACE(steps_down ? "steps down" : "goes on");
    Options options;
    options.step_down_on_removal = steps_down;
    Network network(3, options);
    network.campaign(1);
    ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(kRemoveNode, 1)).has_value());
    network.settle();
    EXPECT_EQ(config_of(network, 1), "voters=(2 3)");
    EXPECT_EQ(network.core(1).is_leader(), !steps_down);
    EXPECT_EQ(network.core(1).propose(bytes("x")).error().code, ErrorCode::kProposalDropped);
    network.campaign(2);
    EXPECT_TRUE(network.core(2).is_leader());
  }
}

TEST(Membership, RemovingAVoterCommitsWhatTheRestHolds) {
  Network network(2);
  network.campaign(1);
  ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(kRemoveNode, 2)).has_value());
  network.work(1);
  network.isolate(2);
  (void)network.core(1).propose(bytes("x"));
  network.work(1);
  EXPECT_EQ(network.core(1).committed(), Index{1});
  network.heal();
  // Only the change itself reaches 2.
  network.drop = [](const Message& message) {
    return message.type == MessageType::kApp && !message.entries.empty() && message.entries.back().index > Index{2};
  };
  network.settle();
  EXPECT_EQ(config_of(network, 1), "voters=(1)");
  EXPECT_EQ(network.core(1).committed(), Index{3});
}

TEST(Membership, ATransferToARemovedMemberIsGivenUp) {
  Network network(3);
  network.campaign(1);
  ASSERT_TRUE(network.core(1).propose_conf_change(conf_change_v1(kRemoveNode, 3)).has_value());
  network.isolate(3);
  network.work(1);
  network.core(1).transfer_leader(3);
  network.settle();
  EXPECT_EQ(config_of(network, 1), "voters=(1 2)");
  EXPECT_EQ(network.core(1).transferee(), kNobody);
}

TEST(Membership, AutoLeaveIsProposedByANewLeaderToo) {
  Network network(3);
  network.add(4);
  network.campaign(1);
  network.drop = [](const Message& message) {  // the proposal to leave gets lost, with its leader
    if (message.type != MessageType::kApp) return false;
    for (const Entry& entry : message.entries) {
      if (entry.type == EntryType::kConfChangeV2 && entry.data.empty()) return true;
    }
    return false;
  };
  ASSERT_TRUE(network.core(1).propose_conf_change(change_of({{kAddNode, 4}, {kRemoveNode, 3}})).has_value());
  network.settle();
  network.tick(1, 1);
  network.settle();
  EXPECT_EQ(config_of(network, 2), "voters=(1 2 4)&&(1 2 3) autoleave");
  network.heal();
  network.sent.clear();
  network.isolate(1);
  network.campaign(2);
  EXPECT_TRUE(network.core(2).is_leader());
  network.settle();
  EXPECT_EQ(config_of(network, 2), "voters=(1 2 4)");
}

}  // namespace
}  // namespace etcd::raft
