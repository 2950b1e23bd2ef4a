#include "net/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "io/clock.h"

namespace etcd::net {
namespace {

constexpr auto kLimit = std::chrono::seconds(20);  // how long a test waits for what must happen

/// A blocking client; whatever takes longer than the limit fails the test instead of hanging it.
class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    EXPECT_EQ(::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  void end_input() { ::shutdown(socket_, SHUT_WR); }
  /// Closes with a reset.
  void reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    EXPECT_EQ(::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    close();
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  /// Reads until `text` has come, and returns everything up to its end; "" at EOF, reset or time-out.
  std::string read_until(std::string_view text) {
    for (;;) {
      if (const std::size_t at = buffer_.find(text); at != std::string::npos) {
        std::string result = buffer_.substr(0, at + text.size());
        buffer_.erase(0, at + text.size());
        return result;
      }
      if (!receive()) return {};
    }
  }
  std::string read_to_end() {
    while (receive()) {
    }
    return std::exchange(buffer_, {});
  }
  /// The body of the next answer, which has a Content-Length.
  std::string read_body() {
    const std::string head = read_until("\r\n\r\n");
    const std::size_t at = head.find("Content-Length: ");
    if (at == std::string::npos) return "no answer";
    const std::size_t size = std::stoul(head.substr(at + 16));
    while (buffer_.size() < size) {
      if (!receive()) return "cut off";
    }
    std::string body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return body;
  }

  bool connected_ = false;

 private:
  bool receive() {
    std::array<char, 65536> bytes;
    const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    buffer_.append(bytes.data(), static_cast<std::size_t>(got));
    return true;
  }

  int socket_;
  std::string buffer_;
};

std::string get(std::string_view path) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", path);
}

/// Answers with the path; keeps the exchanges of /later and starts those of /stream.
class TestHandler final : public Handler {
 public:
  void handle(Request request, std::shared_ptr<Exchange> exchange) override {
    ++requests_;
    if (request.path == "/later" || request.path == "/stream") {
      exchange->on_close([this] {
        const std::scoped_lock lock(mu_);
        ++closed_;
        changed_.notify_all();
      });
      if (request.path == "/stream") exchange->start(Response{});
      const std::scoped_lock lock(mu_);
      kept_.push_back(std::move(exchange));
      changed_.notify_all();
      return;
    }
    Response response;
    if (request.path == "/big") {
      response.body.assign(32 << 20, 'b');
    } else {
      response.body = request.path + request.body;
    }
    exchange->send(std::move(response));
  }

  bool wait_kept(std::size_t count) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, kLimit, [&] { return kept_.size() >= count; });
  }
  bool wait_closed(int count) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, kLimit, [&] { return closed_ >= count; });
  }
  /// Answers what was kept, on its loop, as another loop's code would.
  void answer_kept(const std::string& body) {
    std::vector<std::shared_ptr<Exchange>> kept;
    {
      const std::scoped_lock lock(mu_);
      kept.swap(kept_);
    }
    for (std::shared_ptr<Exchange>& exchange : kept) {
      io::Executor& loop = exchange->executor();
      loop.post([taken = std::move(exchange), body] {
        Response response;
        response.body = body;
        taken->send(std::move(response));
      });
    }
  }

  std::atomic<int> requests_ = 0;
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Exchange>> kept_;  // shared with nobody else once handle() has returned
  int closed_ = 0;
};

/// A server on two loops.
class House {
 public:
  explicit House(ServerOptions options = {}) : server_({&first_, &second_}, handler_, std::move(options)) {
    port_ = server_.listen("127.0.0.1", 0).value();
    server_.start();
  }
  ~House() {
    server_.stop(Duration::zero());
    // Exchanges belong to their loops; the connections are closed, so any thread may drop them now.
    handler_.kept_.clear();
  }

  TestHandler handler_;
  Loop first_{"net-0"};
  Loop second_{"net-1"};
  Server server_;
  std::uint16_t port_ = 0;
};

TEST(Server, KeepsConnectionsForManyRequests) {
  House house;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&house, &right, thread] {
      Client client(house.port_);
      for (int request = 0; request < 200; ++request) {
        const std::string path = fmt::format("/{}/{}", thread, request);
        client.send(get(path));
        if (client.read_body() == path) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right.load(), 8 * 200);
}

TEST(Server, AnswersAPipelineInOrder) {
  House house;
  Client client(house.port_);
  std::string requests;
  for (int request = 0; request < 1'000; ++request) requests += get(fmt::format("/{}", request));
  std::thread sender([&client, &requests] { client.send(requests); });
  for (int request = 0; request < 1'000; ++request) EXPECT_EQ(client.read_body(), fmt::format("/{}", request));
  sender.join();
}

TEST(Server, TakesASlowClientsBytes) {
  House house;
  Client client(house.port_);
  for (const char letter :
       std::string_view("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n")) {
    client.send(std::string_view(&letter, 1));
  }
  EXPECT_EQ(client.read_body(), "/av");
}

TEST(Server, CutsOffASlowHead) {
  ServerOptions options;
  options.http1.header_timeout = 50ms;
  House house(std::move(options));
  Client silent(house.port_);
  Client undecided(house.port_);
  undecided.send("P");
  Client begun(house.port_);
  begun.send("GET /a HTTP/1.1\r\n");
  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_EQ(undecided.read_to_end(), "");
  EXPECT_EQ(begun.read_to_end(), "");
}

TEST(Server, WaitsForASlowReader) {
  House house;
  Client client(house.port_);
  client.send(get("/big") + get("/a"));
  const std::string body = client.read_body();
  EXPECT_EQ(body.size(), 32u << 20);
  EXPECT_EQ(body.find_first_not_of('b'), std::string::npos);
  EXPECT_EQ(client.read_body(), "/a");
}

TEST(Server, LaterAnswersWakeTheConnection) {
  House house;
  std::vector<std::unique_ptr<Client>> clients;
  for (int index = 0; index < 10; ++index) {
    clients.push_back(std::make_unique<Client>(house.port_));
    clients.back()->send(get("/later"));
  }
  ASSERT_TRUE(house.handler_.wait_kept(10));
  house.handler_.answer_kept("at last");
  for (const auto& client : clients) EXPECT_EQ(client->read_body(), "at last");
}

TEST(Server, NoticesAClientThatLeavesAStream) {
  House house;
  Client polite(house.port_);
  polite.send(get("/stream"));
  EXPECT_NE(polite.read_until("\r\n\r\n"), "");
  polite.close();
  EXPECT_TRUE(house.handler_.wait_closed(1));
  Client rude(house.port_);
  rude.send(get("/stream"));
  EXPECT_NE(rude.read_until("\r\n\r\n"), "");
  rude.reset();
  EXPECT_TRUE(house.handler_.wait_closed(2));
  Client waiting(house.port_);
  waiting.send(get("/later"));
  ASSERT_TRUE(house.handler_.wait_kept(3));
  waiting.reset();
  EXPECT_TRUE(house.handler_.wait_closed(3));
}

TEST(Server, AnswersAHalfClosedClient) {
  House house;
  Client client(house.port_);
  client.send(get("/later"));
  client.end_input();
  ASSERT_TRUE(house.handler_.wait_kept(1));
  house.handler_.answer_kept("still here");
  EXPECT_TRUE(client.read_to_end().ends_with("\r\n\r\nstill here"));
}

TEST(Server, RefusalsReachAClientThatIsStillSending) {
  ServerOptions options;
  options.http1.body_bytes_max = 1'000;
  House house(std::move(options));
  Client client(house.port_);
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'x'));
  client.end_input();
  EXPECT_TRUE(client.read_to_end().starts_with("HTTP/1.1 413 Request Entity Too Large\r\n"));
}

TEST(Server, SendsAwayWhatItDoesNotSpeak) {
  std::mutex mu;
  std::vector<std::string> lines;
  ServerOptions options;
  options.log = [&mu, &lines](std::string_view line) {
    const std::scoped_lock lock(mu);
    lines.emplace_back(line);
  };
  House house(std::move(options));
  Client tls(house.port_);
  tls.send("\x16\x03\x01");
  EXPECT_EQ(tls.read_to_end(), "");
  Client http2(house.port_);
  http2.send("PRI * HTTP/2.0\r\n");
  http2.send("\r\nSM\r\n\r\n");
  const std::string farewell = http2.read_to_end();
  ASSERT_EQ(farewell.size(), 26u);
  EXPECT_EQ(farewell[3], 4);     // SETTINGS
  EXPECT_EQ(farewell[12], 7);    // GOAWAY
  EXPECT_EQ(farewell[25], 0xD);  // HTTP_1_1_REQUIRED
  const std::scoped_lock lock(mu);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("TLS"), std::string::npos);
  EXPECT_NE(lines[1].find("HTTP/2"), std::string::npos);
}

TEST(Server, LimitsItsConnections) {
  ServerOptions options;
  options.connections_max = 1;
  House house(std::move(options));
  auto first = std::make_unique<Client>(house.port_);
  first->send(get("/first"));
  EXPECT_EQ(first->read_body(), "/first");
  Client second(house.port_);  // the kernel accepts it, we do not yet
  ASSERT_TRUE(second.connected_);
  second.send(get("/second"));
  first->send(get("/again"));
  EXPECT_EQ(first->read_body(), "/again");
  EXPECT_EQ(house.handler_.requests_.load(), 2);
  first.reset();
  EXPECT_EQ(second.read_body(), "/second");
}

TEST(Server, StopsWithARunningLongPoll) {
  House house;
  Client idle(house.port_);
  idle.send(get("/a"));
  EXPECT_EQ(idle.read_body(), "/a");
  Client stream(house.port_);
  stream.send(get("/stream"));
  EXPECT_NE(stream.read_until("\r\n\r\n"), "");
  house.server_.stop(kLimit);
  EXPECT_TRUE(house.handler_.wait_closed(1));
  EXPECT_EQ(idle.read_to_end(), "");
  EXPECT_EQ(stream.read_to_end(), "0\r\n\r\n");
  EXPECT_EQ(house.server_.connections(), 0u);
  EXPECT_FALSE(Client(house.port_).connected_);
}

TEST(Server, StopsWhenARunningAnswerIsDone) {
  House house;
  Client client(house.port_);
  client.send(get("/later"));
  ASSERT_TRUE(house.handler_.wait_kept(1));
  std::future<void> stopped = std::async(std::launch::async, [&house] { house.server_.stop(kLimit); });
  // The listener closes before anything else; then the answer may come.
  while (Client(house.port_).connected_) std::this_thread::yield();
  EXPECT_NE(stopped.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  house.handler_.answer_kept("in time");
  EXPECT_TRUE(client.read_to_end().ends_with("in time"));
  client.close();
  EXPECT_EQ(stopped.wait_for(kLimit), std::future_status::ready);
  EXPECT_EQ(house.handler_.closed_, 0);
}

TEST(Server, StopsAtTheDeadlineAnyway) {
  House house;
  Client client(house.port_);
  client.send(get("/later"));
  ASSERT_TRUE(house.handler_.wait_kept(1));
  house.server_.stop(Duration::zero());
  EXPECT_EQ(house.handler_.closed_, 1);  // told before stop() returns
  EXPECT_EQ(client.read_to_end(), "");
}

TEST(Server, SaysWhyItCannotListen) {
  TestHandler handler;
  Loop loop("net");
  Server server({&loop}, handler, {});
  const std::uint16_t port = server.listen("localhost", 0).value();
  const Result<std::uint16_t> taken = server.listen("127.0.0.1", port);
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(taken.error().message, fmt::format("listen tcp 127.0.0.1:{}: bind: address already in use", port));
  const Result<std::uint16_t> foreign = server.listen("192.0.2.1", port);
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().code, ErrorCode::kIo);
  EXPECT_EQ(foreign.error().message,
            fmt::format("listen tcp 192.0.2.1:{}: bind: cannot assign requested address", port));
  const Result<std::uint16_t> everywhere = server.listen("", 0);
  ASSERT_TRUE(everywhere.has_value()) << everywhere.error().message;
  server.start();
  Client client(*everywhere);
  client.send(get("/a"));
  EXPECT_EQ(client.read_body(), "/a");
}

TEST(Loop, ManyPostsMakeFewWakeUps) {
  Loop loop("net");
  std::latch held(1);
  std::latch go(1);
  loop.post([&held, &go] {
    held.count_down();
    go.wait();
  });
  held.wait();
  constexpr int kPosts = 10'000;
  std::vector<int> order;
  std::latch done(1);
  for (int index = 0; index < kPosts; ++index) {
    loop.post([&order, &done, index] {
      order.push_back(index);
      if (index + 1 == kPosts) done.count_down();
    });
  }
  go.count_down();
  done.wait();
  EXPECT_EQ(loop.wakeups(), 1u);
  for (int index = 0; index < kPosts; ++index) ASSERT_EQ(order[static_cast<std::size_t>(index)], index);
}

TEST(Loop, DispatchesInlineOnItself) {
  Loop loop("net");
  EXPECT_FALSE(loop.is_current());
  std::string trace;
  std::promise<void> done;
  loop.post([&loop, &trace, &done] {
    trace += loop.is_current() ? "a" : "?";
    loop.post([&trace, &done] {
      trace += "d";
      done.set_value();
    });
    loop.dispatch([&trace] { trace += "b"; });
    trace += "c";
  });
  done.get_future().wait();
  EXPECT_EQ(trace, "abcd");
}

TEST(Loop, RunsTimersInOrderAndForgetsTheCancelled) {
  Loop loop("net");
  const io::RealClock clock{};
  std::vector<int> order;
  std::promise<void> done;
  std::promise<bool> cancelled;
  loop.post([&] {
    const MonotonicTime now = clock.now();
    loop.post_at(now + 20ms, [&order, &done] {
      order.push_back(3);
      done.set_value();
    });
    const io::TimerId dropped = loop.post_at(now + 10ms, [&order] { order.push_back(2); });
    loop.post_at(now + 1ms, [&order] { order.push_back(1); });
    cancelled.set_value(loop.cancel(dropped));
  });
  done.get_future().wait();
  EXPECT_TRUE(cancelled.get_future().get());
  EXPECT_EQ(order, (std::vector<int>{1, 3}));

  std::promise<void> from_outside;
  const io::TimerId late = loop.post_at(clock.now() + std::chrono::hours(1), [] {});
  loop.post_at(clock.now(), [&from_outside] { from_outside.set_value(); });
  EXPECT_EQ(from_outside.get_future().wait_for(kLimit), std::future_status::ready);
  EXPECT_TRUE(loop.cancel(late));
  EXPECT_FALSE(loop.cancel(late));
}

TEST(Loop, StopRunsWhatIsQueued) {
  int ran = 0;
  Loop loop("net");
  for (int index = 0; index < 100; ++index) loop.post([&ran] { ++ran; });
  loop.post_at(MonotonicTime{INT64_MAX / 2}, [&ran] { ran = -1; });
  loop.stop();
  EXPECT_EQ(ran, 100);
  loop.post([&ran] { ran = -1; });
  EXPECT_EQ(ran, 100);
}

}  // namespace
}  // namespace etcd::net
