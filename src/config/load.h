// config/load.h - the way in: arguments, environment and file become one checked set of options, or an end.
//
//   flags -> stray argument -> --version -> file, else environment -> settle -> check -> Run
//     |exit 2     |exit 1        |exit 0          |exit 1           |exit 1   |exit 1, or 2 for a bad log level
//
// Thread:  any; reads files only through the function that it is given.
// Source:  the order of etcd v3.7.1 server/etcdmain/config.go.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "config/help.h"
#include "config/options.h"
#include "config/outcome.h"
#include "config/settle.h"

namespace etcd::config {

struct Sources {
  std::vector<std::string> arguments = {};    // without the program's name
  std::vector<std::string> environment = {};  // NAME=value
  Machine machine = {};
  VersionInfo version = {};
};

/// Go on with these options.
struct Run {
  Options options = {};
  std::string err = {};              // lines for standard error
  std::vector<Notice> notices = {};  // lines for the log, once there is one
};

using LoadResult = std::variant<Run, Print>;

LoadResult load(const Sources& sources);

}  // namespace etcd::config
