// The contract of engine.h, held against every form of it, and what only one form can do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <thread>

#include "base/rng.h"
#include "engine/lmdb_engine.h"
#include "engine/memory_engine.h"
#include "io/real_file.h"

namespace etcd::engine {
namespace {

using Rows = std::map<Bytes, Bytes>;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "engine_test.XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A place that survives the engines opened on it.
class Home {
 public:
  virtual ~Home() = default;
  virtual std::unique_ptr<Engine> open(const std::vector<std::string>& tables) = 0;
};

class MemoryHome final : public Home {
 public:
  std::unique_ptr<Engine> open(const std::vector<std::string>& tables) override { return open_memory(disk_, tables); }

 private:
  MemoryDisk disk_;
};

class LmdbHome final : public Home {
 public:
  LmdbHome() {
    auto opened = io::open_real_directory(temporary_.path());
    EXPECT_TRUE(opened.has_value());
    directory_ = std::move(*opened);
  }
  std::unique_ptr<Engine> open(const std::vector<std::string>& tables) override {
    auto engine = open_lmdb(*directory_, tables, {.map_bytes = std::uint64_t{1} << 28});
    EXPECT_TRUE(engine.has_value()) << (engine.has_value() ? "" : engine.error().message);
    return engine.has_value() ? std::move(*engine) : nullptr;
  }

 private:
  TemporaryDirectory temporary_;
  std::unique_ptr<io::Directory> directory_;
};

Rows rows_of(const Snapshot& snapshot, TableId table, BytesView from = {}) {
  Rows rows;
  EXPECT_TRUE(snapshot
                  .scan(table, from,
                        [&](BytesView key, BytesView value) {
                          rows.emplace(key, value);
                          return true;
                        })
                  .has_value());
  return rows;
}

Rows rows_of(const Engine& engine, TableId table) {
  auto snapshot = engine.snapshot();
  EXPECT_TRUE(snapshot.has_value());
  return rows_of(**snapshot, table);
}

class EngineContract : public testing::TestWithParam<const char*> {
 protected:
  EngineContract() {
    if (std::string_view(GetParam()) == "memory") {
      home_ = std::make_unique<MemoryHome>();
    } else {
      home_ = std::make_unique<LmdbHome>();
    }
  }
  std::unique_ptr<Home> home_;
  const std::vector<std::string> tables_ = {"alpha", "beta"};
};

INSTANTIATE_TEST_SUITE_P(Forms, EngineContract, testing::Values("memory", "lmdb"),
                         [](const auto& form) { return form.param; });

TEST_P(EngineContract, EmptyTablesAreEmpty) {
  const auto engine = home_->open(tables_);
  const auto snapshot = *engine->snapshot();
  for (const TableId table : {TableId{0}, TableId{1}}) {
    EXPECT_EQ(rows_of(*snapshot, table), Rows{});
    EXPECT_EQ(*snapshot->get(table, "a"), std::nullopt);
    EXPECT_EQ(*snapshot->last(table), std::nullopt);
    EXPECT_TRUE(snapshot->scan_back(table, {}, [](BytesView, BytesView) { return true; }).has_value());
  }
}

TEST_P(EngineContract, LaterOperationsOfABatchWin) {
  const auto engine = home_->open(tables_);
  Batch batch;
  batch.put(0, "a", SharedBytes("1"));
  batch.put(0, "a", SharedBytes("2"));
  batch.put(0, "b", SharedBytes("1"));
  batch.erase(0, "b");
  batch.erase(0, "never there");
  batch.erase(1, "c");
  batch.put(1, "c", SharedBytes());
  ASSERT_TRUE(engine->commit(batch).has_value());
  EXPECT_EQ(rows_of(*engine, 0), (Rows{{"a", "2"}}));
  EXPECT_EQ(rows_of(*engine, 1), (Rows{{"c", ""}}));
}

TEST_P(EngineContract, ScansGoBothWaysFromAnyKey) {
  const auto engine = home_->open(tables_);
  Batch batch;
  for (const char* key : {"b", "d", "f"}) batch.append(0, key, SharedBytes(Bytes(key) + "!"));
  ASSERT_TRUE(engine->commit(batch).has_value());
  const auto snapshot = *engine->snapshot();
  struct Row {
    const char* from;
    const char* forward;
    const char* back;
  };
  const Row rows[] = {{"", "bdf", "fdb"}, {"a", "bdf", ""},  {"b", "bdf", "b"},
                      {"c", "df", "b"},   {"f", "f", "fdb"}, {"g", "", "fdb"}};
  for (const Row& row : rows) {
    Bytes forward, back;
    const auto collect = [](Bytes& out) {
      return [&out](BytesView key, BytesView value) {
        EXPECT_EQ(value, Bytes(key) + "!");
        out += key;
        return true;
      };
    };
    ASSERT_TRUE(snapshot->scan(0, row.from, collect(forward)).has_value());
    ASSERT_TRUE(snapshot->scan_back(0, row.from, collect(back)).has_value());
    EXPECT_EQ(forward, row.forward) << row.from;
    EXPECT_EQ(back, row.back) << row.from;
  }
  int seen = 0;
  ASSERT_TRUE(snapshot->scan(0, {}, [&](BytesView, BytesView) { return ++seen < 2; }).has_value());
  EXPECT_EQ(seen, 2);
  EXPECT_EQ((*snapshot->last(0))->first, "f");
  EXPECT_EQ((*snapshot->last(0))->second, "f!");
}

TEST_P(EngineContract, AWalkStepsJumpsAndStops) {
  const auto engine = home_->open(tables_);
  Batch batch;
  for (const char* key : {"b", "d", "f", "h", "j"}) batch.append(0, key, SharedBytes(Bytes(key) + "!"));
  ASSERT_TRUE(engine->commit(batch).has_value());
  const auto snapshot = *engine->snapshot();
  struct Row {
    const char* name;
    const char* from;
    std::map<Bytes, Bytes> jumps;  // from a row; the others step
    const char* stop;
    const char* seen;
  };
  const Row rows[] = {
      {"all", "", {}, "", "bdfhj"},
      {"from between two", "c", {}, "", "dfhj"},
      {"from past the end", "k", {}, "", ""},
      {"stops", "", {}, "f", "bdf"},
      {"stops at the first", "d", {}, "d", "d"},
      {"jumps to a row", "", {{"b", "h"}}, "", "bhj"},
      {"jumps between two", "", {{"b", "e"}, {"f", "i"}}, "", "bfj"},
      {"jumps to the next", "", {{"b", "d"}}, "h", "bdfh"},
      {"jumps past the end", "d", {{"f", "z"}}, "", "df"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Bytes seen;
    ASSERT_TRUE(snapshot
                    ->walk(0, row.from,
                           [&](BytesView key, BytesView value) -> std::optional<BytesView> {
                             EXPECT_EQ(value, Bytes(key) + "!");
                             seen += key;
                             if (key == row.stop) return std::nullopt;
                             const auto jump = row.jumps.find(Bytes(key));
                             return jump == row.jumps.end() ? BytesView() : BytesView(jump->second);
                           })
                    .has_value());
    EXPECT_EQ(seen, row.seen);
  }
  ASSERT_TRUE(snapshot->walk(1, "", [](BytesView, BytesView) { return std::optional<BytesView>(); }).has_value());
}

TEST_P(EngineContract, ASnapshotKeepsItsState) {
  const auto engine = home_->open(tables_);
  Batch first;
  first.put(0, "a", SharedBytes("1"));
  ASSERT_TRUE(engine->commit(first).has_value());
  const auto before = *engine->snapshot();
  Batch second;
  second.put(0, "a", SharedBytes("2"));
  second.put(0, "b", SharedBytes("2"));
  ASSERT_TRUE(engine->commit(second).has_value());
  EXPECT_EQ(rows_of(*before, 0), (Rows{{"a", "1"}}));
  EXPECT_EQ(rows_of(*engine, 0), (Rows{{"a", "2"}, {"b", "2"}}));
}

TEST_P(EngineContract, CommittedBatchesSurviveReopening) {
  Rows expected;
  Rng rng(11);
  for (int life = 0; life < 4; ++life) {
    const auto engine = home_->open(tables_);
    EXPECT_EQ(rows_of(*engine, 1), expected);
    for (int count = 0; count < 20; ++count) {
      Batch batch;
      for (std::uint64_t operation = rng.below(10); operation-- > 0;) {
        const Bytes key = "key" + std::to_string(rng.below(50));
        if (rng.chance(1, 3)) {
          batch.erase(1, key);
          expected.erase(key);
        } else {
          const Bytes value(rng.below(6000), static_cast<char>(rng.next()));
          batch.put(1, key, SharedBytes(value));
          expected[key] = value;
        }
      }
      ASSERT_TRUE(engine->commit(batch).has_value());
    }
    EXPECT_EQ(rows_of(*engine, 1), expected);
  }
}

TEST_P(EngineContract, TablesMayBeAddedLaterAndStandInAnyOrder) {
  {
    const auto engine = home_->open({"alpha", "beta"});
    Batch batch;
    batch.put(1, "in", SharedBytes("beta"));
    ASSERT_TRUE(engine->commit(batch).has_value());
  }
  const auto engine = home_->open({"gamma", "beta"});
  EXPECT_EQ(rows_of(*engine, 0), Rows{});
  EXPECT_EQ(rows_of(*engine, 1), (Rows{{"in", "beta"}}));
}

TEST_P(EngineContract, AnAppendOutOfOrderKillsTheEngineAndWritesNothing) {
  const auto engine = home_->open(tables_);
  Batch good;
  good.append(0, "b", SharedBytes("1"));
  ASSERT_TRUE(engine->commit(good).has_value());
  Batch bad;
  bad.append(0, "c", SharedBytes("1"));
  bad.append(0, "a", SharedBytes("1"));
  EXPECT_EQ(engine->commit(bad).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(engine->commit(good).error().code, ErrorCode::kInvalidArgument);
}

TEST_P(EngineContract, UsageFollowsTheData) {
  const auto engine = home_->open(tables_);
  const std::uint64_t empty = engine->usage().bytes_in_use;
  Batch fill;
  for (int key = 0; key < 1000; ++key) fill.put(0, std::to_string(key), SharedBytes(Bytes(1000, 'x')));
  ASSERT_TRUE(engine->commit(fill).has_value());
  const std::uint64_t full = engine->usage().bytes_in_use;
  EXPECT_GT(full, empty + 1'000'000);
  EXPECT_GE(engine->usage().bytes_file, 1'000'000u);
  Batch clear;
  for (int key = 0; key < 1000; ++key) clear.erase(0, std::to_string(key));
  ASSERT_TRUE(engine->commit(clear).has_value());
  EXPECT_LT(engine->usage().bytes_in_use, empty + 200'000);
}

TEST_P(EngineContract, UsageCountsOpenSnapshots) {
  const auto engine = home_->open(tables_);
  EXPECT_EQ(engine->usage().snapshots, 0u);
  auto first = engine->snapshot();
  auto second = engine->snapshot();
  ASSERT_TRUE(first.has_value() && second.has_value());
  EXPECT_EQ(engine->usage().snapshots, 2u);
  first->reset();
  EXPECT_EQ(engine->usage().snapshots, 1u);
  second->reset();
  EXPECT_EQ(engine->usage().snapshots, 0u);
}

TEST_P(EngineContract, ReadersSeeWholeBatchesWhileTheWriterGoesOn) {
  const auto engine = home_->open(tables_);
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&] {
      while (!done.load()) {
        const auto snapshot = engine->snapshot();
        ASSERT_TRUE(snapshot.has_value());
        const Rows rows = rows_of(**snapshot, 0);
        for (const auto& row : rows) ASSERT_EQ(row.second, rows.begin()->second);
      }
    });
  }
  for (int round = 0; round < 50; ++round) {
    Batch batch;
    for (int key = 0; key < 20; ++key) batch.put(0, std::to_string(key), SharedBytes(std::to_string(round)));
    ASSERT_TRUE(engine->commit(batch).has_value());
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
}

TEST(MemoryEngine, NoSpaceLeavesNothingAndMayBeTriedAgain) {
  MemoryDisk disk;
  const std::vector<std::string> tables = {"alpha"};
  const auto engine = open_memory(disk, tables);
  Batch batch;
  batch.put(0, "a", SharedBytes("1"));
  disk.fail_no_space(2);
  EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(rows_of(*engine, 0), Rows{});
  ASSERT_TRUE(engine->commit(batch).has_value());
  EXPECT_EQ(rows_of(*engine, 0), (Rows{{"a", "1"}}));
  EXPECT_EQ(disk.commits(), 1u);
}

TEST(MemoryEngine, AFailureIsRepeatedUntilTheDiskIsOpenedAnew) {
  MemoryDisk disk;
  const std::vector<std::string> tables = {"alpha"};
  Batch batch;
  batch.put(0, "a", SharedBytes("1"));
  {
    const auto engine = open_memory(disk, tables);
    disk.fail_io_once();
    EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kIo);
    EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kIo);
    EXPECT_FALSE(engine->snapshot().has_value());
  }
  const auto engine = open_memory(disk, tables);
  EXPECT_EQ(rows_of(*engine, 0), Rows{});
  EXPECT_TRUE(engine->commit(batch).has_value());
}

class LmdbTest : public testing::Test {
 protected:
  LmdbTest() : directory_(std::move(*io::open_real_directory(temporary_.path()))) {}
  Result<std::unique_ptr<Engine>> open(std::uint64_t map_bytes = std::uint64_t{1} << 28) {
    return open_lmdb(*directory_, tables_, {.map_bytes = map_bytes});
  }
  [[nodiscard]] std::string file() const { return temporary_.path() + "/" + kLmdbFile; }

  const std::vector<std::string> tables_ = {"alpha"};
  TemporaryDirectory temporary_;
  std::unique_ptr<io::Directory> directory_;
};

TEST_F(LmdbTest, TheFileIsPrivateAndNothingElseIsLeft) {
  const auto engine = open();
  ASSERT_TRUE(engine.has_value());
  struct stat info{};
  ASSERT_EQ(stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(*directory_->list(), (std::vector<std::string>{"store.mdb", "store.mdb-lock"}));
}

TEST_F(LmdbTest, WhatAFirstStartLeftHalfMadeIsMadeAnew) {
  std::ofstream(file() + ".new") << "half";
  std::ofstream(file() + ".new-lock") << "half";
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(*directory_->list(), (std::vector<std::string>{"store.mdb", "store.mdb-lock"}));
}

TEST_F(LmdbTest, TheMapGrows) {
  auto engine = *open(1 << 20);
  Rows expected;
  for (int round = 0; round < 8; ++round) {
    Batch batch;
    for (int key = 0; key < 1000; ++key) {
      const Bytes name = std::to_string(round) + "/" + std::to_string(key);
      expected[name] = Bytes(1000, static_cast<char>('a' + round));
      batch.put(0, name, SharedBytes(expected[name]));
    }
    ASSERT_TRUE(engine->commit(batch).has_value()) << round;
    EXPECT_EQ(rows_of(*engine, 0).size(), expected.size());
  }
  EXPECT_EQ(rows_of(*engine, 0), expected);
  engine.reset();
  engine = *open(1 << 20);
  EXPECT_EQ(rows_of(*engine, 0), expected);
}

TEST_F(LmdbTest, ASnapshotThatStaysKeepsTheMapFromGrowingAndTheBatchMayBeTriedAgain) {
  const auto engine = *open(1 << 20);
  Batch batch;
  for (int key = 0; key < 3000; ++key) batch.put(0, std::to_string(key), SharedBytes(Bytes(1000, 'x')));
  auto snapshot = *engine->snapshot();
  EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(rows_of(*engine, 0), Rows{});
  snapshot.reset();
  ASSERT_TRUE(engine->commit(batch).has_value());
  EXPECT_EQ(rows_of(*engine, 0).size(), 3000u);
}

TEST_F(LmdbTest, DamagedFilesAreNamed) {
  {
    const auto engine = *open();
    Batch batch;
    for (int key = 0; key < 1000; ++key) batch.put(0, std::to_string(key), SharedBytes(Bytes(1000, 'x')));
    ASSERT_TRUE(engine->commit(batch).has_value());
  }
  struct Row {
    const char* name;
    std::function<void(const std::string&)> damage;
  };
  const Row rows[] = {
      {"empty", [](const std::string& path) { std::filesystem::resize_file(path, 0); }},
      {"cut short", [](const std::string& path) { std::filesystem::resize_file(path, 200'000); }},
      {"first page only", [](const std::string& path) { std::filesystem::resize_file(path, 4096); }},
      {"another kind of file", [](const std::string& path) { std::ofstream(path) << Bytes(100'000, 'z'); }},
  };
  const std::string copy = temporary_.path() + "/copy";
  std::filesystem::copy_file(file(), copy);
  for (const Row& row : rows) {
    std::filesystem::copy_file(copy, file(), std::filesystem::copy_options::overwrite_existing);
    row.damage(file());
    const auto engine = open();
    ASSERT_FALSE(engine.has_value()) << row.name;
    EXPECT_EQ(engine.error().code, ErrorCode::kCorrupt) << row.name << ": " << engine.error().message;
    EXPECT_NE(engine.error().message.find("store.mdb"), std::string::npos) << engine.error().message;
  }
}

}  // namespace
}  // namespace etcd::engine
