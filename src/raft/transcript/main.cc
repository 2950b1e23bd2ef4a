// raft_transcripts FILE|DIR... - plays text-driven tests against the raft core and compares by letter.
//
//     --rewrite   writes what was printed into the files instead of comparing
//
// Prints a line per file, PASS or FAIL with its name, and for a failure what differs; at the end the counts. Exits with
// 0 when all passed, 1 on a difference, 2 on a file that cannot be read, 77 when none of the paths exists (ctest:
// skipped).
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "raft/transcript/arithmetic.h"
#include "raft/transcript/interaction.h"
#include "raft/transcript/script.h"

namespace etcd::raft::transcript {
namespace {

namespace fs = std::filesystem;

constexpr int kExitFailed = 1;
constexpr int kExitUnreadable = 2;
constexpr int kExitSkipped = 77;

/// Plays one file's commands; each file starts afresh.
class Player {
 public:
  std::string play(const Command& command) {
    std::string output = dispatch(command);
    if (!output.empty() && output.back() != '\n') output += '\n';
    return output;
  }

 private:
  std::string dispatch(const Command& command) {
    const std::string& verb = command.verb;
    if (verb == "committed" || verb == "vote") return play_quorum(command);
    if (verb == "simple" || verb == "enter-joint" || verb == "leave-joint") return conf_changes_.play(command);
    return interaction_.handle(command);
  }

  ConfChanges conf_changes_;
  Interaction interaction_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

/// The lines that differ, between what is alike at both ends.
std::string difference(const std::string& expected, const std::string& actual) {
  const std::vector<std::string> left = lines_of(expected);
  const std::vector<std::string> right = lines_of(actual);
  std::size_t begin = 0;
  while (begin < std::min(left.size(), right.size()) && left[begin] == right[begin]) ++begin;
  std::size_t end = 0;
  while (end < std::min(left.size(), right.size()) - begin &&
         left[left.size() - 1 - end] == right[right.size() - 1 - end]) {
    ++end;
  }
  constexpr std::size_t kContext = 3;
  std::string text;
  const auto put = [&](char mark, const std::vector<std::string>& lines, std::size_t from, std::size_t to) {
    for (; from < to; ++from) text += fmt::format("    {} {}\n", mark, lines[from]);
  };
  put(' ', left, begin - std::min(begin, kContext), begin);
  put('-', left, begin, left.size() - end);
  put('+', right, begin, right.size() - end);
  put(' ', left, left.size() - end, left.size() - end + std::min(end, kContext));
  return text;
}

enum class Outcome { kPassed, kDiffers, kUnreadable };

Outcome play_file(const fs::path& path, bool rewrite) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) {
    fmt::print("FAIL {}\n    cannot be read\n", path.string());
    return Outcome::kUnreadable;
  }
  const auto script = parse_script(text);
  if (!script.has_value()) {
    fmt::print("FAIL {}\n    {}\n", path.string(), script.error().message);
    return Outcome::kUnreadable;
  }
  Player player;
  std::vector<std::string> outputs;
  std::string differences;
  for (const Block& block : script->blocks) {
    outputs.push_back(player.play(block.command));
    if (outputs.back() == block.expected) continue;
    differences +=
        fmt::format("  {}:{}: {}{}", path.string(), block.line, block.text, difference(block.expected, outputs.back()));
  }
  if (rewrite && !differences.empty()) {
    std::ofstream(path, std::ios::binary) << print_script(*script, outputs);
    fmt::print("REWRITTEN {}\n", path.string());
    return Outcome::kPassed;
  }
  fmt::print("{} {}\n{}", differences.empty() ? "PASS" : "FAIL", path.string(), differences);
  return differences.empty() ? Outcome::kPassed : Outcome::kDiffers;
}

int run(const std::vector<std::string>& arguments) {
  bool rewrite = false;
  std::vector<fs::path> files;
  std::vector<std::string> absent;
  std::size_t named = 0;
  for (const std::string& argument : arguments) {
    if (argument == "--rewrite") {
      rewrite = true;
      continue;
    }
    ++named;
    std::error_code error;
    if (!fs::exists(argument, error)) {
      absent.push_back(argument);
    } else if (fs::is_directory(argument, error)) {
      std::vector<fs::path> found;
      for (const fs::directory_entry& entry : fs::recursive_directory_iterator(argument, error)) {
        if (entry.is_regular_file() && entry.path().extension() == ".txt") found.push_back(entry.path());
      }
      std::sort(found.begin(), found.end());
      files.insert(files.end(), found.begin(), found.end());
    } else {
      files.emplace_back(argument);
    }
  }
  if (named == 0) {
    fmt::print("usage: raft_transcripts [--rewrite] FILE|DIR...\n");
    return kExitUnreadable;
  }
  if (absent.size() == named) {
    fmt::print("skipped: {} not there\n", fmt::join(absent, ", "));
    return kExitSkipped;
  }
  std::size_t passed = 0;
  std::size_t failed = absent.size();
  int code = absent.empty() ? 0 : kExitUnreadable;
  for (const std::string& path : absent) fmt::print("FAIL {}\n    not there\n", path);
  for (const fs::path& path : files) {
    const Outcome outcome = play_file(path, rewrite);
    ++(outcome == Outcome::kPassed ? passed : failed);
    if (outcome == Outcome::kDiffers) code = std::max(code, kExitFailed);
    if (outcome == Outcome::kUnreadable) code = kExitUnreadable;
  }
  fmt::print("{} passed, {} failed\n", passed, failed);
  return code;
}

}  // namespace
}  // namespace etcd::raft::transcript

int main(int argc, char** argv) {
  return etcd::raft::transcript::run(std::vector<std::string>(argv + 1, argv + argc));
}
