#include "net/protocol.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace etcd::net {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr char kTlsHandshake = 0x16;

class RefusingSession final : public Session {
 public:
  explicit RefusingSession(Bytes farewell) { output_.append(std::move(farewell)); }

  void receive(BytesView) override {}
  void receive_end() override {}
  [[nodiscard]] bool wants_input() const override { return false; }
  [[nodiscard]] const OutputQueue& output() const override { return output_; }
  void sent(std::size_t bytes) override { output_.consume(bytes); }
  void resume() override {}
  [[nodiscard]] MonotonicTime deadline() const override { return kNever; }  // a few bytes never wait for the client
  void tick() override {}
  void shut_down() override {}
  void client_gone() override { output_.clear(); }
  [[nodiscard]] bool finished() const override { return true; }
  [[nodiscard]] bool lingers() const override { return true; }

 private:
  OutputQueue output_;
};

}  // namespace

Protocol protocol_of(BytesView first_bytes) {
  if (first_bytes.empty()) return Protocol::kUndecided;
  if (first_bytes.front() == kTlsHandshake) return Protocol::kTls;
  const std::size_t compared = std::min(first_bytes.size(), kPreface.size());
  if (first_bytes.substr(0, compared) != kPreface.substr(0, compared)) return Protocol::kHttp1;
  return compared == kPreface.size() ? Protocol::kHttp2 : Protocol::kUndecided;
}

std::unique_ptr<Session> make_refusing_session(Bytes farewell) {
  return std::make_unique<RefusingSession>(std::move(farewell));
}

Bytes http2_farewell() {
  // Each frame: length (3 bytes), type, flags, stream (4 bytes).
  constexpr unsigned char kFrames[] = {
      0, 0, 0, 4, 0, 0, 0, 0,    0,  // SETTINGS, empty: the server's part of the preface
      0, 0, 8, 7, 0, 0, 0, 0,    0,  // GOAWAY
      0, 0, 0, 0, 0, 0, 0, 0x0D,     // last stream 0, HTTP_1_1_REQUIRED
  };
  return Bytes(reinterpret_cast<const char*>(kFrames), sizeof(kFrames));
}

}  // namespace etcd::net
