// etcd - the server: reads the configuration, runs one member, exits with a code (server/run.h).
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "base/version.h"
#include "config/load.h"
#include "server/run.h"

namespace {

using namespace etcd;

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return failure(ErrorCode::kIo, "open " + path + ": no such file, or not readable");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

int main(int argc, char** argv) {
  config::Sources sources;
  sources.arguments.assign(argv + 1, argv + argc);
  for (char** variable = environ; *variable != nullptr; ++variable) sources.environment.emplace_back(*variable);
  sources.machine.read_file = read_file;
  sources.version = {.version = kServerVersion, .git_sha = ETCD_GIT_SHA, .platform = "linux/amd64"};
  return server::run(config::load(sources));
}
