#include "raft/transcript/script.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace etcd::raft::transcript {
namespace {

constexpr std::string_view kRule = "----";

std::unexpected<Error> wrong(std::size_t line, std::string_view what) {
  return failure(ErrorCode::kInvalidArgument, fmt::format("line {}: {}", line, what));
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

/// The next word of a command line; spaces within parentheses belong to it.
std::string_view take_word(std::string_view& line) {
  line = trim(line);
  std::size_t end = 0;
  int depth = 0;
  for (; end < line.size(); ++end) {
    if (line[end] == '(') ++depth;
    if (line[end] == ')') --depth;
    if (depth == 0 && (line[end] == ' ' || line[end] == '\t')) break;
  }
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

Argument parse_argument(std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) return {std::string(word), {}};
  Argument argument{std::string(word.substr(0, equals)), {}};
  std::string_view value = word.substr(equals + 1);
  if (value.size() < 2 || value.front() != '(' || value.back() != ')') {
    argument.values.emplace_back(value);
    return argument;
  }
  value = value.substr(1, value.size() - 2);
  while (!trim(value).empty()) {
    const std::size_t comma = value.find(',');
    argument.values.emplace_back(trim(value.substr(0, comma)));
    value = comma == std::string_view::npos ? std::string_view() : value.substr(comma + 1);
  }
  return argument;
}

Command parse_command(std::string_view text) {
  Command command;
  const std::size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  command.verb = take_word(line);
  for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
    command.arguments.push_back(parse_argument(word));
  }
  if (end != std::string_view::npos) command.body = trim(text.substr(end + 1));
  return command;
}

}  // namespace

const Argument* Command::find(std::string_view key) const {
  for (const Argument& argument : arguments) {
    if (argument.key == key) return &argument;
  }
  return nullptr;
}

Result<Script> parse_script(std::string_view text) {
  const std::vector<std::string_view> lines = split_lines(text);
  Script script;
  std::size_t at = 0;
  const auto put_line = [&](std::string& out) { (out += lines[at++]) += '\n'; };
  const auto is_rule = [&](std::size_t place) { return place < lines.size() && lines[place] == kRule; };

  while (true) {
    Block block;
    while (at < lines.size() && (trim(lines[at]).empty() || trim(lines[at]).front() == '#')) put_line(block.lead);
    if (at == lines.size()) {
      script.tail = std::move(block.lead);
      return script;
    }
    block.line = at + 1;
    while (at < lines.size() && !is_rule(at)) {
      if (trim(lines[at]).empty()) return wrong(at + 1, "expected a line of ---- before the empty line");
      put_line(block.text);
    }
    if (at == lines.size()) return wrong(block.line, "no line of ---- behind the command");
    ++at;
    block.command = parse_command(std::string_view(block.text).substr(0, block.text.size() - 1));
    if (is_rule(at)) {
      ++at;
      while (!(is_rule(at) && is_rule(at + 1))) {
        if (at >= lines.size()) return wrong(block.line, "no two lines of ---- behind the output");
        put_line(block.expected);
      }
      at += 2;
    } else {
      while (at < lines.size() && !trim(lines[at]).empty()) put_line(block.expected);
    }
    script.blocks.push_back(std::move(block));
  }
}

std::string print_script(const Script& script, const std::vector<std::string>& outputs) {
  std::string text;
  for (std::size_t place = 0; place < script.blocks.size(); ++place) {
    const Block& block = script.blocks[place];
    const std::string& output = outputs[place];
    const bool framed = output.starts_with('\n') || output.contains("\n\n");
    const std::string_view rule = framed ? "----\n----\n" : "----\n";
    text += fmt::format("{}{}{}{}{}", block.lead, block.text, rule, output, framed ? rule : "");
  }
  return text + script.tail;
}

Result<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
    return failure(ErrorCode::kInvalidArgument, fmt::format("not a number: {}", text));
  }
  return number;
}

Result<bool> to_bool(std::string_view text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  return failure(ErrorCode::kInvalidArgument, fmt::format("not true or false: {}", text));
}

}  // namespace etcd::raft::transcript
