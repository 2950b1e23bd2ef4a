#include "config/values.h"
#include "base/duration_text.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/feature_gates.h"

namespace etcd::config {
namespace {

template <class T>
std::string message_of(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}

TEST(Values, QuotesAsGoDoes) {
  struct Row {
    const char* name;
    std::string text;
    const char* quoted;
  };
  const Row rows[] = {
      {"plain", "abc", "\"abc\""},
      {"empty", "", "\"\""},
      {"quote and backslash", "a\"b\\c", R"("a\"b\\c")"},
      {"white space", "\t\n\r", R"("\t\n\r")"},
      {"control", std::string("\x01\x7f", 2), R"("\x01\x7f")"},
      {"beyond ASCII", "\xc3\xa9", "\"\xc3\xa9\""},
  };
  for (const Row& row : rows) EXPECT_EQ(config::quoted(row.text), row.quoted) << row.name;
}

TEST(Values, SplitKeepsEmptyParts) {
  using Parts = std::vector<std::string>;
  EXPECT_EQ(split("", ','), Parts());
  EXPECT_EQ(split("a", ','), Parts({"a"}));
  EXPECT_EQ(split("a,,b", ','), Parts({"a", "", "b"}));
  EXPECT_EQ(split(",", ','), Parts(2));
}

TEST(Values, Bools) {
  for (const char* text : {"1", "t", "T", "TRUE", "true", "True"}) EXPECT_TRUE(parse_bool(text).value()) << text;
  for (const char* text : {"0", "f", "F", "FALSE", "false", "False"}) EXPECT_FALSE(parse_bool(text).value()) << text;
  for (const char* text : {"", "yes", "tRUE", "2", " 1"})
    EXPECT_EQ(message_of(parse_bool(text)), "parse error") << text;
}

TEST(Values, Integers) {
  struct Row {
    const char* text;
    std::int64_t value;
  };
  const Row rows[] = {
      {"0", 0},
      {"100", 100},
      {"-5", -5},
      {"+5", 5},
      {"0x10", 16},
      {"0X_ff", 255},
      {"0b101", 5},
      {"0o17", 15},
      {"017", 15},
      {"1_000", 1000},
      {"9223372036854775807", 9'223'372'036'854'775'807},
      {"-9223372036854775808", -9'223'372'036'854'775'807 - 1},
  };
  for (const Row& row : rows) {
    const Result<std::int64_t> value = parse_signed(row.text);
    ASSERT_TRUE(value.has_value()) << row.text;
    EXPECT_EQ(*value, row.value) << row.text;
  }
  for (const char* text : {"", "-", "abc", "1.5", "08", "1__0", "_1", "1_", "0x", "--1", "1 ", "+-1"}) {
    EXPECT_EQ(message_of(parse_signed(text)), "parse error") << text;
  }
  EXPECT_EQ(message_of(parse_signed("9223372036854775808")), "value out of range");
  EXPECT_EQ(parse_unsigned("18446744073709551615").value(), 18'446'744'073'709'551'615u);
  EXPECT_EQ(message_of(parse_unsigned("18446744073709551616")), "value out of range");
  EXPECT_EQ(message_of(parse_unsigned("-1")), "parse error");
}

TEST(Values, Durations) {
  struct Row {
    const char* text;
    Duration duration;
  };
  const Row rows[] = {
      {"0", 0s},
      {"-0", 0s},
      {"5s", 5s},
      {"1h2m3.5s", 1h + 2min + 3500ms},
      {"-1.5h", -90min},
      {"+5s", 5s},
      {"300ms", 300ms},
      {".5s", 500ms},
      {"5.s", 5s},
      {"1us", 1us},
      {"1\xc2\xb5s", 1us},
      {"1\xce\xbcs", 1us},
      {"100ns", 100ns},
      {"0.1ns", 0s},
      {"2540400h10m10.000000000s", 2540400h + 10min + 10s},
      {"-9223372036854775808ns", Duration::min()},
      {"9223372036854775807ns", Duration::max()},
  };
  for (const Row& row : rows) {
    const Result<Duration> duration = parse_duration(row.text);
    ASSERT_TRUE(duration.has_value()) << row.text;
    EXPECT_EQ(duration->count(), row.duration.count()) << row.text;
  }
  struct Bad {
    const char* text;
    const char* message;
  };
  const Bad bad[] = {
      {"", "time: invalid duration \"\""},
      {"-", "time: invalid duration \"-\""},
      {"abc", "time: invalid duration \"abc\""},
      {".s", "time: invalid duration \".s\""},
      {"5", "time: missing unit in duration \"5\""},
      {"1s5", "time: missing unit in duration \"1s5\""},
      {"5d", "time: unknown unit \"d\" in duration \"5d\""},
      {"9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""},
      {"3000000h", "time: invalid duration \"3000000h\""},
      {"99999999999999999999s", "time: invalid duration \"99999999999999999999s\""},
  };
  for (const Bad& row : bad) EXPECT_EQ(message_of(parse_duration(row.text)), row.message) << row.text;
}

TEST(Values, DurationsArePrintedAsGoDoes) {
  struct Row {
    Duration duration;
    const char* text;
  };
  const Row rows[] = {
      {0s, "0s"},        {-1s, "-1s"},   {1500us, "1.5ms"}, {1ns, "1ns"},
      {1100ns, "1.1µs"}, {1min, "1m0s"}, {2h, "2h0m0s"},    {1h + 2min + 3500ms, "1h2m3.5s"},
  };
  for (const Row& row : rows) EXPECT_EQ(duration_text(row.duration), row.text);
}

TEST(Values, Seconds) {
  EXPECT_EQ(parse_seconds("1800").value().count(), Duration(1800s).count());
  EXPECT_EQ(parse_seconds("2.5").value().count(), Duration(2500ms).count());
  for (const char* text : {"", "x", "-1", "nan", "inf", "1s", "1e300"}) {
    EXPECT_EQ(message_of(parse_seconds(text)), "parse error") << text;
  }
}

TEST(FeatureGates, ByNameThenByGroupThenByDefault) {
  FeatureGates gates;
  EXPECT_FALSE(gates.enabled("LeaseCheckpoint"));
  EXPECT_TRUE(gates.enabled("FastLeaseKeepAlive"));

  ASSERT_TRUE(gates.set("AllAlpha=true, InitialCorruptCheck=false").has_value());
  EXPECT_TRUE(gates.enabled("LeaseCheckpoint"));
  EXPECT_FALSE(gates.enabled("InitialCorruptCheck"));
  EXPECT_TRUE(gates.enabled("FastLeaseKeepAlive"));

  ASSERT_TRUE(gates.set("AllBeta=false").has_value());
  EXPECT_FALSE(gates.enabled("FastLeaseKeepAlive"));
  EXPECT_TRUE(gates.enabled("LeaseCheckpoint"));
}

TEST(FeatureGates, StatesOfAllAndOfTheGroups) {
  FeatureGates gates;
  ASSERT_TRUE(gates.set("AllAlpha=true,LeaseCheckpoint=false,FastLeaseKeepAlive=false").has_value());
  std::map<std::string_view, FeatureGates::State> states;
  for (const FeatureGates::State& state : gates.states()) states.emplace(state.name, state);
  EXPECT_EQ(states.size(), 11u);
  EXPECT_TRUE(states.at("AllAlpha").on);
  EXPECT_FALSE(states.at("AllBeta").on);
  EXPECT_TRUE(states.at("PriorityRequest").on);
  EXPECT_EQ(states.at("PriorityRequest").stage, "ALPHA");
  EXPECT_FALSE(states.at("LeaseCheckpoint").on);
  EXPECT_TRUE(states.at("TxnModeWriteWithSharedBuffer").on);
  EXPECT_EQ(states.at("TxnModeWriteWithSharedBuffer").stage, "BETA");
  EXPECT_FALSE(states.at("FastLeaseKeepAlive").on);
}

TEST(FeatureGates, BadTextChangesNothing) {
  struct Row {
    const char* text;
    const char* message;
  };
  const Row rows[] = {
      {"Foo=true", "unrecognized feature gate: Foo"},
      {"LeaseCheckpoint", "missing bool value for LeaseCheckpoint"},
      {"LeaseCheckpoint=true,LeaseCheckpointPersist=maybe",
       "invalid value of LeaseCheckpointPersist=maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax"},
      {"Foo=true,LeaseCheckpoint=x",
       "invalid value of LeaseCheckpoint=x, err: strconv.ParseBool: parsing \"x\": invalid syntax"},
  };
  for (const Row& row : rows) {
    FeatureGates gates;
    EXPECT_EQ(message_of(gates.set(row.text)), row.message);
    EXPECT_EQ(gates, FeatureGates()) << row.text;
  }
}

}  // namespace
}  // namespace etcd::config
