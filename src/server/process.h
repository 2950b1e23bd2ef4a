// server/process.h - what Linux knows of this process: times, memory, descriptors, traffic.
//
// Thread:  any (functions that read /proc; what cannot be read stays 0).
// Source:  proc(5); names and meaning of the figures: client_golang's process collector.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace etcd::server {

struct ProcessFigures {
  double cpu_seconds = 0;         // in user and kernel mode
  double start_time_seconds = 0;  // since 1970
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t virtual_bytes_max = 0;  // 2^64 - 1: no limit
  std::uint64_t open_descriptors = 0;
  std::uint64_t descriptors_max = 0;
  std::uint64_t network_bytes_received = 0;  // by the whole network namespace
  std::uint64_t network_bytes_sent = 0;
};

ProcessFigures read_process_figures();

/// How many descriptors may be open; the figure of above without the rest.
std::uint64_t descriptor_limit();

/// Of /proc/self/stat, in clock ticks and pages.
struct StatFields {
  std::uint64_t user_ticks = 0;
  std::uint64_t system_ticks = 0;
  std::uint64_t start_ticks = 0;  // since the machine started
  std::uint64_t virtual_bytes = 0;
  std::uint64_t resident_pages = 0;
};

/// Takes the line of a process whose name may hold blanks and brackets.
StatFields parse_stat(std::string_view line);

/// The value of `field` behind "IpExt:" in /proc/net/netstat: a line of names, then a line of numbers. 0: not there.
std::uint64_t parse_netstat(std::string_view text, std::string_view field);

struct HeapFigures {
  std::uint64_t bytes = 0;       // taken from the system by the allocator
  std::uint64_t bytes_used = 0;  // of these, what the program holds
};

HeapFigures read_heap_figures();

/// The arguments that this process was started with, its own name first.
std::vector<std::string> read_command_line();

}  // namespace etcd::server
