#include "mvcc/tree.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/rng.h"
#include "mvcc/limbo.h"
#include "mvcc/watch_index.h"

namespace etcd::mvcc {
namespace {

struct Row {
  std::int64_t revision;
  bool tombstone;
};
using Model = std::map<Bytes, Row>;

EntryRef make_entry(const Bytes& key, std::int64_t revision, bool tombstone) {
  Entry::Parts parts;
  parts.kv = {key, 0, revision, 0, "", 0};
  parts.tombstone = tombstone;
  return Entry::make(parts);
}

std::uint64_t live_between(const Model& model, const Bytes& begin, const Bytes& end) {
  std::uint64_t live = 0;
  for (auto row = model.lower_bound(begin); row != model.end() && row->first < end; ++row) {
    live += row->second.tombstone ? 0 : 1;
  }
  return live;
}

void expect_equal(const TreeView& view, const Model& model) {
  auto row = model.begin();
  for (Cursor cursor = view.cursor_all({}); cursor.valid(); cursor.next(), ++row) {
    ASSERT_NE(row, model.end());
    ASSERT_EQ(cursor.key(), row->first);
    ASSERT_EQ(cursor.entry().mod_revision(), row->second.revision);
  }
  ASSERT_EQ(row, model.end());
  row = model.begin();
  for (Cursor cursor = view.cursor({}); cursor.valid(); cursor.next(), ++row) {
    while (row->second.tombstone) ++row;
    ASSERT_EQ(cursor.key(), row->first);
  }
  while (row != model.end() && row->second.tombstone) ++row;
  ASSERT_EQ(row, model.end());
}

/// How a test picks keys: the shapes that stress heads, skips and splits differently.
struct Shape {
  const char* name;
  std::function<Bytes(Rng&, std::int64_t)> key;
};

const Shape kShapes[] = {
    {"few letters",
     [](Rng& rng, std::int64_t) {
       Bytes key;
       for (std::uint64_t size = 1 + rng.below(12); size-- > 0;) key.push_back("\0ab\xff"[rng.below(4)]);
       return key;
     }},
    {"long shared beginnings",
     [](Rng& rng, std::int64_t) {
       return "/registry/pods/namespace-" + std::to_string(rng.below(3)) + "/pod-with-a-long-name-" +
              std::to_string(rng.below(3000));
     }},
    {"ascending",
     [](Rng& rng, std::int64_t step) {
       return "/queue/" + std::to_string(1'000'000 + (rng.chance(4, 5) ? step
                                                                       : static_cast<std::int64_t>(rng.below(
                                                                             static_cast<std::uint64_t>(step) + 1))));
     }},
    {"one long key among short ones",
     [](Rng& rng, std::int64_t) {
       return rng.chance(1, 20) ? Bytes(200, 'q') + std::to_string(rng.below(50)) : std::to_string(rng.below(500));
     }},
};

TEST(TreeTest, AgreesWithAMapAndOldRootsStayAsTheyWere) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.name);
    Rng rng(17);
    Limbo limbo;
    Tree tree(limbo);
    Model model;
    std::vector<std::pair<TreeView, Model>> pinned;
    for (std::int64_t step = 1; step <= 6000; ++step) {
      const Bytes key = shape.key(rng, step);
      if (step > 4000 ? rng.chance(3, 4) : rng.chance(1, 10)) {
        const auto row = model.lower_bound(key);
        if (row != model.end()) {
          const Entry* removed = tree.remove(Bytes(row->first));
          ASSERT_NE(removed, nullptr);
          ASSERT_EQ(removed->mod_revision(), row->second.revision);
          limbo.retire(removed);
          model.erase(row);
        }
        if (!model.contains(key)) {
          ASSERT_EQ(tree.remove(key), nullptr);
        }
      } else {
        const bool tombstone = rng.chance(1, 4);
        const Entry* replaced = tree.put(make_entry(key, step, tombstone).detach());
        ASSERT_EQ(replaced != nullptr, model.contains(key));
        if (replaced != nullptr) {
          ASSERT_EQ(replaced->mod_revision(), model[key].revision);
          limbo.retire(replaced);
        }
        model[key] = {step, tombstone};
      }
      if (step % 16 == 0) tree.check_invariants();
      if (rng.chance(1, 30)) tree.seal();
      if (step % 1000 == 0) {
        tree.seal();
        pinned.emplace_back(tree.view(), model);
        expect_equal(tree.view(), model);
        Bytes begin = shape.key(rng, step);
        Bytes end = shape.key(rng, step);
        EXPECT_EQ(tree.view().count(KeyRange::between(begin, end)), live_between(model, begin, end));
      }
      const Bytes probe = shape.key(rng, step);
      const Entry* found = tree.view().find(probe);
      const auto row = model.find(probe);
      ASSERT_EQ(found != nullptr, row != model.end());
      if (found != nullptr) {
        ASSERT_EQ(found->mod_revision(), row->second.revision);
      }
    }
    for (const auto& [view, state] : pinned) expect_equal(view, state);
    while (!model.empty()) {
      limbo.retire(tree.remove(Bytes(model.begin()->first)));
      model.erase(model.begin());
    }
    tree.check_invariants();
    EXPECT_EQ(tree.view().root(), nullptr);
    EXPECT_FALSE(tree.view().cursor({}).valid());
  }
}

TEST(TreeTest, CountsAndCountsAtOldRevisionsAgreeWithAMap) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.name);
    Rng rng(23);
    Limbo limbo;
    Tree tree(limbo);
    Model model;
    for (std::int64_t step = 1; step <= 3000; ++step) {
      const Bytes key = shape.key(rng, step);
      const bool tombstone = rng.chance(1, 3);
      if (const Entry* replaced = tree.put(make_entry(key, step, tombstone).detach())) limbo.retire(replaced);
      model[key] = {step, tombstone};
    }
    for (int probe = 0; probe < 300; ++probe) {
      Bytes begin = shape.key(rng, 3000);
      Bytes end = shape.key(rng, 3000);
      if (rng.chance(1, 10)) begin.clear();
      const KeyRange ranges[] = {KeyRange::between(begin, end), KeyRange::from(begin), KeyRange::one(end)};
      const std::int64_t revision = 1 + static_cast<std::int64_t>(rng.below(3000));
      for (const KeyRange& range : ranges) {
        std::uint64_t live = 0;
        std::uint64_t live_then = 0;
        for (const auto& [key, row] : model) {
          if (!range.contains(key)) continue;
          live += row.tombstone ? 0 : 1;
          // The test's notion of history: what is newer than the revision was alive then if its revision is even.
          live_then += row.revision <= revision ? (row.tombstone ? 0 : 1) : (row.revision % 2 == 0 ? 1 : 0);
        }
        ASSERT_EQ(tree.view().count(range), live);
        const auto was_alive = [&](const Entry& entry) -> Result<bool> {
          EXPECT_GT(entry.mod_revision(), revision);
          return entry.mod_revision() % 2 == 0;
        };
        if (!range.is_one()) {
          ASSERT_EQ(*tree.view().count_at(range, revision, was_alive), live_then);
        }
      }
      Cursor cursor = tree.view().cursor(begin);
      cursor.seek(end);
      auto row = model.lower_bound(end);
      while (row != model.end() && row->second.tombstone) ++row;
      ASSERT_EQ(cursor.valid(), row != model.end());
      if (cursor.valid()) {
        ASSERT_EQ(cursor.key(), row->first);
      }
    }
  }
}

TEST(TreeTest, BuildsFromSortedEntriesOfAnyNumber) {
  for (const std::size_t count : {0u, 1u, 55u, 56u, 57u, 2240u, 2241u, 100'000u}) {
    Limbo limbo;
    Tree tree(limbo);
    Model model;
    std::vector<const Entry*> entries;
    for (std::size_t number = 0; number < count; ++number) {
      const Bytes key = std::to_string(1'000'000 + number);
      const bool tombstone = number % 7 == 3;
      model[key] = {static_cast<std::int64_t>(number) + 2, tombstone};
      entries.push_back(make_entry(key, static_cast<std::int64_t>(number) + 2, tombstone).detach());
    }
    tree.build(entries);
    tree.check_invariants();
    expect_equal(tree.view(), model);
    tree.seal();
    EXPECT_EQ(tree.put(make_entry("zz", 1'000'000, false).detach()), nullptr);
    tree.check_invariants();
    EXPECT_EQ(tree.entries(), count + 1);
  }
}

TEST(LimboTest, FreesNothingThatAPinMaySee) {
  Limbo limbo;
  EntryRef entry = make_entry("k", 2, false);
  const auto retire_one = [&] { limbo.retire(EntryRef(entry).detach()); };
  retire_one();
  limbo.collect(100);
  EXPECT_GT(limbo.bytes(), 0u) << "not sealed";
  limbo.seal(5);
  retire_one();
  limbo.seal(7);
  const std::uint64_t both = limbo.bytes();
  limbo.collect(4);
  EXPECT_EQ(limbo.bytes(), both);
  limbo.collect(6);
  EXPECT_EQ(limbo.bytes(), both / 2);
  limbo.collect(7);
  EXPECT_EQ(limbo.bytes(), 0u);
}

TEST(WatchIndexTest, AgreesWithLookingAtEveryRange) {
  struct Owned {
    int kind;
    Bytes begin, end;
    WatcherId watcher;
    [[nodiscard]] KeyRange range() const {
      return kind == 0 ? KeyRange::one(begin) : kind == 1 ? KeyRange::between(begin, end) : KeyRange::from(begin);
    }
  };
  Rng rng(31);
  const auto any_key = [&rng] {
    Bytes key;
    for (std::uint64_t size = rng.below(4); size-- > 0;) key.push_back(static_cast<char>('a' + rng.below(4)));
    return key;
  };
  WatchIndex index;
  std::vector<Owned> owned;
  for (int step = 0; step < 5000; ++step) {
    if (!owned.empty() && (step > 4000 || rng.chance(2, 5))) {
      const std::size_t place = rng.below(owned.size());
      index.remove(owned[place].range(), owned[place].watcher);
      owned.erase(owned.begin() + static_cast<std::ptrdiff_t>(place));
    } else {
      owned.push_back({static_cast<int>(rng.below(3)), any_key(), any_key(), 1 + rng.below(20)});
      index.add(owned.back().range(), owned.back().watcher);
    }
    if (step % 20 == 0) index.check_invariants();
    const Bytes key = any_key();
    std::multiset<WatcherId> expected;
    std::multiset<WatcherId> found;
    for (const Owned& one : owned) {
      if (one.range().contains(key)) expected.insert(one.watcher);
    }
    index.find(key, [&](WatcherId watcher) { found.insert(watcher); });
    ASSERT_EQ(found, expected) << "step " << step << " key " << key;
  }
}

TEST(KeyRangeTest, PrefixEndAndRequestForms) {
  EXPECT_EQ(prefix_end("a"), "b");
  EXPECT_EQ(prefix_end("a\xff\xff"), "b");
  EXPECT_EQ(prefix_end("\xff"), "");
  EXPECT_EQ(prefix_end(""), "");
  EXPECT_TRUE(KeyRange::of_request("k", "").is_one());
  EXPECT_TRUE(KeyRange::of_request("k", BytesView("\0", 1)).is_open());
  EXPECT_TRUE(KeyRange::of_request("k", "k").is_empty());
  EXPECT_FALSE(KeyRange::of_request("k", "j").contains("k"));
  EXPECT_TRUE(KeyRange::of_request("k", "l").contains("kzz"));
  EXPECT_TRUE(KeyRange::until("\xff", prefix_end("\xff")).contains("\xff\xff"));
}

}  // namespace
}  // namespace etcd::mvcc
