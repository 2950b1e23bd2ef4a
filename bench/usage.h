// bench/usage.h - what a server spends: CPU time, sleeps and memory, read from /proc.
#pragma once
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

namespace etcd::bench {

struct Usage {
  std::uint64_t scheduled_ns = 0;  // on a processor, to the nanosecond; ended threads are missing
  std::uint64_t ticks_ns = 0;      // the same in clock ticks of 10 ms, ended threads included
  std::uint64_t switches = 0;      // voluntary ones: a thread went to sleep
  std::uint64_t anon_kb = 0;       // RssAnon: memory of its own that is in use
};

/// What lies between two looks.
struct Spent {
  std::uint64_t cpu_ns = 0;
  bool fine = false;  // to the nanosecond rather than in ticks
  std::uint64_t switches = 0;

  Spent& operator+=(const Spent& more) {
    cpu_ns += more.cpu_ns;
    fine = more.fine;
    switches += more.switches;
    return *this;
  }
};

inline Spent spent_between(const Usage& before, const Usage& after) {
  // Some kernels keep no times of the scheduler; clock ticks are always there.
  const bool fine = after.scheduled_ns > before.scheduled_ns;
  return {.cpu_ns = fine ? after.scheduled_ns - before.scheduled_ns : after.ticks_ns - before.ticks_ns,
          .fine = fine,
          .switches = after.switches > before.switches ? after.switches - before.switches : 0};
}

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The first whole number of `text`; 0 when there is none.
inline std::uint64_t leading_number(std::string_view text) {
  const std::size_t digit = text.find_first_of("0123456789");
  std::uint64_t number = 0;
  if (digit != std::string_view::npos) std::from_chars(text.data() + digit, text.data() + text.size(), number);
  return number;
}

/// utime + stime of /proc/PID/stat. Source: proc(5); the command's name may hold anything, so count from its end.
inline std::uint64_t ticks_ns_of(const std::string& stat) {
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  std::uint64_t ticks = 0;
  for (int number = 3; number <= 15 && fields >> field; ++number) {  // the state is field 3
    if (number >= 14) ticks += leading_number(field);
  }
  return ticks * (1'000'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
}

/// The number behind `name`, which begins a line, in the text of a /proc file.
inline std::uint64_t field_of(const std::string& text, std::string_view name) {
  const std::size_t at = text.find(name);
  return at == std::string::npos ? 0 : leading_number(std::string_view(text).substr(at + name.size()));
}

/// Nothing when there is no such process, or it may not be looked at.
inline std::optional<Usage> usage_of(std::uint64_t pid) {
  const std::filesystem::path process = fmt::format("/proc/{}", pid);
  const std::string stat = file_text(process / "stat");
  if (stat.empty()) return std::nullopt;
  Usage usage;
  usage.ticks_ns = ticks_ns_of(stat);
  usage.anon_kb = field_of(file_text(process / "status"), "\nRssAnon:");
  std::error_code error;
  for (std::filesystem::directory_iterator task(process / "task", error), end; !error && task != end;
       task.increment(error)) {
    usage.scheduled_ns += leading_number(file_text(task->path() / "schedstat"));
    usage.switches += field_of(file_text(task->path() / "status"), "\nvoluntary_ctxt_switches:");
  }
  return usage;
}

}  // namespace etcd::bench
