#include "config/help.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "config/flags.h"

namespace etcd::config {
namespace {

struct Heading {
  Group group;
  std::string_view text;
};

constexpr std::array<Heading, 9> kHeadings = {{
    {Group::kMember, "Member"},
    {Group::kClustering, "Clustering"},
    {Group::kSecurity, "Security"},
    {Group::kAuth, "Auth"},
    {Group::kMonitoring, "Monitoring and logging"},
    {Group::kProfiling, "Profiling"},
    {Group::kTuning, "Tuning"},
    {Group::kUnsafe, "Unsafe and others"},
    {Group::kEtcd04, "From etcd 0.4"},
}};

}  // namespace

std::string usage_text() {
  return "Usage:\n"
         "  etcd [flags]               Runs a member.\n"
         "  etcd --config-file FILE    Runs a member as the file says; other flags and ETCD_ variables are ignored.\n"
         "  etcd --version             Prints the version.\n"
         "  etcd -h | --help           Explains every flag.\n";
}

std::string help_text() {
  std::string text =
      "A flag may start with one dash or two; its value follows behind = or as the next argument. Each flag can be\n"
      "given as a variable instead: ETCD_ and its name in upper case, with _ for -.\n";
  for (const Heading& heading : kHeadings) {
    text += fmt::format("\n{}:\n", heading.text);
    for (const Flag& flag : all_flags()) {
      if (flag.group != heading.group) continue;
      if (flag.set == nullptr) {
        text += fmt::format("  --{}\n", flag.name);
      } else {
        text += fmt::format("  --{} '{}'\n", flag.name, flag.default_text);
      }
      text += fmt::format("    {}\n", flag.help);
    }
  }
  return text;
}

std::string version_text(const VersionInfo& info) {
  return fmt::format("etcd Version: {}\nGit SHA: {}\nGo Version: {}\nGo OS/Arch: {}\n", info.version, info.git_sha,
                     info.go_version, info.platform);
}

}  // namespace etcd::config
