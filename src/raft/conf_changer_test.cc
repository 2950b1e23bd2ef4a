#include "raft/conf_changer.h"

#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <vector>

#include "base/rng.h"
#include "raft/describe.h"

namespace etcd::raft {
namespace {

Tracker tracker_of(const ConfState& state) {
  Tracker tracker;
  tracker.inflight_messages_max = 8;
  auto made = restore_config(tracker, Index{10}, state);
  EXPECT_TRUE(made.has_value());
  tracker.config = std::move(made->config);
  tracker.progress = std::move(made->progress);
  return tracker;
}

TEST(ConfChanger, RestoresWhatAConfStateSays) {
  const struct {
    const char* name;
    ConfState state;
    const char* config;
  } rows[] = {
      {"voters", {.voters = {1, 2, 3}}, "voters=(1 2 3)"},
      {"learners", {.voters = {1}, .learners = {9, 8}}, "voters=(1) learners=(8 9)"},
      {"joint", {.voters = {1, 2}, .voters_outgoing = {2, 3}, .auto_leave = true}, "voters=(1 2)&&(2 3) autoleave"},
      {"joint with learners",
       {.voters = {1, 2, 3}, .learners = {5}, .voters_outgoing = {1, 2, 4, 6}, .learners_next = {4}},
       "voters=(1 2 3)&&(1 2 4 6) learners=(5) learners_next=(4)"},
      {"nobody", {}, "voters=()"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Tracker tracker = tracker_of(row.state);
    EXPECT_EQ(describe(tracker.config), row.config);
    EXPECT_TRUE(equivalent(tracker.config.conf_state(), row.state));
  }
}

TEST(ConfChanger, RefusesAConfStateThatCannotBe) {
  const struct {
    const char* name;
    ConfState state;
  } rows[] = {
      {"learners only", {.learners = {1}}},
      {"no incoming voters", {.voters_outgoing = {1}}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_FALSE(restore_config(Tracker(), Index{1}, row.state).has_value());
  }
}

TEST(ConfChanger, KeepsProgressOfWhoStays) {
  Tracker tracker = tracker_of({.voters = {1, 2}});
  tracker.progress.find(2)->match = Index{7};
  const ConfChangeSingle demote[] = {{ConfChangeType::kAddLearnerNode, 2}, {ConfChangeType::kAddNode, 3}};
  auto joint = enter_joint(tracker, Index{10}, false, demote);
  ASSERT_TRUE(joint.has_value());
  EXPECT_EQ(describe(joint->config), "voters=(1 3)&&(1 2) learners_next=(2)");
  EXPECT_EQ(joint->progress.find(2)->match, Index{7});
  EXPECT_FALSE(joint->progress.find(2)->is_learner);
  EXPECT_TRUE(joint->progress.find(3)->recent_active) << "else a check of the quorum would count it as gone";
  tracker.config = joint->config;
  tracker.progress = joint->progress;
  const auto left = leave_joint(tracker);
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(describe(left->config), "voters=(1 3) learners=(2)");
  EXPECT_TRUE(left->progress.find(2)->is_learner);
  EXPECT_EQ(left->progress.find(2)->match, Index{7});
}

TEST(ConfChanger, RefusesSteps) {
  const Tracker simple = tracker_of({.voters = {1, 2, 3}});
  const Tracker joint = tracker_of({.voters = {1, 2}, .voters_outgoing = {1, 2, 3}});
  const ConfChangeSingle add[] = {{ConfChangeType::kAddNode, 4}};
  const ConfChangeSingle add_two[] = {{ConfChangeType::kAddNode, 4}, {ConfChangeType::kAddNode, 5}};
  const ConfChangeSingle remove_all[] = {
      {ConfChangeType::kRemoveNode, 1}, {ConfChangeType::kRemoveNode, 2}, {ConfChangeType::kRemoveNode, 3}};
  EXPECT_EQ(change_simple(joint, Index{1}, add).error().message, "can't apply simple config change in joint config");
  EXPECT_EQ(change_simple(simple, Index{1}, add_two).error().message,
            "more than one voter changed without entering joint config");
  EXPECT_EQ(change_simple(simple, Index{1}, remove_all).error().message, "removed all voters");
  EXPECT_EQ(enter_joint(joint, Index{1}, true, add).error().message, "config is already joint");
  EXPECT_EQ(enter_joint(Tracker(), Index{1}, true, add).error().message, "can't make a zero-voter config joint");
  EXPECT_EQ(leave_joint(simple).error().message, "can't leave a non-joint config");
}

/// Nothing when a step on the way would leave no voter, which a joint change may pass over.
std::optional<Config> one_by_one(Tracker tracker, const std::vector<ConfChangeSingle>& changes) {
  for (const ConfChangeSingle& change : changes) {
    auto next = change_simple(tracker, Index{10}, {&change, 1});
    if (!next.has_value()) return std::nullopt;
    tracker.config = std::move(next->config);
    tracker.progress = std::move(next->progress);
  }
  return tracker.config;
}

TEST(ConfChanger, JointThenLeftEqualsTheStepsOneByOne) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(seed);
    const Tracker start = tracker_of({.voters = {1, 2, 3}, .learners = {4}});
    std::vector<ConfChangeSingle> changes;
    for (std::uint64_t count = 1 + rng.below(6); count > 0; --count) {
      changes.push_back({static_cast<ConfChangeType>(rng.below(4)), 1 + rng.below(6)});
    }
    auto joint = enter_joint(start, Index{10}, rng.chance(1, 2), changes);
    if (!joint.has_value()) continue;
    Tracker between = start;
    between.config = joint->config;
    between.progress = joint->progress;
    const auto left = leave_joint(between);
    ASSERT_TRUE(left.has_value()) << "seed " << seed;

    EXPECT_TRUE(equivalent(tracker_of(joint->config.conf_state()).config.conf_state(), joint->config.conf_state()));
    const std::optional<Config> stepped = one_by_one(start, changes);
    if (!stepped.has_value()) continue;
    EXPECT_EQ(left->config, *stepped) << "seed " << seed << ": "
                                      << describe(std::span<const ConfChangeSingle>(changes));
  }
}

}  // namespace
}  // namespace etcd::raft
