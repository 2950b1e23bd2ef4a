#include "net/server.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <latch>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "io/clock.h"
#include "net/protocol.h"
#include "net/socket.h"

namespace etcd::net {
namespace {

using Tcp = boost::asio::ip::tcp;
using Socket = boost::asio::basic_stream_socket<Tcp, boost::asio::io_context::executor_type>;
using Acceptor = boost::asio::basic_socket_acceptor<Tcp, boost::asio::io_context::executor_type>;
using AsioError = boost::system::error_code;

constexpr std::size_t kScratchBytes = 64 * 1024;
constexpr std::size_t kPiecesPerSend = 16;
constexpr int kSendsPerEvent = 8;     // then other connections get their turn
constexpr int kAcceptsPerEvent = 16;  // likewise
constexpr int kBacklog = 4096;        // the kernel cuts it to net.core.somaxconn

struct BoundSocket {
  Descriptor descriptor;
  int family = AF_INET;
  std::uint16_t port = 0;
};

struct BindFailure {
  int code = 0;
  std::string_view call;
};

/// One attempt to listen on one address.
std::expected<BoundSocket, BindFailure> bind_socket(const sockaddr* address, socklen_t length, bool both_kinds) {
  const int family = address->sa_family;
  BoundSocket result{.descriptor = Descriptor(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
                     .family = family,
                     .port = 0};
  const int descriptor = result.descriptor.get();
  if (descriptor < 0) return std::unexpected(BindFailure{errno, "socket"});
  set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family == AF_INET6) set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, both_kinds ? 0 : 1);
  if (::bind(descriptor, address, length) != 0) return std::unexpected(BindFailure{errno, "bind"});
  if (::listen(descriptor, kBacklog) != 0) return std::unexpected(BindFailure{errno, "listen"});
  sockaddr_storage bound{};
  socklen_t bound_length = sizeof(bound);
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&bound), &bound_length) != 0) {
    return std::unexpected(BindFailure{errno, "getsockname"});
  }
  if (family == AF_INET6) {
    sockaddr_in6 six{};
    std::memcpy(&six, &bound, sizeof(six));
    result.port = ntohs(six.sin6_port);
  } else {
    sockaddr_in four{};
    std::memcpy(&four, &bound, sizeof(four));
    result.port = ntohs(four.sin_port);
  }
  return result;
}

/// All addresses of both kinds, or of IPv4 on a machine without IPv6.
std::expected<BoundSocket, BindFailure> bind_everywhere(std::uint16_t port) {
  sockaddr_in6 six{};  // whose address, all zeros, is the unspecified one
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  auto bound = bind_socket(reinterpret_cast<const sockaddr*>(&six), sizeof(six), true);
  if (bound.has_value() || (bound.error().code != EAFNOSUPPORT && bound.error().code != EADDRNOTAVAIL)) return bound;
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  return bind_socket(reinterpret_cast<const sockaddr*>(&four), sizeof(four), false);
}

struct ResolvedAddress {
  sockaddr_storage address{};
  socklen_t length = 0;
};

Result<ResolvedAddress> resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure_code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  if (failure_code != 0 || found == nullptr) {
    return failure(ErrorCode::kInvalidArgument, fmt::format("listen tcp: lookup {}: no such host", host));
  }
  const addrinfo* chosen = found;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    if (at->ai_family == AF_INET) {
      chosen = at;
      break;
    }
  }
  ResolvedAddress result;
  result.length = chosen->ai_addrlen;
  std::memcpy(&result.address, chosen->ai_addr, std::min<std::size_t>(result.length, sizeof(result.address)));
  return result;
}

class Connection;

/// What the connections of one loop share; that loop's thread only.
struct LoopShare {
  explicit LoopShare(Loop& its_loop) : loop(its_loop), scratch(kScratchBytes) {}

  Loop& loop;
  std::vector<char> scratch;                                                 // what recv() fills; nothing stays in it
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;  // shared with their pending waits
  bool stopping = false;
};

struct Listener {
  Listener(Loop& loop, std::string its_name) : acceptor(loop.context().get_executor()), name(std::move(its_name)) {}

  Acceptor acceptor;
  std::string name;
  bool waiting = false;  // for a client, or for a descriptor
};

}  // namespace

// ServerCore: listeners on the first loop, and who is there.

class ServerCore : public std::enable_shared_from_this<ServerCore> {
 public:
  ServerCore(const std::vector<Loop*>& loops, Handler& its_handler, ServerOptions its_options)
      : handler(its_handler), options(std::move(its_options)) {
    CHECK(!loops.empty(), "a server needs a loop");
    for (Loop* loop : loops) shares.push_back(std::make_unique<LoopShare>(*loop));
  }

  [[nodiscard]] Loop& first_loop() { return shares.front()->loop; }

  void log(std::string_view message) const {
    if (options.log) options.log(message);
  }

  // First loop only.
  void wait_for_client(Listener& listener);
  void accept_some(Listener& listener);
  void close_listeners();

  // Any thread.
  /// Counts a connection, unless there are too many; then accepting pauses until one goes.
  bool admit();
  void gone();
  [[nodiscard]] std::size_t live() const {
    const std::scoped_lock lock(mu_);
    return live_;
  }
  /// Waits until nobody is there.
  void wait_empty() {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return live_ == 0; });
  }
  bool wait_empty_for(Duration limit) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, limit, [this] { return live_ == 0; });
  }

  Handler& handler;
  const ServerOptions options;
  const io::RealClock clock{};
  std::vector<std::unique_ptr<LoopShare>> shares;
  std::vector<std::unique_ptr<Listener>> listeners;  // filled before start(), then the first loop's
  bool accepting = false;                            // first loop only
  bool stopped = false;                              // the server's own thread only

 private:
  std::size_t next_share_ = 0;  // first loop only
  mutable std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_; locked when a connection comes or goes, never for a request.
  std::size_t live_ = 0;
  bool paused_ = false;
};

namespace {

/// A place among the connections that are counted.
class Place {
 public:
  explicit Place(std::shared_ptr<ServerCore> core) : core_(std::move(core)) {}
  ~Place() {
    if (core_ != nullptr) core_->gone();
  }
  Place(Place&&) noexcept = default;
  Place& operator=(Place&&) = delete;

 private:
  std::shared_ptr<ServerCore> core_;  // shared with the server and the other connections
};

/// One client: moves bytes between its socket and its session. On one loop from open() on.
class Connection final : public SessionHost, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerCore> core, LoopShare& share, Place place, Descriptor descriptor, bool is_v6,
             std::string remote)
      : core_(std::move(core)),
        share_(share),
        place_(std::move(place)),
        socket_(share.loop.context().get_executor()),
        remote_(std::move(remote)),
        opened_at_(core_->clock.now()) {
    AsioError failure;
    socket_.assign(is_v6 ? Tcp::v6() : Tcp::v4(), descriptor.get(), failure);
    if (!failure) static_cast<void>(descriptor.release());
  }

  void open() {
    if (!socket_.is_open() || share_.stopping) return;
    share_.connections.emplace(this, shared_from_this());
    event([] {});
  }

  void shut_down() {
    event([this] {
      if (session_ != nullptr) {
        session_->shut_down();
      } else {
        close();
      }
    });
  }

  /// The connection is broken, or nobody may wait for it any longer.
  void abort() {
    if (closed_) return;
    if (session_ != nullptr) session_->client_gone();
    close();
  }

  // SessionHost
  [[nodiscard]] MonotonicTime now() const override { return core_->clock.now(); }
  [[nodiscard]] WallTime wall() const override { return core_->clock.wall(); }
  [[nodiscard]] io::Executor& executor() override { return share_.loop; }
  void output_ready() override {
    if (closed_ || settle_is_posted_) return;
    if (in_event_) {
      again_ = true;
      return;
    }
    // Behind the tasks that are queued now: what they answer on this connection leaves in the same send.
    settle_is_posted_ = true;
    share_.loop.post([self = shared_from_this()] {
      self->settle_is_posted_ = false;
      self->event([] {});
    });
  }

 private:
  /// Does `body`, then whatever follows from it.
  template <class Body>
  void event(const Body& body) {
    if (closed_) return;
    in_event_ = true;
    body();
    if (!closed_) settle();
    in_event_ = false;
    if (std::exchange(again_, false)) output_ready();
  }

  void settle();
  /// Sends what there is. Returns false when the connection broke.
  bool flush();
  void read();
  void feed(BytesView bytes);
  [[nodiscard]] std::unique_ptr<Session> make_session(Protocol protocol);
  void wait_readable();
  void wait_writable();
  void arm_timer();
  void on_timer();
  void close();

  const std::shared_ptr<ServerCore> core_;  // shared with the server and the other connections
  LoopShare& share_;                        // lives as long as core_
  const Place place_;
  Socket socket_;
  const std::string remote_;
  const MonotonicTime opened_at_;
  std::unique_ptr<Session> session_;  // null until the first bytes have told the protocol
  Bytes first_bytes_;                 // those so far, when there were too few
  MonotonicTime linger_until_;
  MonotonicTime timer_due_ = kNever;
  io::TimerId timer_ = 0;  // 0: none
  bool read_waiting_ = false;
  bool write_waiting_ = false;
  bool input_ended_ = false;
  bool lingering_ = false;  // our side is shut down, and the client has `linger` to close
  bool closed_ = false;
  bool in_event_ = false;  // settle() will run on this stack
  bool again_ = false;     // and once more after that
  bool settle_is_posted_ = false;
};

void Connection::settle() {
  again_ = false;
  if (session_ != nullptr && !lingering_) {
    session_->resume();
    if (!flush()) return;
    if (session_->finished() && session_->output().empty()) {
      if (!session_->lingers() || input_ended_) {
        close();
        return;
      }
      lingering_ = true;
      linger_until_ = now() + core_->options.linger;
      ::shutdown(socket_.native_handle(), SHUT_WR);
    }
  }
  if (lingering_ && input_ended_) {
    close();
    return;
  }
  wait_readable();
  arm_timer();
}

bool Connection::flush() {
  if (write_waiting_) return true;
  std::array<BytesView, kPiecesPerSend> pieces;
  std::array<iovec, kPiecesPerSend> parts{};
  int sends = 0;
  while (!session_->output().empty()) {
    if (++sends > kSendsPerEvent) {
      again_ = true;
      return true;
    }
    const std::size_t count = session_->output().gather(pieces);
    for (std::size_t index = 0; index < count; ++index) {
      parts[index].iov_base = const_cast<char*>(pieces[index].data());
      parts[index].iov_len = pieces[index].size();
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      session_->sent(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      wait_writable();
      return true;
    } else if (errno != EINTR) {
      abort();
      return false;
    }
  }
  return true;
}

void Connection::read() {
  if (!lingering_ && session_ != nullptr && !session_->wants_input()) return;
  const ssize_t got = ::recv(socket_.native_handle(), share_.scratch.data(), share_.scratch.size(), MSG_DONTWAIT);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) abort();
    return;
  }
  if (got > 0) {
    if (!lingering_) feed(BytesView(share_.scratch.data(), static_cast<std::size_t>(got)));
    return;
  }
  input_ended_ = true;
  if (lingering_) return;
  if (session_ != nullptr) {
    session_->receive_end();
  } else {
    close();
  }
}

void Connection::feed(BytesView bytes) {
  if (session_ != nullptr) {
    session_->receive(bytes);
    return;
  }
  if (!first_bytes_.empty()) {
    first_bytes_.append(bytes);
    bytes = first_bytes_;
  }
  const Protocol protocol = protocol_of(bytes);
  if (protocol == Protocol::kUndecided) {
    if (first_bytes_.empty()) first_bytes_ = bytes;
    return;
  }
  session_ = make_session(protocol);
  session_->receive(bytes);
  first_bytes_ = Bytes();
}

std::unique_ptr<Session> Connection::make_session(Protocol protocol) {
  const ServerOptions& options = core_->options;
  Peer peer{.remote = remote_, .secure = false};
  switch (protocol) {
    case Protocol::kHttp2:
      if (options.http2) return options.http2(*this, core_->handler, std::move(peer));
      core_->log(fmt::format("refused an HTTP/2 connection from {}", remote_));
      return make_refusing_session(http2_farewell());
    case Protocol::kTls:
      if (options.tls) return options.tls(*this, core_->handler, std::move(peer));
      core_->log(fmt::format("refused a TLS connection from {} on a port without TLS", remote_));
      return make_refusing_session({});
    case Protocol::kUndecided:
    case Protocol::kHttp1: break;
  }
  return make_http1_session(*this, core_->handler, std::move(peer), options.http1);
}

void Connection::wait_readable() {
  if (closed_ || read_waiting_ || input_ended_) return;
  if (!lingering_ && session_ != nullptr && !session_->wants_input()) return;
  read_waiting_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const AsioError& failure) {
    self->read_waiting_ = false;
    self->event([&self, &failure] {
      if (failure) {
        self->abort();
      } else {
        self->read();
      }
    });
  });
}

void Connection::wait_writable() {
  if (closed_ || write_waiting_) return;
  write_waiting_ = true;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const AsioError& failure) {
    self->write_waiting_ = false;
    self->event([&self, &failure] {
      if (failure) self->abort();
    });
  });
}

void Connection::arm_timer() {
  MonotonicTime due = kNever;
  if (lingering_) {
    due = linger_until_;
  } else if (session_ != nullptr) {
    due = session_->deadline();
  } else if (core_->options.http1.header_timeout > Duration::zero()) {
    due = opened_at_ + core_->options.http1.header_timeout;
  }
  // A timer that comes too early looks again; so the many deadlines that are never reached cost no timer each.
  if (due >= timer_due_) return;
  if (timer_ != 0) share_.loop.cancel(timer_);
  timer_due_ = due;
  timer_ = share_.loop.post_at(due, [weak = weak_from_this()] {
    if (const std::shared_ptr<Connection> self = weak.lock()) self->on_timer();
  });
}

void Connection::on_timer() {
  timer_ = 0;
  timer_due_ = kNever;
  event([this] {
    if (lingering_) {
      if (now() >= linger_until_) close();
    } else if (session_ != nullptr) {
      if (now() >= session_->deadline()) session_->tick();
    } else if (now() >= opened_at_ + core_->options.http1.header_timeout) {
      close();
    }
  });
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  if (session_ != nullptr) session_->client_gone();
  if (timer_ != 0) share_.loop.cancel(timer_);
  AsioError ignored;
  socket_.close(ignored);
  share_.connections.erase(this);  // whoever called us holds a reference, too
}

}  // namespace

bool ServerCore::admit() {
  const std::scoped_lock lock(mu_);
  if (options.connections_max != 0 && live_ >= options.connections_max) {
    paused_ = true;
    return false;
  }
  ++live_;
  return true;
}

void ServerCore::gone() {
  bool resumes = false;
  {
    const std::scoped_lock lock(mu_);
    --live_;
    resumes = std::exchange(paused_, false);
    changed_.notify_all();
  }
  if (!resumes) return;
  first_loop().post([core = shared_from_this()] {
    for (const auto& listener : core->listeners) core->wait_for_client(*listener);
  });
}

void ServerCore::wait_for_client(Listener& listener) {
  if (!accepting || listener.waiting) return;
  listener.waiting = true;
  listener.acceptor.async_wait(Acceptor::wait_read, [core = shared_from_this(), &listener](const AsioError& failure) {
    listener.waiting = false;
    if (!failure) core->accept_some(listener);
  });
}

void ServerCore::accept_some(Listener& listener) {
  for (int accepted = 0; accepted < kAcceptsPerEvent; ++accepted) {
    if (!accepting) return;
    if (!admit()) return;  // gone() comes back
    Place place(shared_from_this());
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    Descriptor descriptor(::accept4(listener.acceptor.native_handle(), reinterpret_cast<sockaddr*>(&address), &length,
                                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (descriptor.get() < 0) {
      const int code = errno;
      if (code == EAGAIN) break;
      if (code == EINTR || code == ECONNABORTED || code == EPROTO || code == EPERM) continue;
      // Usually out of descriptors. The client waits in the backlog, and trying at once would spin.
      log(fmt::format("accept on {}: {}; next try in {} ms", listener.name, words_of(code),
                      std::chrono::duration_cast<std::chrono::milliseconds>(options.accept_backoff).count()));
      listener.waiting = true;
      first_loop().post_at(clock.now() + options.accept_backoff, [core = shared_from_this(), &listener] {
        listener.waiting = false;
        core->wait_for_client(listener);
      });
      return;
    }
    set_connection_options(descriptor.get());
    LoopShare& share = *shares[next_share_++ % shares.size()];
    share.loop.post([core = shared_from_this(), &share, place = std::move(place), descriptor = std::move(descriptor),
                     is_v6 = address.ss_family == AF_INET6, remote = text_of(address)]() mutable {
      std::make_shared<Connection>(std::move(core), share, std::move(place), std::move(descriptor), is_v6,
                                   std::move(remote))
          ->open();
    });
  }
  wait_for_client(listener);
}

void ServerCore::close_listeners() {
  accepting = false;
  for (const auto& listener : listeners) {
    AsioError ignored;
    listener->acceptor.close(ignored);
  }
}

Server::Server(std::vector<Loop*> loops, Handler& handler, ServerOptions options)
    : core_(std::make_shared<ServerCore>(loops, handler, std::move(options))) {}

Server::~Server() {
  stop(Duration::zero());
}

Result<std::uint16_t> Server::listen(const std::string& host, std::uint16_t port) {
  std::string_view bare = host;
  if (bare.starts_with('[') && bare.ends_with(']')) bare = bare.substr(1, bare.size() - 2);
  std::expected<BoundSocket, BindFailure> bound = std::unexpected(BindFailure{});
  std::string name = fmt::format(":{}", port);
  if (bare.empty() || bare == "::") {
    if (!bare.empty()) name = fmt::format("[::]:{}", port);
    bound = bind_everywhere(port);
  } else {
    ETCD_TRY(const ResolvedAddress resolved, resolve(std::string(bare), port));
    name = text_of(resolved.address);
    bound = bind_socket(reinterpret_cast<const sockaddr*>(&resolved.address), resolved.length, false);
  }
  if (!bound.has_value()) {
    const BindFailure& refused = bound.error();
    return failure(refused.code == EADDRINUSE ? ErrorCode::kAlreadyExists : ErrorCode::kIo,
                   fmt::format("listen tcp {}: {}: {}", name, refused.call, words_of(refused.code)));
  }
  auto listener = std::make_unique<Listener>(core_->first_loop(), name);
  AsioError assigned;
  listener->acceptor.assign(bound->family == AF_INET6 ? Tcp::v6() : Tcp::v4(), bound->descriptor.get(), assigned);
  if (assigned) {
    return failure(ErrorCode::kIo, fmt::format("listen tcp {}: epoll: {}", name, words_of(assigned.value())));
  }
  static_cast<void>(bound->descriptor.release());
  core_->listeners.push_back(std::move(listener));
  return bound->port;
}

void Server::start() {
  core_->first_loop().post([core = core_] {
    core->accepting = true;
    for (const auto& listener : core->listeners) core->wait_for_client(*listener);
  });
}

void Server::stop(Duration grace) {
  ServerCore& core = *core_;
  if (std::exchange(core.stopped, true)) return;  // the loops may be gone by now
  for (const auto& share : core.shares) CHECK(!share->loop.is_current(), "a server cannot stop from its own loop");
  // The first loop hands out connections, so what it posts after closing its listeners comes behind the last of them.
  std::latch closed(1);
  std::latch told(static_cast<std::ptrdiff_t>(core.shares.size()));
  core.first_loop().post([&core, &closed, &told] {
    core.close_listeners();
    for (const auto& share : core.shares) {
      share->loop.post([&told, &its = *share] {
        its.stopping = true;
        const auto all = its.connections;  // a copy, since those that close leave the map
        for (const auto& [key, connection] : all) connection->shut_down();
        told.count_down();
      });
    }
    closed.count_down();
  });
  closed.wait();
  told.wait();
  if (!core.wait_empty_for(grace)) {
    for (const auto& share : core.shares) {
      share->loop.post([&its = *share] {
        const auto all = its.connections;
        for (const auto& [key, connection] : all) connection->abort();
      });
    }
    core.wait_empty();
  }
  // What the connections posted on their way out lies before these.
  std::latch last(static_cast<std::ptrdiff_t>(core.shares.size()));
  for (const auto& share : core.shares) share->loop.post([&last] { last.count_down(); });
  last.wait();
}

std::size_t Server::connections() const {
  return core_->live();
}

}  // namespace etcd::net
