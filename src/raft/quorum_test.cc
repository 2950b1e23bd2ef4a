#include "raft/quorum.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/rng.h"

namespace etcd::raft {
namespace {

TEST(Quorum, CommitsWhatAMajorityHolds) {
  const struct {
    const char* name;
    std::vector<std::uint64_t> acked;
    std::uint64_t committed;
  } rows[] = {
      {"one", {7}, 7},
      {"one of two holds nothing", {7, 0}, 0},
      {"two", {7, 5}, 5},
      {"three", {7, 5, 1}, 5},
      {"four need three", {9, 8, 2, 1}, 2},
      {"five", {9, 8, 4, 2, 1}, 4},
      {"unsorted", {1, 9, 4, 2, 8}, 4},
      {"equal", {3, 3, 3}, 3},
      {"eleven, more than fit on the stack", {11, 1, 10, 2, 9, 3, 8, 4, 7, 5, 6}, 6},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    IdSet voters;
    for (MemberId id = 1; id <= row.acked.size(); ++id) voters.insert(id);
    const auto acked = [&](MemberId id) { return std::optional(Index{row.acked[id - 1]}); };
    EXPECT_EQ(committed_index(voters, acked), Index{row.committed});
  }
  EXPECT_EQ(committed_index(IdSet{}, [](MemberId) { return std::optional<Index>(); }), kEverything);
}

TEST(Quorum, AgreesWithCountingForRandomVoters) {
  Rng rng(41);
  for (int round = 0; round < 2000; ++round) {
    std::map<MemberId, Index> acks;
    JointVoters voters;
    for (MemberId id = 1; id <= 9; ++id) {
      if (rng.chance(1, 2)) voters.incoming.insert(id);
      if (rng.chance(1, 3)) voters.outgoing.insert(id);
      if (rng.chance(3, 4)) acks[id] = Index{rng.below(5)};
    }
    const auto acked = [&](MemberId id) { return acks.contains(id) ? std::optional(acks[id]) : std::nullopt; };
    const auto holds = [&](const IdSet& half, Index index) {
      std::size_t count = 0;
      for (const MemberId id : half) count += acked(id).value_or(Index{}) >= index ? 1 : 0;
      return half.empty() || count > half.size() / 2;
    };
    Index expected;
    while (expected < Index{6} && holds(voters.incoming, expected + 1) && holds(voters.outgoing, expected + 1))
      ++expected;
    const Index committed = committed_index(voters, acked);
    if (voters.incoming.empty() && voters.outgoing.empty()) {
      EXPECT_EQ(committed, kEverything);
    } else {
      EXPECT_EQ(committed, expected) << "round " << round;
    }
  }
}

TEST(Quorum, CountsVotes) {
  using enum VoteResult;
  const struct {
    const char* name;
    IdSet incoming, outgoing;
    std::vector<std::pair<MemberId, bool>> votes;
    VoteResult result;
  } rows[] = {
      {"nobody to ask", {}, {}, {}, kWon},
      {"one, silent", {1}, {}, {}, kPending},
      {"one, for", {1}, {}, {{1, true}}, kWon},
      {"one, against", {1}, {}, {{1, false}}, kLost},
      {"two need both", {1, 2}, {}, {{1, true}}, kPending},
      {"two, one against", {1, 2}, {}, {{1, true}, {2, false}}, kLost},
      {"three, two for", {1, 2, 3}, {}, {{1, true}, {3, true}}, kWon},
      {"three, one each", {1, 2, 3}, {}, {{1, true}, {2, false}}, kPending},
      {"three, two against", {1, 2, 3}, {}, {{2, false}, {3, false}}, kLost},
      {"strangers do not count", {1, 2, 3}, {}, {{1, true}, {4, true}, {5, true}}, kPending},
      {"the first word counts", {1}, {}, {{1, false}, {1, true}}, kLost},
      {"joint: one half is not enough", {1, 2, 3}, {4, 5}, {{1, true}, {2, true}}, kPending},
      {"joint: either half can refuse", {1, 2, 3}, {4, 5}, {{1, true}, {2, true}, {4, false}}, kLost},
      {"joint: both", {1, 2, 3}, {3, 4}, {{1, true}, {3, true}, {4, true}}, kWon},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Votes votes;
    for (const auto& [id, granted] : row.votes) votes.record(id, granted);
    EXPECT_EQ(vote_result(JointVoters{row.incoming, row.outgoing}, votes), row.result);
    EXPECT_EQ(vote_result(JointVoters{row.outgoing, row.incoming}, votes), row.result);
  }
}

TEST(Quorum, DrawsWhoHoldsWhat) {
  EXPECT_EQ(describe_acked({{1, Index{100}}, {3, Index{99}}, {2, std::nullopt}}),
            "       idx\n"
            "xx>    100    (id=1)\n"
            "?        0    (id=2)\n"
            "x>      99    (id=3)\n");
}

TEST(IdSet, KeepsItsOrder) {
  IdSet set{3, 1, 2, 3};
  EXPECT_EQ(set.ids(), (std::vector<MemberId>{1, 2, 3}));
  EXPECT_FALSE(set.insert(2));
  EXPECT_TRUE(set.erase(2));
  EXPECT_FALSE(set.erase(2));
  EXPECT_FALSE(set.contains(2));
  EXPECT_EQ(set, (IdSet{1, 3}));
}

}  // namespace
}  // namespace etcd::raft
