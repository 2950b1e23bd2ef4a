#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <thread>

#include "io/real_file.h"
#include "io/sim_disk.h"
#include "io/sim_scheduler.h"
#include "io/thread_executor.h"

namespace etcd::io {
namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = std::filesystem::temp_directory_path().string() + "/etcd-io-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string path_;
};

/// What any Directory promises, real or simulated.
void check_contract(Directory& directory) {
  auto file = directory.create("b").value();
  EXPECT_EQ(directory.create("b").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(directory.open("none").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(file->write_at(0, "hello").has_value());
  ASSERT_TRUE(file->write_at(8, "there").has_value());
  EXPECT_EQ(file->size().value(), 13u);
  EXPECT_EQ(file->read_at(0, 100).value(), Bytes("hello\0\0\0there", 13));
  EXPECT_EQ(file->read_at(4, 5).value(), Bytes("o\0\0\0t", 5));
  EXPECT_EQ(file->read_at(50, 5).value(), "");
  ASSERT_TRUE(file->truncate(4).has_value());
  EXPECT_EQ(file->read_at(0, 100).value(), "hell");
  ASSERT_TRUE(file->sync().has_value());
  ASSERT_TRUE(file->lock().has_value());
  {
    auto second = directory.open("b").value();
    EXPECT_EQ(second->lock().error().code, ErrorCode::kLocked);
  }
  file.reset();
  EXPECT_TRUE(directory.open("b").value()->lock().has_value());
  directory.create("a").value();
  ASSERT_TRUE(directory.rename("b", "c").has_value());
  EXPECT_EQ(directory.list().value(), (std::vector<std::string>{"a", "c"}));
  EXPECT_EQ(directory.open("c").value()->read_at(0, 9).value(), "hell");
  ASSERT_TRUE(directory.rename("a", "c").has_value());
  EXPECT_EQ(directory.open("c").value()->size().value(), 0u);
  ASSERT_TRUE(directory.remove("c").has_value());
  EXPECT_FALSE(directory.remove("c").has_value());
  ASSERT_TRUE(directory.sync().has_value());
  auto inner = directory.subdirectory("inner").value();
  inner->create("x").value();
  EXPECT_EQ(directory.subdirectory("inner").value()->list().value(), std::vector<std::string>{"x"});
}

TEST(Directory, RealKeepsTheContract) {
  const TemporaryFolder folder;
  const auto directory = open_real_directory(folder.path_ + "/deep/er").value();
  check_contract(*directory);
  struct stat facts{};
  ASSERT_EQ(::stat((folder.path_ + "/deep/er/inner").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat((folder.path_ + "/deep/er/inner/x").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
}

TEST(Directory, SimulatedKeepsTheContract) {
  SimDisk disk(1);
  check_contract(*disk.open_directory("/data"));
}

TEST(SimDisk, ACrashKeepsWhatWasSyncedAndMayLoseTheRest) {
  bool lost = false, kept = false, torn = false;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SimDisk disk(seed);
    const auto directory = disk.open_directory("/d");
    const auto file = directory->create("f").value();
    ASSERT_TRUE(file->write_at(0, Bytes(1000, 'a')).has_value());
    ASSERT_TRUE(file->sync().has_value());
    ASSERT_TRUE(directory->sync().has_value());
    ASSERT_TRUE(file->write_at(1000, Bytes(1000, 'b')).has_value());
    disk.crash();
    EXPECT_EQ(file->read_at(0, 1).error().code, ErrorCode::kIo);
    const Bytes left = disk.open_directory("/d")->open("f").value()->read_at(0, 5000).value();
    ASSERT_EQ(left.substr(0, 1000), Bytes(1000, 'a')) << seed;
    const Bytes tail = left.substr(1000);
    lost |= tail.empty() || tail == Bytes(1000, '\0');
    kept |= tail == Bytes(1000, 'b');
    torn |= tail.contains('b') && tail.contains('\0');
  }
  EXPECT_TRUE(lost);
  EXPECT_TRUE(kept);
  EXPECT_TRUE(torn);
}

TEST(SimDisk, NamesAreLostUntilTheDirectoryIsSynced) {
  bool lost = false, kept = false, old_name = false, new_name = false;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SimDisk disk(seed);
    const auto directory = disk.open_directory("/d");
    directory->create("stay").value();
    ASSERT_TRUE(directory->sync().has_value());
    directory->create("maybe").value();
    ASSERT_TRUE(directory->rename("stay", "moved").has_value());
    disk.crash();
    const auto names = disk.open_directory("/d")->list().value();
    const auto has = [&](const char* name) { return std::find(names.begin(), names.end(), name) != names.end(); };
    (has("maybe") ? kept : lost) = true;
    EXPECT_NE(has("stay"), has("moved")) << seed;
    (has("stay") ? old_name : new_name) = true;
  }
  EXPECT_TRUE(lost && kept && old_name && new_name);
}

TEST(SimDisk, FailsOnDemand) {
  SimDisk disk(3);
  const auto directory = disk.open_directory("/d");
  const auto file = directory->create("f").value();
  disk.set_capacity(100);
  EXPECT_EQ(file->write_at(0, Bytes(101, 'x')).error().code, ErrorCode::kNoSpace);
  EXPECT_TRUE(file->write_at(0, Bytes(100, 'x')).has_value());
  disk.fail_next_sync();
  EXPECT_EQ(file->sync().error().code, ErrorCode::kIo);
  EXPECT_TRUE(file->sync().has_value());
  disk.fail_after(1);
  EXPECT_TRUE(file->write_at(0, "y").has_value());
  EXPECT_EQ(file->write_at(0, "z").error().code, ErrorCode::kIo);
  EXPECT_EQ(file->sync().error().code, ErrorCode::kIo);
  EXPECT_FALSE(disk.powered());
  disk.crash();
  EXPECT_TRUE(disk.powered());
}

TEST(SimScheduler, KeepsTheOrderOfALoopAndMovesTimeOnlyWhenIdle) {
  SimScheduler scheduler(5);
  Executor& one = scheduler.new_executor("one");
  Executor& two = scheduler.new_executor("two");
  std::vector<int> ran_one, ran_two;
  for (int step = 0; step < 50; ++step) {
    one.post([&, step] {
      EXPECT_TRUE(one.is_current());
      ran_one.push_back(step);
      two.dispatch([&, step] { ran_two.push_back(step); });
    });
  }
  bool fired = false;
  one.post_at(scheduler.clock().now() + 5s, [&] {
    fired = true;
    EXPECT_EQ(ran_two.size(), 50u);
  });
  const TimerId dropped = one.post_at(scheduler.clock().now() + 1s, [] { FAIL() << "was cancelled"; });
  EXPECT_TRUE(one.cancel(dropped));
  EXPECT_FALSE(one.cancel(dropped));
  EXPECT_TRUE(scheduler.run_until([&] { return fired; }, 10s));
  EXPECT_TRUE(std::is_sorted(ran_one.begin(), ran_one.end()));
  EXPECT_TRUE(std::is_sorted(ran_two.begin(), ran_two.end()));
  EXPECT_EQ(scheduler.clock().now().ns, Duration(5s).count());
}

TEST(SimScheduler, AKilledLoopRunsNothing) {
  SimScheduler scheduler(6);
  Executor& loop = scheduler.new_executor("loop");
  loop.post([] { FAIL(); });
  loop.post_at({}, [] { FAIL(); });
  scheduler.kill(loop);
  loop.post([] { FAIL(); });
  EXPECT_FALSE(scheduler.run_one());
}

TEST(ThreadExecutor, RunsInOrderFromManyThreads) {
  ThreadExecutor loop("test");
  constexpr int kThreads = 4, kTasks = 5000;
  std::vector<int> last(kThreads, -1);  // touched by the loop only, without a lock: TSan proves the exclusion
  long total = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int step = 0; step < kTasks; ++step) {
        Task task = [&, thread, step] {
          EXPECT_EQ(last[thread], step - 1);
          last[thread] = step;
          ++total;
        };
        if (step % 3 == 0) {
          loop.post(std::move(task));
        } else {
          loop.dispatch(std::move(task));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::latch done(1);
  loop.post([&] { done.count_down(); });
  done.wait();
  EXPECT_EQ(total, kThreads * kTasks);
}

TEST(ThreadExecutor, DispatchOnAnIdleLoopRunsInlineAndWakesNobody) {
  ThreadExecutor loop("test");
  std::latch started(1);
  loop.post([&] { started.count_down(); });
  started.wait();
  while (loop.is_current()) std::this_thread::yield();
  int ran = 0;
  const auto before = loop.wakeups();
  for (int step = 0; step < 100; ++step) {
    loop.dispatch([&] {
      EXPECT_TRUE(loop.is_current());
      ++ran;
      loop.dispatch([&] { ++ran; });  // behind this one, not within it
    });
  }
  std::latch done(1);
  loop.post([&] { done.count_down(); });
  done.wait();
  EXPECT_EQ(ran, 200);
  EXPECT_LE(loop.wakeups() - before, 3u);
}

TEST(ThreadExecutor, TimersFireInOrderAndCancel) {
  ThreadExecutor loop("test");
  const RealClock clock;
  std::vector<int> fired;
  std::latch done(1);
  const MonotonicTime start = clock.now();
  loop.post_at(start + 20ms, [&] {
    fired.push_back(2);
    done.count_down();
  });
  loop.post_at(start + 5ms, [&] { fired.push_back(1); });
  const TimerId never = loop.post_at(start + 1h, [&] { fired.push_back(3); });
  EXPECT_TRUE(loop.cancel(never));
  EXPECT_FALSE(loop.cancel(never));
  done.wait();
  EXPECT_GE(clock.now() - start, 20ms);
  EXPECT_EQ(fired, (std::vector<int>{1, 2}));
}

TEST(ThreadExecutor, StopRunsWhatIsQueuedAndDropsWhatComesLater) {
  std::atomic<int> ran = 0;
  ThreadExecutor loop("test");
  for (int step = 0; step < 100; ++step) loop.post([&] { ++ran; });
  loop.stop();
  EXPECT_EQ(ran, 100);
  loop.post([&] { ++ran; });
  loop.dispatch([&] { ++ran; });
  loop.stop();
  EXPECT_EQ(ran, 100);
}

}  // namespace
}  // namespace etcd::io
