#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rng.h"

namespace etcd {
namespace {

// Check values: RFC 3720 appendix B.4 and the CRC catalogue's "123456789".
TEST(Crc32c, KnownValues) {
  struct Row {
    const char* name;
    Bytes bytes;
    std::uint32_t crc;
  };
  Bytes ascending;
  for (int byte = 0; byte < 32; ++byte) ascending.push_back(static_cast<char>(byte));
  const Row rows[] = {
      {"empty", "", 0},
      {"digits", "123456789", 0xE3069283u},
      {"32 zeros", Bytes(32, '\0'), 0x8A9136AAu},
      {"32 ones", Bytes(32, '\xff'), 0x62A8AB43u},
      {"ascending", ascending, 0x46DD794Eu},
      {"the word key", "key", 1084519789u},  // upstream's HashKV of an empty store
  };
  for (const Row& row : rows) {
    EXPECT_EQ(crc32c(row.bytes), row.crc) << row.name;
    EXPECT_EQ(crc32c_portable(0, row.bytes), row.crc) << row.name;
  }
}

TEST(Crc32c, RunningEqualsWholeAtEveryCut) {
  Rng rng(7);
  Bytes bytes;
  for (int count = 0; count < 100; ++count) bytes.push_back(static_cast<char>(rng.next()));
  const std::uint32_t whole = crc32c(bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(crc32c(crc32c(BytesView(bytes).substr(0, cut)), BytesView(bytes).substr(cut)), whole) << cut;
    EXPECT_EQ(crc32c_portable(crc32c(BytesView(bytes).substr(0, cut)), BytesView(bytes).substr(cut)), whole) << cut;
  }
}

TEST(Rng, SameSeedSameNumbersAndBounds) {
  Rng one(42), two(42), other(43);
  bool differs = false;
  for (int count = 0; count < 1000; ++count) {
    const std::uint64_t number = one.next();
    EXPECT_EQ(number, two.next());
    differs |= number != other.next();
  }
  EXPECT_TRUE(differs);
  bool seen[10] = {};
  for (int count = 0; count < 1000; ++count) {
    const std::uint64_t number = one.below(10);
    ASSERT_LT(number, 10u);
    seen[number] = true;
  }
  for (const bool hit : seen) EXPECT_TRUE(hit);
  EXPECT_EQ(one.below(0), 0u);
}

Result<int> half(int number) {
  if (number % 2 != 0) return failure(ErrorCode::kInvalidArgument, fmt::format("{} is odd", number));
  return number / 2;
}

Result<int> quarter(int number) {
  ETCD_TRY(const int halved, half(number));
  ETCD_TRY_VOID(half(halved));
  return half(halved);
}

TEST(Result, TryHandsTheErrorUp) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(3).error().message, "3 is odd");
  EXPECT_EQ(quarter(6).error().message, "3 is odd");
  EXPECT_EQ(name_of(quarter(6).error().code), "invalid-argument");
}

TEST(SharedBytes, SharesAndCompares) {
  const SharedBytes bytes(Bytes(1000, 'x'));
  const SharedBytes copy = bytes;
  EXPECT_EQ(copy.view().data(), bytes.view().data());
  EXPECT_EQ(copy, SharedBytes(Bytes(1000, 'x')));
  EXPECT_TRUE(SharedBytes(Bytes()).empty());
  EXPECT_EQ(SharedBytes(), SharedBytes(Bytes()));
}

TEST(CheckDeathTest, PrintsTheFacts) {
  EXPECT_DEATH(CHECK(1 > 2, "match {} next {}", 7, 5), "1 > 2: match 7 next 5");
  CHECK(2 > 1);
}

}  // namespace
}  // namespace etcd
