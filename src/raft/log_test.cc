#include "raft/log.h"

#include <gtest/gtest.h>

#include "raft/memory_log.h"
#include "raft/network_test.h"

namespace etcd::raft {
namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};

std::vector<std::uint64_t> terms_of(const std::vector<Entry>& entries) {
  std::vector<std::uint64_t> terms;
  for (const Entry& entry : entries) terms.push_back(entry.term.value);
  return terms;
}

/// A log over storage with entries of terms `stored`, and behind them unstable ones of terms `unstable`.
class Logs {
 public:
  Logs(const std::vector<std::uint64_t>& stored, const std::vector<std::uint64_t>& unstable,
       std::uint64_t applying_bytes_max = kAll)
      : notes_(NoteLevel::kNone) {
    storage.append(entries_of(Index{}, stored));
    log.emplace(storage, notes_, applying_bytes_max);
    if (!unstable.empty()) log->append(entries_of(Index{stored.size()}, unstable));
  }

  MemoryLog storage;
  std::optional<Log> log;

 private:
  Notes notes_;
};

TEST(Log, KnowsWhichLogIsMoreUpToDate) {  // Raft paper 5.4.1
  Logs logs({1, 1, 2}, {});
  const struct {
    const char* name;
    std::uint64_t term, index;
    bool up_to_date;
  } rows[] = {
      {"a later term, though shorter", 3, 1, true},
      {"an older term, though longer", 1, 9, false},
      {"same term, longer", 2, 4, true},
      {"same term, same length", 2, 3, true},
      {"same term, shorter", 2, 2, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(logs.log->is_up_to_date({Term{row.term}, Index{row.index}}), row.up_to_date);
  }
}

TEST(Log, TakesOverTheLeadersEntries) {  // Raft paper 5.3
  const struct {
    const char* name;
    std::uint64_t previous_term, previous_index;
    std::vector<std::uint64_t> terms;
    std::uint64_t commit;
    std::optional<Index> last;
    std::vector<std::uint64_t> after;
    std::uint64_t committed;
  } rows[] = {
      {"previous has another term", 2, 3, {4}, 3, std::nullopt, {1, 2, 3}, 1},
      {"previous is behind the end", 3, 4, {4}, 3, std::nullopt, {1, 2, 3}, 1},
      {"nothing new", 3, 3, {}, 3, Index{3}, {1, 2, 3}, 3},
      {"commit only up to the new entries", 1, 1, {}, 3, Index{1}, {1, 2, 3}, 1},
      {"commit never goes back", 3, 3, {}, 0, Index{3}, {1, 2, 3}, 1},
      {"one more", 3, 3, {4}, 4, Index{4}, {1, 2, 3, 4}, 4},
      {"two more", 3, 3, {4, 4}, 4, Index{5}, {1, 2, 3, 4, 4}, 4},
      {"some known, some new", 1, 1, {2, 3, 4}, 2, Index{4}, {1, 2, 3, 4}, 2},
      {"all known leaves the tail alone", 1, 1, {2}, 2, Index{2}, {1, 2, 3}, 2},
      {"a conflict drops the tail", 1, 1, {4}, 2, Index{2}, {1, 4}, 2},
      {"a conflict further on", 1, 1, {2, 4, 4}, 2, Index{4}, {1, 2, 4, 4}, 2},
  };
  for (const auto& row : rows) {
    for (std::size_t stored = 0; stored <= 3; ++stored) {
      SCOPED_TRACE(std::string(row.name) + ", stored " + std::to_string(stored));
      std::vector<std::uint64_t> terms = {1, 2, 3};
      Logs logs({terms.begin(), terms.begin() + stored}, {terms.begin() + stored, terms.end()});
      Log& log = *logs.log;
      log.commit_to(Index{1});
      EXPECT_EQ(log.maybe_append({Term{row.previous_term}, Index{row.previous_index}},
                                 entries_of(Index{row.previous_index}, row.terms), Index{row.commit}),
                row.last);
      EXPECT_EQ(terms_of(*log.entries(Index{1}, kAll)), row.after);
      EXPECT_EQ(log.committed(), Index{row.committed});
      log.check_invariants();
    }
  }
}

TEST(Log, DiesRatherThanReplaceACommittedEntry) {
  Logs logs({1, 2, 3}, {});
  logs.log->commit_to(Index{3});
  EXPECT_DEATH(logs.log->maybe_append({Term{1}, Index{1}}, entries_of(Index{1}, {4}), Index{}),
               "conflict with committed");
  EXPECT_DEATH(logs.log->commit_to(Index{4}), "out of range");
}

TEST(Log, GuessesWhereLogsStillAgree) {
  const struct {
    const char* name;
    std::vector<std::uint64_t> ours;
    std::uint64_t index, term;
    EntryId guess;
  } rows[] = {
      {"same", {1, 2, 2, 3}, 4, 3, {Term{3}, Index{4}}},
      {"skips later terms", {1, 3, 3, 4, 4, 5, 5, 5, 6}, 8, 3, {Term{3}, Index{3}}},
      {"skips them all", {4, 4, 4}, 3, 3, {}},
      {"from the middle", {1, 1, 2, 2}, 2, 2, {Term{1}, Index{2}}},
      {"unknown term ends the search", {1, 1}, 5, 1, {Term{}, Index{5}}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Logs logs(row.ours, {});
    EXPECT_EQ(logs.log->find_conflict_by_term(Index{row.index}, Term{row.term}), row.guess);
  }
}

TEST(Log, CommitsOnlyEntriesOfTheTerm) {  // Raft paper 5.4.2
  Logs logs({1, 2}, {3});
  EXPECT_FALSE(logs.log->maybe_commit({Term{3}, Index{2}})) << "entry 2 is of term 2";
  EXPECT_FALSE(logs.log->maybe_commit({Term{3}, Index{9}}));
  EXPECT_TRUE(logs.log->maybe_commit({Term{3}, Index{3}}));
  EXPECT_FALSE(logs.log->maybe_commit({Term{3}, Index{3}})) << "not twice";
}

TEST(Log, CutsToBytesAcrossStorageAndUnstable) {
  const std::uint64_t each = encoded_bytes(entries_of(Index{}, {1}));
  for (std::size_t stored = 0; stored <= 5; ++stored) {
    const std::vector<std::uint64_t> terms = {1, 1, 1, 1, 1};
    Logs logs({terms.begin(), terms.begin() + stored}, {terms.begin() + stored, terms.end()});
    const struct {
      const char* name;
      std::uint64_t begin, end, bytes_max;
      std::size_t count;
    } rows[] = {
        {"all", 1, 6, kAll, 5},
        {"none", 3, 3, kAll, 0},
        {"at least one", 2, 6, 0, 1},
        {"exactly two", 2, 6, 2 * each, 2},
        {"not quite three", 2, 6, 3 * each - 1, 2},
        {"only the range", 2, 4, 100 * each, 2},
    };
    for (const auto& row : rows) {
      SCOPED_TRACE(std::string(row.name) + ", stored " + std::to_string(stored));
      const auto found = logs.log->slice(Index{row.begin}, Index{row.end}, row.bytes_max);
      ASSERT_TRUE(found.has_value());
      ASSERT_EQ(found->size(), row.count);
      for (std::size_t place = 0; place < row.count; ++place)
        EXPECT_EQ((*found)[place].index, Index{row.begin + place});
    }
  }
}

TEST(Log, SaysWhatIsCompacted) {
  Logs logs({1, 2, 3, 3}, {4});
  ASSERT_TRUE(logs.storage.compact(Index{2}).has_value());
  EXPECT_EQ(logs.log->first_index(), Index{3});
  EXPECT_EQ(logs.log->term(Index{1}).error().code, ErrorCode::kCompacted);
  EXPECT_EQ(*logs.log->term(Index{2}), Term{2}) << "still needed to match";
  EXPECT_EQ(*logs.log->term(Index{5}), Term{4});
  EXPECT_EQ(logs.log->term(Index{6}).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(logs.log->entries(Index{2}, kAll).error().code, ErrorCode::kCompacted);
  EXPECT_EQ(logs.log->term_or_zero(Index{1}), Term{});
}

TEST(Log, HandsOutCommittedEntriesWithinABudget) {
  const std::uint64_t each = encoded_bytes(entries_of(Index{}, {1}));
  Logs logs({1, 1, 1, 1, 1}, {}, 2 * each);
  Log& log = *logs.log;
  log.commit_to(Index{5});
  std::vector<Entry> first = log.next_committed_entries(true);
  EXPECT_EQ(first.size(), 2u);
  log.accept_applying(Index{2}, encoded_bytes(first), true);
  EXPECT_FALSE(log.has_next_committed_entries(true)) << "the budget is on its way";
  log.applied_to(Index{1}, each);
  EXPECT_TRUE(log.has_next_committed_entries(true));
  std::vector<Entry> second = log.next_committed_entries(true);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second.front().index, Index{3});
  log.accept_applying(Index{3}, each, true);
  log.applied_to(Index{3}, 2 * each);
  EXPECT_EQ(log.next_committed_entries(true).size(), 2u);
}

TEST(Log, HandsOutUnstableEntriesOnlyIfAllowed) {
  Logs logs({1, 1}, {1});
  logs.log->commit_to(Index{3});
  EXPECT_EQ(logs.log->next_committed_entries(false).size(), 2u);
  EXPECT_EQ(logs.log->next_committed_entries(true).size(), 3u);
}

TEST(Unstable, HandsOutEachEntryOnce) {
  Notes notes(NoteLevel::kNone);
  Unstable unstable(Index{5}, notes);
  unstable.truncate_and_append(entries_of(Index{4}, {1, 1}));
  EXPECT_EQ(unstable.next_entries().size(), 2u);
  unstable.accept_in_progress();
  EXPECT_TRUE(unstable.next_entries().empty());
  unstable.truncate_and_append(entries_of(Index{6}, {1}));
  ASSERT_EQ(unstable.next_entries().size(), 1u);
  EXPECT_EQ(unstable.next_entries().front().index, Index{7});
  unstable.check_invariants();
}

TEST(Unstable, ForgetsWhatStorageHolds) {
  const struct {
    const char* name;
    std::uint64_t term, index;
    std::uint64_t offset, in_progress;
    std::size_t left;
  } rows[] = {
      {"the first", 1, 5, 6, 7, 2},
      {"what is in progress", 1, 6, 7, 7, 1},
      {"more than was in progress", 2, 7, 8, 8, 0},
      {"another term", 2, 5, 5, 7, 3},
      {"older", 1, 4, 5, 7, 3},
      {"behind the end", 2, 8, 5, 7, 3},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Notes notes(NoteLevel::kNone);
    Unstable unstable(Index{5}, notes);
    unstable.truncate_and_append(entries_of(Index{4}, {1, 1}));
    unstable.accept_in_progress();
    unstable.truncate_and_append(entries_of(Index{6}, {2}));
    unstable.stable_to({Term{row.term}, Index{row.index}});
    EXPECT_EQ(unstable.offset(), Index{row.offset});
    EXPECT_EQ(unstable.offset_in_progress(), Index{row.in_progress});
    EXPECT_EQ(unstable.entries().size(), row.left);
    unstable.check_invariants();
  }
}

TEST(Unstable, ReplacesItsTail) {
  const struct {
    const char* name;
    std::uint64_t first;
    std::vector<std::uint64_t> terms;
    std::uint64_t offset, in_progress;
    std::vector<std::uint64_t> after;
  } rows[] = {
      {"behind the end", 8, {2}, 5, 7, {1, 1, 1, 2}},
      {"within what is not handed out", 7, {2}, 5, 7, {1, 1, 2}},
      {"within what is being written", 6, {2, 2}, 5, 6, {1, 2, 2}},
      {"all", 5, {2}, 5, 5, {2}},
      {"before the offset", 3, {2, 2}, 3, 3, {2, 2}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Notes notes(NoteLevel::kNone);
    Unstable unstable(Index{5}, notes);
    unstable.truncate_and_append(entries_of(Index{4}, {1, 1}));
    unstable.accept_in_progress();
    unstable.truncate_and_append(entries_of(Index{6}, {1}));
    unstable.truncate_and_append(entries_of(Index{row.first - 1}, row.terms));
    EXPECT_EQ(unstable.offset(), Index{row.offset});
    EXPECT_EQ(unstable.offset_in_progress(), Index{row.in_progress});
    EXPECT_EQ(terms_of(unstable.entries()), row.after);
    unstable.check_invariants();
  }
}

TEST(MemoryLog, IsALog) {
  MemoryLog log;
  EXPECT_EQ(log.first_index(), Index{1});
  EXPECT_EQ(log.last_index(), Index{});
  EXPECT_EQ(*log.term(Index{}), Term{});
  log.append(entries_of(Index{}, {1, 1, 2, 2}));
  log.append(entries_of(Index{2}, {3}));  // replaces 3, drops 4
  EXPECT_EQ(log.last_index(), Index{3});
  EXPECT_EQ(*log.term(Index{3}), Term{3});
  log.append(entries_of(Index{3}, {3, 3}));
  ASSERT_TRUE(log.create_snapshot(Index{3}, {.voters = {1}}, {}).has_value());
  EXPECT_EQ(log.create_snapshot(Index{3}, {}, {}).error().code, ErrorCode::kOutOfRange);
  ASSERT_TRUE(log.compact(Index{3}).has_value());
  EXPECT_EQ(log.compact(Index{2}).error().code, ErrorCode::kCompacted);
  EXPECT_EQ(log.compact(Index{9}).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(log.first_index(), Index{4});
  EXPECT_EQ(log.entries(Index{3}, Index{5}, kAll).error().code, ErrorCode::kCompacted);
  EXPECT_EQ(log.entries(Index{4}, Index{9}, kAll).error().code, ErrorCode::kUnavailable);
  log.append(entries_of(Index{1}, {9, 9, 4}));  // 2 and 3 are compacted, 4 is replaced
  EXPECT_EQ(*log.term(Index{3}), Term{3});
  EXPECT_EQ(*log.term(Index{4}), Term{4});
  EXPECT_EQ(log.last_index(), Index{4});
  Snapshot snapshot{.metadata = {.conf_state = {}, .index = Index{3}, .term = Term{3}}};
  EXPECT_EQ(log.apply_snapshot(snapshot).error().code, ErrorCode::kOutOfRange);
  snapshot.metadata.index = Index{20};
  ASSERT_TRUE(log.apply_snapshot(snapshot).has_value());
  EXPECT_EQ(log.first_index(), Index{21});
  EXPECT_EQ(log.last_index(), Index{20});
  EXPECT_EQ(*log.term(Index{20}), Term{3});
  log.check_invariants();
}

}  // namespace
}  // namespace etcd::raft
