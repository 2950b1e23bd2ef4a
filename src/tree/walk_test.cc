// A walk beside tree::read() and beside a naive model; walks that change their view at every step while keys change.
#include "tree/walk.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/memory_engine.h"
#include "io/clock.h"
#include "mvcc/store.h"
#include "tree/path.h"
#include "tree/read.h"

namespace etcd::tree {
namespace {

/// A store with the part of apply and of the store loop that it needs.
class Walking : public testing::Test {
 protected:
  Walking()
      : engine_(engine::open_memory(disk_, std::vector<std::string>{"history", "mvcc", "live"})),
        store_(mvcc::Store::open(*engine_, clock_, {.large_value_bytes = 20}).value()) {}

  /// A v3 client's put or delete, published; the model of what there is follows it.
  void put(const Bytes& key, const Bytes& value) {
    mvcc::WriteTxn txn = store_->begin();
    txn.put(key, value);
    txn.commit();
    store_->publish();
    keys_[key] = value;
  }
  void erase(const Bytes& key) {
    mvcc::WriteTxn txn = store_->begin();
    txn.erase(key);
    txn.commit();
    store_->publish();
    keys_.erase(key);
  }
  void put_all(std::initializer_list<const char*> keys) {
    for (const char* key : keys) put(key, "v");
  }

  /// All that is published reaches the engine, and large values leave memory.
  void flush() {
    store_->publish();
    engine::Batch batch;
    const std::int64_t revision = store_->take_changes(batch);
    ASSERT_TRUE(engine_->commit(batch).has_value());
    store_->committed(revision);
    store_->publish();
  }
  void compact(std::int64_t revision) {
    flush();
    ASSERT_TRUE(store_->compact(revision).has_value());
    for (;;) {
      store_->publish();
      engine::Batch batch;
      const Result<mvcc::CompactionState> state = store_->compact_slice(batch);
      ASSERT_TRUE(state.has_value());
      ASSERT_TRUE(engine_->commit(batch).has_value());
      if (*state == mvcc::CompactionState::kIdle) break;
      flush();
    }
    flush();
  }

  /// "/a/", "/a=1": what a listing shows of a node.
  static std::string shown(const mvcc::Reader& reader, const ListedNode& node) {
    if (node.dir)
      return fmt::format("{}{}{}", node.path, is_root(node.path) ? "" : "/", node.entry == nullptr ? "?" : "");
    const Result<mvcc::EntryRef> whole = reader.load(*node.entry);
    EXPECT_TRUE(whole.has_value());
    return fmt::format("{}={}", node.path, whole.has_value() ? (*whole)->value() : BytesView("?"));
  }

  /// Collects what a walk's steps show: nodes, and "<" for each directory that is left.
  struct Steps {
    std::string text;
    int open = 0;  // directories
    bool ended = false;
  };
  /// Makes one step. Returns false at the end and on an error.
  static bool take(Walk& walk, const mvcc::Reader& reader, Steps& steps) {
    const Result<WalkStep> step = walk.step();
    if (!step.has_value()) {
      steps.text += fmt::format(" error {}", name_of(step.error().code));
      return false;
    }
    switch (*step) {
      case WalkStep::kNode: {
        const ListedNode& node = walk.node();
        EXPECT_EQ(node.depth, static_cast<std::uint32_t>(steps.open)) << node.path;
        if (!steps.text.empty()) steps.text += ' ';
        steps.text += shown(reader, node);
        if (node.dir) ++steps.open;
        return true;
      }
      case WalkStep::kLeave:
        steps.text += '<';
        --steps.open;
        return true;
      case WalkStep::kAgain: return true;
      case WalkStep::kEnd: break;
    }
    EXPECT_EQ(steps.open, 0);
    steps.ended = true;
    return false;
  }

  std::string walked(BytesView path, bool recursive = true) {
    const mvcc::View view = store_->view();
    Outcome<Walk> walk = Walk::open(view, path, {.recursive = recursive}, view.revision());
    if (!walk) return fmt::format("{} {}", static_cast<int>(walk.error().code), walk.error().cause);
    Steps steps;
    while (take(*walk, view, steps)) {
    }
    EXPECT_TRUE(steps.ended);
    return steps.text;
  }

  /// The same by the rules alone: every clean path that a key is or lies below, sorted, hidden ones left out, and no
  /// directory where there is a file.
  std::string modelled(const Bytes& path, bool recursive) const {
    const Bytes prefix = marker_of(path);
    std::map<Bytes, bool> dirs;  // below `path`; whether there is a marker
    std::map<Bytes, Bytes> files;
    for (const auto& [key, value] : keys_) {
      if (!key.starts_with(prefix) || key == prefix) continue;
      // As long as the components have a path, each but the last is a directory; the last is a file, or empty.
      std::size_t at = prefix.size();
      for (;;) {
        const std::size_t slash = key.find('/', at);
        const Bytes name = key.substr(at, slash == Bytes::npos ? Bytes::npos : slash - at);
        if (name.empty() || name == "." || name == ".." || name[0] == '_') break;
        if (slash == Bytes::npos) {
          files[key] = value;
          break;
        }
        dirs[key.substr(0, slash)] |= slash + 1 == key.size();
        at = slash + 1;
        if (at == key.size()) break;
      }
    }
    std::vector<Bytes> paths;
    const auto is_shadowed = [&](const Bytes& node) {
      for (std::size_t slash = node.find('/', prefix.size()); slash != Bytes::npos; slash = node.find('/', slash + 1)) {
        if (files.contains(node.substr(0, slash))) return true;
      }
      return false;
    };
    for (const auto& [node, value] : files) {
      if (!is_shadowed(node)) paths.push_back(node);
    }
    for (const auto& [node, marker] : dirs) {
      if (!is_shadowed(node) && !files.contains(node)) paths.push_back(node);
    }
    std::sort(paths.begin(), paths.end(), path_less);
    const bool has_marker = !is_root(path) && keys_.contains(prefix);
    std::string text = is_root(path) ? "/?" : path + (has_marker ? "/" : "/?");
    std::vector<Bytes> open{prefix};
    const auto leave_until = [&](const Bytes& node) {
      while (!node.starts_with(open.back())) {
        text += '<';
        open.pop_back();
      }
    };
    for (const Bytes& node : paths) {
      if (!recursive && node.find('/', prefix.size()) != Bytes::npos) continue;
      leave_until(node);
      const auto file = files.find(node);
      if (file != files.end()) {
        text += fmt::format(" {}={}", node, file->second);
      } else {
        text += fmt::format(" {}/{}", node, dirs.at(node) ? "" : "?");
        open.push_back(node + "/");
      }
    }
    for (std::size_t left = open.size(); left > 0; --left) text += '<';
    return text;
  }

  static Bytes random_key(Rng& rng) {
    Bytes key = "/";
    for (std::uint64_t length = 1 + rng.below(7); length > 0; --length) key += "ab-!./_0\xc3"[rng.below(9)];
    return key;
  }
  void change_something(Rng& rng) {
    const Bytes key = random_key(rng);
    if (keys_.size() > 80 || (rng.chance(1, 3) && !keys_.empty())) {
      auto at = keys_.lower_bound(key);
      if (at == keys_.end()) at = keys_.begin();
      erase(Bytes(at->first));
    } else {
      put(key, fmt::format("{}{}", rng.below(100), rng.chance(1, 4) ? Bytes(30, 'x') : Bytes()));
    }
    if (rng.chance(1, 5)) flush();
  }

  io::RealClock clock_;
  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<mvcc::Store> store_;
  std::map<Bytes, Bytes> keys_;
};

TEST_F(Walking, StepsInTheOrderOfADocument) {
  put_all({"/a/", "/a/b/", "/a/b/y", "/a/x", "/f"});
  EXPECT_EQ(walked("/"), "/? /a/ /a/b/ /a/b/y=v< /a/x=v< /f=v<");
  EXPECT_EQ(walked("/", false), "/? /a/< /f=v<");
  EXPECT_EQ(walked("/a/b"), "/a/b/ /a/b/y=v<");
  EXPECT_EQ(walked("/f"), "/f=v");
  EXPECT_EQ(walked("/f/g"), "104 /f");
  EXPECT_EQ(walked("/a/c/d"), "100 /a/c");
}

TEST_F(Walking, AnEmptyStore) {
  EXPECT_EQ(walked("/"), "/?<");
  EXPECT_EQ(walked("/a"), "100 /a");
}

TEST_F(Walking, VisitsADirectoryBeforeNamesThatOnlyLieBeforeItInTheKeyspace) {
  struct Row {
    const char* name;
    std::vector<const char*> keys;
    const char* all;
    const char* one_level;
  };
  const Row rows[] = {
      {"one",
       {"/a!", "/a-b", "/a/x", "/a/y", "/c"},
       "/? /a/? /a/x=v /a/y=v< /a!=v /a-b=v /c=v<",
       "/? /a/?< /a!=v /a-b=v /c=v<"},
      {"one in another's name",
       {"/a-b-c", "/a-b/x", "/a/", "/a/y"},
       "/? /a/ /a/y=v< /a-b/? /a-b/x=v< /a-b-c=v<",
       "/? /a/< /a-b/?< /a-b-c=v<"},
      {"a directory's name goes on", {"/a-b/x", "/a/y"}, "/? /a/? /a/y=v< /a-b/? /a-b/x=v<<", "/? /a/?< /a-b/?<<"},
      {"two levels",
       {"/a-/p!", "/a-/p/x", "/a/p.q", "/a/p/x"},
       "/? /a/? /a/p/? /a/p/x=v< /a/p.q=v< /a-/? /a-/p/? /a-/p/x=v< /a-/p!=v<<",
       "/? /a/?< /a-/?<<"},
      {"a file of that name", {"/a", "/a-b", "/a/x", "/b"}, "/? /a=v /a-b=v /b=v<", "/? /a=v /a-b=v /b=v<"},
      {"a file, and its directory next", {"/a", "/a/x"}, "/? /a=v<", "/? /a=v<"},
      {"dots",
       {"/.-", "/..-", "/...", "/./x", "/../x", "/.../y"},
       "/? /.-=v /..-=v /...=v<",
       "/? /.-=v /..-=v /...=v<"},
      {"hidden ones", {"/_a", "/_a-b", "/_a/x", "/b"}, "/? /b=v<", "/? /b=v<"},
      {"no name", {"/-", "//x", "/0"}, "/? /-=v /0=v<", "/? /-=v /0=v<"},
      {"numbers",
       {"/10.0.0.1", "/10.0.0.2/x", "/10.0/y", "/10.1"},
       "/? /10.0/? /10.0/y=v< /10.0.0.1=v /10.0.0.2/? "
       "/10.0.0.2/x=v< /10.1=v<",
       "/? /10.0/?< /10.0.0.1=v /10.0.0.2/?< /10.1=v<"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    while (!keys_.empty()) erase(Bytes(keys_.begin()->first));
    for (const char* key : row.keys) put(key, "v");
    EXPECT_EQ(walked("/"), row.all);
    EXPECT_EQ(modelled("/", true), row.all);
    EXPECT_EQ(walked("/", false), row.one_level);
    EXPECT_EQ(modelled("/", false), row.one_level);
  }
}

TEST_F(Walking, RandomKeysAgreeWithTheModelAndWithRead) {
  Rng rng(20260611);
  for (int step = 0; step < 3000; ++step) {
    change_something(rng);
    const bool recursive = rng.chance(3, 4);
    Bytes path = "/";
    if (rng.chance(1, 2)) path = clean_path(random_key(rng));
    if (keys_.contains(path)) continue;  // a file
    const mvcc::View view = store_->view();
    if (!is_directory(view, path)) continue;
    ASSERT_EQ(walked(path, recursive), modelled(path, recursive)) << step << ' ' << path;
    std::string listed;
    const auto listing = tree::read(view, path, {.recursive = recursive}, view.revision());
    for (const ListedNode& node : *listing) listed += (listed.empty() ? "" : " ") + shown(view, node);
    std::string nodes = walked(path, recursive);
    std::erase(nodes, '<');
    ASSERT_EQ(listed, nodes) << step << ' ' << path;
  }
}

TEST_F(Walking, IsOneRevisionWhateverHappensBetweenItsSteps) {
  Rng rng(20260612);
  for (int round = 0; round < 150; ++round) {
    SCOPED_TRACE(round);
    while (keys_.size() < 60) change_something(rng);
    const bool recursive = rng.chance(3, 4);
    const std::string expected = modelled("/", recursive);

    std::optional<mvcc::View> view(store_->view());
    const std::int64_t revision = view->revision();
    Outcome<Walk> walk = Walk::open(*view, "/", {.recursive = recursive}, revision);
    ASSERT_TRUE(walk.has_value());
    Steps steps;
    const std::uint64_t steps_per_view = 1 + rng.below(4);
    for (std::uint64_t made = 1; take(*walk, *view, steps); ++made) {
      if (made % steps_per_view != 0) continue;
      walk->detach();
      view.reset();
      for (std::uint64_t changes = rng.below(4); changes > 0; --changes) change_something(rng);
      view.emplace(store_->view());
      ASSERT_TRUE(walk->attach(*view).has_value());
    }
    EXPECT_TRUE(steps.ended);
    ASSERT_EQ(steps.text, expected);
    EXPECT_EQ(walk->revision(), revision);
    walk->detach();
    view.reset();
    if (round % 10 == 9) compact(store_->revision());
  }
}

TEST_F(Walking, LooksAtFewKeysThatCameLaterInOneStep) {
  put_all({"/a", "/z"});
  std::optional<mvcc::View> view(store_->view());
  Outcome<Walk> walk = Walk::open(*view, "/", {.recursive = true}, view->revision());
  Steps steps;
  ASSERT_TRUE(take(*walk, *view, steps));
  walk->detach();
  view.reset();
  for (int key = 0; key < 1000; ++key) put(fmt::format("/later{:04}", key), "x");
  view.emplace(store_->view());
  ASSERT_TRUE(walk->attach(*view).has_value());
  int made = 0;
  while (take(*walk, *view, steps)) ++made;
  EXPECT_EQ(steps.text, "/? /a=v /z=v<");
  EXPECT_GT(made, 1000 / 20);
}

TEST_F(Walking, EndsWithAnErrorWhenItsRevisionIsCompacted) {
  put_all({"/a", "/b", "/c"});
  std::optional<mvcc::View> view(store_->view());
  Outcome<Walk> walk = Walk::open(*view, "/", {.recursive = true}, view->revision());
  Steps steps;
  ASSERT_TRUE(take(*walk, *view, steps));
  walk->detach();
  view.reset();

  put("/b", "new");
  compact(walk->revision());  // equal is readable
  view.emplace(store_->view());
  ASSERT_TRUE(walk->attach(*view).has_value());
  ASSERT_TRUE(take(*walk, *view, steps));
  EXPECT_EQ(steps.text, "/? /a=v");
  walk->detach();
  view.reset();

  compact(store_->revision());
  view.emplace(store_->view());
  EXPECT_EQ(walk->attach(*view).error().code, ErrorCode::kCompacted);
}

TEST_F(Walking, DeepPathsTakeNoStack) {
  Bytes path;
  for (int depth = 0; depth < 3000; ++depth) path += "/a";
  put(path, "v");
  const std::string text = walked("/");
  EXPECT_TRUE(text.ends_with(" " + path + "=v" + Bytes(3000, '<')));
}

}  // namespace
}  // namespace etcd::tree
