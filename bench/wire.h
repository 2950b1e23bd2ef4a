// bench/wire.h - what the load generator says and hears: its flags, loopback addresses, HTTP/1.1 answers.
#pragma once
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace etcd::bench {

constexpr std::size_t kHeadBytesMax = 64 << 10;
constexpr std::size_t kBodyBytesMax = 64 << 20;

/// Ends the program: nothing was measured, and this is why.
[[noreturn]] inline void refuse(std::string_view what) {
  fmt::print(stderr, "load: {}\n", what);
  std::exit(2);
}

inline std::uint64_t whole_number(std::string_view flag, std::string_view text, std::uint64_t least,
                                  std::uint64_t most) {
  std::uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number < least || number > most) {
    refuse(fmt::format("{} is a number from {} to {}, not '{}'", flag, least, most, text));
  }
  return number;
}

inline double seconds_number(std::string_view text) {
  double number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || !(number > 0 && number <= 600)) {
    refuse(fmt::format("--seconds is a number up to 600, not '{}'", text));
  }
  return number;
}

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

/// Load is sent to this machine only.
inline Address loopback_address(const std::string& endpoint) {
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

/// A connected socket, or -1 with errno.
inline int connect_to(const Address& address) {
  const int fd = ::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address.bytes), address.size) != 0) {
    const int why = errno;
    ::close(fd);
    errno = why;
    return -1;
  }
  return fd;
}

inline bool same_ignoring_case(std::string_view left, std::string_view right) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [lower](char one, char two) { return lower(one) == lower(two); });
}

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

enum class Parse { kComplete, kMore, kBroken };

struct Answer {
  std::size_t bytes = 0;  // head and body
  int status = 0;
  std::uint64_t etcd_index = 0;  // 0: it has none
  bool keeps_alive = true;
};

/// The end of a chunked body that begins at `at`. Source: RFC 9112 7.1, without trailers.
inline Parse parse_chunks(std::string_view in, std::size_t at, std::size_t& body_end) {
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
inline Parse parse_answer(std::string_view in, Answer& answer) {
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
    } else if (same_ignoring_case(name, "X-Etcd-Index")) {
      std::from_chars(value.data(), value.data() + value.size(), answer.etcd_index);
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

}  // namespace etcd::bench
