// Stories told to the rules directly, each step a line: what is asked, and what comes of it.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/rng.h"
#include "engine/memory_engine.h"
#include "io/clock.h"
#include "mvcc/store.h"
#include "tree/path.h"
#include "tree/read.h"
#include "tree/write.h"

namespace etcd::tree {
namespace {

using etcdv2pb::Command;
using mvcc::Action;

/// The parameter: every write reaches the engine at once and leaves its value there.
class Tree : public testing::TestWithParam<bool> {
 protected:
  Tree()
      : engine_(engine::open_memory(disk_, std::vector<std::string>{"history", "mvcc", "live"})),
        store_(mvcc::Store::open(*engine_, clock_, options()).value()) {}

  static mvcc::StoreOptions options() {
    mvcc::StoreOptions made;
    if (GetParam()) made.large_value_bytes = 0;
    return made;
  }
  void publish() {
    store_->publish();
    if (!GetParam()) return;
    engine::Batch batch;
    const std::int64_t revision = store_->take_changes(batch);
    ASSERT_TRUE(engine_->commit(batch).has_value());
    store_->committed(revision);
  }

  Outcome<Event> write(const Command& command) {
    mvcc::WriteTxn txn = store_->begin();
    Result<Outcome<Event>> written = tree::write(txn, command);
    EXPECT_TRUE(written.has_value()) << written.error().message;
    Outcome<Event> event = *std::move(written);
    if (event) {
      EXPECT_EQ(txn.commit(), event->index);
    } else {
      EXPECT_FALSE(txn.changed());
      txn.abort();
    }
    publish();
    return event;
  }

  static Command command(Command::Verb verb, BytesView path, BytesView value = "") {
    Command made;
    made.set_verb(verb);
    made.set_path(Bytes(path));
    made.set_value(Bytes(value));
    return made;
  }
  static Command directory(Command::Verb verb, BytesView path, bool recursive = false) {
    Command made = command(verb, path);
    made.set_dir(true);
    made.set_recursive(recursive);
    return made;
  }

  /// A v3 client's puts and deletes.
  void put_key(BytesView key, BytesView value) {
    mvcc::WriteTxn txn = store_->begin();
    txn.put(key, value);
    txn.commit();
    publish();
  }

  /// "/a=1 /d/ /d/x=2": files with their values, directories with a slash, indented by nothing.
  std::string listed(BytesView path, bool recursive = true) {
    const mvcc::View view = store_->view();
    const auto listing = tree::read(view, path, {.recursive = recursive}, view.revision());
    if (!listing) return fmt::format("{} {}", static_cast<int>(listing.error().code), listing.error().cause);
    std::string text;
    for (const ListedNode& node : *listing) {
      if (!text.empty()) text += ' ';
      text += node.path;
      if (!node.dir) text += fmt::format("={}", (*view.load(*node.entry))->value());
      if (node.dir && !is_root(node.path)) text += '/';
      if (node.dir && !is_root(node.path) && node.entry == nullptr) text += '?';  // no marker
    }
    return text;
  }

  static std::string refusal(const Outcome<Event>& outcome) {
    if (outcome) return "done";
    return fmt::format("{} {} @{}", static_cast<int>(outcome.error().code), outcome.error().cause,
                       outcome.error().index);
  }

  io::RealClock clock_;
  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<mvcc::Store> store_;
};

INSTANTIATE_TEST_SUITE_P(ValuesOnTheEngine, Tree, testing::Bool());

TEST(Path, CleaningIsGos) {
  struct Row {
    const char* path;
    const char* clean;
  };
  for (const Row& row : {Row{"", "/"},
                         {"/", "/"},
                         {"a", "/a"},
                         {"/a/", "/a"},
                         {"//a///b/", "/a/b"},
                         {"/./a/.", "/a"},
                         {"/a/../b", "/b"},
                         {"/../..", "/"},
                         {"/a/..", "/"},
                         {"/a..b/.c", "/a..b/.c"},
                         {"/...", "/..."}}) {
    EXPECT_EQ(clean_path(row.path), row.clean) << row.path;
    EXPECT_TRUE(is_clean(row.clean)) << row.clean;
    EXPECT_EQ(is_clean(row.path), row.path == BytesView(row.clean)) << row.path;
  }
}

TEST(Path, SiblingsSortByNameNotByKey) {
  EXPECT_TRUE(path_less("/a", "/a/b"));
  EXPECT_TRUE(path_less("/a/b", "/a-b"));
  EXPECT_FALSE(path_less("/a-b", "/a/b"));
  EXPECT_TRUE(path_less("/a", "/a-b"));
  EXPECT_TRUE(path_less("/a", "/\xc3\xa9"));
  EXPECT_TRUE(is_hidden_below("/a", "/a/_b/c"));
  EXPECT_FALSE(is_hidden_below("/a/_b", "/a/_b/c"));
  EXPECT_TRUE(is_hidden_below("/", "/_x"));
}

TEST_P(Tree, ASetMakesParentsInItsOwnRevision) {
  const Outcome<Event> event = write(command(Command::SET, "/p/q/r", "deep"));
  ASSERT_TRUE(event.has_value());
  EXPECT_TRUE(event->created);
  EXPECT_EQ(event->index, 2);
  EXPECT_EQ(listed("/"), "/ /p/ /p/q/ /p/q/r=deep");
  EXPECT_EQ(listed("/p", false), "/p/ /p/q/");
  const mvcc::View view = store_->view();
  // The node comes first, at sub 0; its parents after it.
  EXPECT_EQ(view.get("/p/q/r")->revision(), (Revision{2, 0}));
  EXPECT_EQ(view.get("/p/q/")->revision(), (Revision{2, 1}));
  EXPECT_EQ(view.get("/p/")->revision(), (Revision{2, 2}));
}

TEST_P(Tree, IndicesOfAFileOverItsLife) {
  EXPECT_EQ(write(command(Command::SET, "/a", "1"))->node.created_index, 2);
  Event event = *write(command(Command::SET, "/a", "2"));
  EXPECT_FALSE(event.created);
  EXPECT_EQ(event.previous->created_index, 2);
  EXPECT_EQ(event.node.created_index, 3) << "a set counts as new";
  event = *write(command(Command::UPDATE, "/a", "3"));
  EXPECT_EQ(event.node.created_index, 3) << "an update does not";
  EXPECT_EQ(event.node.modified_index, 4);
  const mvcc::View view = store_->view();
  EXPECT_EQ(view.get("/a")->create_revision(), 2) << "for v3 it is one key all the time";
  EXPECT_EQ(view.get("/a")->version(), 3);
  EXPECT_EQ(view.get("/a")->created_index(), 3);
  event = *write(command(Command::DELETE, "/a"));
  EXPECT_EQ(event.node.created_index, 3);
  EXPECT_EQ(event.node.modified_index, 5);
  EXPECT_FALSE(event.node.value.has_value());
  EXPECT_EQ(*event.previous->value, "3");
}

TEST_P(Tree, RefusalsNameWhatStandsInTheWay) {
  ASSERT_TRUE(write(command(Command::SET, "/f", "x")).has_value());
  ASSERT_TRUE(write(command(Command::SET, "/d/x", "y")).has_value());
  struct Row {
    const char* name;
    Command command;
    const char* refusal;
  };
  Command swap = command(Command::COMPARE_AND_SWAP, "/f", "new");
  swap.set_prev_value("other");
  Command both = swap;
  both.set_prev_index(99);
  Command index = command(Command::COMPARE_AND_SWAP, "/f", "new");
  index.set_prev_index(99);
  Command refresh = command(Command::SET, "/none");
  refresh.set_refresh(true);
  const Row rows[] = {
      {"below a file", command(Command::SET, "/f/a/b", "x"), "104 /f @3"},
      {"set a directory", command(Command::SET, "/d", "x"), "102 /d @3"},
      {"make a directory again", directory(Command::SET, "/d"), "102 /d @3"},
      {"create what exists", command(Command::CREATE, "/f", "x"), "105 /f @3"},
      {"update what does not", command(Command::UPDATE, "/n/o", "x"), "100 /n @3"},
      {"update a directory's value", command(Command::UPDATE, "/d", "x"), "102 /d @3"},
      {"swap, other value", swap, "101 [other != x] @3"},
      {"swap, other index", index, "101 [99 != 2] @3"},
      {"swap, both", both, "101 [other != x] [99 != 2] @3"},
      {"swap a directory", command(Command::COMPARE_AND_SWAP, "/d", "x"), "102 /d @3"},
      {"delete a directory", command(Command::DELETE, "/d"), "102 /d @3"},
      {"delete one that is not empty", directory(Command::DELETE, "/d"), "108 /d @3"},
      {"delete what is not there", command(Command::DELETE, "/d/y"), "100 /d/y @3"},
      {"the root", directory(Command::DELETE, "/", true), "107 / @3"},
      {"the root, set", command(Command::SET, "/", "x"), "107 / @3"},
      {"refresh of nothing", refresh, "100 /none @3"},
      {"expiry of a node without a deadline",
       [&] {
         Command expire = command(Command::EXPIRE, "/f");
         expire.set_deadline(7);
         return expire;
       }(),
       "101 /f @3"},
  };
  for (const Row& row : rows) EXPECT_EQ(refusal(write(row.command)), row.refusal) << row.name;
  EXPECT_EQ(listed("/"), "/ /d/ /d/x=y /f=x");
  EXPECT_EQ(store_->revision(), 3);
}

TEST_P(Tree, ADirectoryKeepsItsIndexAndTakesItsSubtreeAlong) {
  ASSERT_TRUE(write(directory(Command::SET, "/d")).has_value());
  ASSERT_TRUE(write(command(Command::SET, "/d/a/b", "1")).has_value());
  Command touch = directory(Command::UPDATE, "/d");
  touch.set_deadline(12345);
  const Event updated = *write(touch);
  EXPECT_EQ(updated.node.modified_index, 4);
  EXPECT_EQ(updated.node.created_index, 2);
  const Event again = *write(directory(Command::UPDATE, "/d"));
  EXPECT_EQ(again.previous->modified_index, 2) << "its own index does not move";
  EXPECT_EQ(again.previous->deadline.ns, 12345);
  const Event gone = *write(directory(Command::DELETE, "/d", true));
  EXPECT_EQ(gone.index, 6);
  EXPECT_TRUE(gone.node.dir);
  EXPECT_EQ(gone.node.created_index, 2);
  EXPECT_EQ(listed("/"), "/");
  EXPECT_EQ(listed("/d/a/b"), "100 /d");
}

TEST_P(Tree, AFileGivesWayToADirectoryButNotTheOtherWay) {
  ASSERT_TRUE(write(command(Command::SET, "/a", "1")).has_value());
  const Event event = *write(directory(Command::SET, "/a"));
  EXPECT_TRUE(event.node.dir);
  EXPECT_EQ(*event.previous->value, "1");
  EXPECT_FALSE(event.created);
  EXPECT_EQ(listed("/"), "/ /a/");
}

TEST_P(Tree, InOrderKeysAreNamedAfterTheirRevision) {
  EXPECT_EQ(write(command(Command::CREATE_IN_ORDER, "/q", "1"))->node.path, "/q/00000000000000000002");
  EXPECT_EQ(write(command(Command::CREATE_IN_ORDER, "/q", "2"))->node.path, "/q/00000000000000000003");
  EXPECT_EQ(write(command(Command::CREATE_IN_ORDER, "/", "3"))->node.path, "/00000000000000000004");
  ASSERT_TRUE(write(command(Command::SET, "/f", "x")).has_value());
  EXPECT_EQ(refusal(write(command(Command::CREATE_IN_ORDER, "/f", "4"))), "104 /f @5");
}

TEST_P(Tree, HiddenNodesAreLeftOutBelowTheNodeAsked) {
  ASSERT_TRUE(write(command(Command::SET, "/d/_h/x", "1")).has_value());
  ASSERT_TRUE(write(command(Command::SET, "/d/v", "2")).has_value());
  EXPECT_EQ(listed("/"), "/ /d/ /d/v=2");
  EXPECT_EQ(listed("/d/_h"), "/d/_h/ /d/_h/x=1");
  EXPECT_EQ(listed("/d/_h/x"), "/d/_h/x=1");
}

TEST_P(Tree, SortsByNameWhereKeysSortOtherwise) {
  for (const char* path : {"/d/a/x", "/d/a-b", "/d/a!", "/d/a0", "/d/b"}) {
    ASSERT_TRUE(write(command(Command::SET, path, "v")).has_value());
  }
  EXPECT_EQ(listed("/d"), "/d/ /d/a/ /d/a/x=v /d/a!=v /d/a-b=v /d/a0=v /d/b=v");
  EXPECT_EQ(listed("/d", false), "/d/ /d/a/ /d/a!=v /d/a-b=v /d/a0=v /d/b=v");
}

TEST_P(Tree, KeysOfV3ClientsAreShownWhereTheyHaveAPath) {
  for (const char* key :
       {"plain", "/v/x", "/v/y/z", "/v//odd", "/v/./odd", "/v/a/../odd", "/both", "/both/x", "/dir/"}) {
    put_key(key, "k");
  }
  EXPECT_EQ(listed("/"), "/ /both=k /dir/ /v/? /v/a/? /v/x=k /v/y/? /v/y/z=k");
  EXPECT_EQ(listed("/both"), "/both=k");
  EXPECT_EQ(listed("/both/x"), "/both/x=k") << "reachable by its own path";
  EXPECT_EQ(refusal(write(command(Command::SET, "/both/y", "1"))), "104 /both @10");
  const Event event = *write(command(Command::SET, "/v/w", "1"));
  EXPECT_TRUE(event.created);
  EXPECT_EQ(store_->view().get("/v/"), nullptr) << "the directory was there, so no marker is made";
  EXPECT_EQ(refusal(write(directory(Command::DELETE, "/v"))), "108 /v @11");
  EXPECT_EQ(write(directory(Command::DELETE, "/v", true))->previous->created_index, 0);
  EXPECT_EQ(listed("/"), "/ /both=k /dir/");
}

TEST_P(Tree, ValuesAreComparedAndShownWhereverTheyLie) {
  ASSERT_TRUE(write(command(Command::SET, "/f", "one")).has_value());
  EXPECT_EQ(store_->view().get("/f")->has_value(), !GetParam());
  Command swap = command(Command::COMPARE_AND_SWAP, "/f", "two");
  swap.set_prev_value("other");
  EXPECT_EQ(refusal(write(swap)), "101 [other != one] @2");
  swap.set_prev_index(7);
  EXPECT_EQ(refusal(write(swap)), "101 [other != one] [7 != 2] @2");
  swap.set_prev_value("one");
  EXPECT_EQ(refusal(write(swap)), "101 [7 != 2] @2");
  swap.set_prev_index(2);
  Event event = *write(swap);
  EXPECT_EQ(event.previous->value, "one");
  EXPECT_EQ(event.node.value, "two");
  Command refresh = command(Command::SET, "/f");
  refresh.set_refresh(true);
  refresh.set_deadline(1000);
  event = *write(refresh);
  EXPECT_EQ(event.previous->value, "two");
  EXPECT_EQ(event.node.value, "two");
  refresh.set_verb(Command::UPDATE);
  event = *write(refresh);
  EXPECT_EQ(event.node.value, "two");
  EXPECT_EQ(listed("/f"), "/f=two");
  event = *write(command(Command::SET, "/f", "three"));
  EXPECT_EQ(event.previous->value, "two");
  Command remove = command(Command::COMPARE_AND_DELETE, "/f");
  remove.set_prev_value("two");
  EXPECT_EQ(refusal(write(remove)), "101 [two != three] @6");
  remove.set_prev_value("three");
  event = *write(remove);
  EXPECT_EQ(event.previous->value, "three");
  EXPECT_FALSE(event.node.value.has_value());
}

TEST_P(Tree, AValueThatCannotBeReadIsNoOutcome) {
  ASSERT_TRUE(write(command(Command::SET, "/f", "one")).has_value());
  const Bytes garbage = "garbage";
  if (GetParam()) disk_.damage("history", mvcc::history_key({2, 0}), &garbage);
  Command swap = command(Command::COMPARE_AND_SWAP, "/f", "two");
  swap.set_prev_value("other");
  Command touch = command(Command::UPDATE, "/f");
  touch.set_refresh(true);
  for (const Command& needs_it : {swap, touch, command(Command::SET, "/f", "two"), command(Command::DELETE, "/f")}) {
    mvcc::WriteTxn txn = store_->begin();
    const Result<Outcome<Event>> written = tree::write(txn, needs_it);
    ASSERT_EQ(written.has_value(), !GetParam()) << needs_it.verb();
    if (written.has_value()) continue;
    EXPECT_EQ(written.error().code, ErrorCode::kCorrupt);
    EXPECT_FALSE(txn.changed());
  }
  // What does not depend on it goes on.
  swap.clear_prev_value();
  swap.set_prev_index(7);
  EXPECT_EQ(refusal(write(swap)), "101 [7 != 2] @2");
  EXPECT_EQ(refusal(write(command(Command::CREATE, "/f", "x"))), "105 /f @2");
  EXPECT_EQ(write(command(Command::EXPIRE, "/f"))->action, Action::kExpire);
}

TEST_P(Tree, ExpiryMeetsOnlyTheDeadlineItWasMeantFor) {
  Command with_ttl = command(Command::SET, "/t", "x");
  with_ttl.set_deadline(1000);
  ASSERT_TRUE(write(with_ttl).has_value());
  Command late = command(Command::EXPIRE, "/t");
  late.set_deadline(999);
  EXPECT_EQ(refusal(write(late)), "101 /t @2");
  late.set_deadline(1000);
  const Event event = *write(late);
  EXPECT_EQ(event.action, Action::kExpire);
  EXPECT_EQ(event.previous->deadline.ns, 1000);
}

TEST_P(Tree, APathAsDeepAsItIsLong) {
  Bytes path;
  for (int depth = 0; depth < 3000; ++depth) path += "/a";
  Command deep = command(Command::CREATE, path, "x");
  ASSERT_TRUE(write(deep).has_value());
  EXPECT_EQ(listed(path), path + "=x");
  const mvcc::View view = store_->view();
  EXPECT_EQ(tree::read(view, "/", {.recursive = true}, 0)->size(), 3001u);
}

/// The rules once more, as simply as can be: a map of paths. Random commands must have the same effect on both.
TEST_P(Tree, RandomCommandsAgreeWithANaiveModel) {
  struct Plain {
    bool dir;
    Bytes value;
  };
  std::map<Bytes, Plain> model;
  Rng rng(20261125);
  const auto random_path = [&] {
    Bytes path;
    for (std::uint64_t depth = 1 + rng.below(4); depth > 0; --depth) path += fmt::format("/{}", "abc"[rng.below(3)]);
    return path;
  };
  const auto parents = [](const Bytes& path) {
    std::vector<Bytes> all;
    for (BytesView up = parent_of(path); !is_root(up); up = parent_of(up)) all.emplace_back(up);
    return all;
  };
  for (int step = 0; step < 4000; ++step) {
    const Bytes path = random_path();
    const Bytes value = fmt::format("v{}", rng.below(5));
    bool blocked = false;
    for (const Bytes& parent : parents(path)) blocked |= model.contains(parent) && !model.at(parent).dir;
    const auto at = model.find(path);
    bool expected = false;
    Command made;
    switch (rng.below(5)) {
      case 0:
        made = command(Command::SET, path, value);
        expected = !blocked && (at == model.end() || !at->second.dir);
        if (expected) model[path] = {false, value};
        break;
      case 1:
        made = directory(Command::CREATE, path);
        expected = !blocked && at == model.end();
        if (expected) model[path] = {true, ""};
        break;
      case 2:
        made = command(Command::UPDATE, path, value);
        expected = at != model.end() && !at->second.dir;
        if (expected) at->second.value = value;
        break;
      case 3: {
        made = command(Command::COMPARE_AND_SWAP, path, "swapped");
        made.set_prev_value(value);
        expected = at != model.end() && !at->second.dir && at->second.value == value;
        if (expected) at->second.value = "swapped";
        break;
      }
      default: {
        const bool recursive = rng.chance(1, 2);
        made = directory(Command::DELETE, path, recursive);
        const auto below = model.lower_bound(path + "/");
        const bool empty = below == model.end() || !below->first.starts_with(path + "/");
        expected = at != model.end() && (recursive || empty);
        if (expected) {
          std::erase_if(model,
                        [&](const auto& entry) { return entry.first == path || entry.first.starts_with(path + "/"); });
        }
      }
    }
    if (expected && (made.verb() == Command::SET || made.verb() == Command::CREATE)) {
      for (const Bytes& parent : parents(path)) model.emplace(parent, Plain{true, ""});
    }
    ASSERT_EQ(write(made).has_value(), expected) << step << ' ' << path << ' ' << made.verb();
    if (step % 50 == 0) {
      std::vector<Bytes> paths;
      for (const auto& [known, node] : model) paths.push_back(known);
      std::sort(paths.begin(), paths.end(), path_less);
      std::string text = "/";
      for (const Bytes& known : paths) {
        const Plain& node = model.at(known);
        text += node.dir ? fmt::format(" {}/", known) : fmt::format(" {}={}", known, node.value);
      }
      ASSERT_EQ(listed("/"), text) << step;
    }
  }
}

}  // namespace
}  // namespace etcd::tree
