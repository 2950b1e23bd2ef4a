// bench/load.cc - a small load generator for the v2 keys API: one thread, epoll, HTTP/1.1 with keep-alive.
//
//   load --endpoint 127.0.0.1:2379 --pid $(pidof etcd) --mode put --connections 10 --seconds 5
//
// Each connection keeps `--pipeline` requests under way and sends the next one when an answer has come. Before the
// measurement every key is written once, so that a GET finds it and a PUT replaces it. The result is one line of JSON.
// What the server spends is read from /proc around the measurement: the CPU time and the voluntary context switches of
// all its threads. Only loopback addresses are accepted. A server that shares its processors with the load generator
// shows a lower rate than it would elsewhere; its CPU time per request is the figure to compare.
//
// Exit code: 0; 1 when a request failed (the line is printed all the same); 2 when nothing was measured.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "latencies.h"

namespace etcd::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kHeadBytesMax = 64 << 10;
constexpr std::size_t kBodyBytesMax = 64 << 20;
constexpr std::chrono::seconds kGrace{10};  // how long answers may still come once nothing more is sent
constexpr std::chrono::seconds kPrefillMax{120};
constexpr int kReconnectsMax = 100;

constexpr std::string_view kUsage =
    "usage: load --endpoint HOST:PORT [--pid PID] [--mode put|get] [--connections C] [--pipeline D]\n"
    "            [--seconds S] [--requests N] [--value-bytes B] [--keys K]\n"
    "  --endpoint     a loopback address and port\n"
    "  --pid          the server's process, to tell what a request costs it\n"
    "  --mode         put (default) or get\n"
    "  --connections  1 by default, at most 1000\n"
    "  --pipeline     requests under way on each connection, 1 by default\n"
    "  --seconds      how long to send; 5 by default, 300 beside --requests\n"
    "  --requests     how many to send, unless the time ends before\n"
    "  --value-bytes  256 by default\n"
    "  --keys         1000 by default, below /bench\n";

[[noreturn]] void refuse(std::string_view what) {
  fmt::print(stderr, "load: {}\n", what);
  std::exit(2);
}

// ---- what to do ----

enum class Mode { kPut, kGet };

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

struct Options {
  std::string endpoint;
  Address address;
  std::uint64_t pid = 0;  // 0: none was named
  Mode mode = Mode::kPut;
  std::uint64_t connections = 1;
  std::uint64_t pipeline = 1;
  double seconds = 0;          // 0: not named
  std::uint64_t requests = 0;  // 0: no limit
  std::uint64_t value_bytes = 256;
  std::uint64_t keys = 1000;
};

std::uint64_t whole_number(std::string_view flag, std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number < least || number > most) {
    refuse(fmt::format("{} is a number from {} to {}, not '{}'", flag, least, most, text));
  }
  return number;
}

double seconds_number(std::string_view text) {
  double number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || !(number > 0 && number <= 600)) {
    refuse(fmt::format("--seconds is a number up to 600, not '{}'", text));
  }
  return number;
}

Address loopback_address(const std::string& endpoint) {
  const std::size_t colon = endpoint.rfind(':');
  if (colon == std::string::npos) refuse(fmt::format("--endpoint is HOST:PORT, not '{}'", endpoint));
  std::string host = endpoint.substr(0, colon);
  const auto port = static_cast<std::uint16_t>(whole_number("a port", endpoint.substr(colon + 1), 1, 65535));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  Address address;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1 && (ntohl(v4.sin_addr.s_addr) >> 24) == 127) {
    std::memcpy(&address.bytes, &v4, sizeof v4);
    address.size = sizeof v4;
    return address;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1 &&
      std::memcmp(&v6.sin6_addr, &in6addr_loopback, sizeof in6addr_loopback) == 0) {
    std::memcpy(&address.bytes, &v6, sizeof v6);
    address.size = sizeof v6;
    return address;
  }
  refuse(fmt::format("'{}' is no loopback address; load is sent to this machine only", host));
}

Options parse_flags(int count, char** arguments) {
  Options options;
  for (int place = 1; place < count; ++place) {
    const std::string_view flag = arguments[place];
    if (flag == "--help" || flag == "-h") {
      fmt::print("{}", kUsage);
      std::exit(0);
    }
    if (place + 1 == count) refuse(fmt::format("{} needs a value; --help tells more", flag));
    const std::string_view value = arguments[++place];
    if (flag == "--endpoint") {
      options.endpoint = value;
    } else if (flag == "--pid") {
      options.pid = whole_number(flag, value, 1, 1 << 22);
    } else if (flag == "--mode") {
      if (value != "put" && value != "get") refuse("--mode is put or get");
      options.mode = value == "put" ? Mode::kPut : Mode::kGet;
    } else if (flag == "--connections") {
      options.connections = whole_number(flag, value, 1, 1000);
    } else if (flag == "--pipeline") {
      options.pipeline = whole_number(flag, value, 1, 1000);
    } else if (flag == "--seconds") {
      options.seconds = seconds_number(value);
    } else if (flag == "--requests") {
      options.requests = whole_number(flag, value, 1, 50'000'000);
    } else if (flag == "--value-bytes") {
      options.value_bytes = whole_number(flag, value, 0, 1'000'000);
    } else if (flag == "--keys") {
      options.keys = whole_number(flag, value, 1, 1'000'000);
    } else {
      refuse(fmt::format("unknown flag {}; --help tells more", flag));
    }
  }
  if (options.endpoint.empty()) refuse("--endpoint is missing; --help tells more");
  options.address = loopback_address(options.endpoint);
  if (options.seconds == 0) options.seconds = options.requests == 0 ? 5 : 300;
  return options;
}

// ---- what the server spends ----

struct Usage {
  std::uint64_t scheduled_ns = 0;  // on a processor, to the nanosecond; ended threads are missing
  std::uint64_t ticks_ns = 0;      // the same in clock ticks of 10 ms, ended threads included
  std::uint64_t switches = 0;      // voluntary ones: a thread went to sleep
};

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The first whole number of `text`; 0 when there is none.
std::uint64_t leading_number(std::string_view text) {
  const std::size_t digit = text.find_first_of("0123456789");
  std::uint64_t number = 0;
  if (digit != std::string_view::npos) std::from_chars(text.data() + digit, text.data() + text.size(), number);
  return number;
}

/// utime + stime of /proc/PID/stat. Source: proc(5); the command's name may hold anything, so count from its end.
std::uint64_t ticks_ns_of(const std::string& stat) {
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

/// Nothing when there is no such process, or it may not be looked at.
std::optional<Usage> usage_of(std::uint64_t pid) {
  const std::filesystem::path process = fmt::format("/proc/{}", pid);
  const std::string stat = file_text(process / "stat");
  if (stat.empty()) return std::nullopt;
  Usage usage;
  usage.ticks_ns = ticks_ns_of(stat);
  std::error_code error;
  for (std::filesystem::directory_iterator task(process / "task", error), end; !error && task != end;
       task.increment(error)) {
    usage.scheduled_ns += leading_number(file_text(task->path() / "schedstat"));
    const std::string status = file_text(task->path() / "status");
    constexpr std::string_view kSwitches = "\nvoluntary_ctxt_switches:";
    const std::size_t at = status.find(kSwitches);
    if (at != std::string::npos)
      usage.switches += leading_number(std::string_view(status).substr(at + kSwitches.size()));
  }
  return usage;
}

// ---- answers ----

bool same_ignoring_case(std::string_view left, std::string_view right) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [lower](char one, char two) { return lower(one) == lower(two); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

enum class Parse { kComplete, kMore, kBroken };

struct Answer {
  std::size_t bytes = 0;  // head and body
  int status = 0;
  bool keeps_alive = true;
};

/// The end of a chunked body that begins at `at`. Source: RFC 9112 7.1, without trailers.
Parse parse_chunks(std::string_view in, std::size_t at, std::size_t& body_end) {
  for (;;) {
    const std::size_t line_end = in.find("\r\n", at);
    if (line_end == std::string_view::npos) return in.size() - at > 1024 ? Parse::kBroken : Parse::kMore;
    std::size_t chunk = 0;
    const auto read = std::from_chars(in.data() + at, in.data() + line_end, chunk, 16);
    if (read.ec != std::errc() || chunk > kBodyBytesMax) return Parse::kBroken;
    at = line_end + 2;
    if (in.size() < at + chunk + 2) return Parse::kMore;
    if (in.substr(at + chunk, 2) != "\r\n") return Parse::kBroken;
    at += chunk + 2;
    if (chunk == 0) {
      body_end = at;
      return Parse::kComplete;
    }
  }
}

/// The answer at the front of `in`. Source: RFC 9112; a body that only ends with the connection counts as broken.
Parse parse_answer(std::string_view in, Answer& answer) {
  const std::size_t head_end = in.find("\r\n\r\n");
  if (head_end == std::string_view::npos) return in.size() > kHeadBytesMax ? Parse::kBroken : Parse::kMore;
  const std::string_view head = in.substr(0, head_end + 2);  // whole lines
  if (head.size() < 14 || !head.starts_with("HTTP/1.1 ")) return Parse::kBroken;
  if (std::from_chars(head.data() + 9, head.data() + 12, answer.status).ec != std::errc()) return Parse::kBroken;
  std::optional<std::size_t> length;
  bool chunked = false;
  for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
    const std::size_t line_end = head.find("\r\n", at);
    const std::string_view line = head.substr(at, line_end - at);
    at = line_end + 2;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return Parse::kBroken;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (same_ignoring_case(name, "Content-Length")) {
      std::size_t bytes = 0;
      const auto read = std::from_chars(value.data(), value.data() + value.size(), bytes);
      if (read.ec != std::errc() || bytes > kBodyBytesMax) return Parse::kBroken;
      length = bytes;
    } else if (same_ignoring_case(name, "Transfer-Encoding")) {
      chunked = same_ignoring_case(value, "chunked");
    } else if (same_ignoring_case(name, "Connection")) {
      answer.keeps_alive = !same_ignoring_case(value, "close");
    }
  }
  const std::size_t body = head_end + 4;
  if (chunked) return parse_chunks(in, body, answer.bytes);
  if (!length) return Parse::kBroken;
  if (in.size() - body < *length) return Parse::kMore;
  answer.bytes = body + *length;
  return Parse::kComplete;
}

// ---- the load ----

struct Outcome {
  std::uint64_t answered = 0;  // as they should be
  std::uint64_t errors = 0;
  double seconds = 0;  // from the first request to the last answer
  Latencies latencies;
};

/// One round of requests over fresh connections.
class Load {
 public:
  Load(const Options& options, Mode mode, std::uint64_t connections, std::uint64_t requests_max,
       Clock::duration time_max)
      : options_(options), mode_(mode), requests_max_(requests_max), time_max_(time_max), connections_(connections) {
    head_tail_ = fmt::format(" HTTP/1.1\r\nHost: {}\r\n", options.endpoint);
    if (mode == Mode::kPut) {
      const std::string form = "value=" + std::string(options.value_bytes, 'v');
      head_tail_ += fmt::format("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{}",
                                form.size(), form);
    } else {
      head_tail_ += "\r\n";
    }
  }
  ~Load() {
    for (const Connection& connection : connections_) {
      if (connection.fd >= 0) ::close(connection.fd);
    }
    if (epoll_ >= 0) ::close(epoll_);
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  Outcome run() {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) refuse(fmt::format("epoll_create1: {}", std::strerror(errno)));
    for (Connection& connection : connections_) {
      if (!open(connection)) refuse(fmt::format("connect to {}: {}", options_.endpoint, std::strerror(errno)));
    }
    const Clock::time_point begin = Clock::now();
    last_answer_ = begin;
    deadline_ = begin + time_max_;
    for (Connection& connection : connections_) send_more(connection, Clock::now());
    std::array<epoll_event, 256> events{};
    while (under_way_ > 0) {
      if (Clock::now() > deadline_ + kGrace) {
        outcome_.errors += under_way_;
        break;
      }
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 100);
      for (int place = 0; place < count; ++place) {
        serve(connections_[events[static_cast<std::size_t>(place)].data.u32]);
      }
    }
    outcome_.seconds = std::chrono::duration<double>(last_answer_ - begin).count();
    return std::move(outcome_);
  }

 private:
  struct Connection {
    int fd = -1;  // -1: lost for good
    bool waits_for_room = false;
    std::string in;
    std::string out;
    std::size_t out_sent = 0;            // bytes of `out`
    std::deque<Clock::time_point> sent;  // when, for each request under way
  };

  bool open(Connection& connection) {
    const int fd = ::socket(options_.address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&options_.address.bytes), options_.address.size) != 0) {
      const int why = errno;
      ::close(fd);
      errno = why;
      return false;
    }
    connection = Connection{};
    connection.fd = fd;
    watch(connection, EPOLL_CTL_ADD);
    return true;
  }

  void watch(const Connection& connection, int operation) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (connection.waits_for_room) event.events |= EPOLLOUT;
    event.data.u32 = static_cast<std::uint32_t>(&connection - connections_.data());
    if (::epoll_ctl(epoll_, operation, connection.fd, &event) != 0) {
      refuse(fmt::format("epoll_ctl: {}", std::strerror(errno)));
    }
  }

  void serve(Connection& connection) {
    if (connection.fd < 0) return;
    for (;;) {
      const ssize_t got = ::recv(connection.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) return lose(connection);
      const Clock::time_point now = Clock::now();
      connection.in.append(buffer_.data(), static_cast<std::size_t>(got));
      if (!take_answers(connection, now)) return lose(connection);
      if (static_cast<std::size_t>(got) < buffer_.size()) break;
    }
    send_more(connection, Clock::now());
  }

  /// Returns false when the connection is of no more use.
  bool take_answers(Connection& connection, Clock::time_point now) {
    std::size_t taken = 0;
    bool usable = true;
    while (usable && taken < connection.in.size()) {
      Answer answer;
      const Parse parsed = parse_answer(std::string_view(connection.in).substr(taken), answer);
      if (parsed == Parse::kMore) break;
      if (parsed == Parse::kBroken || connection.sent.empty()) return false;
      taken += answer.bytes;
      usable = answer.keeps_alive;
      const bool good = answer.status == 200 || (mode_ == Mode::kPut && answer.status == 201);
      ++(good ? outcome_.answered : outcome_.errors);
      if (good) outcome_.latencies.add(now - connection.sent.front());
      connection.sent.pop_front();
      --under_way_;
      last_answer_ = now;
    }
    connection.in.erase(0, taken);
    return usable;
  }

  /// Fills the pipeline and writes as much as the socket takes.
  void send_more(Connection& connection, Clock::time_point now) {
    while (connection.sent.size() < options_.pipeline && may_send(now)) {
      fmt::format_to(std::back_inserter(connection.out), "{} /v2/keys/bench/{:06}", mode_ == Mode::kPut ? "PUT" : "GET",
                     requests_sent_ % options_.keys);
      connection.out += head_tail_;
      connection.sent.push_back(now);
      ++requests_sent_;
      ++under_way_;
    }
    while (connection.out_sent < connection.out.size()) {
      const ssize_t put = ::send(connection.fd, connection.out.data() + connection.out_sent,
                                 connection.out.size() - connection.out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) break;
      if (put < 0) return lose(connection);
      connection.out_sent += static_cast<std::size_t>(put);
    }
    const bool all_sent = connection.out_sent == connection.out.size();
    if (all_sent) {
      connection.out.clear();
      connection.out_sent = 0;
    }
    if (connection.waits_for_room == all_sent) {
      connection.waits_for_room = !all_sent;
      watch(connection, EPOLL_CTL_MOD);
    }
  }

  [[nodiscard]] bool may_send(Clock::time_point now) const {
    return now < deadline_ && (requests_max_ == 0 || requests_sent_ < requests_max_);
  }

  /// The connection is gone and with it the answers to what was under way; a new one takes its place.
  void lose(Connection& connection) {
    outcome_.errors += connection.sent.size();
    under_way_ -= connection.sent.size();
    ::close(connection.fd);
    connection = Connection{};
    const Clock::time_point now = Clock::now();
    if (!may_send(now) || reconnects_++ >= kReconnectsMax) return;
    if (open(connection)) send_more(connection, now);
  }

  const Options& options_;
  const Mode mode_;
  const std::uint64_t requests_max_;  // 0: no limit
  const Clock::duration time_max_;
  std::string head_tail_;  // a request behind its path
  int epoll_ = -1;
  std::vector<Connection> connections_;  // their places are what epoll knows them by
  std::array<char, 64 << 10> buffer_{};
  std::uint64_t requests_sent_ = 0;
  std::uint64_t under_way_ = 0;
  int reconnects_ = 0;
  Clock::time_point deadline_;
  Clock::time_point last_answer_;
  Outcome outcome_;
};

/// The fields of the JSON line that tell what one request cost the server; null where that is not known.
std::string cost_fields(const std::optional<Usage>& before, const std::optional<Usage>& after, std::uint64_t requests) {
  if (!before || !after || requests == 0) {
    return R"("server_cpu_us_per_request":null,"cpu_source":null,"server_switches_per_request":null)";
  }
  // Some kernels keep no times of the scheduler; clock ticks are always there.
  const bool fine = after->scheduled_ns > before->scheduled_ns;
  const std::uint64_t cpu_ns = fine ? after->scheduled_ns - before->scheduled_ns : after->ticks_ns - before->ticks_ns;
  const std::uint64_t switches = after->switches - std::min(before->switches, after->switches);
  const auto count = static_cast<double>(requests);
  return fmt::format(R"("server_cpu_us_per_request":{:.2f},"cpu_source":"{}","server_switches_per_request":{:.3f})",
                     static_cast<double>(cpu_ns) / 1000 / count, fine ? "schedstat" : "stat",
                     static_cast<double>(switches) / count);
}

int run(const Options& options) {
  Load prefill(options, Mode::kPut, std::min<std::uint64_t>(options.keys, 10), options.keys, kPrefillMax);
  const Outcome prefilled = prefill.run();
  if (prefilled.answered != options.keys) {
    refuse(fmt::format("only {} of {} keys could be written, {} requests failed", prefilled.answered, options.keys,
                       prefilled.errors));
  }
  Load load(options, options.mode, options.connections, options.requests,
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds)));
  const std::optional<Usage> before = options.pid == 0 ? std::nullopt : usage_of(options.pid);
  Outcome outcome = load.run();
  const std::optional<Usage> after = options.pid == 0 ? std::nullopt : usage_of(options.pid);
  if (outcome.answered == 0) refuse(fmt::format("no request was answered, {} failed", outcome.errors));
  fmt::print(R"({{"mode":"{}","connections":{},"pipeline":{},"value_bytes":{},"keys":{},"requests":{},"errors":{},)"
             R"("seconds":{:.3f},"requests_per_s":{:.1f},"p50_us":{:.1f},"p99_us":{:.1f},"max_us":{:.1f},{}}})"
             "\n",
             options.mode == Mode::kPut ? "put" : "get", options.connections, options.pipeline, options.value_bytes,
             options.keys, outcome.answered, outcome.errors, outcome.seconds,
             outcome.seconds > 0 ? static_cast<double>(outcome.answered) / outcome.seconds : 0.0,
             outcome.latencies.percentile_us(50), outcome.latencies.percentile_us(99),
             outcome.latencies.percentile_us(100), cost_fields(before, after, outcome.answered));
  return outcome.errors == 0 ? 0 : 1;
}

}  // namespace
}  // namespace etcd::bench

int main(int count, char** arguments) {
  return etcd::bench::run(etcd::bench::parse_flags(count, arguments));
}
