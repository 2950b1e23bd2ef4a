// config/outcome.h - what reading the configuration has to say: lines for the log, or an end of the process.
//
// Thread:  any (values).
//
// This room cannot log: how to log is among the things it finds out. It hands back what its caller shall log.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace etcd::config {

struct Notice {
  enum class Level : std::uint8_t { kInfo, kWarn, kFatal };

  Level level = Level::kWarn;
  std::string message = {};
  std::vector<std::pair<std::string, std::string>> fields = {};

  friend bool operator==(const Notice&, const Notice&) = default;
};

/// The process prints this and exits: help, the version, or a refusal.
struct Print {
  std::string out = {};              // for standard output
  std::string err = {};              // for standard error
  std::vector<Notice> notices = {};  // for the log, behind `err`
  int exit_code = 0;                 // 2 for a malformed command line, 1 for any other refusal
};

inline Notice info(std::string message, std::vector<std::pair<std::string, std::string>> fields = {}) {
  return Notice{Notice::Level::kInfo, std::move(message), std::move(fields)};
}
inline Notice warning(std::string message, std::vector<std::pair<std::string, std::string>> fields = {}) {
  return Notice{Notice::Level::kWarn, std::move(message), std::move(fields)};
}

/// The refusal of options that were read but make no sense, as upstream logs it.
inline Print refusal(std::string_view why) {
  return Print{.notices = {warning("failed to verify flags", {{"error", std::string(why)}})}, .exit_code = 1};
}

}  // namespace etcd::config
