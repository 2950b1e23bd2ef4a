// What a watcher hears, told as stories: writes on one side, watched paths on the other.
#include "tree/watch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/memory_engine.h"
#include "io/clock.h"
#include "mvcc/store.h"
#include "tree/write.h"

namespace etcd::tree {
namespace {

using etcdv2pb::Command;

/// The parameter: every write reaches the engine at once and leaves its value there.
class WatchStory : public testing::TestWithParam<bool> {
 protected:
  WatchStory()
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

  void write(Command::Verb verb, BytesView path, BytesView value = "", bool dir = false, bool recursive = false,
             bool refresh = false) {
    Command command;
    command.set_verb(verb);
    command.set_path(Bytes(path));
    command.set_value(Bytes(value));
    command.set_dir(dir);
    command.set_recursive(recursive);
    command.set_refresh(refresh);
    mvcc::WriteTxn txn = store_->begin();
    const Result<Outcome<Event>> event = tree::write(txn, command);
    ASSERT_TRUE(event.has_value() && event->has_value()) << path;
    txn.commit();
    publish();
  }

  /// "set /a=x", "delete /d/": the events since `first` that a watcher hears.
  std::string heard(Watched watched, std::int64_t first = 2, std::optional<ErrorCode> unreadable = {}) {
    const WatchedKeys keys(watched);
    const mvcc::View view = store_->view();
    std::vector<mvcc::Event> events;
    mvcc::SharedCause cause;  // kept with the revision's first record
    EXPECT_TRUE(view.history(first, view.revision(),
                             [&](const mvcc::HistoryRecord& record) {
                               if (record.revision.sub == 0) cause = record.cause();
                               for (const mvcc::KeyRange& range : keys.ranges()) {
                                 if (!range.contains(record.key())) continue;
                                 mvcc::EntryRef previous;
                                 // As a watcher gets it: a stub where the value is large.
                                 if (auto before = view.get(record.key(), record.revision.main - 1); *before) {
                                   previous = *view.version((*before)->revision());
                                 }
                                 events.push_back({record.to_entry(), previous, cause});
                                 break;
                               }
                               return true;
                             })
                    .has_value());
    std::vector<const mvcc::Event*> borrowed;
    for (const mvcc::Event& event : events) borrowed.push_back(&event);
    const auto marker_before = [&](BytesView directory, std::int64_t revision) -> mvcc::EntryRef {
      auto marker = view.get(Bytes(directory) + "/", revision - 1);
      return marker ? *marker : mvcc::EntryRef();
    };
    std::string text;
    const auto load = [&](const mvcc::Entry& entry) -> Result<mvcc::EntryRef> {
      if (unreadable && !entry.has_value()) return failure(*unreadable, "unreadable");
      return view.load(entry);
    };
    const Result<std::vector<Event>> found = watch_events(watched, borrowed, marker_before, load);
    if (!found.has_value()) return found.error().message;
    for (const Event& event : *found) {
      static const char* const kNames[] = {"put", "set",    "create", "update", "swap",
                                           "cad", "delete", "expire", "refresh"};
      text += fmt::format("{}{} {}{}{}", text.empty() ? "" : ", ", kNames[static_cast<int>(event.action)],
                          event.node.path, event.node.dir ? "/" : "", event.node.value ? "=" + *event.node.value : "");
      if (event.previous) {
        text += event.previous->value ? fmt::format(" (was {})", *event.previous->value)
                                      : fmt::format(" (was {})", event.previous->created_index);
      }
    }
    return text;
  }

  io::RealClock clock_;
  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<mvcc::Store> store_;
};

INSTANTIATE_TEST_SUITE_P(ValuesOnTheEngine, WatchStory, testing::Bool());

TEST_P(WatchStory, AFileOverItsLife) {
  write(Command::SET, "/a/f", "1");
  write(Command::SET, "/a/f", "2");
  write(Command::UPDATE, "/a/f", "3");
  write(Command::DELETE, "/a/f");
  EXPECT_EQ(heard({"/a/f"}), "set /a/f=1, set /a/f=2 (was 1), update /a/f=3 (was 2), delete /a/f (was 3)");
  EXPECT_EQ(heard({"/a", true}), heard({"/a/f"}));
  EXPECT_EQ(heard({"/", true}), heard({"/a/f"}));
  EXPECT_EQ(heard({"/a"}), "") << "parents that are made on the way are no events";
  EXPECT_EQ(heard({"/a/f2", true}), "");
  EXPECT_EQ(heard({"/a/f"}, 4), "update /a/f=3 (was 2), delete /a/f (was 3)");
}

TEST_P(WatchStory, AValueThatIsCompactedIsLeftOutAndADamagedOneIsTold) {
  write(Command::SET, "/f", "1");
  write(Command::SET, "/f", "2");
  write(Command::SET, "/f", "", true);
  EXPECT_EQ(heard({"/f"}, 3, ErrorCode::kCompacted),
            GetParam() ? "set /f=2 (was 2), set /f/ (was 3)" : "set /f=2 (was 1), set /f/ (was 2)");
  EXPECT_EQ(heard({"/f"}, 4, ErrorCode::kCorrupt), GetParam() ? "unreadable" : "set /f/ (was 2)");
}

TEST_P(WatchStory, ADirectoryThatGoesTakesItsWatchersAlong) {
  write(Command::SET, "/d/x/f", "1");
  write(Command::DELETE, "/d", "", true, true);
  EXPECT_EQ(heard({"/d/x/f"}, 3), "delete /d/ (was 2)");
  EXPECT_EQ(heard({"/d/x"}, 3), "delete /d/ (was 2)");
  EXPECT_EQ(heard({"/d"}, 3), "delete /d/ (was 2)");
  EXPECT_EQ(heard({"/", true}, 3), "delete /d/ (was 2)") << "once, not for each node";
  EXPECT_EQ(heard({"/d/nope"}, 3), "") << "it was not there";
  EXPECT_EQ(heard({"/d/nope", true}, 3), "");
}

TEST_P(WatchStory, DirectoriesAreMadeAndTouched) {
  write(Command::SET, "/a", "file");
  write(Command::SET, "/a", "", true);
  write(Command::UPDATE, "/a", "", true);
  EXPECT_EQ(heard({"/a"}), "set /a=file, set /a/ (was file), update /a/ (was 3)");
}

TEST_P(WatchStory, HiddenNodesAreHeardByWhoNamesThem) {
  write(Command::SET, "/d/_h/f", "1");
  EXPECT_EQ(heard({"/d", true}), "");
  EXPECT_EQ(heard({"/d/_h", true}), "set /d/_h/f=1");
  EXPECT_EQ(heard({"/d/_h/f"}), "set /d/_h/f=1");
  EXPECT_EQ(heard({"/d", true, 2}), "set /d/_h/f=1") << "what is older than the watch was never filtered";
}

TEST_P(WatchStory, ARefreshWakesNobody) {
  write(Command::SET, "/a", "1");
  write(Command::UPDATE, "/a", "", false, false, true);
  EXPECT_EQ(heard({"/a"}), "set /a=1");
  // Found by the differential fuzzer: what did not exist is news, refresh or not.
  write(Command::CREATE, "/b", "", false, false, true);
  EXPECT_EQ(heard({"/b"}), "create /b=");
}

TEST_P(WatchStory, WritesOfV3ClientsAreOneEventForEachKey) {
  {
    mvcc::WriteTxn txn = store_->begin();
    txn.put("/t/1", "a");
    txn.put("/t/2", "b");
    txn.put("plain", "c");
    txn.put("/t//odd", "d");
    txn.commit();
    publish();
  }
  {
    mvcc::WriteTxn txn = store_->begin();
    txn.erase("/t/1");
    txn.commit();
    publish();
  }
  EXPECT_EQ(heard({"/t", true}), "set /t/1=a, set /t/2=b, delete /t/1 (was a)");
}

}  // namespace
}  // namespace etcd::tree
