// sim - plays lives of simulated members: `sim [--seed S] [--seeds N]`, one line for each seed that goes wrong.
//
// Exit codes: 0 when every judge was content, 1 when one was not, 2 for a malformed command line.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstring>

#include "sim/member_lives.h"

namespace {

bool parse(const char* text, std::uint64_t& number) {
  const char* const end = text + std::strlen(text);
  return std::from_chars(text, end, number) == std::from_chars_result{end, std::errc{}};
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 1;
  std::uint64_t seeds = 1000;
  for (int at = 1; at < argc; at += 2) {
    std::uint64_t* const number = std::strcmp(argv[at], "--seed") == 0    ? &seed
                                  : std::strcmp(argv[at], "--seeds") == 0 ? &seeds
                                                                          : nullptr;
    if (number == nullptr || at + 1 == argc || !parse(argv[at + 1], *number)) {
      std::fputs("usage: sim [--seed S] [--seeds N]\n", stderr);
      return 2;
    }
  }
  std::uint64_t failed = 0;
  int acknowledged = 0;
  for (std::uint64_t now = seed; now < seed + seeds; ++now) {
    if (const auto verdict = etcd::sim::live(now, {}, &acknowledged)) {
      fmt::print("seed {}: {}\n", now, *verdict);
      ++failed;
    }
  }
  fmt::print("{} acknowledged writes\n{} passed, {} failed\n", acknowledged, seeds - failed, failed);
  return failed == 0 ? 0 : 1;
}
