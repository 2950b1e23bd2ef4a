#include "server/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace etcd::server {
namespace {

TEST(Process, StatLinesWithAnyName) {
  constexpr const char* kFields =
      " S 1 2 3 4 5 6 7 8 9 10 250 130 13 14 15 16 17 18 9000 123456 77 18446744073709551615 1 2";
  for (const char* name : {"etcd", "a b", ") S 1 (x"}) {
    const StatFields stat = parse_stat("4711 (" + std::string(name) + ")" + kFields);
    EXPECT_EQ(stat.user_ticks, 250u) << name;
    EXPECT_EQ(stat.system_ticks, 130u) << name;
    EXPECT_EQ(stat.start_ticks, 9000u) << name;
    EXPECT_EQ(stat.virtual_bytes, 123456u) << name;
    EXPECT_EQ(stat.resident_pages, 77u) << name;
  }
  for (const char* cut : {"", "4711", "4711 (etcd)", "4711 (etcd) S 1"}) {
    EXPECT_EQ(parse_stat(cut).virtual_bytes, 0u) << cut;
  }
}

TEST(Process, Netstat) {
  constexpr const char* kText =
      "TcpExt: InOctets Other\nTcpExt: 1 2\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 3 400 500\n";
  EXPECT_EQ(parse_netstat(kText, "InOctets"), 400u);
  EXPECT_EQ(parse_netstat(kText, "OutOctets"), 500u);
  EXPECT_EQ(parse_netstat(kText, "Missing"), 0u);
  EXPECT_EQ(parse_netstat("IpExt: InOctets\n", "InOctets"), 0u);
  EXPECT_EQ(parse_netstat("", "InOctets"), 0u);
}

TEST(Process, ThisOne) {
  const ProcessFigures before = read_process_figures();
  EXPECT_GT(before.resident_bytes, 100'000u);
  EXPECT_GT(before.virtual_bytes, before.resident_bytes);
  EXPECT_GT(before.start_time_seconds, 1'500'000'000.0);
  EXPECT_GE(before.descriptors_max, before.open_descriptors);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(read_process_figures().open_descriptors, before.open_descriptors + 2);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_TRUE(read_command_line().at(0).contains("test"));
}

}  // namespace
}  // namespace etcd::server
