#include "mvcc/store.h"

#include <gtest/gtest.h>

#include <stdlib.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/rng.h"
#include "engine/lmdb_engine.h"
#include "engine/memory_engine.h"
#include "io/clock.h"
#include "io/real_file.h"
#include "mvcc/history.h"
#include "mvcc/live.h"

namespace etcd::mvcc {
namespace {

const std::vector<std::string> kTables = {std::string(kHistoryTable), std::string(kMetaTable), std::string(kLiveTable)};

/// A clock that a test moves by hand.
class HandClock final : public io::Clock {
 public:
  [[nodiscard]] MonotonicTime now() const override {
    now_.ns += step.count();
    return now_;
  }
  [[nodiscard]] WallTime wall() const override { return {}; }
  Duration step{0};  // added by every look

 private:
  mutable MonotonicTime now_;
};

/// LMDB in a directory that goes away with it.
class LmdbHome {
 public:
  LmdbHome() {
    std::string name = std::filesystem::temp_directory_path() / "mvcc_test.XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
    directory_ = std::move(*io::open_real_directory(path_));
  }
  ~LmdbHome() { std::filesystem::remove_all(path_); }
  LmdbHome(const LmdbHome&) = delete;
  LmdbHome& operator=(const LmdbHome&) = delete;

  std::unique_ptr<engine::Engine> open() {
    auto engine = engine::open_lmdb(*directory_, kTables, {.map_bytes = std::uint64_t{1} << 28});
    EXPECT_TRUE(engine.has_value()) << engine.error().message;
    return std::move(*engine);
  }

 private:
  std::string path_;
  std::unique_ptr<io::Directory> directory_;
};

/// A store over a memory disk or over LMDB, with the part of apply and of the store loop that it needs.
class Member {
 public:
  explicit Member(std::uint64_t large_value_bytes = StoreOptions{}.large_value_bytes, bool lmdb = false)
      : large_value_bytes_(large_value_bytes) {
    if (lmdb) lmdb_.emplace();
    open();
  }

  /// A restart. Without the map it is the first one on a store that an older version wrote.
  void open(bool without_map = false) {
    queue_.clear();
    store_.reset();
    engine_.reset();
    engine_ = lmdb_ ? lmdb_->open() : engine::open_memory(disk_, kTables);
    if (without_map) {
      engine::Batch batch;
      batch.erase(1, "live");
      EXPECT_TRUE(engine_->commit(batch).has_value());
    }
    deadlines.clear();
    auto opened = Store::open(*engine_, clock_, {.large_value_bytes = large_value_bytes_, .load_threads = load_threads},
                              &deadlines);
    EXPECT_TRUE(opened.has_value()) << (opened.has_value() ? "" : opened.error().message);
    store_ = std::move(*opened);
    committed_ = store_->revision();
    store_->check_invariants();
  }

  std::int64_t put(BytesView key, BytesView value, const PutOptions& options = {}) {
    WriteTxn txn = store_->begin();
    txn.put(key, value, options);
    return *txn.commit();
  }
  std::optional<std::int64_t> erase(BytesView key) {
    WriteTxn txn = store_->begin();
    txn.erase(key);
    return txn.commit();
  }

  /// Publishes, and queues what there is for the disk.
  void publish() {
    store_->publish();
    engine::Batch batch;
    const std::int64_t revision = store_->take_changes(batch);
    queue_.push_back({std::move(batch), revision});
  }
  /// One batch reaches the disk.
  void commit_one() {
    if (queue_.empty()) return;
    ASSERT_TRUE(engine_->commit(queue_.front().batch).has_value());
    committed_ = queue_.front().revision;
    store_->committed(committed_);
    queue_.pop_front();
  }
  void flush() {
    publish();
    while (!queue_.empty()) commit_one();
  }
  CompactionState compact_slice(const SliceBudget& budget = {}) {
    engine::Batch batch;
    const Result<CompactionState> state = store_->compact_slice(batch, budget);
    EXPECT_TRUE(state.has_value()) << state.error().message;
    // Brings no revision of its own.
    queue_.push_back({std::move(batch), queue_.empty() ? committed_ : queue_.back().revision});
    return *state;
  }
  void compact_all() {
    while (compact_slice() != CompactionState::kIdle) flush();
    flush();
  }

  Store& operator*() { return *store_; }
  Store* operator->() { return store_.get(); }
  [[nodiscard]] std::size_t queued() const { return queue_.size(); }
  engine::MemoryDisk& disk() { return disk_; }
  engine::Engine& engine() { return *engine_; }
  HandClock& clock() { return clock_; }
  void close() { store_.reset(); }

  unsigned load_threads = 1;
  std::vector<EntryRef> deadlines;  // as of the newest open()

 private:
  struct Queued {
    engine::Batch batch;
    std::int64_t revision;
  };
  const std::uint64_t large_value_bytes_;
  engine::MemoryDisk disk_;
  std::optional<LmdbHome> lmdb_;
  HandClock clock_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Store> store_;
  std::deque<Queued> queue_;
  std::int64_t committed_ = 0;
};

std::vector<Bytes> keys_at(const Reader& reader, const KeyRange& range, const RangeOptions& options = {}) {
  std::vector<Bytes> keys;
  const Result<bool> more = reader.range(range, options, [&](const Entry& entry) {
    keys.emplace_back(entry.key());
    return true;
  });
  EXPECT_TRUE(more.has_value()) << more.error().message;
  return keys;
}

// --- the rules of put and delete ---

TEST(StoreTest, AnEmptyStoreIsAtRevisionOneAndNeverCompacted) {
  Member member;
  const View view = member->view();
  EXPECT_EQ(view.revision(), 1);
  EXPECT_EQ(view.compacted(), -1);
  EXPECT_EQ(view.count(KeyRange::from("")), 0u);
  EXPECT_EQ(view.get("a"), nullptr);
  EXPECT_EQ(member.put("a", "1"), 2);
}

TEST(StoreTest, PutsAndDeletesNumberThemselves) {
  Member member;
  struct Row {
    const char* name;
    const char* value;  // null: delete
    LeaseId lease;
    std::int64_t create, mod, version;  // all 0: gone
  };
  const Row rows[] = {
      {"first put", "1", 0, 2, 2, 1},  {"put again", "2", 7, 2, 3, 2},          {"put once more", "3", 0, 2, 4, 3},
      {"delete", nullptr, 0, 0, 0, 0}, {"put after a delete", "4", 0, 6, 6, 1}, {"and again", "5", 0, 6, 7, 2},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    if (row.value == nullptr) {
      EXPECT_TRUE(member.erase("k").has_value());
    } else {
      member.put("k", row.value, {.lease = row.lease});
    }
    EXPECT_EQ(member->view().revision() < member->revision(), true) << "not yet published";
    member->publish();
    const View view = member->view();
    const Entry* entry = view.get("k");
    if (row.value == nullptr) {
      EXPECT_EQ(entry, nullptr);
      continue;
    }
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->fields(), (KeyValue{"k", row.create, row.mod, row.version, row.value, row.lease}));
  }
  EXPECT_EQ(member.erase("never there"), std::nullopt);
  EXPECT_EQ(member->revision(), 7) << "nothing was written, no revision";
}

TEST(StoreTest, ATransactionSeesItsOwnWritesAndNumbersThem) {
  Member member;
  member.put("a", "old");
  member.put("b", "old");
  WriteTxn txn = member->begin();
  EXPECT_EQ(txn.base_revision(), 3);
  EXPECT_EQ(txn.revision(), 4);
  const Entry* first = txn.put("a", "new");
  EXPECT_EQ(txn.get("a"), first);
  EXPECT_EQ(txn.get("a")->value(), "new");
  const Entry* deleted = txn.erase("b");
  ASSERT_NE(deleted, nullptr);
  EXPECT_EQ(deleted->value(), "old");
  EXPECT_EQ(txn.get("b"), nullptr);
  EXPECT_EQ(txn.erase("b"), nullptr) << "deleted already";
  txn.put("c", "new");
  EXPECT_EQ(keys_at(txn, KeyRange::from("")), (std::vector<Bytes>{"a", "c"}));
  EXPECT_EQ(keys_at(txn, KeyRange::from(""), {.revision = 3}), (std::vector<Bytes>{"a", "b"}));
  EXPECT_EQ(keys_at(txn, KeyRange::from(""), {.revision = 2}), (std::vector<Bytes>{"a"}));
  EXPECT_EQ((*txn.get("a", 3))->value(), "old");
  EXPECT_EQ(txn.get("a", 4).error().code, ErrorCode::kFutureRevision);
  EXPECT_EQ(txn.count(KeyRange::from("")), 2u);
  EXPECT_EQ(*txn.count(KeyRange::from(""), 3), 2u);
  EXPECT_EQ(txn.first_in(KeyRange::from("b"))->key(), "c");
  EXPECT_EQ(txn.first_in(KeyRange::between("b", "c")), nullptr);
  EXPECT_EQ(txn.commit(), 4);
  member->publish();
  EXPECT_EQ(member->view().get("a")->revision(), (Revision{4, 0}));
  EXPECT_EQ(member->view().get("c")->revision(), (Revision{4, 2}));
  member->check_invariants();
}

TEST(StoreTest, AnAbortedTransactionLeavesNoTrace) {
  Member member;
  member.put("a", "1");
  member.put("b", "1");
  member.erase("b");
  member->publish();
  {
    WriteTxn txn = member->begin();
    txn.put("a", "2");
    txn.put("a", "3");
    txn.put("b", "2");
    txn.erase("b");
    txn.put("new", "1");
    txn.erase("a");
    txn.set_cause({Action::kSet, "/x"});
  }
  member->check_invariants();
  EXPECT_EQ(member->revision(), 4);
  EXPECT_EQ(member->view().get("a")->value(), "1");
  EXPECT_EQ(keys_at(member->view(), KeyRange::from("")), std::vector<Bytes>{"a"});
  EXPECT_EQ(member.put("a", "4"), 5);
  member.flush();
  member.open();
  EXPECT_EQ(member->view().get("a")->fields(), (KeyValue{"a", 2, 5, 2, "4", 0}));
  EXPECT_EQ((*member->view().get("b", 3))->value(), "1");
  EXPECT_FALSE(*member->view().get("b", 4));
}

TEST(StoreTest, AnAbortBetweenCommitsDoesNotFreeWhatReadersSee) {
  Member member;
  for (int key = 0; key < 500; ++key) member.put(std::to_string(key), "1");
  member.publish();
  const View view = member->view();
  {
    WriteTxn txn = member->begin();
    for (int key = 0; key < 500; ++key) txn.put(std::to_string(key), "2");
  }
  member.commit_one();  // drops the tail while the aborted nodes are the tree's
  EXPECT_EQ(keys_at(view, KeyRange::from("")).size(), 500u);
  const View later = member->view();
  member.put("0", "3");
  member->publish();
  for (int key = 0; key < 500; ++key) EXPECT_EQ(later.get(std::to_string(key))->value(), "1");
  member->check_invariants();
}

TEST(StoreTest, CausesAndAttributesStayWithTheRevision) {
  Member member;
  {
    WriteTxn txn = member->begin();
    txn.put("/a/b", "v", {.attributes = {.created_index = 17, .deadline = {.ns = 5'000}}});
    txn.put("/a/", "");
    txn.set_cause({Action::kCreate, ""});
    txn.commit();
  }
  {
    WriteTxn txn = member->begin();
    txn.erase("/a/");
    txn.erase("/a/b");
    txn.set_cause({Action::kExpire, "/a"});
    txn.commit();
  }
  member.put("plain", "");
  for (const bool durable : {false, true}) {
    if (durable) {
      member.flush();
      member.open();
    } else {
      member->publish();
    }
    struct Seen {
      Revision revision;
      Bytes key;
      Cause cause;
      Attributes attributes;
      bool operator==(const Seen&) const = default;
    };
    std::vector<Seen> seen;
    const View view = member->view();
    ASSERT_TRUE(view.history(0, 100,
                             [&](const HistoryRecord& record) {
                               seen.push_back({record.revision, Bytes(record.key()),
                                               record.cause() ? *record.cause() : Cause{}, record.attributes});
                               return true;
                             })
                    .has_value());
    const std::vector<Seen> expected = {
        {{2, 0}, "/a/b", {Action::kCreate, ""}, {.created_index = 17, .deadline = {.ns = 5'000}}},
        {{2, 1}, "/a/", {}, {}},
        {{3, 0}, "/a/", {Action::kExpire, "/a"}, {}},
        {{3, 1}, "/a/b", {}, {}},
        {{4, 0}, "plain", {}, {}},
    };
    EXPECT_EQ(seen, expected);
    EXPECT_EQ((*view.get("/a/b", 2))->created_index(), 17);
  }
}

// --- reading ---

TEST(StoreTest, RangesLimitsAndCounts) {
  Member member;
  for (const char* key : {"a", "b", "ba", "bb", "c", "d"}) member.put(key, key);
  member.erase("ba");
  member->publish();
  const View view = member->view();
  using Keys = std::vector<Bytes>;
  struct Row {
    const char* name;
    KeyRange range;
    RangeOptions options;
    Keys keys;
    bool more;
    std::uint64_t count;
  };
  const Row rows[] = {
      {"all", KeyRange::from(""), {}, {"a", "b", "bb", "c", "d"}, false, 5},
      {"all, before the delete", KeyRange::from(""), {.revision = 7}, {"a", "b", "ba", "bb", "c", "d"}, false, 6},
      {"all, early", KeyRange::from(""), {.revision = 3}, {"a", "b"}, false, 2},
      {"all, before the first put", KeyRange::from(""), {.revision = 1}, {}, false, 0},
      {"negative revision is the latest", KeyRange::from("c"), {.revision = -5}, {"c", "d"}, false, 2},
      {"prefix", KeyRange::between("b", "c"), {}, {"b", "bb"}, false, 2},
      {"limit", KeyRange::between("a", "d"), {.limit = 2}, {"a", "b"}, true, 4},
      {"limit met exactly", KeyRange::between("a", "c"), {.limit = 3}, {"a", "b", "bb"}, false, 3},
      {"limit then", KeyRange::between("b", "c"), {.limit = 2, .revision = 6}, {"b", "ba"}, true, 3},
      {"one", KeyRange::one("bb"), {}, {"bb"}, false, 1},
      {"one that is gone", KeyRange::one("ba"), {}, {}, false, 0},
      {"one that was there", KeyRange::one("ba"), {.revision = 4}, {"ba"}, false, 1},
      {"empty interval", KeyRange::between("c", "b"), {}, {}, false, 0},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Keys keys;
    const Result<bool> more = view.range(row.range, row.options, [&](const Entry& entry) {
      keys.emplace_back(entry.key());
      return true;
    });
    ASSERT_TRUE(more.has_value());
    EXPECT_EQ(keys, row.keys);
    EXPECT_EQ(*more, row.more);
    EXPECT_EQ(*view.count(row.range, row.options.revision), row.count);
  }
  EXPECT_EQ(view.range(KeyRange::from(""), {.revision = 9}, [](const Entry&) { return true; }).error().code,
            ErrorCode::kFutureRevision);
}

TEST(StoreTest, AViewIsOneRevisionWhateverComesLater) {
  Member member;
  for (int key = 0; key < 300; ++key) member.put(std::to_string(key), "1");
  member.flush();
  const View view = member->view();
  for (int key = 0; key < 300; key += 2) member.erase(std::to_string(key));
  for (int key = 0; key < 300; ++key) member.put("x" + std::to_string(key), "2");
  member.flush();
  EXPECT_EQ(view.revision(), 301);
  EXPECT_EQ(keys_at(view, KeyRange::from("")).size(), 300u);
  EXPECT_EQ(view.get("x1"), nullptr);
  EXPECT_GT(member->held_back_bytes(), 0u);
}

TEST(StoreTest, WhatNobodyPinsIsFreed) {
  Member member;
  for (int round = 0; round < 50; ++round) {
    for (int key = 0; key < 50; ++key) member.put(std::to_string(key), Bytes(1000, 'x'));
    member.flush();
  }
  EXPECT_LT(member->held_back_bytes(), 200'000u);
  EXPECT_EQ(member->tail_bytes(), 0u);
}

// --- compaction ---

/// All records on the disk, as "main.sub" with a t for a tombstone.
std::vector<Bytes> records_on_disk(Member& member) {
  std::vector<Bytes> records;
  const auto snapshot = *member.engine().snapshot();
  EXPECT_TRUE(snapshot
                  ->scan(0, {},
                         [&](BytesView key, BytesView value) {
                           const Result<HistoryRecord> record = decode_history_record(key, value);
                           EXPECT_TRUE(record.has_value());
                           records.push_back(std::to_string(record->revision.main) + "." +
                                             std::to_string(record->revision.sub) + (record->tombstone ? "t" : ""));
                           return true;
                         })
                  .has_value());
  return records;
}

TEST(StoreTest, CompactionKeepsTheNewestUpToItAndATombstoneExactlyAtIt) {
  Member member;
  member.put("a", "1");  // 2
  member.put("a", "2");  // 3
  member.put("b", "1");  // 4
  member.erase("b");     // 5
  member.put("a", "3");  // 6
  member.erase("a");     // 7
  member.flush();
  using Records = std::vector<Bytes>;
  struct Row {
    std::int64_t revision;
    Records records;
    Records readable;  // "a" at each revision from the compacted one on; "-" when it is not there
  };
  const Row rows[] = {
      {1, {"2.0", "3.0", "4.0", "5.0t", "6.0", "7.0t"}, {"-", "1", "2", "2", "2", "3", "-"}},
      {5, {"3.0", "5.0t", "6.0", "7.0t"}, {"2", "3", "-"}},
      {6, {"6.0", "7.0t"}, {"3", "-"}},
      {7, {"7.0t"}, {"-"}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.revision);
    ASSERT_TRUE(member->compact(row.revision).has_value());
    EXPECT_EQ(member->compact(row.revision).error().code, ErrorCode::kCompacted);
    member->publish();
    member.compact_all();
    EXPECT_EQ(member->compaction_finished(), row.revision);
    EXPECT_EQ(records_on_disk(member), row.records);
    for (const bool reopened : {false, true}) {
      if (reopened) member.open();
      const View view = member->view();
      EXPECT_EQ(view.compacted(), row.revision);
      EXPECT_EQ(view.revision(), 7);
      EXPECT_EQ(view.get("a", row.revision - 1).error().code,
                row.revision > 1 ? ErrorCode::kCompacted : ErrorCode::kInvalidArgument);
      for (std::size_t place = 0; place < row.readable.size(); ++place) {
        const auto revision = row.revision + static_cast<std::int64_t>(place);
        const Result<EntryRef> entry = view.get("a", revision);
        ASSERT_TRUE(entry.has_value()) << entry.error().message;
        EXPECT_EQ(*entry ? (*entry)->value() : "-", row.readable[place]) << revision;
      }
      if (row.revision == 1) break;
    }
  }
  EXPECT_EQ(member->compact(8).error().code, ErrorCode::kFutureRevision);
}

TEST(StoreTest, CompactZeroSucceedsOnceOnAFreshStore) {
  Member member;
  EXPECT_TRUE(member->compact(0).has_value());
  EXPECT_EQ(member->compact(0).error().code, ErrorCode::kCompacted);
  member->publish();
  EXPECT_EQ(member->view().compacted(), 0);
}

TEST(StoreTest, CompactionGoesInSlicesAndIsResumedAfterACrash) {
  Member member;
  for (int round = 0; round < 10; ++round) {
    for (int key = 0; key < 100; ++key) member.put(std::to_string(key), std::to_string(round));
  }
  for (int key = 0; key < 100; key += 2) member.erase(std::to_string(key));
  member.flush();
  const std::int64_t revision = member->revision();
  ASSERT_TRUE(member->compact(revision).has_value());
  member->publish();
  member.flush();
  // By number of records, by the clock, and with a crash after some of it.
  EXPECT_EQ(member.compact_slice({.records = 200}), CompactionState::kMore);
  EXPECT_EQ(member->compaction_finished(), -1);
  member.flush();
  const std::size_t left = records_on_disk(member).size();
  EXPECT_LT(left, 1050u);
  member.clock().step = 1ms;
  EXPECT_EQ(member.compact_slice({.time = 3ms}), CompactionState::kMore);
  member.clock().step = 0ms;
  member.flush();
  member->check_invariants();
  member.open();
  EXPECT_EQ(member->compacted(), revision) << "the schedule is durable";
  EXPECT_EQ(member->compaction_finished(), -1);
  member.compact_all();
  EXPECT_EQ(member->compaction_finished(), revision);
  // 50 live keys; the tombstone at the compacted revision itself stays.
  EXPECT_EQ(records_on_disk(member).size(), 51u);
  member->check_invariants();
  EXPECT_EQ(member->view().count(KeyRange::from("")), 50u);
}

TEST(StoreTest, CompactionWaitsForRecordsThatAreNotCommitted) {
  Member member;
  member.put("a", "1");
  member.put("a", "2");
  member.publish();
  ASSERT_TRUE(member->compact(3).has_value());
  EXPECT_EQ(member.compact_slice(), CompactionState::kWaiting);
  member.flush();
  EXPECT_EQ(member.compact_slice(), CompactionState::kIdle);
  member.flush();
  EXPECT_EQ(records_on_disk(member), (std::vector<Bytes>{"3.0"}));
}

TEST(StoreTest, AnOldViewLearnsThatItsRevisionWasCompacted) {
  Member member;
  member.put("a", "1");
  member.put("a", "2");
  member.put("a", "3");
  member.flush();
  const View view = member->view();
  ASSERT_TRUE(member->compact(4).has_value());
  member.compact_all();
  EXPECT_EQ(view.compacted(), -1);
  EXPECT_EQ(view.get("a", 2).error().code, ErrorCode::kCompacted);
  EXPECT_EQ(view.get("a")->value(), "3") << "the latest is pinned";
}

// --- damage ---

TEST(StoreTest, ADamagedOrMissingRecordIsNamed) {
  Member member;
  for (int version = 0; version < 6; ++version) member.put("a", std::to_string(version));
  member.flush();
  Bytes damaged = encode_history_record(record_of(**member->view().get("a", 6), nullptr));
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  member.disk().damage("history", history_key({6, 0}), &damaged);
  Result<EntryRef> read = member->view().get("a", 6);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error(), (Error{ErrorCode::kCorrupt, "table history, revision 6.0: checksum mismatch"}));
  member.disk().damage("history", history_key({6, 0}), nullptr);
  read = member->view().get("a", 6);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ((*member->view().get("a", 2))->value(), "0") << "other versions are found without it";

  member.disk().damage("history", history_key({7, 0}), &damaged);
  member.close();
  const auto engine = engine::open_memory(member.disk(), kTables);
  const auto opened = Store::open(*engine, member.clock());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error(), (Error{ErrorCode::kCorrupt, "table history, revision 7.0: checksum mismatch"}));
}

// --- the live map ---

std::vector<std::pair<Bytes, Bytes>> rows_of(Member& member, engine::TableId table) {
  std::vector<std::pair<Bytes, Bytes>> rows;
  const auto snapshot = *member.engine().snapshot();
  EXPECT_TRUE(snapshot
                  ->scan(table, {},
                         [&](BytesView key, BytesView value) {
                           rows.emplace_back(key, value);
                           return true;
                         })
                  .has_value());
  return rows;
}

std::set<std::int64_t> revisions_in_map(Member& member) {
  std::set<std::int64_t> revisions;
  for (const auto& [key, value] : rows_of(member, 2)) {
    const auto row = decode_live_block(key, value);
    EXPECT_TRUE(row.has_value()) << row.error().message;
    for (std::int64_t bit = 0; bit < LiveBlock::kRevisions; ++bit) {
      if ((row->second.words[static_cast<std::size_t>(bit) / 64] >> (bit % 64) & 1) != 0) {
        revisions.insert(row->first * LiveBlock::kRevisions + bit);
      }
    }
  }
  return revisions;
}

/// What the table has to say: found by a look at every record.
std::set<std::int64_t> revisions_that_are_newest(Member& member) {
  std::map<Bytes, std::int64_t> newest;
  for (const auto& [key, value] : rows_of(member, 0)) {
    const Result<HistoryRecord> record = decode_history_record(key, value);
    EXPECT_TRUE(record.has_value());
    newest[Bytes(record->key())] = record->revision.main;
  }
  std::set<std::int64_t> revisions;
  for (const auto& [key, revision] : newest) revisions.insert(revision);
  return revisions;
}

/// Of what is on the disk. The map is not there before the first batch.
void expect_true_map(Member& member) {
  if (!(*(*member.engine().snapshot())->get(1, "live")).has_value()) return;
  EXPECT_EQ(revisions_in_map(member), revisions_that_are_newest(member));
}

std::map<Bytes, Bytes> contents(Member& member) {
  std::map<Bytes, Bytes> values;
  const View view = member->view();
  for (Cursor cursor = view.cursor(""); cursor.valid(); cursor.next()) {
    values.emplace(cursor.key(), cursor.entry().value());
  }
  return values;
}

TEST(LiveRecords, ABitForEachRevisionWithANewestVersion) {
  Member member;
  member.put("a", "1");  // 2
  member.put("b", "1");  // 3
  member.put("a", "2");  // 4
  member.erase("b");     // 5
  {
    WriteTxn txn = member->begin();  // 6
    txn.put("c", "1");
    txn.put("d", "1");
    txn.put("e", "1");
    txn.commit();
  }
  member.flush();
  using Revisions = std::set<std::int64_t>;
  EXPECT_EQ(revisions_in_map(member), (Revisions{4, 5, 6}));
  member.put("c", "2");  // 7
  member.erase("e");     // 8
  member.flush();
  EXPECT_EQ(revisions_in_map(member), (Revisions{4, 5, 6, 7, 8})) << "d is still the one of 6";
  member.open();
  EXPECT_EQ(contents(member), (std::map<Bytes, Bytes>{{"a", "2"}, {"c", "2"}, {"d", "1"}}));
  member.put("d", "2");  // 9
  member.flush();
  EXPECT_EQ(revisions_in_map(member), (Revisions{4, 5, 7, 8, 9}));
  ASSERT_TRUE(member->compact(9).has_value());
  member.compact_all();
  EXPECT_EQ(revisions_in_map(member), (Revisions{4, 7, 9})) << "tombstones are gone";
  member->check_invariants();
  member.open();
  EXPECT_EQ(contents(member), (std::map<Bytes, Bytes>{{"a", "2"}, {"c", "2"}, {"d", "2"}}));
}

TEST(LiveRecords, OnlyTheyAreReadAtStart) {
  // Whatever stands in the others is not looked at: a start is as fast on any history.
  Member member;
  for (int version = 0; version < 200; ++version) member.put("hot", std::to_string(version));
  member.put("cold", "1");
  for (int version = 0; version < 20; ++version) member.put("warm", std::to_string(version));
  member.flush();
  const Bytes damaged = "damaged";
  for (const std::int64_t revision : {2, 50, 200, 203, 221}) {
    member.disk().damage("history", history_key({revision, 0}), &damaged);
  }
  member.open();
  EXPECT_EQ(contents(member), (std::map<Bytes, Bytes>{{"cold", "1"}, {"hot", "199"}, {"warm", "19"}}));
  const Result<EntryRef> read = member->view().get("hot", 50);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().message, "table history, revision 50.0: checksum mismatch");
}

TEST(LiveRecords, DamageIsNamed) {
  const auto history = [](std::int64_t revision) {
    return std::pair<Bytes, Bytes>("history", history_key({revision, 0}));
  };
  struct Row {
    const char* name;
    std::pair<Bytes, Bytes> place;  // table and key
    std::optional<Bytes> value;     // nothing: the row is gone
    const char* error;
  };
  LiveBlock other;
  other.words[0] = 0b1010'1000;  // 3 5 7
  LiveBlock more = other;
  more.words[0] |= 0b1'0000;  // 4
  const Row rows[] = {
      {"the first record is gone", history(3), {}, "table history, revision 3: missing, table live names it"},
      {"one between is gone", history(5), {}, "table history, revision 5: missing, table live names it"},
      {"a record is damaged", history(5), "xxxxxx", "table history, revision 5.0: checksum mismatch"},
      {"the last record is gone", history(7), {}, "table live, revision 6: the last one, and not named"},
      {"the row is gone", {"live", live_key(0)}, {}, "table live: 0 revisions are named, 3 were written"},
      {"the row is damaged",
       {"live", live_key(0)},
       Bytes(20, 'x'),
       "table live, revisions 0 to 4095: checksum mismatch"},
      {"a bit too many",
       {"live", live_key(0)},
       encode_live_block(0, more),
       "table live: 4 revisions are named, 3 were written"},
      {"the mark is damaged", {"mvcc", "live"}, "x", "table mvcc, key live: 1 bytes"},
      {"the mark tells of more",
       {"mvcc", "live"},
       Bytes("\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\4", 16),
       "table live: 3 revisions are named, 4 were written"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Member member;
    for (const char* key : {"a", "b", "c"}) {
      member.put(key, "1");  // 2, 4, 6
      member.put(key, "2");  // 3, 5, 7
    }
    member.flush();
    ASSERT_EQ(revisions_in_map(member), (std::set<std::int64_t>{3, 5, 7}));
    member.disk().damage(row.place.first, row.place.second, row.value ? &*row.value : nullptr);
    const auto engine = engine::open_memory(member.disk(), kTables);
    const auto opened = Store::open(*engine, member.clock());
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error(), (Error{ErrorCode::kCorrupt, row.error}));
  }
}

TEST(LiveRecords, AWrongMapIsFound) {
  struct Row {
    const char* name;
    std::uint64_t bits;  // of the map, in the place of 2, 4, 5 and 6
    const char* error;
  };
  const Row rows[] = {
      {"an older version, too", 0b0110'1100,
       "table history, revisions 3 and 5: both are the newest version of one key"},
      {"not the last record", 0b0011'1100, "table live, revision 6: the last one, and not named"},
      {"one that is not there yet", 0b1111'0000'0000, "table live, revision 6: the last one, and not named"},
      {"one past the last", 0b1'0111'0000, "table history, revision 8: missing, table live names it"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Member member;
    member.put("a", "1");  // 2
    member.put("b", "1");  // 3
    member.put("c", "1");  // 4
    member.put("b", "2");  // 5
    member.put("d", "2");  // 6
    member.flush();
    LiveBlock block;
    block.words[0] = row.bits;
    ASSERT_EQ(block.count(), 4u);
    const Bytes encoded = encode_live_block(0, block);
    member.disk().damage("live", live_key(0), &encoded);
    const auto engine = engine::open_memory(member.disk(), kTables);
    const auto opened = Store::open(*engine, member.clock());
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error(), (Error{ErrorCode::kCorrupt, row.error}));
  }
}

TEST(LiveRecords, AStoreOfAnOlderVersionGetsItsMapWithTheFirstBatch) {
  Member member;
  for (int version = 0; version < 3; ++version) {
    for (const char* key : {"a", "b", "c"}) member.put(key, std::to_string(version));
  }
  member.erase("b");
  member.flush();
  const std::map<Bytes, Bytes> expected = {{"a", "2"}, {"c", "2"}};
  const auto rows = rows_of(member, 2);
  for (const bool by_slice : {false, true}) {
    member.open(true);
    EXPECT_EQ(contents(member), expected);
    if (by_slice) {
      ASSERT_TRUE(member->compact(2).has_value());
      member.compact_slice();
      member.commit_one();
    } else {
      member.flush();
    }
    EXPECT_EQ(rows_of(member, 2), rows) << "nothing was put, and yet the map is there";
    ASSERT_TRUE((*(*member.engine().snapshot())->get(1, "live")).has_value());
    member.open();
    EXPECT_EQ(contents(member), expected);
  }
}

TEST(LiveRecords, WhatAnOlderVersionWroteOnTopIsNotLost) {
  Member member;
  for (int number = 0; number < 5000; ++number) member.put(std::to_string(number % 10), "old");
  member.flush();
  const auto rows = rows_of(member, 2);
  const Bytes mark((*(*member.engine().snapshot())->get(1, "live")).value());
  for (int number = 0; number < 5000; ++number) member.put(std::to_string(number % 10), "new");
  member.flush();
  // Such a version leaves the table and the mark as they were.
  engine::Batch batch;
  for (const auto& [key, value] : rows_of(member, 2)) batch.erase(2, key);
  for (const auto& [key, value] : rows) batch.put(2, key, SharedBytes(value));
  batch.put(1, "live", SharedBytes(mark));
  ASSERT_TRUE(member.engine().commit(batch).has_value());
  member.open();
  EXPECT_EQ(contents(member).size(), 10u);
  for (const auto& [key, value] : contents(member)) EXPECT_EQ(value, "new");
  member.flush();
  expect_true_map(member);
  member.open();
  EXPECT_EQ(contents(member).size(), 10u);
}

/// A tombstone that a slice takes from the disk while newer versions of its key are in memory only, and then a crash.
TEST(LiveRecords, ATombstoneGoesBeforeTheVersionOnTopOfItIsDurable) {
  struct Row {
    const char* name;
    bool with_others;   // the tombstone's revision deletes and puts other keys, too
    int versions;       // on top of it
    bool crash_before;  // the versions are durable
  };
  const Row rows[] = {
      {"one", false, 1, true},
      {"one, durable", false, 1, false},
      {"many", false, 50, true},
      {"many, durable", false, 50, false},
      {"among others", true, 1, true},
      {"among others, durable", true, 1, false},
      {"many among others", true, 7, true},
      {"many among others, durable", true, 7, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Member member;
    for (const char* key : {"a", "b"}) member.put(key, "1");  // 2, 3
    {
      WriteTxn txn = member->begin();  // 4
      txn.erase("a");
      if (row.with_others) {
        txn.erase("b");
        txn.put("c", "1");
      }
      txn.commit();
    }
    member.put("d", "1");  // 5
    member.flush();
    ASSERT_TRUE(member->compact(5).has_value());
    for (int version = 0; version < row.versions; ++version) member.put("a", std::to_string(version));
    EXPECT_EQ(member.compact_slice(), CompactionState::kIdle);
    member.publish();
    member.commit_one();  // the slice
    expect_true_map(member);
    if (!row.crash_before) {
      member.commit_one();
      expect_true_map(member);
      member->check_invariants();
    }
    member.open();
    std::map<Bytes, Bytes> expected = {{"d", "1"}};
    expected.emplace(row.with_others ? "c" : "b", "1");
    if (!row.crash_before) expected.emplace("a", std::to_string(row.versions - 1));
    EXPECT_EQ(contents(member), expected);
    member.put("a", "last");
    member.put("c", "last");
    member.flush();
    expect_true_map(member);
    member->check_invariants();
  }
}

TEST(LiveRecords, OpenTellsWhichLiveKeysHaveADeadline) {
  Member member;
  const auto with_deadline = [](std::int64_t ns) { return PutOptions{.attributes = {.deadline = {.ns = ns}}}; };
  member.put("a", "", with_deadline(1));
  member.put("b", "", with_deadline(2));
  member.put("c", "", with_deadline(3));
  member.put("plain", "");
  member.put("b", "no more");
  member.erase("c");
  {
    WriteTxn txn = member->begin();
    txn.put("d", "", with_deadline(4));
    txn.put("e", "", with_deadline(5));
    txn.commit();
  }
  member.put("e", "", with_deadline(6));  // d keeps the bit of that revision: the old e is met, and left out
  member.flush();
  for (const bool without_map : {false, true}) {
    member.open(without_map);
    std::map<Bytes, std::int64_t> seen;
    for (const EntryRef& entry : member.deadlines) {
      EXPECT_TRUE(seen.emplace(entry->key(), entry->attributes().deadline.ns).second) << entry->key();
    }
    EXPECT_EQ(seen, (std::map<Bytes, std::int64_t>{{"a", 1}, {"d", 4}, {"e", 6}}));
    member.deadlines.clear();
  }
}

/// Histories of many blocks, dense here and sparse there, loaded on several threads.
class LiveHistories : public testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(Engines, LiveHistories, testing::Bool(),
                         [](const auto& lmdb) { return lmdb.param ? "lmdb" : "memory"; });

TEST_P(LiveHistories, AreReadAlikeOnAnyNumberOfThreads) {
  Member member(StoreOptions{}.large_value_bytes, GetParam());
  Rng rng(11);
  const auto write = [&](int from, int count, std::uint64_t keys) {
    for (int number = from; number < from + count; ++number) {
      WriteTxn txn = member->begin();
      for (std::uint64_t records = rng.chance(1, 20) ? 3 : 1; records-- > 0;) {
        txn.put("/key/" + std::to_string(rng.below(keys)), std::to_string(number));
      }
      txn.commit();
      if (number % 1000 == 0) member.flush();
    }
    member.flush();
  };
  write(0, 40'000, 40'000);
  write(40'000, 60'000, 300);
  write(100'000, 20'000, 40'000);
  const std::map<Bytes, Bytes> expected = contents(member);
  expect_true_map(member);
  for (const bool compacted : {false, true}) {
    if (compacted) {
      ASSERT_TRUE(member->compact(90'000).has_value());
      member.compact_all();
      expect_true_map(member);
    }
    for (const unsigned threads : {1, 2, 5}) {
      member.load_threads = threads;
      member.open();
      EXPECT_TRUE(contents(member) == expected) << threads;
    }
  }
}

// --- large values ---

/// The value of `key`, however it is held.
Bytes value_of(const Reader& reader, BytesView key) {
  const Entry* entry = reader.get(key);
  if (entry == nullptr) return "-";
  const Result<EntryRef> whole = reader.load(*entry);
  return whole.has_value() ? Bytes((*whole)->value()) : whole.error().message;
}

const Bytes kLarge(20'000, 'L');

TEST(LargeValues, TheLimitIsTheLargestValueThatStays) {
  struct Row {
    const char* name;
    std::uint64_t limit;
    std::size_t size;
    bool stays;
  };
  const Row rows[] = {
      {"the default, at it", StoreOptions{}.large_value_bytes, 16'384, true},
      {"the default, past it", StoreOptions{}.large_value_bytes, 16'385, false},
      {"at a limit", 8, 8, true},
      {"past a limit", 8, 9, false},
      {"none stays", 0, 1, false},
      {"an empty one is none", 0, 0, true},
      {"all stay", std::numeric_limits<std::uint64_t>::max(), 1'000'000, true},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Member member(row.limit);
    const Bytes value(row.size, 'v');
    member.put("k", value, {.lease = 9, .attributes = {.created_index = 1, .deadline = {.ns = 5}}});
    member->publish();
    EXPECT_TRUE(member->view().get("k")->has_value()) << "the engine does not have it yet";
    member.flush();
    for (const bool reopened : {false, true}) {
      if (reopened) member.open();
      const View view = member->view();
      const Entry& entry = *view.get("k");
      EXPECT_EQ(entry.has_value(), row.stays);
      EXPECT_EQ(entry.footprint() >= row.size, row.stays || row.size < 100);
      EXPECT_EQ(entry.value_size(), row.size);
      EXPECT_EQ(entry.meta(), (KeyValue{"k", 2, 2, 1, {}, 9}));
      EXPECT_EQ(entry.attributes(), (Attributes{.created_index = 1, .deadline = {.ns = 5}}));
      const Result<EntryRef> whole = view.load(entry);
      ASSERT_TRUE(whole.has_value()) << whole.error().message;
      EXPECT_EQ(whole->get() == &entry, row.stays);
      EXPECT_EQ((*whole)->fields(), (KeyValue{"k", 2, 2, 1, value, 9}));
      EXPECT_EQ((*whole)->attributes(), entry.attributes());
    }
  }
}

TEST(LargeValues, LeaveWhenTheyAreDurableAndOldViewsKeepThem) {
  Member member;
  member.put("a", kLarge);  // 2
  member.put("b", kLarge);  // 3
  member.put("b", "now small");
  member.publish();
  const View before = member->view();
  EXPECT_GT(member->tail_bytes(), 2 * kLarge.size());
  member.commit_one();
  EXPECT_EQ(member->tail_bytes(), 0u);
  EXPECT_TRUE(before.get("a")->has_value());
  EXPECT_FALSE(member->view().get("a")->has_value());
  EXPECT_EQ(member->view().get("b")->value(), "now small");
  EXPECT_GT(member->held_back_bytes(), kLarge.size()) << "the old view holds it";
  EXPECT_EQ((*member->view().get("b", 3))->value(), kLarge);
  EXPECT_EQ((*before.get("b", 3))->value(), kLarge);
  member->check_invariants();

  // A command that is not published yet when the batch of an earlier one is durable.
  member.put("c", kLarge);
  member.put("d", kLarge);
  member.publish();
  member.put("c", "over it");
  member.put("e", kLarge);
  member.commit_one();
  EXPECT_TRUE(member->view().get("d")->has_value()) << "stubs come with the next publication";
  EXPECT_EQ(member->view().get("c")->value(), kLarge);
  member->check_invariants();
  member->publish();
  EXPECT_FALSE(member->view().get("d")->has_value());
  EXPECT_EQ(value_of(member->view(), "d"), kLarge);
  EXPECT_EQ(value_of(member->view(), "c"), "over it");
  EXPECT_TRUE(member->view().get("e")->has_value());
  member->check_invariants();
}

TEST(LargeValues, AreFreedWhenNobodyLooks) {
  Member member;
  for (int key = 0; key < 100; ++key) member.put(std::to_string(key), kLarge);
  member.flush();
  member->publish();
  EXPECT_EQ(member->tail_bytes(), 0u);
  EXPECT_LT(member->held_back_bytes(), 50'000u);
  std::size_t footprint = 0;
  const View view = member->view();
  for (Cursor cursor = view.cursor(""); cursor.valid(); cursor.next()) {
    footprint += cursor.entry().footprint();
  }
  EXPECT_LT(footprint, 10'000u);
}

TEST(LargeValues, AStubIsWrittenOverDeletedAndPutBack) {
  Member member;
  member.put("a", kLarge);
  member.flush();
  {
    WriteTxn txn = member->begin();
    EXPECT_FALSE(txn.get("a")->has_value());
    EXPECT_EQ(value_of(txn, "a"), kLarge);
    txn.put("a", "2");
    EXPECT_EQ(value_of(txn, "a"), "2");
    EXPECT_EQ((*txn.get("a", 2))->value(), kLarge);
    txn.erase("a");
  }
  member->check_invariants();
  EXPECT_FALSE(member->view().get("a")->has_value());
  EXPECT_EQ(value_of(member->view(), "a"), kLarge);
  EXPECT_EQ(member.put("a", "2"), 3);
  member->publish();
  EXPECT_EQ(member->view().get("a")->fields(), (KeyValue{"a", 2, 3, 2, "2", 0}));
  EXPECT_EQ((*member->view().get("a", 2))->value(), kLarge);
  member.put("a", kLarge);
  member.flush();
  member.erase("a");
  member.flush();
  member.open();
  EXPECT_EQ(member->view().get("a"), nullptr);
  EXPECT_EQ((*member->view().get("a", 4))->value(), kLarge);
  EXPECT_EQ((*member->view().get("a", 3))->value(), "2");
}

TEST(LargeValues, CountsAndKeysOfOldRevisionsReadNoValue) {
  Member member;
  member.put("a", kLarge);  // 2
  member.put("a", "1");     // 3
  member.put("a", "2");     // 4
  member.flush();
  // A byte of the value is wrong, and only who reads the value finds out.
  Bytes damaged = encode_history_record(record_of(**member->view().get("a", 2), nullptr));
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  member.disk().damage("history", history_key({2, 0}), &damaged);
  const View view = member->view();
  EXPECT_EQ(*view.count(KeyRange::from(""), 2), 1u);
  std::vector<std::size_t> sizes;
  const auto look = [&](const Entry& entry) {
    EXPECT_FALSE(entry.has_value());
    sizes.push_back(entry.value_size());
    return true;
  };
  ASSERT_TRUE(view.range(KeyRange::from(""), {.revision = 2, .keys_only = true}, look).has_value());
  EXPECT_EQ(sizes, std::vector<std::size_t>{kLarge.size()});
  EXPECT_EQ((*view.version({2, 0}))->value_size(), kLarge.size());
  EXPECT_EQ((*view.get("a", 3))->value(), "1") << "the way there does not lead through values";
  EXPECT_EQ(view.get("a", 2).error(), (Error{ErrorCode::kCorrupt, "table history, revision 2.0: checksum mismatch"}));
  ASSERT_TRUE(member->compact(4).has_value());
  member.compact_all();
  EXPECT_EQ(records_on_disk(member), (std::vector<Bytes>{"4.0"}));
}

TEST(LargeValues, DamageOfAValueIsFoundWhenItIsReadAndAnyOtherAtStart) {
  Member member;
  member.put("a", kLarge);
  member.put("b", kLarge, {.lease = 77});
  member.put("c", Bytes(5000, 'm'));  // a checksum of its own for the rest, and yet not large
  member.flush();
  const View view = member->view();
  const auto record = [&](const char* key) {
    return encode_history_record(record_of(**view.load(*view.get(key)), nullptr));
  };
  const std::map<Bytes, Bytes> good = {{"a", record("a")}, {"b", record("b")}, {"c", record("c")}};
  struct Row {
    const char* name;
    const char* key;
    std::size_t place;
    bool starts;
  };
  const Row rows[] = {
      {"the middle of a value", "a", 10'000, true},
      {"the end of a value", "a", good.at("a").size() - 1, true},
      {"the key", "a", 12, false},
      {"the flags", "a", 4, false},
      {"the checksum of all but the value", "a", 6, false},
      {"the checksum of all", "a", 1, true},
      {"the middle of a value before a lease", "b", 10'000, true},
      {"a lease behind a value", "b", good.at("b").size() - 1, false},
      {"a value that is kept in memory", "c", 3000, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Revision revision = view.get(row.key)->revision();
    Bytes damaged = good.at(row.key);
    damaged[row.place] = static_cast<char>(damaged[row.place] ^ 1);
    member.disk().damage("history", history_key(revision), &damaged);
    const std::string where = "table history, revision " + std::to_string(revision.main) + ".0: ";
    const auto engine = engine::open_memory(member.disk(), kTables);
    const auto opened = Store::open(*engine, member.clock());
    ASSERT_EQ(opened.has_value(), row.starts);
    if (row.starts) {
      for (const char* key : {"a", "b", "c"}) {
        const View later = (*opened)->view();
        const Result<EntryRef> whole = later.load(*later.get(key));
        ASSERT_EQ(whole.has_value(), key != Bytes(row.key));
        if (!whole.has_value()) {
          EXPECT_EQ(whole.error(), (Error{ErrorCode::kCorrupt, where + "checksum mismatch"}));
        }
      }
    } else {
      EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
      EXPECT_TRUE(opened.error().message.starts_with(where)) << opened.error().message;
    }
    member.disk().damage("history", history_key(revision), &good.at(row.key));
  }
  member.disk().damage("history", history_key({2, 0}), nullptr);
  EXPECT_EQ(view.load(*view.get("a")).error(), (Error{ErrorCode::kCorrupt, "table history, revision 2.0: missing"}));
}

TEST(LargeValues, AnOldViewLearnsThatTheValueWasCompacted) {
  Member member;
  member.put("a", kLarge);
  member.put("b", kLarge);
  member.flush();
  const View view = member->view();
  member.put("a", "2");
  member.erase("b");
  member.put("c", "");
  member.flush();
  EXPECT_EQ(value_of(view, "a"), kLarge);
  ASSERT_TRUE(member->compact(6).has_value());
  member.compact_all();
  for (const char* key : {"a", "b"}) {
    EXPECT_FALSE(view.get(key)->has_value());
    EXPECT_EQ(view.load(*view.get(key)).error().code, ErrorCode::kCompacted) << key;
  }
  EXPECT_EQ(value_of(member->view(), "a"), "2");
}

// --- against a model ---

/// Every version of every key, as naively as can be.
class Model {
 public:
  struct Version {
    Revision revision;
    bool tombstone;
    KeyValue kv;
    Bytes value;
    Attributes attributes;
  };

  std::int64_t revision = 1;
  std::int64_t compacted = -1;
  std::map<Bytes, std::vector<Version>> keys;

  [[nodiscard]] const Version* at(const Bytes& key, std::int64_t when) const {
    const Version* found = newest_at(key, when);
    return found != nullptr && !found->tombstone ? found : nullptr;
  }
  /// As at(), tombstones too.
  [[nodiscard]] const Version* newest_at(const Bytes& key, std::int64_t when) const {
    const auto row = keys.find(key);
    if (row == keys.end()) return nullptr;
    const Version* found = nullptr;
    for (const Version& version : row->second) {
      if (version.revision.main <= when) found = &version;
    }
    return found;
  }
  void put(const Bytes& key, Revision when, const Bytes& value, LeaseId lease, const Attributes& attributes) {
    const Version* old = at(key, when.main);
    keys[key].push_back({when,
                         false,
                         {{},
                          old != nullptr ? old->kv.create_revision : when.main,
                          when.main,
                          old != nullptr ? old->kv.version + 1 : 1,
                          {},
                          lease},
                         value,
                         attributes});
  }
  bool erase(const Bytes& key, Revision when) {
    if (at(key, when.main) == nullptr) return false;
    keys[key].push_back({when, true, {{}, 0, when.main, 0, {}, 0}, {}, {}});
    return true;
  }
};

struct ModelRun {
  std::uint64_t seed;
  std::uint64_t large_value_bytes;
  bool lmdb;

  friend std::ostream& operator<<(std::ostream& out, const ModelRun& run) {
    return out << "seed " << run.seed << ", large past " << run.large_value_bytes << (run.lmdb ? ", on LMDB" : "");
  }
};

class ModelTest : public testing::TestWithParam<ModelRun> {
 protected:
  void expect_same(const Reader& reader, const Model& model, std::int64_t when, bool latest) {
    RangeOptions options{.revision = latest ? 0 : when};
    std::vector<std::pair<Bytes, const Model::Version*>> expected;
    for (const auto& [key, versions] : model.keys) {
      if (const Model::Version* version = model.at(key, when)) expected.emplace_back(key, version);
    }
    std::size_t place = 0;
    const auto visit = [&](const Entry& entry) {
      EXPECT_LT(place, expected.size());
      if (place >= expected.size()) return false;
      const auto& [key, version] = expected[place++];
      EXPECT_EQ(entry.key(), key);
      KeyValue kv = version->kv;
      kv.key = key;
      EXPECT_EQ(entry.meta(), kv) << key;
      EXPECT_EQ(entry.value_size(), version->value.size()) << key;
      EXPECT_EQ(entry.revision(), version->revision);
      EXPECT_EQ(entry.attributes(), version->attributes);
      if (!entry.has_value()) ++stubs_;
      const Result<EntryRef> whole = reader.load(entry);
      kv.value = version->value;
      if (whole.has_value()) {
        EXPECT_EQ((*whole)->fields(), kv) << key;
        EXPECT_EQ((*whole)->attributes(), version->attributes);
      } else {
        // A view of long ago shows what compaction has taken since.
        EXPECT_EQ(whole.error().code, ErrorCode::kCompacted) << whole.error().message;
        const Model::Version* left = model.newest_at(key, model.compacted);
        EXPECT_TRUE(left != nullptr && left->revision > version->revision) << key;
        ++compacted_;
      }
      return true;
    };
    options.keys_only = rng_.chance(1, 2);
    const Result<bool> more = reader.range(KeyRange::from(""), options, visit);
    ASSERT_TRUE(more.has_value()) << more.error().message;
    EXPECT_EQ(place, expected.size()) << "at " << when;
    EXPECT_EQ(*reader.count(KeyRange::from(""), options.revision), expected.size());
    const Bytes key = any_key();
    const Result<EntryRef> one = reader.get(key, options.revision);
    ASSERT_TRUE(one.has_value()) << one.error().message;
    EXPECT_EQ(static_cast<bool>(*one), model.at(key, when) != nullptr);
    const Bytes end = any_key();
    const auto in_range =
        std::ranges::count_if(expected, [&](const auto& row) { return row.first >= key && row.first < end; });
    EXPECT_EQ(*reader.count(KeyRange::between(key, end), options.revision), static_cast<std::uint64_t>(in_range));
  }

  Bytes any_key() { return "/key/" + std::to_string(rng_.below(60)); }

  Rng rng_{GetParam().seed};
  int stubs_ = 0;      // met so far
  int compacted_ = 0;  // whose values were gone
};

std::vector<ModelRun> model_runs() {
  std::vector<ModelRun> runs;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) runs.push_back({seed, StoreOptions{}.large_value_bytes, false});
  for (std::uint64_t seed = 21; seed <= 28; ++seed) runs.push_back({seed, 8, false});
  runs.push_back({31, 0, false});
  runs.push_back({32, 4096, false});
  for (std::uint64_t seed = 41; seed <= 42; ++seed) runs.push_back({seed, 8, true});
  return runs;
}

INSTANTIATE_TEST_SUITE_P(Runs, ModelTest, testing::ValuesIn(model_runs()));

TEST_P(ModelTest, ReadsCompactionsAndCrashesAgreeWithTheModel) {
  Member member(GetParam().large_value_bytes, GetParam().lmdb);
  Model model;    // what was committed by transactions
  Model durable;  // what the disk has
  std::deque<Model> queued;
  std::vector<std::pair<View, std::int64_t>> views;
  int crashes = 0;

  const auto flush_queue = [&](std::size_t leave) {
    while (member.queued() > leave) {
      member.commit_one();
      if (rng_.chance(1, 4)) expect_true_map(member);
      durable = std::move(queued.front());
      queued.pop_front();
    }
  };
  for (int step = 0; step < 1500; ++step) {
    const std::uint64_t dice = rng_.below(100);
    if (dice < 60) {
      WriteTxn txn = member->begin();
      Model after = model;
      const std::int64_t revision = model.revision + 1;
      std::int64_t sub = 0;
      for (std::uint64_t operations = rng_.below(4); operations-- > 0;) {
        const Bytes key = any_key();
        if (rng_.chance(1, 3)) {
          const bool existed = after.erase(key, {revision, sub});
          EXPECT_EQ(txn.erase(key) != nullptr, existed);
          if (existed) ++sub;
        } else {
          const Bytes value(rng_.chance(1, 8) ? 4000 + rng_.below(200) : rng_.below(20),
                            static_cast<char>('a' + step % 26));
          const auto lease = static_cast<LeaseId>(rng_.below(3));
          Attributes attributes;
          if (rng_.chance(1, 4)) attributes = {.created_index = revision, .deadline = {.ns = step + 1}};
          after.put(key, {revision, sub}, value, lease, attributes);
          txn.put(key, value, {.lease = lease, .attributes = attributes});
          ++sub;
        }
      }
      if (rng_.chance(1, 20)) expect_same(txn, after, revision, true);
      if (rng_.chance(1, 5)) {
        txn.abort();
      } else {
        EXPECT_EQ(txn.commit(), sub > 0 ? std::optional(revision) : std::nullopt);
        if (sub > 0) {
          model = std::move(after);
          model.revision = revision;
        }
      }
    } else if (dice < 75) {
      member.publish();
      queued.push_back(model);
    } else if (dice < 85) {
      if (!queued.empty()) flush_queue(member.queued() - 1);
    } else if (dice < 88) {
      const std::int64_t revision =
          1 + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(model.revision) + 3));
      const Result<void> result = member->compact(revision);
      if (revision <= model.compacted) {
        EXPECT_EQ(result.error().code, ErrorCode::kCompacted);
      } else if (revision > model.revision) {
        EXPECT_EQ(result.error().code, ErrorCode::kFutureRevision);
      } else {
        EXPECT_TRUE(result.has_value());
        model.compacted = revision;
      }
    } else if (dice < 94) {
      // The slice's own batch may carry the schedule, not the revision.
      member.compact_slice({.records = 1 + rng_.below(40)});
      Model next = queued.empty() ? durable : queued.back();
      next.compacted = model.compacted;
      queued.push_back(std::move(next));
    } else if (dice < 97) {
      views.emplace_back(member->view(), 0);
      views.back().second = views.back().first.revision();
      if (views.size() > 3) views.erase(views.begin() + static_cast<std::ptrdiff_t>(rng_.below(views.size())));
    } else if (dice < 98) {
      views.clear();
      expect_true_map(member);
      member.open(rng_.chance(1, 5));
      queued.clear();
      // A slice's batch may bring the schedule before the revision it names; no mark is past the current revision.
      durable.revision = std::max(durable.revision, durable.compacted);
      model = durable;
      EXPECT_EQ(member->revision(), model.revision);
      EXPECT_EQ(member->compacted(), model.compacted);
      ++crashes;
    }
    member->check_invariants();
    if (step % 20 == 0) {
      const View view = member->view();
      expect_same(view, model, view.revision(), true);
      const std::int64_t floor = std::max<std::int64_t>(view.compacted(), 1);
      const std::int64_t when =
          floor + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(view.revision() - floor) + 1));
      expect_same(view, model, when, false);
      for (const auto& [old, revision] : views) expect_same(old, model, revision, true);
    }
    if (HasFatalFailure() || HasNonfatalFailure()) FAIL() << "step " << step;
  }
  EXPECT_GT(crashes, 3);
  EXPECT_EQ(stubs_ > 100, GetParam().large_value_bytes < StoreOptions{}.large_value_bytes) << stubs_;
  EXPECT_TRUE(compacted_ == 0 || stubs_ > 0);

  // At the end everything is compacted away but the live keys.
  views.clear();
  member.flush();
  if (model.compacted < model.revision) {
    ASSERT_TRUE(member->compact(model.revision).has_value());
  }
  member.compact_all();
  std::size_t live = 0;
  for (const auto& [key, versions] : model.keys) live += model.at(key, model.revision) != nullptr ? 1 : 0;
  const std::vector<Bytes> records = records_on_disk(member);
  const auto tombstones = std::ranges::count_if(records, [](const Bytes& record) { return record.back() == 't'; });
  EXPECT_EQ(records.size() - static_cast<std::size_t>(tombstones), live);
  expect_true_map(member);
  member.open();
  expect_same(member->view(), model, model.revision, true);
}

}  // namespace
}  // namespace etcd::mvcc
