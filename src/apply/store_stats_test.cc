#include "apply/store_stats.h"

#include <gtest/gtest.h>

#include <optional>

#include "codec/proto/v2.pb.h"

namespace etcd::apply {
namespace {

using etcdv2pb::Command;
using tree::Code;

TEST(StoreStats, EveryVerbAndTheRefusalsThatUpstreamTakesForSuccesses) {
  struct Row {
    const char* name;
    Command::Verb verb;
    std::optional<Code> refused;  // nothing: it was done
    StoreStats::Pair StoreStats::* pair;
    bool success;
    std::uint64_t sets_failed;
  };
  const Row rows[] = {
      {"set", Command::SET, {}, &StoreStats::sets, true, 0},
      {"set below a file", Command::SET, Code::kNotADirectory, &StoreStats::sets, false, 1},
      {"set the root", Command::SET, Code::kRootReadOnly, &StoreStats::sets, false, 1},
      {"create", Command::CREATE, {}, &StoreStats::creates, true, 0},
      {"create what is there", Command::CREATE, Code::kKeyExists, &StoreStats::creates, false, 0},
      {"create below a file", Command::CREATE, Code::kNotADirectory, &StoreStats::creates, false, 1},
      {"in order", Command::CREATE_IN_ORDER, {}, &StoreStats::creates, true, 0},
      {"in order below a file", Command::CREATE_IN_ORDER, Code::kNotADirectory, &StoreStats::creates, false, 1},
      {"update", Command::UPDATE, {}, &StoreStats::updates, true, 0},
      {"update nothing", Command::UPDATE, Code::kKeyNotFound, &StoreStats::updates, false, 0},
      {"update a directory's value", Command::UPDATE, Code::kNotAFile, &StoreStats::updates, true, 0},
      {"update the root", Command::UPDATE, Code::kRootReadOnly, &StoreStats::updates, true, 0},
      {"swap", Command::COMPARE_AND_SWAP, {}, &StoreStats::compare_and_swaps, true, 0},
      {"swap refused", Command::COMPARE_AND_SWAP, Code::kCompareFailed, &StoreStats::compare_and_swaps, false, 0},
      {"swap a directory", Command::COMPARE_AND_SWAP, Code::kNotAFile, &StoreStats::compare_and_swaps, false, 0},
      {"delete", Command::DELETE, {}, &StoreStats::deletes, true, 0},
      {"delete a full directory", Command::DELETE, Code::kDirectoryNotEmpty, &StoreStats::deletes, false, 0},
      {"delete the root", Command::DELETE, Code::kRootReadOnly, &StoreStats::deletes, true, 0},
      {"compare and delete", Command::COMPARE_AND_DELETE, {}, &StoreStats::compare_and_deletes, true, 0},
      {"refused", Command::COMPARE_AND_DELETE, Code::kCompareFailed, &StoreStats::compare_and_deletes, true, 0},
      {"a directory", Command::COMPARE_AND_DELETE, Code::kNotAFile, &StoreStats::compare_and_deletes, true, 0},
      {"nothing there", Command::COMPARE_AND_DELETE, Code::kKeyNotFound, &StoreStats::compare_and_deletes, false, 0},
  };
  for (const Row& row : rows) {
    StoreStats stats;
    Command command;
    command.set_verb(row.verb);
    tree::Outcome<tree::Event> outcome;
    if (row.refused) outcome = std::unexpected(tree::Refusal{*row.refused, "/a", 7});
    stats.count_command(command, outcome);
    const StoreStats::Pair& pair = stats.*row.pair;
    EXPECT_EQ(pair.success.load(), row.success ? 1u : 0u) << row.name;
    EXPECT_EQ(pair.fail.load(), row.success ? 0u : 1u) << row.name;
    EXPECT_EQ(stats.sets.fail.load(), row.sets_failed) << row.name;
  }
}

TEST(StoreStats, AnExpiryCountsWhenItHappens) {
  StoreStats stats;
  Command command;
  command.set_verb(Command::EXPIRE);
  stats.count_command(command, tree::Event{});
  stats.count_command(command, std::unexpected(tree::Refusal{Code::kCompareFailed, "/a", 7}));
  EXPECT_EQ(stats.expirations.load(), 1u);
  EXPECT_EQ(stats.deletes.success.load(), 0u);
}

}  // namespace
}  // namespace etcd::apply
