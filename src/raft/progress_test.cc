#include "raft/progress.h"

#include <gtest/gtest.h>

namespace etcd::raft {
namespace {

Progress progress_at(std::uint64_t match, std::uint64_t next, ProgressState state) {
  Progress progress;
  progress.match = Index{match};
  progress.next = Index{next};
  progress.state = state;
  progress.inflights = Inflights(8);
  return progress;
}

TEST(Inflights, IsAWindowByCount) {
  Inflights window(3);
  for (std::uint64_t last = 1; last <= 3; ++last) {
    EXPECT_FALSE(window.full());
    window.add(Index{last * 10}, 100);
  }
  EXPECT_TRUE(window.full());
  window.free_to(Index{9});  // before the oldest
  EXPECT_EQ(window.count(), 3u);
  window.free_to(Index{20});
  EXPECT_EQ(window.count(), 1u);
  EXPECT_EQ(window.bytes(), 100u);
  window.free_to(Index{1000});
  EXPECT_EQ(window.count(), 0u);
  EXPECT_EQ(window.bytes(), 0u);
}

TEST(Inflights, IsAWindowByBytesThatTheLastMessageMayCross) {
  Inflights window(100, 25);
  window.add(Index{1}, 20);
  EXPECT_FALSE(window.full());
  window.add(Index{2}, 20);
  EXPECT_TRUE(window.full());
  window.free_to(Index{1});
  EXPECT_FALSE(window.full());
}

TEST(Inflights, KeepsItsOrderAsItGoesAroundAndGrows) {
  Inflights window(1000);
  std::uint64_t sent = 0;
  std::uint64_t freed = 0;
  for (int round = 0; round < 200; ++round) {
    for (int more = 0; more < round % 7; ++more) window.add(Index{++sent}, 1);
    for (int fewer = 0; fewer < round % 5 && freed < sent; ++fewer) window.free_to(Index{++freed});
    ASSERT_EQ(window.count(), sent - freed);
    ASSERT_EQ(window.bytes(), sent - freed);
  }
  window.reset();
  EXPECT_EQ(window.count(), 0u);
}

TEST(Progress, ChangesItsState) {
  const struct {
    const char* name;
    Progress from;
    Index pending;
    ProgressState to;
    std::uint64_t next;
  } rows[] = {
      {"replicate to probe goes back behind match",
       progress_at(1, 5, ProgressState::kReplicate),
       {},
       ProgressState::kProbe,
       2},
      {"snapshot to probe goes on behind it", progress_at(1, 11, ProgressState::kSnapshot), Index{10},
       ProgressState::kProbe, 11},
      {"failed snapshot to probe", progress_at(1, 11, ProgressState::kSnapshot), {}, ProgressState::kProbe, 2},
      {"probe to replicate", progress_at(4, 5, ProgressState::kProbe), {}, ProgressState::kReplicate, 5},
      {"probe to snapshot", progress_at(1, 2, ProgressState::kProbe), Index{10}, ProgressState::kSnapshot, 11},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Progress progress = row.from;
    progress.pending_snapshot = row.pending;
    progress.flow_paused = true;
    progress.sent_commit = Index{20};
    switch (row.to) {
      case ProgressState::kProbe: progress.become_probe(); break;
      case ProgressState::kReplicate: progress.become_replicate(); break;
      case ProgressState::kSnapshot: progress.become_snapshot(row.pending); break;
    }
    EXPECT_EQ(progress.state, row.to);
    EXPECT_EQ(progress.next, Index{row.next});
    EXPECT_FALSE(progress.flow_paused);
    EXPECT_EQ(progress.paused(), row.to == ProgressState::kSnapshot);
    if (row.to != ProgressState::kReplicate) {
      EXPECT_LT(progress.sent_commit, progress.next);
    }
    progress.check_invariants(1);
  }
}

TEST(Progress, TakesAcknowledgements) {
  const struct {
    const char* name;
    std::uint64_t index, match, next;
    bool news;
  } rows[] = {
      {"older", 2, 3, 5, false},
      {"known", 3, 3, 5, false},
      {"newer", 4, 4, 5, true},
      {"beyond what was sent", 6, 6, 7, true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Progress progress = progress_at(3, 5, ProgressState::kProbe);
    progress.flow_paused = true;
    EXPECT_EQ(progress.maybe_update(Index{row.index}), row.news);
    EXPECT_EQ(progress.match, Index{row.match});
    EXPECT_EQ(progress.next, Index{row.next});
    EXPECT_EQ(progress.flow_paused, !row.news);
  }
}

TEST(Progress, TakesRejections) {
  using enum ProgressState;
  const struct {
    const char* name;
    ProgressState state;
    std::uint64_t match, next, rejected, hint;
    bool news;
    std::uint64_t next_after;
  } rows[] = {
      {"replicate, rejected what is known to match", kReplicate, 5, 10, 5, 5, false, 10},
      {"replicate, older", kReplicate, 5, 10, 4, 4, false, 10},
      {"replicate, news", kReplicate, 5, 10, 9, 9, true, 6},
      {"probe, not the probe's answer", kProbe, 0, 10, 5, 5, false, 10},
      {"probe, step back", kProbe, 0, 10, 9, 9, true, 9},
      {"probe, jump to the hint", kProbe, 0, 10, 9, 2, true, 3},
      {"probe, at the beginning", kProbe, 0, 1, 0, 0, true, 1},
      {"probe, never at or before match", kProbe, 4, 10, 9, 1, true, 5},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Progress progress = progress_at(row.match, row.next, row.state);
    EXPECT_EQ(progress.maybe_decrease_to(Index{row.rejected}, Index{row.hint}), row.news);
    EXPECT_EQ(progress.next, Index{row.next_after});
    EXPECT_EQ(progress.match, Index{row.match});
  }
}

TEST(Progress, PausesWhatItSent) {
  Progress probe = progress_at(0, 1, ProgressState::kProbe);
  probe.sent_entries(0, 0);
  EXPECT_FALSE(probe.paused()) << "an empty probe does not pause";
  probe.sent_entries(2, 10);
  EXPECT_TRUE(probe.paused());
  EXPECT_EQ(probe.next, Index{1}) << "a probe is not optimistic";

  Progress replicate = progress_at(0, 1, ProgressState::kReplicate);
  replicate.inflights = Inflights(2);
  replicate.sent_entries(3, 10);
  EXPECT_EQ(replicate.next, Index{4});
  EXPECT_FALSE(replicate.paused());
  replicate.sent_entries(1, 10);
  EXPECT_TRUE(replicate.paused()) << "the window is full";
}

TEST(Progress, TellsACommitIndexOnlyWhereItMatters) {
  Progress progress = progress_at(5, 8, ProgressState::kReplicate);
  progress.sent_commit = Index{6};
  EXPECT_FALSE(progress.can_bump_commit(Index{6}));
  EXPECT_TRUE(progress.can_bump_commit(Index{7}));
  progress.sent_commit = Index{7};
  EXPECT_FALSE(progress.can_bump_commit(Index{9})) << "it has nothing more to commit";
}

TEST(ProgressMap, KeepsItsOrder) {
  ProgressMap map;
  for (const MemberId id : {5, 1, 3}) map.put(id, Progress()).match = Index{id};
  map.put(3, Progress()).match = Index{33};
  std::vector<MemberId> order;
  for (const auto& [id, member] : map) order.push_back(id);
  EXPECT_EQ(order, (std::vector<MemberId>{1, 3, 5}));
  EXPECT_EQ(map.find(3)->match, Index{33});
  map.erase(1);
  map.erase(2);
  EXPECT_EQ(map.find(1), nullptr);
  EXPECT_EQ(map.size(), 2u);
}

}  // namespace
}  // namespace etcd::raft
