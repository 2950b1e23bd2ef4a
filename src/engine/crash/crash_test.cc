// LMDB loses power: every batch whose commit returned is there whole, the one under way is whole or absent.
//
// A seeded workload runs on the real engine while the interposer records what reaches its file. Then, for many moments
// of the recording, a file is built as a disk may have kept it: what was synced, plus any subset of the later writes,
// some of them torn. Each is opened with the engine and compared, value by value, with what was committed.
//
// What a disk is believed to do: a sector of 512 bytes is written whole or not at all; everything else may be lost,
// torn at any sector, or kept in any order until a sync returns. (LMDB writes the page that names the root as one piece
// within one sector; see its mdb_env_write_meta.)
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <vector>

#include "base/rng.h"
#include "engine/crash/interposer.h"
#include "engine/lmdb_engine.h"
#include "io/real_file.h"

namespace etcd::engine {
namespace {

using crash::FileEvent;
using Rows = std::map<Bytes, Bytes>;
using State = std::vector<Rows>;  // by table

const std::vector<std::string> kTables = {"history", "mvcc", "leases"};
constexpr std::uint64_t kMap = std::uint64_t{1} << 26;

std::string temporary_directory() {
  std::string name = std::filesystem::temp_directory_path() / "crash_test.XXXXXX";
  return mkdtemp(name.data());
}

class CrashTest : public testing::Test {
 protected:
  CrashTest() : path_(temporary_directory()), directory_(std::move(*io::open_real_directory(path_))) {}
  ~CrashTest() override {
    crash::stop();
    std::filesystem::remove_all(path_);
  }

  [[nodiscard]] std::string file() const { return path_ + "/" + kLmdbFile; }
  Result<std::unique_ptr<Engine>> open() { return open_lmdb(*directory_, kTables, {.map_bytes = kMap}); }
  [[nodiscard]] Bytes read_file() const {
    std::ifstream in(file(), std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(in), {});
  }
  void write_file(const Bytes& bytes) const {
    std::filesystem::remove(file() + "-lock");
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << bytes;
  }

  std::string path_;
  std::unique_ptr<io::Directory> directory_;
};

Result<State> state_of(const Engine& engine) {
  ETCD_TRY(const auto snapshot, engine.snapshot());
  State state(kTables.size());
  for (TableId table = 0; table < kTables.size(); ++table) {
    ETCD_TRY_VOID(snapshot->scan(table, {}, [&](BytesView key, BytesView value) {
      state[table].emplace(key, value);
      return true;
    }));
  }
  return state;
}

/// One batch as apply and compaction make them: appended history, overwritten marks, deletions; some values need pages
/// of their own.
Batch any_batch(Rng& rng, std::uint64_t number, State& state) {
  Batch batch;
  const auto any_value = [&rng](std::uint64_t bytes_max) {
    Bytes value(rng.below(bytes_max), '\0');
    for (char& byte : value) byte = static_cast<char>(rng.next());
    return value;
  };
  for (std::uint64_t count = 1 + rng.below(12); count > 0; --count) {
    Bytes key = "00000000";
    std::uint64_t rest = number * 100 - count;
    for (std::size_t place = 8; place-- > 0; rest /= 10) key[place] = static_cast<char>('0' + rest % 10);
    Bytes value = any_value(rng.chance(1, 8) ? 20'000 : 400);
    state[0][key] = value;
    batch.append(0, key, SharedBytes(std::move(value)));
  }
  while (state[0].size() > 150 || (!state[0].empty() && rng.chance(1, 3))) {
    auto row = state[0].begin();
    std::advance(row, rng.below(std::min<std::size_t>(state[0].size(), 40)));
    batch.erase(0, row->first);
    state[0].erase(row);
  }
  state[1]["revision"] = std::to_string(number);
  batch.put(1, "revision", SharedBytes(std::to_string(number)));
  if (rng.chance(1, 2)) {
    const Bytes key = "lease" + std::to_string(rng.below(30));
    Bytes value = any_value(3000);
    state[2][key] = value;
    batch.put(2, key, SharedBytes(std::move(value)));
  }
  return batch;
}

struct Recording {
  Bytes synced;                   // the file before the first event
  std::vector<FileEvent> events;  // mark 2k: commit k begins; 2k + 1: it has returned
  std::vector<State> states;      // [k]: with the first k batches
};

void apply_write(Bytes& image, std::uint64_t offset, BytesView bytes) {
  if (image.size() < offset + bytes.size()) image.resize(offset + bytes.size(), '\0');
  image.replace(offset, bytes.size(), bytes);
}

/// A write as the disk may have kept it: whole, not at all, or some of its sectors.
void apply_some(Rng& rng, Bytes& image, const FileEvent& write, std::uint64_t& torn) {
  constexpr std::uint64_t kSector = 512;
  const std::uint64_t dice = rng.below(8);
  if (dice < 3) return;
  if (dice < 6) {
    apply_write(image, write.offset, write.bytes);
    return;
  }
  // Cut where sectors end; dice 6 keeps a beginning, 7 any of them.
  ++torn;
  bool keep = true;
  for (std::uint64_t begin = 0; begin < write.bytes.size();) {
    const std::uint64_t sector_end = (write.offset + begin) / kSector * kSector + kSector - write.offset;
    const std::uint64_t end = std::min<std::uint64_t>(write.bytes.size(), sector_end);
    keep = dice == 6 ? keep && rng.chance(3, 4) : rng.chance(1, 2);
    if (keep) apply_write(image, write.offset + begin, BytesView(write.bytes).substr(begin, end - begin));
    begin = end;
  }
}

class SeededCrashTest : public CrashTest, public testing::WithParamInterface<std::uint64_t> {
 protected:
  Recording record(std::uint64_t batches) {
    Rng rng(GetParam());
    Recording recording;
    State state(kTables.size());
    recording.states.push_back(state);
    const auto engine = std::move(*open());
    recording.synced = read_file();
    crash::start(file());
    for (std::uint64_t number = 1; number <= batches; ++number) {
      const Batch batch = any_batch(rng, number, state);
      recording.states.push_back(state);
      crash::mark(2 * (number - 1));
      EXPECT_TRUE(engine->commit(batch).has_value());
      crash::mark(2 * (number - 1) + 1);
    }
    recording.events = crash::stop();
    return recording;
  }
};

INSTANTIATE_TEST_SUITE_P(Seeds, SeededCrashTest, testing::Values(1, 2, 3));

TEST_P(SeededCrashTest, WhatWasCommittedIsThereWhole) {
  const Recording recording = record(50);
  Rng rng(GetParam() + 1000);
  Bytes synced = recording.synced;
  std::vector<const FileEvent*> pending;
  std::uint64_t committed = 0;
  bool under_way = false;
  std::uint64_t images = 0, torn = 0, whole = 0, absent = 0;
  std::map<FileEvent::Kind, int> kinds;

  for (const FileEvent& event : recording.events) {
    ++kinds[event.kind];
    const bool is_write = event.kind == FileEvent::Kind::kWrite || event.kind == FileEvent::Kind::kDurableWrite;
    if (is_write) pending.push_back(&event);
    // Power fails now: the write or sync that this event is has begun and not returned. The moments around the page
    // that names the root are the ones that count.
    const std::uint64_t tries = event.kind == FileEvent::Kind::kDurableWrite ? 4 : rng.chance(1, 3) ? 1 : 0;
    for (std::uint64_t attempt = 0; attempt < tries; ++attempt) {
      Bytes image = synced;
      for (const FileEvent* write : pending) apply_some(rng, image, *write, torn);
      write_file(image);
      const auto engine = open();
      ASSERT_TRUE(engine.has_value()) << "batch " << committed << ": " << engine.error().message;
      const Result<State> state = state_of(**engine);
      ASSERT_TRUE(state.has_value()) << state.error().message;
      ++images;
      if (*state == recording.states[committed]) {
        absent += under_way ? 1 : 0;
      } else {
        ASSERT_TRUE(under_way) << "after batch " << committed;
        ASSERT_TRUE(*state == recording.states[committed + 1]) << "in batch " << committed + 1;
        ++whole;
      }
      if (images % 16 == 0) {
        // What was left is a store like any other.
        State next = *state;
        Rng more(images);
        ASSERT_TRUE((*engine)->commit(any_batch(more, 90'000, next)).has_value());
        EXPECT_TRUE(*state_of(**engine) == next);
      }
    }
    switch (event.kind) {
      case FileEvent::Kind::kWrite: break;
      case FileEvent::Kind::kDurableWrite:
        apply_write(synced, event.offset, event.bytes);
        pending.pop_back();
        break;
      case FileEvent::Kind::kSync:
        for (const FileEvent* write : pending) apply_write(synced, write->offset, write->bytes);
        pending.clear();
        break;
      case FileEvent::Kind::kTruncate: FAIL() << "LMDB shrank its file"; break;
      case FileEvent::Kind::kMark:
        under_way = event.offset % 2 == 0;
        if (!under_way) ++committed;
        break;
    }
  }
  EXPECT_EQ(committed, 50u);
  EXPECT_GE(kinds[FileEvent::Kind::kSync], 50);
  EXPECT_GE(kinds[FileEvent::Kind::kDurableWrite], 50);
  EXPECT_GT(images, 250u);
  EXPECT_GT(torn, 100u);
  EXPECT_GT(whole, 10u);
  EXPECT_GT(absent, 100u);
  std::printf("  seed %d: %d images, %d torn writes; batch under way: %d whole, %d absent\n",
              static_cast<int>(GetParam()), static_cast<int>(images), static_cast<int>(torn), static_cast<int>(whole),
              static_cast<int>(absent));
}

/// The judge judged: on a disk whose sync does nothing, some image must be found wrong.
TEST_P(SeededCrashTest, ADiskThatDoesNotSyncIsNoticed) {
  const Recording recording = record(20);
  Rng rng(GetParam() + 2000);
  Bytes synced = recording.synced;
  std::vector<const FileEvent*> pending;
  std::uint64_t committed = 0;
  int wrong = 0;
  int images = 0;
  for (const FileEvent& event : recording.events) {
    if (event.kind == FileEvent::Kind::kWrite) pending.push_back(&event);
    if (event.kind == FileEvent::Kind::kDurableWrite) apply_write(synced, event.offset, event.bytes);
    if (event.kind != FileEvent::Kind::kMark || event.offset % 2 == 0) continue;
    ++committed;
    Bytes image = synced;
    std::uint64_t torn = 0;
    for (const FileEvent* write : pending) apply_some(rng, image, *write, torn);
    write_file(image);
    ++images;
    // In a process of its own: LMDB trusts its pages and may fall over.
    const pid_t child = fork();
    if (child == 0) {
      if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(1);
      const auto engine = open();
      if (!engine.has_value()) _exit(1);
      const Result<State> state = state_of(**engine);
      _exit(state.has_value() && *state == recording.states[committed] ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ++wrong;
  }
  EXPECT_GT(wrong, images / 2);
}

// --- a disk that is full, or fails ---

TEST_F(CrashTest, NoSpaceAtAnyWriteLeavesNothingAndTheBatchMayBeTriedAgain) {
  auto engine = std::move(*open());
  Rng rng(5);
  State state(kTables.size());
  int tried_again = 0;
  int dead = 0;
  for (std::uint64_t number = 1; number <= 60; ++number) {
    State next = state;
    const Batch batch = any_batch(rng, number, next);
    crash::start(file());
    crash::fail_writes(static_cast<int>(number % 4), static_cast<int>(1 + number % 2), ENOSPC);
    Result<void> committed = engine->commit(batch);
    if (!committed.has_value() && committed.error().code == ErrorCode::kIo) {
      // It was the page that names the root: LMDB gives up, and the file is as it was.
      ++dead;
      crash::fail_writes(0, 0, 0);
      EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kIo);
      engine.reset();
      engine = std::move(*open());
      EXPECT_TRUE(*state_of(*engine) == state) << "batch " << number;
      committed = engine->commit(batch);
    }
    while (!committed.has_value()) {
      ASSERT_EQ(committed.error().code, ErrorCode::kNoSpace) << committed.error().message;
      EXPECT_TRUE(*state_of(*engine) == state) << "batch " << number;
      ++tried_again;
      committed = engine->commit(batch);
    }
    crash::stop();
    state = std::move(next);
    EXPECT_TRUE(*state_of(*engine) == state) << "batch " << number;
  }
  EXPECT_GT(tried_again, 30);
  EXPECT_GT(dead, 0);
}

TEST_F(CrashTest, NoSpaceInTheSyncMayBeTriedAgain) {
  auto engine = std::move(*open());
  Rng rng(6);
  State state(kTables.size());
  crash::start(file());
  const Batch batch = any_batch(rng, 1, state);
  crash::fail_syncs(2, ENOSPC);
  EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kNoSpace);
  EXPECT_TRUE(*state_of(*engine) == State(kTables.size()));
  const std::size_t before = crash::stop().size();
  crash::start(file());
  EXPECT_TRUE(engine->commit(batch).has_value());
  // Every page of the batch is written anew, so the earlier failure leaves no doubt behind.
  EXPECT_GE(crash::stop().size(), before / 2);
  engine.reset();
  EXPECT_TRUE(*state_of(**open()) == state);
}

TEST_F(CrashTest, AFailedSyncKillsTheEngine) {
  auto engine = std::move(*open());
  Rng rng(7);
  State first(kTables.size());
  ASSERT_TRUE(engine->commit(any_batch(rng, 1, first)).has_value());
  State second = first;
  const Batch batch = any_batch(rng, 2, second);
  crash::start(file());
  crash::fail_syncs(1, EIO);
  EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kIo);
  EXPECT_EQ(engine->commit(batch).error().code, ErrorCode::kIo) << "no second try";
  crash::stop();
  engine.reset();
  EXPECT_TRUE(*state_of(**open()) == first);
}

}  // namespace
}  // namespace etcd::engine
