// net/socket.h - what servers and clients have in common about sockets, below Asio.
//
// Thread:  any (functions on values; a descriptor has one owner).
#pragma once
#include <cstdint>
#include <string>
#include <utility>

struct sockaddr_storage;

namespace etcd::net {

/// A file descriptor that is closed unless released.
class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : value_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

/// The operating system's words for an errno, as Go has them: they begin in lower case.
std::string words_of(int failure);

/// "127.0.0.1:2379", "[::1]:2379"; an IPv4 address that came in IPv6's clothes is shown as IPv4.
std::string text_of(const sockaddr_storage& address);

/// "127.0.0.1:2379", "name:2379", "[::1]:2379"
std::string join_host_port(const std::string& host, std::uint16_t port);

/// Asks for a favour: a socket without the option works, too.
void set_option(int descriptor, int level, int name, int value);

/// No delay for small writes, and Go's keep-alive, for a peer whose machine is gone.
void set_connection_options(int descriptor);

}  // namespace etcd::net
