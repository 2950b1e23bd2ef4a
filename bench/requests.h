// bench/requests.h - one round of requests over keep-alive connections: one thread, epoll, HTTP/1.1.
#pragma once
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "latencies.h"
#include "wire.h"

namespace etcd::bench {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kGrace{10};  // how long answers may still come once nothing more is sent
constexpr int kReconnectsMax = 100;

/// What is asked, again and again, of one key after the other below /bench.
enum class Kind {
  kPut,
  kGet,
  kCas,       // compare-and-swap by prevValue, which always fits
  kTtl,       // a put with a TTL that does not run out
  kList,      // all of /bench, recursively
  kExpiring,  // a put below /bench-ttl whose TTL ends within the second that `expire_at_s` names
};

struct RequestsOptions {
  std::string endpoint;
  Address address;
  Kind kind = Kind::kPut;
  std::uint64_t connections = 1;
  std::uint64_t pipeline = 1;
  std::uint64_t requests_max = 0;  // 0: no limit
  Clock::duration time_max = std::chrono::seconds(5);
  std::uint64_t value_bytes = 256;
  std::uint64_t keys = 1000;
  std::int64_t expire_at_s = 0;  // since 1970; for kExpiring
  /// For puts beside which others expire: end once so many indices were used that are not our own.
  std::uint64_t base_index = 0;
  std::uint64_t foreign_indices = 0;  // 0: never
};

struct Outcome {
  std::uint64_t answered = 0;  // as they should be
  std::uint64_t errors = 0;
  double seconds = 0;            // from the first request to the last answer
  std::uint64_t etcd_index = 0;  // the highest that an answer had
  Latencies latencies;
};

class Requests {
 public:
  explicit Requests(const RequestsOptions& options)
      : options_(options),
        is_write_(options.kind != Kind::kGet && options.kind != Kind::kList),
        connections_(options.connections) {}
  ~Requests() {
    for (const Connection& connection : connections_) {
      if (connection.fd >= 0) ::close(connection.fd);
    }
    if (epoll_ >= 0) ::close(epoll_);
  }
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  Outcome run() {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) refuse(fmt::format("epoll_create1: {}", std::strerror(errno)));
    for (Connection& connection : connections_) {
      if (!open(connection)) refuse(fmt::format("connect to {}: {}", options_.endpoint, std::strerror(errno)));
    }
    const Clock::time_point begin = Clock::now();
    last_answer_ = begin;
    deadline_ = begin + options_.time_max;
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
    const int fd = connect_to(options_.address);
    if (fd < 0) return false;
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
      const bool good = answer.status == 200 || (is_write_ && answer.status == 201);
      ++(good ? outcome_.answered : outcome_.errors);
      if (good) outcome_.latencies.add(now - connection.sent.front());
      outcome_.etcd_index = std::max(outcome_.etcd_index, answer.etcd_index);
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
      append_request(connection.out);
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

  void append_request(std::string& out) {
    const std::uint64_t key = requests_sent_ % options_.keys;
    const auto to = std::back_inserter(out);
    switch (options_.kind) {
      case Kind::kGet: fmt::format_to(to, "GET /v2/keys/bench/{:06}", key); break;
      case Kind::kList: out += "GET /v2/keys/bench?recursive=true"; break;
      case Kind::kExpiring: fmt::format_to(to, "PUT /v2/keys/bench-ttl/{:06}", key); break;
      case Kind::kPut:
      case Kind::kCas:
      case Kind::kTtl: fmt::format_to(to, "PUT /v2/keys/bench/{:06}", key); break;
    }
    if (head_tail_.empty() || options_.kind == Kind::kExpiring) make_head_tail();
    out += head_tail_;
  }

  /// What follows the path. A TTL that is to end at a certain time is another one each second.
  void make_head_tail() {
    std::int64_t ttl_s = 3600;
    if (options_.kind == Kind::kExpiring) {
      const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
      ttl_s = std::max<std::int64_t>(options_.expire_at_s - now.time_since_epoch().count(), 1);
      if (ttl_s == made_for_ttl_s_) return;
      made_for_ttl_s_ = ttl_s;
    }
    head_tail_ = fmt::format(" HTTP/1.1\r\nHost: {}\r\n", options_.endpoint);
    if (!is_write_) {
      head_tail_ += "\r\n";
      return;
    }
    const std::string value(options_.value_bytes, 'v');
    std::string form;
    if (options_.kind == Kind::kCas) form += "prevValue=" + value + "&";
    if (options_.kind == Kind::kTtl || options_.kind == Kind::kExpiring) form += fmt::format("ttl={}&", ttl_s);
    form += "value=" + value;
    head_tail_ += fmt::format("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{}",
                              form.size(), form);
  }

  [[nodiscard]] bool may_send(Clock::time_point now) const {
    if (now >= deadline_ || (options_.requests_max != 0 && requests_sent_ >= options_.requests_max)) return false;
    return options_.foreign_indices == 0 ||
           outcome_.etcd_index < options_.base_index + outcome_.answered + options_.foreign_indices;
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

  const RequestsOptions options_;
  const bool is_write_;
  std::string head_tail_;
  std::int64_t made_for_ttl_s_ = 0;
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

}  // namespace etcd::bench
