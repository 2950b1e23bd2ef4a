#include "telemetry/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "telemetry/captured_log.h"

namespace etcd::telemetry {
namespace {

// The part of a JSON line behind the message: its fields and the closing brace.
std::string fields_of(const std::vector<Field>& fields) {
  const CapturedLog log;
  log.logger().log_span(Level::kInfo, "m", fields);
  const std::string line = log.lines().at(0);
  return line.substr(line.find(R"("msg":"m")") + 9);
}

TEST(Log, JsonLineHasUpstreamsShape) {
  const CapturedLog log;
  const Logger logger = log.logger({}, [] { return WallTime{1'795'594'585'123'456'789}; });
  logger.info("ready to serve client requests", {field("name", "default")});
  const int line = __LINE__ - 1;
  ASSERT_EQ(log.lines().size(), 1u);
  EXPECT_EQ(log.lines()[0], R"({"level":"info","ts":"2026-11-25T08:16:25.123456Z","caller":"telemetry/log_test.cc:)" +
                                std::to_string(line) + R"(","msg":"ready to serve client requests","name":"default"})");
}

TEST(Log, ConsoleLineIsSeparatedByTabs) {
  const CapturedLog log;
  const Logger logger = log.logger({.level = Level::kInfo, .format = Format::kConsole});
  logger.warn("a \"quote\"\nand more", {field("a", 1), field("b", "x\ty")});
  logger.error("bare");
  ASSERT_EQ(log.lines().size(), 2u);
  const std::string line = log.lines()[0];
  EXPECT_TRUE(line.starts_with("1970-01-01T00:00:00.000000Z\twarn\ttelemetry/log_test.cc:")) << line;
  EXPECT_TRUE(line.ends_with("\ta \"quote\" and more\t{\"a\": 1, \"b\": \"x\\ty\"}")) << line;
  EXPECT_TRUE(log.lines()[1].ends_with("\tbare"));
}

TEST(Log, TimesOfTheCalendar) {
  struct Row {
    const char* name;
    std::int64_t ns;
    const char* text;
  };
  const Row rows[] = {
      {"zero", 0, "1970-01-01T00:00:00.000000Z"},
      {"just before zero", -1, "1969-12-31T23:59:59.999999Z"},
      {"leap day", 1'709'164'800'000'000'000, "2024-02-29T00:00:00.000000Z"},
      {"last microsecond of a day", 86'399'999'999'999, "1970-01-01T23:59:59.999999Z"},
  };
  for (const Row& row : rows) {
    const CapturedLog log;
    log.logger({}, [&row] { return WallTime{row.ns}; }).info("m");
    EXPECT_TRUE(log.contains(row.text)) << row.name << ": " << log.lines()[0];
  }
}

TEST(Log, FieldsByType) {
  struct Row {
    const char* name;
    Field field;
    const char* text;
  };
  const std::string owned = "owned";
  const std::vector<std::string> list = {"http://a:1", "b\"c"};
  const std::vector<std::string> nothing;
  const Row rows[] = {
      {"literal", field("k", "v"), R"(,"k":"v"})"},
      {"string", field("k", owned), R"(,"k":"owned"})"},
      {"view", field("k", std::string_view("v")), R"(,"k":"v"})"},
      {"int", field("k", -5), R"(,"k":-5})"},
      {"smallest", field("k", std::numeric_limits<std::int64_t>::min()), R"(,"k":-9223372036854775808})"},
      {"largest", field("k", std::numeric_limits<std::uint64_t>::max()), R"(,"k":18446744073709551615})"},
      {"true", field("k", true), R"(,"k":true})"},
      {"false", field("k", false), R"(,"k":false})"},
      {"term", field("k", Term{7}), R"(,"k":7})"},
      {"hex", field("k", hex(0x8e9e05c52164694d)), R"(,"k":"8e9e05c52164694d"})"},
      {"short hex", field("k", hex(10)), R"(,"k":"a"})"},
      {"list", field("k", list), R"(,"k":["http://a:1","b\"c"]})"},
      {"empty list", field("k", nothing), R"(,"k":[]})"},
      {"escaped key", field("a\nb", 1), R"(,"a\nb":1})"},
  };
  for (const Row& row : rows) EXPECT_EQ(fields_of({row.field}), row.text) << row.name;
  EXPECT_EQ(fields_of({}), "}");
  EXPECT_EQ(fields_of({field("a", 1), field("b", "c")}), R"(,"a":1,"b":"c"})");
}

TEST(Log, DurationsAsGoWritesThem) {
  struct Row {
    Duration duration;
    const char* text;
  };
  const Row rows[] = {
      {0s, "0s"},
      {1ns, "1ns"},
      {1500ns, "1.5µs"},
      {100ms, "100ms"},
      {1234567ns, "1.234567ms"},
      {1s, "1s"},
      {1500ms, "1.5s"},
      {1s + 1ns, "1.000000001s"},
      {90s, "1m30s"},
      {1h, "1h0m0s"},
      {26h + 3min + 4s + 5ms, "26h3m4.005s"},
      {-2s, "-2s"},
      {Duration::min(), "-2562047h47m16.854775808s"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(fields_of({field("k", row.duration)}), std::string(",\"k\":\"") + row.text + "\"}") << row.text;
  }
}

TEST(Log, TextIsEscaped) {
  struct Row {
    const char* name;
    std::string text;
    const char* json;
  };
  const Row rows[] = {
      {"quote and backslash", "\"\\", R"("\"\\")"},
      {"white space", "a\nb\rc\td", R"("a\nb\rc\td")"},
      {"control", std::string("\x01\x1f\0", 3), R"("\u0001\u001f\u0000")"},
      {"delete is plain", "\x7f", "\"\x7f\""},
      {"two bytes", "\xc3\xa9", "\"\xc3\xa9\""},
      {"three bytes", "\xe2\x82\xac", "\"\xe2\x82\xac\""},
      {"four bytes", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
      {"lone continuation", "a\x80z", R"("a\ufffdz")"},
      {"overlong", "\xc0\xaf", R"("\ufffd\ufffd")"},
      {"surrogate", "\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},
      {"beyond the last", "\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},
      {"cut short", "\xe2\x82", R"("\ufffd\ufffd")"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(fields_of({field("k", row.text)}), std::string(",\"k\":") + row.json + "}") << row.name;
  }
}

TEST(Log, LevelsAreFilteredAndNamed) {
  const CapturedLog log;
  const Logger logger = log.logger({.level = Level::kWarn, .format = Format::kJson});
  logger.debug("no");
  logger.info("no");
  logger.warn("yes");
  logger.error("yes");
  logger.panic("yes");
  logger.fatal("yes");
  EXPECT_EQ(log.count("\"msg\":\"yes\""), 4u);
  EXPECT_EQ(log.count("no"), 0u);
  EXPECT_FALSE(logger.enabled(Level::kInfo));
  EXPECT_TRUE(logger.enabled(Level::kWarn));
  for (const Level level : {Level::kDebug, Level::kInfo, Level::kWarn, Level::kError, Level::kPanic, Level::kFatal}) {
    EXPECT_EQ(level_named(name_of(level)), level);
  }
  EXPECT_EQ(level_named("loud"), std::nullopt);
  EXPECT_EQ(level_named("off"), std::nullopt);
}

TEST(Log, NullLoggerDropsAll) {
  const Logger logger;
  EXPECT_FALSE(logger.enabled(Level::kFatal));
  logger.fatal("nobody hears this");
  logger.log(Level::kOff, "nor this");
}

TEST(Log, CopiesShareTheirSinks) {
  const CapturedLog log;
  const Logger one = log.logger();
  const Logger two = one;  // NOLINT: the copy is what is tested
  one.info("first");
  two.info("second");
  EXPECT_EQ(log.lines().size(), 2u);
}

TEST(Log, FileSinkKeepsLinesOfManyThreadsWhole) {
  const std::string path = testing::TempDir() + "etcd_log_test_" + std::to_string(::getpid());
  std::remove(path.c_str());
  {
    const Result<std::shared_ptr<Sink>> sink = file_sink(path);
    ASSERT_TRUE(sink.has_value()) << sink.error().message;
    const Logger logger({}, {*sink}, [] { return WallTime{}; });
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([logger, thread] {
        for (int round = 0; round < 200; ++round) logger.info("line", {field("thread", thread), field("round", round)});
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  std::ifstream file(path);
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    EXPECT_TRUE(line.starts_with("{\"level\":\"info\"") && line.ends_with("}")) << line;
  }
  EXPECT_EQ(count, 800);
  std::remove(path.c_str());

  EXPECT_EQ(file_sink("/no/such/folder/log").error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace etcd::telemetry
