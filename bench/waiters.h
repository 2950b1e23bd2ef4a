// bench/waiters.h - many long polls on one key, all answered by one put, round after round.
#pragma once
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "latencies.h"
#include "requests.h"
#include "usage.h"
#include "wire.h"

namespace etcd::bench {

constexpr std::chrono::seconds kRoundMax{60};  // for all waiters to be there, and for all to be answered

struct WaitersOptions {
  std::string endpoint;
  Address address;
  std::uint64_t pid = 0;
  std::uint64_t waiters = 1000;
  std::uint64_t rounds = 10;
};

struct WaitersOutcome {
  std::uint64_t answered = 0;
  std::uint64_t errors = 0;  // waits that were refused, cut off, or not answered in time
  double seconds = 0;
  Latencies latencies;                     // from the put to each answer
  std::optional<Spent> whole;              // from the waits' requests to their answers
  std::optional<Spent> answering;          // the part that came after the put was sent
  std::optional<double> bytes_per_waiter;  // of the server's memory, its connection included
};

class Waiters {
 public:
  explicit Waiters(const WaitersOptions& options) : options_(options), waits_(options.waiters) {}
  ~Waiters() {
    for (const Wait& wait : waits_) {
      if (wait.fd >= 0) ::close(wait.fd);
    }
    if (control_ >= 0) ::close(control_);
    if (epoll_ >= 0) ::close(epoll_);
  }
  Waiters(const Waiters&) = delete;
  Waiters& operator=(const Waiters&) = delete;

  WaitersOutcome run() {
    raise_descriptor_limit(options_.waiters + 100);
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) refuse(fmt::format("epoll_create1: {}", std::strerror(errno)));
    control_ = must_connect();
    const timeval patience{.tv_sec = kRoundMax.count(), .tv_usec = 0};
    ::setsockopt(control_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    send_put();
    read_put();
    const std::optional<Usage> empty = look();
    for (Wait& wait : waits_) open(wait);
    const Clock::time_point begin = Clock::now();
    for (std::uint64_t round = 0; round < options_.rounds && outcome_.errors == 0; ++round) {
      if (!run_round(round == 0 ? empty : std::nullopt)) break;
    }
    outcome_.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    return std::move(outcome_);
  }

 private:
  struct Wait {
    int fd = -1;
    std::string in;
    bool waiting = false;  // its head has come
    bool answered = false;
  };

  static void raise_descriptor_limit(std::uint64_t wanted) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted) {
      refuse(fmt::format("{} files may be open here, {} are needed", limit.rlim_cur, wanted));
    }
  }

  int must_connect() const {
    const int fd = connect_to(options_.address);
    if (fd < 0) refuse(fmt::format("connect to {}: {}", options_.endpoint, std::strerror(errno)));
    return fd;
  }

  void open(Wait& wait) {
    wait.fd = must_connect();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = static_cast<std::uint32_t>(&wait - waits_.data());
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, wait.fd, &event) != 0) {
      refuse(fmt::format("epoll_ctl: {}", std::strerror(errno)));
    }
  }

  [[nodiscard]] std::optional<Usage> look() const { return options_.pid == 0 ? std::nullopt : usage_of(options_.pid); }

  static void add(std::optional<Spent>& sum, const std::optional<Usage>& before, const std::optional<Usage>& after) {
    if (!before || !after) return;
    if (!sum) sum.emplace();
    *sum += spent_between(*before, *after);
  }

  /// `empty`: what the server used before there was any waiter. Returns false when a wait went wrong.
  bool run_round(const std::optional<Usage>& empty) {
    put_sent_ = {};
    const std::optional<Usage> before = look();
    const std::string request =
        fmt::format("GET /v2/keys/bench/wait?wait=true HTTP/1.1\r\nHost: {}\r\n\r\n", options_.endpoint);
    for (Wait& wait : waits_) {
      wait.waiting = false;
      wait.answered = false;
      wait.in.clear();
      // Sent whole: the socket's buffer is empty.
      if (::send(wait.fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) return fail(1);
    }
    // A head comes when the watch is there (upstream flushes it then, too).
    if (!serve_until_all(&Wait::waiting)) return false;
    const std::optional<Usage> waiting = look();
    if (empty && waiting && waiting->anon_kb >= empty->anon_kb) {
      outcome_.bytes_per_waiter =
          static_cast<double>(waiting->anon_kb - empty->anon_kb) * 1024 / static_cast<double>(options_.waiters);
    }
    put_sent_ = Clock::now();
    send_put();
    if (!serve_until_all(&Wait::answered)) return false;
    read_put();
    const std::optional<Usage> after = look();
    add(outcome_.whole, before, after);
    add(outcome_.answering, waiting, after);
    return true;
  }

  bool serve_until_all(bool Wait::* done) {
    const Clock::time_point deadline = Clock::now() + kRoundMax;
    std::uint64_t left = 0;
    for (const Wait& wait : waits_) left += wait.*done ? 0 : 1;
    std::array<epoll_event, 256> events{};
    while (left > 0) {
      if (Clock::now() > deadline) return fail(left);
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 100);
      for (int place = 0; place < count; ++place) {
        Wait& wait = waits_[events[static_cast<std::size_t>(place)].data.u32];
        const bool was_done = wait.*done;
        if (!read(wait)) return fail(left);
        if (!was_done && wait.*done) --left;
      }
    }
    return true;
  }

  /// Takes what has come for a wait. Returns false when that is not how a wait goes on.
  bool read(Wait& wait) {
    const ssize_t got = ::recv(wait.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (got <= 0) return false;
    const Clock::time_point now = Clock::now();
    wait.in.append(buffer_.data(), static_cast<std::size_t>(got));
    if (wait.in.find("\r\n\r\n") == std::string::npos) return true;
    wait.waiting = true;
    Answer answer;
    const Parse parsed = parse_answer(wait.in, answer);
    if (parsed == Parse::kMore) return true;
    if (parsed == Parse::kBroken || answer.status != 200 || !answer.keeps_alive || put_sent_ == Clock::time_point{}) {
      return false;
    }
    wait.answered = true;
    ++outcome_.answered;
    outcome_.latencies.add(now - put_sent_);
    return true;
  }

  bool fail(std::uint64_t count) {
    outcome_.errors += count;
    return false;
  }

  void send_put() const {
    const std::string request = fmt::format(
        "PUT /v2/keys/bench/wait HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: 7\r\n\r\nvalue=x",
        options_.endpoint);
    if (::send(control_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
      refuse(fmt::format("the put was not sent: {}", std::strerror(errno)));
    }
  }

  void read_put() {
    std::string in;
    Answer answer;
    for (;;) {
      const ssize_t got = ::recv(control_, buffer_.data(), buffer_.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) refuse("the put was not answered");
      in.append(buffer_.data(), static_cast<std::size_t>(got));
      const Parse parsed = parse_answer(in, answer);
      if (parsed == Parse::kMore) continue;
      if (parsed == Parse::kBroken || (answer.status != 200 && answer.status != 201)) {
        refuse(fmt::format("the put was answered with {}", answer.status));
      }
      return;
    }
  }

  const WaitersOptions options_;
  int epoll_ = -1;
  int control_ = -1;  // puts
  std::vector<Wait> waits_;
  std::array<char, 64 << 10> buffer_{};
  Clock::time_point put_sent_;
  WaitersOutcome outcome_;
};

}  // namespace etcd::bench
