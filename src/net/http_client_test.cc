#include "net/http_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/server.h"

namespace etcd::net {
namespace {

constexpr auto kLimit = std::chrono::seconds(20);  // how long a test waits for what must happen

/// What came of one request.
struct Outcome {
  int status = 0;
  std::string body;
  std::string error;
  ErrorCode code = ErrorCode::kInvalidArgument;
  bool ended = false;
};

/// A client on a loop of its own; it lives and dies there.
class Dialer {
 public:
  Dialer(Origin origin, HttpClientOptions options = {})
      : client_(std::make_unique<HttpClient>(loop_, std::move(origin), std::move(options))) {}
  ~Dialer() {
    on_loop([this] { client_.reset(); });
  }

  void on_loop(const std::function<void()>& body) {
    std::promise<void> done;
    loop_.post([&] {
      body();
      done.set_value();
    });
    done.get_future().wait();
  }
  std::size_t connections() {
    std::size_t count = 0;
    on_loop([&] { count = client_->connections(); });
    return count;
  }

  std::future<Outcome> start(ClientRequest request) {
    auto outcome = std::make_shared<Outcome>();                // shared by the handlers
    auto promise = std::make_shared<std::promise<Outcome>>();  // likewise
    std::future<Outcome> future = promise->get_future();
    on_loop([&] {
      ClientHandlers handlers;
      handlers.on_head = [outcome](const ClientResponse& response) { outcome->status = response.status; };
      handlers.on_data = [outcome](BytesView piece) {
        outcome->body += piece;
        return true;
      };
      handlers.on_end = [outcome, promise] {
        outcome->ended = true;
        promise->set_value(*outcome);
      };
      handlers.on_error = [outcome, promise](const Error& error) {
        outcome->error = error.message;
        outcome->code = error.code;
        promise->set_value(*outcome);
      };
      client_->request(std::move(request), std::move(handlers));
    });
    return future;
  }
  Outcome get(std::future<Outcome> future) {
    if (future.wait_for(kLimit) == std::future_status::ready) return future.get();
    Outcome nothing;
    nothing.error = "nothing came of it";
    return nothing;
  }
  Outcome fetch(ClientRequest request) { return get(start(std::move(request))); }

  Loop loop_{"dialer"};
  std::unique_ptr<HttpClient> client_;
};

/// Echoes; keeps the exchanges of /later.
class Echo final : public Handler {
 public:
  void handle(Request request, std::shared_ptr<Exchange> exchange) override {
    if (request.path == "/later") {
      const std::scoped_lock lock(mu_);
      kept_.push_back(std::move(exchange));
      changed_.notify_all();
      return;
    }
    Response response;
    response.body = request.method + ' ' + request.path + ' ' + request.body;
    exchange->send(std::move(response));
  }
  bool wait_kept(std::size_t count) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, kLimit, [&] { return kept_.size() >= count; });
  }
  void answer_kept() {
    std::vector<std::shared_ptr<Exchange>> kept;
    {
      const std::scoped_lock lock(mu_);
      kept.swap(kept_);
    }
    for (std::shared_ptr<Exchange>& exchange : kept) {
      io::Executor& loop = exchange->executor();
      loop.post([taken = std::move(exchange)] { taken->send(Response{.headers = {}, .body = "late"}); });
    }
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Exchange>> kept_;  // shared with nobody else once handle() has returned
};

class House {
 public:
  House() : server_({&loop_}, echo_, {}) {
    port_ = server_.listen("127.0.0.1", 0).value();
    server_.start();
  }
  ~House() {
    server_.stop(Duration::zero());
    echo_.kept_.clear();
  }
  [[nodiscard]] Origin origin() const { return {.host = "127.0.0.1", .port = port_}; }

  Echo echo_;
  Loop loop_{"house"};
  Server server_;
  std::uint16_t port_ = 0;
};

/// A listening socket, and what a script does with one client after another.
class Script {
 public:
  explicit Script(bool listens = true) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port_ = ntohs(address.sin_port);
    if (listens) {
      EXPECT_EQ(::listen(socket_, 16), 0);
    }
  }
  ~Script() {
    ::shutdown(socket_, SHUT_RDWR);  // a script whose clients did not come ends, too
    if (thread_.joinable()) thread_.join();
    ::close(socket_);
  }
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;

  /// Runs `clients` in order, each with the next client's socket.
  void run(std::vector<std::function<void(int)>> clients) {
    thread_ = std::thread([this, clients = std::move(clients)] {
      for (const auto& client : clients) {
        const int accepted = ::accept(socket_, nullptr, nullptr);
        if (accepted < 0) return;
        client(accepted);
        ::close(accepted);
      }
    });
  }
  [[nodiscard]] Origin origin() const { return {.host = "127.0.0.1", .port = port_}; }

  int socket_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

/// Reads up to the end of a head; false when the client has left.
bool read_head(int socket) {
  std::string head;
  char letter = 0;
  while (!head.ends_with("\r\n\r\n")) {
    if (::recv(socket, &letter, 1, 0) != 1) return false;
    head += letter;
  }
  return true;
}

void write_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

TEST(HttpClient, KeepsItsConnection) {
  House house;
  Dialer dialer(house.origin());
  for (int count = 0; count < 20; ++count) {
    const Outcome outcome = dialer.fetch({.method = "PUT", .target = "/a", .body = SharedBytes(std::to_string(count))});
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.body, fmt::format("PUT /a {}", count));
  }
  EXPECT_EQ(house.server_.connections(), 1u);
  EXPECT_EQ(dialer.connections(), 1u);
}

TEST(HttpClient, OpensAsManyConnectionsAsItMay) {
  House house;
  Dialer dialer(house.origin(), {.connections_max = 3, .waiting_max = 2});
  std::vector<std::future<Outcome>> running;
  for (int count = 0; count < 3; ++count) running.push_back(dialer.start({.target = "/later"}));
  ASSERT_TRUE(house.echo_.wait_kept(3));
  for (int count = 0; count < 2; ++count) running.push_back(dialer.start({.target = fmt::format("/{}", count)}));
  const Outcome refused = dialer.fetch({.target = "/more"});
  EXPECT_EQ(refused.code, ErrorCode::kTooManyRequests);
  EXPECT_EQ(dialer.connections(), 3u);
  house.echo_.answer_kept();
  std::vector<std::string> bodies;
  for (std::future<Outcome>& one : running) bodies.push_back(dialer.get(std::move(one)).body);
  EXPECT_EQ(bodies, (std::vector<std::string>{"late", "late", "late", "GET /0 ", "GET /1 "}));
  EXPECT_EQ(house.server_.connections(), 3u);
}

TEST(HttpClient, NamesWhatFailed) {
  const Script closed(false);  // has a port, and does not listen
  Dialer dialer(closed.origin());
  const Outcome outcome = dialer.fetch({});
  EXPECT_EQ(outcome.error, fmt::format("dial tcp 127.0.0.1:{}: connect: connection refused", closed.port_));
  EXPECT_EQ(outcome.code, ErrorCode::kUnavailable);
  EXPECT_EQ(dialer.connections(), 0u);

  Dialer named({.host = "no-such-host.invalid", .port = 1});
  EXPECT_TRUE(named.fetch({}).error.starts_with("dial tcp: lookup no-such-host.invalid: "));
  Dialer secret({.scheme = "https", .host = "127.0.0.1", .port = 1});
  EXPECT_EQ(secret.fetch({}).error, "unsupported protocol scheme \"https\"");
  EXPECT_EQ(dialer.fetch({.target = "/a b"}).code, ErrorCode::kUnavailable);  // nothing is looked at before the dial
}

TEST(HttpClient, TriesEveryAddressOfAName) {
  House house;  // on 127.0.0.1 alone, which is not the first address of the name where there is IPv6
  Dialer dialer({.host = "localhost", .port = house.port_});
  const Outcome outcome = dialer.fetch({.target = "/a"});
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.body, "GET /a ");
}

TEST(HttpClient, RefusesARequestThatWouldBreakTheHeadAndKeepsTheConnection) {
  House house;
  Dialer dialer(house.origin());
  EXPECT_EQ(dialer.fetch({.target = "/a"}).status, 200);
  EXPECT_EQ(dialer.fetch({.target = "/a b"}).error, "invalid request target \"/a b\"");
  EXPECT_EQ(dialer.fetch({.target = "/a"}).status, 200);
  EXPECT_EQ(house.server_.connections(), 1u);
}

TEST(HttpClient, GivesUpOnAServerThatDoesNotAccept) {
  // A full backlog: the kernel does not answer further connects.
  Script script(false);
  ASSERT_EQ(::listen(script.socket_, 0), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(script.port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<int> fillers;
  for (int count = 0; count < 8; ++count) {
    fillers.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    static_cast<void>(::connect(fillers.back(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
  }
  Dialer dialer(script.origin(), {.connect_timeout = 50ms});
  const Outcome outcome = dialer.fetch({});
  EXPECT_EQ(outcome.error, fmt::format("dial tcp 127.0.0.1:{}: i/o timeout", script.port_));
  EXPECT_EQ(outcome.code, ErrorCode::kTimeout);
  for (const int filler : fillers) ::close(filler);
}

TEST(HttpClient, GivesUpOnAServerThatDoesNotAnswer) {
  Script script;
  std::promise<void> over;
  script.run({[&over](int socket) {
    read_head(socket);
    over.get_future().wait();
  }});
  Dialer dialer(script.origin(), {.http1 = {.head_timeout = 50ms}});
  const Outcome outcome = dialer.fetch({});
  over.set_value();
  EXPECT_TRUE(outcome.error.ends_with(fmt::format("->127.0.0.1:{}: timeout awaiting response headers", script.port_)))
      << outcome.error;
}

TEST(HttpClient, SendsAgainWhenTheKeptConnectionWasClosedMeanwhile) {
  Script script;
  constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
  const auto answer_then_drop = [kAnswer](int socket) {
    read_head(socket);
    write_all(socket, std::string(kAnswer) + "a");
    read_head(socket);  // the next request, and no answer to it
  };
  script.run({answer_then_drop, answer_then_drop, [kAnswer](int socket) {
                read_head(socket);
                write_all(socket, std::string(kAnswer) + "c");
              }});
  Dialer dialer(script.origin());
  EXPECT_EQ(dialer.fetch({}).body, "a");
  EXPECT_EQ(dialer.fetch({}).body, "a");  // dropped by the first, answered by the second
  const Outcome outcome = dialer.fetch({.method = "POST"});
  EXPECT_TRUE(outcome.error.ends_with(": EOF")) << outcome.error;  // it may have had an effect
  EXPECT_EQ(dialer.fetch({.method = "POST"}).body, "c");
}

TEST(HttpClient, ABodyThatBreaksOffIsNoAnswer) {
  Script script;
  script.run({[](int socket) {
    read_head(socket);
    write_all(socket, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  }});
  Dialer dialer(script.origin());
  const Outcome outcome = dialer.fetch({});
  EXPECT_EQ(outcome.body, "abc");
  EXPECT_FALSE(outcome.ended);
  EXPECT_TRUE(outcome.error.ends_with(": unexpected EOF")) << outcome.error;
}

/// Gives `left` bytes in pieces, every second one only after it was asked twice.
class SlowSource final : public BodySource {
 public:
  SlowSource(std::size_t left, io::Executor& loop) : left_(left), loop_(loop) {}
  Piece next() override {
    asked_ = !asked_;
    if (asked_) {
      loop_.post([this] { handle_.body_ready(); });
      return {.state = State::kWait};
    }
    const std::size_t size = std::min<std::size_t>(left_, 100'000);
    left_ -= size;
    return {.state = left_ > 0 ? State::kMore : State::kEnd, .bytes = SharedBytes(Bytes(size, 'x'))};
  }

  std::size_t left_;
  io::Executor& loop_;
  ClientHandle handle_;
  bool asked_ = false;
};

TEST(HttpClient, StreamsABody) {
  House house;
  Dialer dialer(house.origin());
  constexpr std::size_t kBytes = 8'000'000;
  const auto source = std::make_shared<SlowSource>(kBytes, dialer.loop_);  // shared with the request
  std::promise<std::size_t> got;
  dialer.on_loop([&] {
    const auto size = std::make_shared<std::size_t>(0);  // shared by the handlers
    ClientHandlers handlers;
    handlers.on_data = [size](BytesView piece) {
      *size += piece.size();
      return true;
    };
    handlers.on_end = [&got, size] { got.set_value(*size); };
    handlers.on_error = [&got](const Error& error) {
      ADD_FAILURE() << error.message;
      got.set_value(0);
    };
    source->handle_ = dialer.client_->request({.method = "POST", .target = "/", .source = source}, handlers);
  });
  std::future<std::size_t> future = got.get_future();
  ASSERT_EQ(future.wait_for(kLimit), std::future_status::ready);
  EXPECT_EQ(future.get(), std::string_view("POST / ").size() + kBytes);
}

TEST(HttpClient, AnUploadThatIsRefusedEarlyHasItsAnswer) {
  Script script;
  std::promise<void> over;
  script.run({[&over](int socket) {
    read_head(socket);
    write_all(socket, "HTTP/1.1 412 No\r\nContent-Length: 1\r\n\r\nx");
    over.get_future().wait();
  }});
  Dialer dialer(script.origin());
  const auto source = std::make_shared<SlowSource>(64'000'000, dialer.loop_);  // shared with the request
  const Outcome outcome = dialer.fetch({.method = "POST", .source = source});
  over.set_value();
  EXPECT_EQ(outcome.status, 412);
  EXPECT_EQ(outcome.body, "x");
  EXPECT_EQ(outcome.error, "");
}

TEST(HttpClient, CancelEndsARequestWithoutACall) {
  House house;
  Dialer dialer(house.origin());
  int calls = 0;
  ClientHandle handle;
  ClientHandlers handlers;
  handlers.on_end = [&calls] { ++calls; };
  handlers.on_error = [&calls](const Error&) { ++calls; };
  dialer.on_loop([&] { handle = dialer.client_->request({.target = "/later"}, handlers); });
  ASSERT_TRUE(house.echo_.wait_kept(1));
  dialer.on_loop([&] { handle.cancel(); });
  EXPECT_EQ(dialer.connections(), 0u);
  dialer.on_loop([&] {
    dialer.client_->request({.target = "/a"}, handlers).cancel();  // before it got a connection
  });
  EXPECT_EQ(dialer.connections(), 0u);
  EXPECT_EQ(calls, 0);
}

TEST(HttpClient, AHandlerMayEndTheClientOrCancel) {
  House house;
  for (const bool ends : {true, false}) {
    Dialer dialer(house.origin());
    std::promise<void> called;
    ClientHandle handle;
    dialer.on_loop([&] {
      ClientHandlers handlers;
      handlers.on_head = [&](const ClientResponse&) {
        if (ends) {
          dialer.client_.reset();
        } else {
          handle.cancel();
        }
        called.set_value();
      };
      handlers.on_data = [](BytesView) {
        ADD_FAILURE() << "told behind the end";
        return true;
      };
      handlers.on_end = [] { ADD_FAILURE() << "told behind the end"; };
      handle = dialer.client_->request({.target = "/a"}, std::move(handlers));
    });
    ASSERT_EQ(called.get_future().wait_for(kLimit), std::future_status::ready);
  }
}

/// Turns every byte around on its way, as a TLS session would do more of.
class FlippingSession final : public Session, public SessionHost {
 public:
  FlippingSession(SessionHost& host, const InnerSessionMaker& inner) : host_(host), inner_(inner(*this)) {}

  void receive(BytesView bytes) override { inner_->receive(flipped(bytes)); }
  void receive_end() override { inner_->receive_end(); }
  [[nodiscard]] bool wants_input() const override { return inner_->wants_input(); }
  [[nodiscard]] const OutputQueue& output() const override { return output_; }
  void sent(std::size_t bytes) override { output_.consume(bytes); }
  void resume() override {
    inner_->resume();
    while (!inner_->output().empty()) {
      BytesView view;
      inner_->output().gather(std::span(&view, 1));
      const std::size_t size = view.size();
      output_.append(flipped(view));
      inner_->sent(size);
    }
  }
  [[nodiscard]] MonotonicTime deadline() const override { return inner_->deadline(); }
  void tick() override { inner_->tick(); }
  void shut_down() override { inner_->shut_down(); }
  void client_gone() override { inner_->client_gone(); }
  [[nodiscard]] bool finished() const override { return inner_->finished(); }
  [[nodiscard]] bool lingers() const override { return false; }

  [[nodiscard]] MonotonicTime now() const override { return host_.now(); }
  [[nodiscard]] WallTime wall() const override { return host_.wall(); }
  void output_ready() override { host_.output_ready(); }
  [[nodiscard]] io::Executor& executor() override { return host_.executor(); }

  static Bytes flipped(BytesView bytes) {
    Bytes result(bytes);
    for (char& letter : result) letter = static_cast<char>(~letter);
    return result;
  }

 private:
  SessionHost& host_;
  std::unique_ptr<Session> inner_;
  OutputQueue output_;
};

TEST(HttpClient, ASessionThatEncryptsFitsInBetween) {
  Script script;
  script.run({[](int socket) {
    Bytes head;
    char letter = 0;
    while (!FlippingSession::flipped(head).ends_with("\r\n\r\n") && ::recv(socket, &letter, 1, 0) == 1) head += letter;
    write_all(socket, FlippingSession::flipped("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"));
  }});
  HttpClientOptions options;
  options.tls = [](SessionHost& host, const InnerSessionMaker& inner) {
    return std::make_unique<FlippingSession>(host, inner);
  };
  Dialer dialer({.scheme = "https", .host = "127.0.0.1", .port = script.port_}, options);
  EXPECT_EQ(dialer.fetch({}).body, "a");
}

}  // namespace
}  // namespace etcd::net
