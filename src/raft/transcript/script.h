// raft/transcript/script.h - a text-driven test: commands with the output expected of each.
//
//     # a comment
//     propose-conf-change 1 transition=explicit      verb, then arguments: words, key=value or key=(value,value)
//     v3 l4                                          further lines: the body
//     ----
//     ok                                             expected output, up to the next empty line
//
// Output that has empty lines itself stands between two pairs of "----" lines.
//
// Thread:  any (functions on values).
// Source:  github.com/cockroachdb/datadriven, the form that etcd-io/raft's tests are written in.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace etcd::raft::transcript {

struct Argument {
  std::string key;
  std::vector<std::string> values;  // empty for a plain word
};

struct Command {
  std::string verb;
  std::vector<Argument> arguments;
  std::string body;

  [[nodiscard]] const Argument* find(std::string_view key) const;
};

struct Block {
  std::string lead;      // what stands before it, as it is: comments and empty lines
  std::string text;      // the command's lines, as they are
  std::size_t line = 0;  // where it begins, from 1
  Command command;
  std::string expected;  // each line with its end
};

struct Script {
  std::vector<Block> blocks;
  std::string tail;  // what stands behind the last one
};

/// Errors: kInvalidArgument, naming the line.
Result<Script> parse_script(std::string_view text);

/// The script as text, with `outputs` (one per block) in the place of what was expected.
std::string print_script(const Script& script, const std::vector<std::string>& outputs);

/// Numbers as commands have them. Errors: kInvalidArgument.
Result<std::uint64_t> to_number(std::string_view text);
Result<bool> to_bool(std::string_view text);

}  // namespace etcd::raft::transcript
