#include "net/http_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/basic_resolver.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "io/clock.h"
#include "net/socket.h"

namespace etcd::net {
namespace {

using Tcp = boost::asio::ip::tcp;
using Socket = boost::asio::basic_stream_socket<Tcp, boost::asio::io_context::executor_type>;
using Resolver = boost::asio::ip::basic_resolver<Tcp, boost::asio::io_context::executor_type>;
using AsioError = boost::system::error_code;

constexpr std::size_t kScratchBytes = 64 * 1024;
constexpr std::size_t kPiecesPerSend = 16;
constexpr int kSendsPerEvent = 8;                              // then other connections get their turn
constexpr Duration kShareOfTimeMin = std::chrono::seconds(2);  // Go's least time for one of several addresses

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

Address address_of(const void* data, std::size_t length) {
  Address address;
  address.length = static_cast<socklen_t>(std::min(length, sizeof(address.storage)));
  std::memcpy(&address.storage, data, address.length);
  return address;
}

/// The address that `host` itself is, if it is none that must be looked up.
std::vector<Address> literal_address(const std::string& host, std::uint16_t port) {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) return {address_of(&four, sizeof(four))};
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) return {address_of(&six, sizeof(six))};
  return {};
}

bool is_repeatable(const ClientRequest& request) {
  const std::string& method = request.method;
  return request.source == nullptr &&
         (request.repeatable || method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE");
}

class ClientConnection;

}  // namespace

// HttpClientCall: one request.

class HttpClientCall final : public ClientCall, public std::enable_shared_from_this<HttpClientCall> {
 public:
  HttpClientCall(std::weak_ptr<HttpClientCore> core, ClientRequest its_request, ClientHandlers handlers)
      : request(std::move(its_request)), core_(std::move(core)), handlers_(std::move(handlers)) {}

  // ClientCall. A handler may cancel the call or end the client, and so let go of this.
  void on_head(ClientResponse response) override {
    const auto self = shared_from_this();
    if (handlers_.on_head) handlers_.on_head(std::move(response));
  }
  bool on_data(BytesView piece) override {
    const auto self = shared_from_this();
    return !handlers_.on_data || handlers_.on_data(piece);
  }
  void on_end() override {
    const auto self = shared_from_this();
    done_ = true;
    connection = nullptr;
    const ClientHandlers handlers = std::exchange(handlers_, {});
    if (handlers.on_end) handlers.on_end();
  }
  void on_failure(Error error, bool untouched) override;

  void cancel();
  void body_ready();
  [[nodiscard]] bool done() const { return done_; }

  ClientRequest request;
  ClientConnection* connection = nullptr;  // the one that carries it, or dials for it
  bool on_kept_connection = false;

 private:
  const std::weak_ptr<HttpClientCore> core_;
  ClientHandlers handlers_;
  bool done_ = false;
};

// HttpClientCore: who waits, and which connections there are. Its loop only.

class HttpClientCore : public std::enable_shared_from_this<HttpClientCore> {
 public:
  HttpClientCore(Loop& its_loop, Origin its_origin, HttpClientOptions its_options)
      : loop(its_loop),
        origin(std::move(its_origin)),
        options(std::move(its_options)),
        authority(join_host_port(origin.host, origin.port)) {}

  void add(std::shared_ptr<HttpClientCall> call) {
    waiting.push_back(std::move(call));
    pump_soon();
  }
  /// Hands waiting requests to connections, behind the tasks that are queued now.
  void pump_soon();
  void pump();
  void remove(ClientConnection& connection);
  void stop();

  Loop& loop;
  const Origin origin;
  const HttpClientOptions options;
  const std::string authority;
  const io::RealClock clock{};
  std::vector<char> scratch;                            // what recv() fills; nothing stays in it
  std::deque<std::shared_ptr<HttpClientCall>> waiting;  // shared with nobody but its handles
  std::unordered_map<ClientConnection*, std::shared_ptr<ClientConnection>> connections;  // shared with their waits
  std::vector<ClientConnection*> idle;  // the newest last, which is used first; all are in connections
  bool stopped = false;

 private:
  bool pump_is_posted_ = false;
};

namespace {

/// One connection: dials for the request that it was made for, then moves bytes between its socket and its session.
class ClientConnection final : public SessionHost, public std::enable_shared_from_this<ClientConnection> {
 public:
  ClientConnection(std::shared_ptr<HttpClientCore> core, std::shared_ptr<HttpClientCall> call)
      : core_(std::move(core)),
        call_(std::move(call)),
        resolver_(core_->loop.context().get_executor()),
        socket_(core_->loop.context().get_executor()) {}

  /// Begins to dial.
  void open();
  /// Takes a request; only when it is idle.
  void carry(std::shared_ptr<HttpClientCall> call) {
    call->on_kept_connection = true;
    is_listed_idle_ = false;
    event([&] { begin(std::move(call)); });
  }
  void cancel() {
    event([this] {
      call_.reset();
      if (http_ != nullptr) {
        http_->cancel();
      } else {
        close();
      }
    });
  }
  void body_ready() {
    if (http_ != nullptr) http_->body_ready();
  }
  /// Ends without telling anybody.
  void abandon() {
    call_.reset();
    if (http_ != nullptr) http_->cancel();
    close();
  }

  // SessionHost
  [[nodiscard]] MonotonicTime now() const override { return core_->clock.now(); }
  [[nodiscard]] WallTime wall() const override { return core_->clock.wall(); }
  [[nodiscard]] io::Executor& executor() override { return core_->loop; }
  void output_ready() override {
    if (closed_ || settle_is_posted_) return;
    if (in_event_) {
      again_ = true;
      return;
    }
    settle_is_posted_ = true;
    core_->loop.post([self = shared_from_this()] {
      self->settle_is_posted_ = false;
      self->event([] {});
    });
  }

 private:
  /// Does `body`, then whatever follows from it. Within another event only `body`: that one settles.
  template <class Body>
  void event(const Body& body) {
    if (closed_) return;
    const auto self = shared_from_this();  // a handler may end the client, and all of its connections with it
    if (in_event_) {
      body();
      again_ = true;
      return;
    }
    in_event_ = true;
    body();
    if (!closed_) settle();
    in_event_ = false;
    if (std::exchange(again_, false)) output_ready();
  }

  // Dialing.
  void look_up();
  void dial_next();
  void dialed();
  void dial_failed(Error error);
  void dial_timed_out();

  // Connected.
  void make_sessions();
  void begin(std::shared_ptr<HttpClientCall> call);
  void settle();
  void flush();
  void read();
  void wait_readable();
  void wait_writable();
  void arm_timer();
  void on_timer();
  void close();

  const std::shared_ptr<HttpClientCore> core_;  // shared with the client and the other connections
  std::shared_ptr<HttpClientCall> call_;        // shared with its handle's users; null while idle
  Resolver resolver_;
  Socket socket_;

  std::vector<Address> addresses_;
  std::size_t next_address_ = 0;
  std::string dialed_;  // "127.0.0.1:2380"
  MonotonicTime dial_until_;
  MonotonicTime address_until_;
  std::optional<Error> first_failure_;
  std::uint64_t attempt_ = 0;  // counts sockets, so that a wait for an earlier one is known as such

  std::unique_ptr<Session> session_;  // null while dialing; what speaks to the socket
  ClientSession* http_ = nullptr;     // that, or the one inside it
  std::string link_;                  // "tcp 127.0.0.1:51234->127.0.0.1:2380"
  bool is_listed_idle_ = false;

  MonotonicTime timer_due_ = kNever;
  io::TimerId timer_ = 0;  // 0: none
  bool read_waiting_ = false;
  bool write_waiting_ = false;
  bool input_ended_ = false;
  bool output_broken_ = false;
  bool closed_ = false;
  bool in_event_ = false;  // settle() will run on this stack
  bool again_ = false;     // and once more after that
  bool settle_is_posted_ = false;
};

// Dialing

void ClientConnection::open() {
  dial_until_ = core_->options.connect_timeout > Duration::zero() ? now() + core_->options.connect_timeout : kNever;
  address_until_ = dial_until_;
  call_->connection = this;
  event([this] { look_up(); });
}

void ClientConnection::look_up() {
  const Origin& origin = core_->origin;
  if (origin.scheme != "http" && (origin.scheme != "https" || !core_->options.tls)) {
    dial_failed(Error{ErrorCode::kInvalidArgument, fmt::format("unsupported protocol scheme \"{}\"", origin.scheme)});
    return;
  }
  addresses_ = literal_address(origin.host, origin.port);
  if (!addresses_.empty()) {
    dial_next();
    return;
  }
  // Asio asks the system's resolver on a thread of its own.
  resolver_.async_resolve(origin.host, std::to_string(origin.port), Resolver::numeric_service,
                          [self = shared_from_this()](const AsioError& failure, const Resolver::results_type& found) {
                            self->event([&] {
                              for (const auto& entry : found) {
                                const Tcp::endpoint endpoint = entry.endpoint();
                                self->addresses_.push_back(address_of(endpoint.data(), endpoint.size()));
                              }
                              if (failure || self->addresses_.empty()) {
                                const bool is_unknown = !failure || failure == boost::asio::error::host_not_found ||
                                                        failure == boost::asio::error::no_data;
                                self->dial_failed(Error{is_unknown ? ErrorCode::kNotFound : ErrorCode::kUnavailable,
                                                        fmt::format("dial tcp: lookup {}: {}", self->core_->origin.host,
                                                                    is_unknown ? "no such host" : failure.message())});
                              } else {
                                self->dial_next();
                              }
                            });
                          });
}

void ClientConnection::dial_next() {
  while (next_address_ < addresses_.size()) {
    const Address address = addresses_[next_address_];
    const std::size_t left = addresses_.size() - next_address_;
    ++next_address_;
    ++attempt_;
    write_waiting_ = false;
    dialed_ = text_of(address.storage);
    AsioError ignored;
    socket_.close(ignored);
    const bool is_v6 = address.storage.ss_family == AF_INET6;
    Descriptor descriptor(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    int code = 0;
    std::string_view step = "connect";
    if (descriptor.get() < 0) {
      code = errno;
      step = "socket";
    } else {
      set_connection_options(descriptor.get());
      if (::connect(descriptor.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0 &&
          errno != EINPROGRESS && errno != EINTR) {
        code = errno;
      }
    }
    if (code == 0) {
      AsioError assigned;
      socket_.assign(is_v6 ? Tcp::v6() : Tcp::v4(), descriptor.get(), assigned);
      if (!assigned) {
        static_cast<void>(descriptor.release());
        address_until_ = dial_until_;
        if (dial_until_ != kNever) {
          const Duration all = std::max(dial_until_ - now(), Duration::zero());
          const Duration share = std::max(all / static_cast<std::int64_t>(left), std::min(all, kShareOfTimeMin));
          address_until_ = now() + share;
        }
        wait_writable();
        return;
      }
      code = assigned.value();
      step = "epoll";
    }
    if (!first_failure_.has_value()) {
      first_failure_ =
          Error{ErrorCode::kUnavailable, fmt::format("dial tcp {}: {}: {}", dialed_, step, words_of(code))};
    }
  }
  dial_failed(*std::move(first_failure_));
}

void ClientConnection::dialed() {
  int code = 0;
  socklen_t length = sizeof(code);
  if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_ERROR, &code, &length) != 0) code = errno;
  if (code != 0) {
    if (!first_failure_.has_value()) {
      first_failure_ = Error{ErrorCode::kUnavailable, fmt::format("dial tcp {}: connect: {}", dialed_, words_of(code))};
    }
    dial_next();
    return;
  }
  sockaddr_storage own{};
  socklen_t own_length = sizeof(own);
  static_cast<void>(
      ::getsockname(socket_.native_handle(), reinterpret_cast<sockaddr*>(&own), &own_length));  // for messages only
  link_ = fmt::format("tcp {}->{}", text_of(own), dialed_);
  make_sessions();
  begin(std::move(call_));
}

void ClientConnection::dial_timed_out() {
  if (!first_failure_.has_value()) {
    first_failure_ =
        Error{ErrorCode::kTimeout, dialed_.empty() ? fmt::format("dial tcp: lookup {}: i/o timeout", core_->origin.host)
                                                   : fmt::format("dial tcp {}: i/o timeout", dialed_)};
  }
  if (now() >= dial_until_ || dialed_.empty()) next_address_ = addresses_.size();
  dial_next();
}

void ClientConnection::dial_failed(Error error) {
  const std::shared_ptr<HttpClientCall> call = std::move(call_);
  close();
  if (call != nullptr) call->on_failure(std::move(error), true);
}

// Connected

void ClientConnection::make_sessions() {
  const auto make_http = [this](SessionHost& host) -> std::unique_ptr<Session> {
    auto http = make_http1_client_session(host, core_->authority, link_, core_->options.http1);
    http_ = http.get();
    return http;
  };
  session_ = core_->origin.scheme == "https" ? core_->options.tls(*this, make_http) : make_http(*this);
  CHECK(http_ != nullptr, "a TLS session without the session inside it");
}

void ClientConnection::begin(std::shared_ptr<HttpClientCall> call) {
  if (call == nullptr || call->done()) return;
  call_ = std::move(call);
  call_->connection = this;
  if (std::optional<Error> refused = http_->start(call_->request, *call_)) {
    const std::shared_ptr<HttpClientCall> refused_call = std::move(call_);
    refused_call->on_failure(*std::move(refused), false);
  }
}

void ClientConnection::settle() {
  again_ = false;
  if (session_ != nullptr) {
    session_->resume();
    if (closed_) return;
    flush();
    if (closed_) return;
    if (session_->finished() || http_->finished()) {
      close();
      return;
    }
    if (http_->idle()) {
      call_.reset();
      if (!is_listed_idle_) {
        const std::size_t kept_max = core_->options.idle_connections_max;
        if (kept_max == 0 || (core_->idle.size() >= kept_max && core_->waiting.empty())) {
          close();
          return;
        }
        is_listed_idle_ = true;
        core_->idle.push_back(this);
        core_->pump_soon();
      }
    }
    wait_readable();
  }
  arm_timer();
}

void ClientConnection::flush() {
  if (write_waiting_) return;
  std::array<BytesView, kPiecesPerSend> pieces;
  std::array<iovec, kPiecesPerSend> parts{};
  int sends = 0;
  while (!session_->output().empty()) {
    if (++sends > kSendsPerEvent) {
      again_ = true;
      return;
    }
    const std::size_t count = session_->output().gather(pieces);
    std::size_t size = 0;
    for (std::size_t index = 0; index < count; ++index) {
      parts[index].iov_base = const_cast<char*>(pieces[index].data());
      parts[index].iov_len = pieces[index].size();
      size += pieces[index].size();
    }
    if (output_broken_) {
      session_->sent(size);
      continue;
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      session_->sent(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      wait_writable();
      return;
    } else if (errno != EINTR) {
      // A server that refuses an upload answers, closes, and is not there for the rest: its answer may lie here.
      output_broken_ = true;
      http_->stop_sending(Error{ErrorCode::kUnavailable, fmt::format("write {}: write: {}", link_, words_of(errno))});
    }
  }
}

void ClientConnection::read() {
  if (!session_->wants_input()) return;
  std::vector<char>& scratch = core_->scratch;
  if (scratch.empty()) scratch.resize(kScratchBytes);
  const ssize_t got = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  if (got > 0) {
    session_->receive(BytesView(scratch.data(), static_cast<std::size_t>(got)));
  } else if (got == 0) {
    input_ended_ = true;
    session_->receive_end();
  } else if (errno != EAGAIN && errno != EINTR) {
    http_->broken(Error{ErrorCode::kUnavailable, fmt::format("read {}: read: {}", link_, words_of(errno))});
  }
}

void ClientConnection::wait_readable() {
  if (closed_ || read_waiting_ || input_ended_ || !session_->wants_input()) return;
  read_waiting_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const AsioError& failure) {
    self->read_waiting_ = false;
    self->event([&] {
      if (!failure) self->read();
    });
  });
}

void ClientConnection::wait_writable() {
  if (closed_ || write_waiting_) return;
  write_waiting_ = true;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this(), attempt = attempt_](const AsioError& failure) {
    if (attempt != self->attempt_) return;  // for a socket that was given up
    self->write_waiting_ = false;
    self->event([&] {
      if (!failure && self->session_ == nullptr) self->dialed();
    });
  });
}

void ClientConnection::arm_timer() {
  const MonotonicTime due = session_ != nullptr ? session_->deadline() : address_until_;
  // A timer that comes too early looks again; so the many deadlines that are never reached cost no timer each.
  if (due >= timer_due_) return;
  if (timer_ != 0) core_->loop.cancel(timer_);
  timer_due_ = due;
  timer_ = core_->loop.post_at(due, [weak = weak_from_this()] {
    if (const std::shared_ptr<ClientConnection> self = weak.lock()) self->on_timer();
  });
}

void ClientConnection::on_timer() {
  timer_ = 0;
  timer_due_ = kNever;
  event([this] {
    if (session_ != nullptr) {
      if (now() >= session_->deadline()) session_->tick();
    } else if (now() >= address_until_) {
      dial_timed_out();
    }
  });
}

void ClientConnection::close() {
  if (closed_) return;
  closed_ = true;
  if (session_ != nullptr) session_->client_gone();
  if (timer_ != 0) core_->loop.cancel(timer_);
  AsioError ignored;
  socket_.close(ignored);
  resolver_.cancel();
  core_->remove(*this);  // whoever called us holds a reference, too
}

}  // namespace

void HttpClientCall::on_failure(Error error, bool untouched) {
  const auto self = shared_from_this();
  const bool had_kept = std::exchange(on_kept_connection, false);
  connection = nullptr;
  if (had_kept && untouched && is_repeatable(request)) {
    if (const std::shared_ptr<HttpClientCore> core = core_.lock(); core != nullptr && !core->stopped) {
      core->waiting.push_front(self);
      core->pump_soon();
      return;
    }
  }
  done_ = true;
  const ClientHandlers handlers = std::exchange(handlers_, {});
  if (handlers.on_error) handlers.on_error(std::move(error));
}

void HttpClientCall::cancel() {
  if (done_) return;
  done_ = true;
  const auto self = shared_from_this();
  if (ClientConnection* const at = std::exchange(connection, nullptr); at != nullptr) {
    at->cancel();
  } else if (const std::shared_ptr<HttpClientCore> core = core_.lock()) {
    std::erase(core->waiting, self);
  }
}

void HttpClientCall::body_ready() {
  if (connection != nullptr) connection->body_ready();
}

void HttpClientCore::pump_soon() {
  if (stopped || std::exchange(pump_is_posted_, true)) return;
  loop.post([self = shared_from_this()] {
    self->pump_is_posted_ = false;
    self->pump();
  });
}

void HttpClientCore::pump() {
  while (!stopped && !waiting.empty()) {
    if (!idle.empty()) {
      ClientConnection* const connection = idle.back();
      idle.pop_back();
      const std::shared_ptr<HttpClientCall> call = std::move(waiting.front());
      waiting.pop_front();
      connection->carry(call);
    } else if (options.connections_max == 0 || connections.size() < options.connections_max) {
      const std::shared_ptr<HttpClientCall> call = std::move(waiting.front());
      waiting.pop_front();
      const auto connection = std::make_shared<ClientConnection>(shared_from_this(), call);
      connections.emplace(connection.get(), connection);
      connection->open();
    } else {
      return;
    }
  }
}

void HttpClientCore::remove(ClientConnection& connection) {
  std::erase(idle, &connection);
  connections.erase(&connection);
  if (!waiting.empty()) pump_soon();
}

void HttpClientCore::stop() {
  stopped = true;
  waiting.clear();
  const auto all = connections;  // a copy, since those that close leave the map
  for (const auto& [key, connection] : all) connection->abandon();
}

void ClientHandle::cancel() {
  if (const std::shared_ptr<HttpClientCall> call = call_.lock()) call->cancel();
}

void ClientHandle::body_ready() {
  if (const std::shared_ptr<HttpClientCall> call = call_.lock()) call->body_ready();
}

HttpClient::HttpClient(Loop& loop, Origin origin, HttpClientOptions options)
    : core_(std::make_shared<HttpClientCore>(loop, std::move(origin), std::move(options))) {}

HttpClient::~HttpClient() {
  core_->stop();
}

ClientHandle HttpClient::request(ClientRequest request, ClientHandlers handlers) {
  auto call = std::make_shared<HttpClientCall>(core_, std::move(request), std::move(handlers));
  const HttpClientOptions& options = core_->options;
  if (options.waiting_max != 0 && core_->waiting.size() >= options.waiting_max) {
    core_->loop.post([call, core = core_] {
      if (core->stopped || call->done()) return;
      call->on_failure(Error{ErrorCode::kTooManyRequests, fmt::format("{}: too many requests wait", core->authority)},
                       true);
    });
  } else {
    core_->add(call);
  }
  return ClientHandle(call);
}

const std::string& HttpClient::authority() const {
  return core_->authority;
}

std::size_t HttpClient::connections() const {
  return core_->connections.size();
}

}  // namespace etcd::net
