// base/check.h - invariants: prints the facts and aborts, in every build.
//
// A stopped member is safe, a wrong one is not. No outside data reaches a CHECK unvalidated.
//
// Thread:  any.
#pragma once
#include <fmt/format.h>

#include <string>

namespace etcd {

/// Prints one line on standard error and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& facts);

}  // namespace etcd

/// `CHECK(match < next, "follower {}: match {} next {}", id, match, next)`; the facts may be left out.
#define CHECK(condition, ...)                                                              \
  do {                                                                                     \
    if (!(condition)) [[unlikely]]                                                         \
      ::etcd::check_failed(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)

/// As CHECK, for checks too slow for a release build.
#ifdef NDEBUG
#define DCHECK(condition, ...)       \
  do {                               \
    if (false) {                     \
      CHECK(condition, __VA_ARGS__); \
    }                                \
  } while (false)
#else
#define DCHECK(...) CHECK(__VA_ARGS__)
#endif
