// config/help.h - what --help, --version and a malformed command line print.
//
// Thread:  any (pure functions).
#pragma once
#include <string>

namespace etcd::config {

/// A few lines on how to call the program; standard error gets them.
std::string usage_text();

/// Every flag by group, with its default and what it means; standard output gets them.
std::string help_text();

struct VersionInfo {
  std::string version = {};                         // "3.7.1"
  std::string git_sha = {};                         // short
  std::string go_version = "none (C++23, GCC 12)";  // scripts expect the line, so it says what there is instead
  std::string platform = {};                        // "linux/amd64"
};

/// Source: the four lines of etcd v3.7.1 server/etcdmain/config.go.
std::string version_text(const VersionInfo& info);

}  // namespace etcd::config
