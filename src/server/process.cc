#include "server/process.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace etcd::server {
namespace {

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::vector<std::string> words_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  return std::vector<std::string>(std::istream_iterator<std::string>(in), std::istream_iterator<std::string>());
}

/// When the machine started, in seconds since 1970.
double boot_seconds() {
  const std::string text = read_file("/proc/stat");
  constexpr std::string_view kName = "\nbtime ";
  const std::size_t at = text.find(kName);
  if (at == std::string::npos) return 0;
  return static_cast<double>(number_of(std::string_view(text).substr(at + kName.size())));
}

std::uint64_t count_open_descriptors() {
  std::error_code error;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end; at.increment(error)) {
    ++count;
  }
  return count > 0 ? count - 1 : 0;  // the look itself takes one
}

std::uint64_t limit_of(__rlimit_resource_t resource) {
  rlimit limit{};
  ::getrlimit(resource, &limit);
  return limit.rlim_cur;
}

}  // namespace

StatFields parse_stat(std::string_view line) {
  // Behind the name come the fields from the third on, as proc(5) counts them.
  constexpr std::size_t kFirst = 3;
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string_view::npos) return {};
  const std::vector<std::string> fields = words_of(line.substr(name_end + 1));
  const auto field = [&](std::size_t place) {
    return place - kFirst < fields.size() ? number_of(fields[place - kFirst]) : 0;
  };
  return {.user_ticks = field(14),
          .system_ticks = field(15),
          .start_ticks = field(22),
          .virtual_bytes = field(23),
          .resident_pages = field(24)};
}

std::uint64_t parse_netstat(std::string_view text, std::string_view field) {
  constexpr std::string_view kHead = "IpExt:";
  std::vector<std::string> names;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (!line.starts_with(kHead)) continue;
    std::vector<std::string> words = words_of(line);
    if (names.empty()) {
      names = std::move(words);
      continue;
    }
    for (std::size_t place = 1; place < names.size() && place < words.size(); ++place) {
      if (names[place] == field) return number_of(words[place]);
    }
    break;
  }
  return 0;
}

ProcessFigures read_process_figures() {
  const StatFields stat = parse_stat(read_file("/proc/self/stat"));
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const std::string netstat = read_file("/proc/self/net/netstat");
  ProcessFigures figures;
  figures.cpu_seconds = static_cast<double>(stat.user_ticks + stat.system_ticks) / ticks;
  figures.start_time_seconds = boot_seconds() + static_cast<double>(stat.start_ticks) / ticks;
  figures.resident_bytes = stat.resident_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  figures.virtual_bytes = stat.virtual_bytes;
  figures.virtual_bytes_max = limit_of(RLIMIT_AS);
  figures.open_descriptors = count_open_descriptors();
  figures.descriptors_max = descriptor_limit();
  figures.network_bytes_received = parse_netstat(netstat, "InOctets");
  figures.network_bytes_sent = parse_netstat(netstat, "OutOctets");
  return figures;
}

std::uint64_t descriptor_limit() {
  return limit_of(RLIMIT_NOFILE);
}

HeapFigures read_heap_figures() {
  const struct mallinfo2 info = ::mallinfo2();
  return {.bytes = info.arena + info.hblkhd, .bytes_used = info.uordblks + info.hblkhd};
}

std::vector<std::string> read_command_line() {
  std::vector<std::string> arguments;
  std::istringstream in(read_file("/proc/self/cmdline"));
  for (std::string argument; std::getline(in, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

}  // namespace etcd::server
