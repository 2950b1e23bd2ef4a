#include "telemetry/rotating_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace etcd::telemetry {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBegin = 1'795'605'753'444'000'000;  // 2026-11-25T11:22:33.444Z
constexpr Duration kDay = 24h;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What gunzip makes of a file; "(damaged)" when it is not whole.
std::string gunzipped(const fs::path& path) {
  const gzFile file = ::gzopen(path.c_str(), "rb");
  if (file == nullptr) return "(missing)";
  std::string text;
  std::array<char, 4096> piece{};
  int count = 0;
  while ((count = ::gzread(file, piece.data(), piece.size())) > 0) text.append(piece.data(), count);
  return ::gzclose(file) == Z_OK && count == 0 ? text : "(damaged)";
}

/// A folder of its own for each test, and a clock that only moves when told to.
class RotatingFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "etcd_rotation_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  std::shared_ptr<RotatingFile> open(RotationOptions options, const std::string& name = "etcd.log") {
    auto file = RotatingFile::open((folder_ / name).string(), options, [this] { return WallTime{now_ns_.load()}; });
    EXPECT_TRUE(file.has_value()) << file.error().message;
    return file.value_or(nullptr);
  }

  void advance(Duration step) { now_ns_ += step.count(); }

  /// Every name in the folder, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      found.push_back(entry.path().filename().string());
    }
    std::ranges::sort(found);
    return found;
  }

  void put(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

  fs::path folder_;
  std::atomic<std::int64_t> now_ns_ = kBegin;
};

using Names = std::vector<std::string>;

TEST_F(RotatingFileTest, RotatesBeforeTheLineThatWouldNotFit) {
  const auto file = open({.bytes_max = 12});
  file->write("first\n");
  file->write("other\n");  // twelve bytes: still within the limit
  EXPECT_EQ(names(), Names{"etcd.log"});
  file->write("x\n");
  EXPECT_EQ(names(), (Names{"etcd-2026-11-25T11-22-33.444.log", "etcd.log"}));
  EXPECT_EQ(text_of(folder_ / "etcd-2026-11-25T11-22-33.444.log"), "first\nother\n");
  EXPECT_EQ(text_of(folder_ / "etcd.log"), "x\n");
}

TEST_F(RotatingFileTest, ALineAboveTheLimitGetsAFileOfItsOwn) {
  const auto file = open({.bytes_max = 8});
  const std::string giant = std::string(100, 'g') + "\n";
  file->write("a\n");
  file->write(giant);
  advance(1s);
  file->write("b\n");
  EXPECT_EQ(names(), (Names{"etcd-2026-11-25T11-22-33.444.log", "etcd-2026-11-25T11-22-34.444.log", "etcd.log"}));
  EXPECT_EQ(text_of(folder_ / "etcd-2026-11-25T11-22-33.444.log"), "a\n");
  EXPECT_EQ(text_of(folder_ / "etcd-2026-11-25T11-22-34.444.log"), giant);
  EXPECT_EQ(text_of(folder_ / "etcd.log"), "b\n");
}

TEST_F(RotatingFileTest, TwoFilesOfOneMillisecondAreBothKept) {
  const auto file = open({.bytes_max = 2});
  for (const char* line : {"1\n", "2\n", "3\n"}) file->write(line);
  EXPECT_EQ(names(), (Names{"etcd-2026-11-25T11-22-33.444.log", "etcd-2026-11-25T11-22-33.445.log", "etcd.log"}));
  EXPECT_EQ(text_of(folder_ / "etcd-2026-11-25T11-22-33.445.log"), "2\n");
}

TEST_F(RotatingFileTest, AFileOfAnEarlierRunIsContinued) {
  put("etcd.log", "earlier\n");
  fs::permissions(folder_ / "etcd.log", fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
  const auto file = open({.bytes_max = 12});
  file->write("now\n");
  EXPECT_EQ(text_of(folder_ / "etcd.log"), "earlier\nnow\n");
  file->write("new\n");
  EXPECT_EQ(text_of(folder_ / "etcd-2026-11-25T11-22-33.444.log"), "earlier\nnow\n");
  EXPECT_EQ(text_of(folder_ / "etcd.log"), "new\n");
  struct stat status{};
  ASSERT_EQ(::stat((folder_ / "etcd.log").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
}

TEST_F(RotatingFileTest, NamesOfFiles) {
  struct Row {
    const char* name;
    const char* backup;
  };
  const Row rows[] = {
      {"etcd.log", "etcd-2026-11-25T11-22-33.444.log"},         {"etcd", "etcd-2026-11-25T11-22-33.444"},
      {"a.b.log", "a.b-2026-11-25T11-22-33.444.log"},           {".log", "-2026-11-25T11-22-33.444.log"},
      {"new/folder/l", "new/folder/l-2026-11-25T11-22-33.444"},
  };
  for (const Row& row : rows) {
    const auto file = open({.bytes_max = 2}, row.name);
    ASSERT_NE(file, nullptr) << row.name;
    file->write("1\n");
    file->write("2\n");
    EXPECT_EQ(text_of(folder_ / row.backup), "1\n") << row.name;
    EXPECT_EQ(text_of(folder_ / row.name), "2\n") << row.name;
  }
}

TEST_F(RotatingFileTest, LocalTime) {
  const char* const before = ::getenv("TZ");
  const std::string zone = before == nullptr ? "" : before;
  ::setenv("TZ", "EST5", 1);
  ::tzset();
  {
    const auto file = open({.bytes_max = 2, .age_max = kDay, .local_time = true});
    file->write("1\n");
    file->write("2\n");
    file->settle();
    EXPECT_EQ(names(), (Names{"etcd-2026-11-25T06-22-33.444.log", "etcd.log"}));
    // Its name, read as UTC, would make it older than a day by now.
    advance(kDay - 1h);
    file->write("3\n");
    file->settle();
    EXPECT_EQ(names(), (Names{"etcd-2026-11-25T06-22-33.444.log", "etcd-2026-11-26T05-22-33.444.log", "etcd.log"}));
    advance(2h);
    file->write("4\n");
    file->settle();
    EXPECT_EQ(names(), (Names{"etcd-2026-11-26T05-22-33.444.log", "etcd-2026-11-26T07-22-33.444.log", "etcd.log"}));
  }
  if (before == nullptr) {
    ::unsetenv("TZ");
  } else {
    ::setenv("TZ", zone.c_str(), 1);
  }
  ::tzset();
}

TEST_F(RotatingFileTest, OnlyTheNewestAreKept) {
  const auto file = open({.bytes_max = 2, .backups_max = 2});
  for (const char* line : {"1\n", "2\n", "3\n", "4\n", "5\n"}) {
    file->write(line);
    file->settle();
    advance(1s);
  }
  EXPECT_EQ(names(), (Names{"etcd-2026-11-25T11-22-36.444.log", "etcd-2026-11-25T11-22-37.444.log", "etcd.log"}));
  EXPECT_EQ(text_of(folder_ / "etcd-2026-11-25T11-22-36.444.log"), "3\n");
  EXPECT_EQ(text_of(folder_ / "etcd-2026-11-25T11-22-37.444.log"), "4\n");
}

TEST_F(RotatingFileTest, WhatIsTooOldGoes) {
  const auto file = open({.bytes_max = 2, .age_max = 2 * kDay});
  for (const char* line : {"1\n", "2\n", "3\n", "4\n"}) {
    file->write(line);
    file->settle();
    advance(kDay);
  }
  // Set aside on the 26th, 27th and 28th; it was the 28th when somebody last looked.
  EXPECT_EQ(names(), (Names{"etcd-2026-11-26T11-22-33.444.log", "etcd-2026-11-27T11-22-33.444.log",
                            "etcd-2026-11-28T11-22-33.444.log", "etcd.log"}));
  file->write("5\n");
  file->settle();
  EXPECT_EQ(names(), (Names{"etcd-2026-11-27T11-22-33.444.log", "etcd-2026-11-28T11-22-33.444.log",
                            "etcd-2026-11-29T11-22-33.444.log", "etcd.log"}));
}

TEST_F(RotatingFileTest, OnlyFilesOfThisLogAreRemoved) {
  const Names others = {"etcd-2020-01-01T00-00-00.000.txt",
                        "etcd-2020-01-01T00-00-00.000.log.gz.part",
                        "etcd-2020-01-01.log",
                        "etcd-2020-01-01T00:00:00.000.log",
                        "other-2020-01-01T00-00-00.000.log",
                        "etcd-x-2020-01-01T00-00-00.000.log",
                        "etcd-9999-01-01T00-00-00.000.log",
                        "etcd.log.1"};
  for (const std::string& name : others) put(name, "kept");
  put("etcd-2020-01-01T00-00-00.000.log", "goes");
  put("etcd-2020-01-02T00-00-00.000.log.gz", "goes");
  const auto file = open({.age_max = kDay});
  file->settle();
  Names expected = others;
  expected.emplace_back("etcd.log");
  std::ranges::sort(expected);
  EXPECT_EQ(names(), expected);
}

TEST_F(RotatingFileTest, Compression) {
  const auto file = open({.bytes_max = 300'000, .compress = true});
  std::string long_line(250'000, 'a');
  for (std::size_t place = 0; place < long_line.size(); ++place) long_line[place] = static_cast<char>('a' + place % 23);
  long_line += '\n';
  file->write(long_line);
  file->write(long_line);
  file->settle();
  EXPECT_EQ(names(), (Names{"etcd-2026-11-25T11-22-33.444.log.gz", "etcd.log"}));
  EXPECT_EQ(gunzipped(folder_ / "etcd-2026-11-25T11-22-33.444.log.gz"), long_line);
  EXPECT_EQ(text_of(folder_ / "etcd.log"), long_line);
}

TEST_F(RotatingFileTest, CompressedFilesCountToo) {
  const auto file = open({.bytes_max = 2, .backups_max = 1, .compress = true});
  for (const char* line : {"1\n", "2\n", "3\n"}) {
    file->write(line);
    file->settle();
    advance(1s);
  }
  EXPECT_EQ(names(), (Names{"etcd-2026-11-25T11-22-35.444.log.gz", "etcd.log"}));
  EXPECT_EQ(gunzipped(folder_ / "etcd-2026-11-25T11-22-35.444.log.gz"), "2\n");
}

TEST_F(RotatingFileTest, WhatAnEarlierRunLeftIsFinished) {
  put("etcd-2026-11-24T00-00-00.000.log", "whole\n");
  put("etcd-2026-11-24T00-00-00.000.log.gz", "cut short");
  put("etcd-2026-11-23T00-00-00.000.log", "older\n");
  const auto file = open({.compress = true});
  file->settle();
  EXPECT_EQ(names(), (Names{"etcd-2026-11-23T00-00-00.000.log.gz", "etcd-2026-11-24T00-00-00.000.log.gz", "etcd.log"}));
  EXPECT_EQ(gunzipped(folder_ / "etcd-2026-11-24T00-00-00.000.log.gz"), "whole\n");
  EXPECT_EQ(gunzipped(folder_ / "etcd-2026-11-23T00-00-00.000.log.gz"), "older\n");
}

TEST_F(RotatingFileTest, NoLineIsLostWhenTheFileCannotBeSetAside) {
  // The folder is gone from under the open file: neither can it be renamed, nor a new one be made.
  const fs::path away = folder_.string() + "_away";
  const auto file = open({.bytes_max = 10}, "deep/etcd.log");
  file->write("12345678\n");
  fs::rename(folder_ / "deep", away);
  for (int line = 0; line < 3; ++line) file->write("12345678\n");
  EXPECT_EQ(text_of(away / "etcd.log"), "12345678\n12345678\n12345678\n12345678\n");
  // Once it can be, it is.
  fs::rename(away, folder_ / "deep");
  file->write("after\n");
  EXPECT_EQ(text_of(folder_ / "deep/etcd-2026-11-25T11-22-33.444.log"), "12345678\n12345678\n12345678\n12345678\n");
  EXPECT_EQ(text_of(folder_ / "deep/etcd.log"), "after\n");
}

TEST_F(RotatingFileTest, AFileThatSomebodyRemovedIsMadeAnew) {
  const auto file = open({.bytes_max = 2});
  file->write("1\n");
  fs::remove(folder_ / "etcd.log");
  file->write("2\n");
  EXPECT_EQ(names(), Names{"etcd.log"});
  EXPECT_EQ(text_of(folder_ / "etcd.log"), "2\n");
}

TEST_F(RotatingFileTest, LinesOfManyThreadsAreAllThere) {
  constexpr int kThreads = 4;
  constexpr int kLines = 500;
  {
    const auto file = open({.bytes_max = 1000, .compress = true});
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&file, thread] {
        for (int line = 0; line < kLines; ++line) file->write(std::to_string(thread * kLines + line) + "\n");
      });
    }
    for (std::thread& thread : threads) thread.join();
    file->settle();
  }
  std::vector<int> seen;
  for (const std::string& name : names()) {
    const std::string text = name.ends_with(".gz") ? gunzipped(folder_ / name) : text_of(folder_ / name);
    EXPECT_LE(text.size(), 1000u) << name;
    for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) seen.push_back(std::stoi(text.substr(at)));
  }
  std::ranges::sort(seen);
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(kThreads * kLines));
  for (int number = 0; number < kThreads * kLines; ++number) EXPECT_EQ(seen[static_cast<std::size_t>(number)], number);
}

TEST_F(RotatingFileTest, WhatCannotBeOpenedIsSaid) {
  put("file", "");
  const auto wall = [] { return WallTime{}; };
  const auto opened = RotatingFile::open((folder_ / "file/etcd.log").string(), {}, wall);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::kIo);
  EXPECT_NE(opened.error().message.find("file/etcd.log"), std::string::npos) << opened.error().message;
}

TEST_F(RotatingFileTest, APipeIsNeverSetAside) {
  const std::string path = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  const auto file = open({.bytes_max = 2}, "pipe");
  for (const char* line : {"1234\n", "5678\n"}) file->write(line);
  std::array<char, 100> piped{};
  EXPECT_EQ(::read(reader, piped.data(), piped.size()), 10);
  EXPECT_STREQ(piped.data(), "1234\n5678\n");
  EXPECT_EQ(names(), Names{"pipe"});
  ::close(reader);
}

}  // namespace
}  // namespace etcd::telemetry
