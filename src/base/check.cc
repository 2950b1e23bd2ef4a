#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace etcd {

void check_failed(const char* condition, const char* file, int line, const std::string& facts) {
  std::fprintf(stderr, "CHECK failed at %s:%d: %s%s%s\n", file, line, condition, facts.empty() ? "" : ": ",
               facts.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace etcd
