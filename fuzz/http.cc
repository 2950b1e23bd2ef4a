// HTTP/1.1 from the wire: the session must not crash, and must answer the same however the bytes were cut.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "io/sim_scheduler.h"
#include "net/http1_session.h"

namespace {

using namespace etcd;

class Echo final : public net::Handler {
 public:
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override {
    net::Response response;
    response.body = request.method + ' ' + request.path + ' ' + request.query + ' ' + request.body;
    exchange->send(std::move(response));
  }
};

class Host final : public net::SessionHost {
 public:
  [[nodiscard]] MonotonicTime now() const override { return {}; }
  [[nodiscard]] WallTime wall() const override { return {}; }
  void output_ready() override {}
  [[nodiscard]] io::Executor& executor() override { return loop_; }

 private:
  io::SimScheduler scheduler_{1};
  io::Executor& loop_{scheduler_.new_executor("net")};
};

std::string answers(BytesView bytes, std::size_t piece) {
  Host host;
  Echo handler;
  net::Http1Options options;
  options.header_bytes_max = 2000;
  options.body_bytes_max = 2000;
  const auto session = net::make_http1_session(host, handler, {.remote = "127.0.0.1:1", .secure = false}, options);
  std::string out;
  const auto drain = [&] {
    for (int turn = 0; turn < 100; ++turn) {
      session->resume();
      BytesView views[16];
      const std::size_t count = session->output().gather(views);
      if (count == 0) break;
      std::size_t size = 0;
      for (std::size_t place = 0; place < count; ++place) {
        out += views[place];
        size += views[place].size();
      }
      session->sent(size);
    }
  };
  while (!bytes.empty() && !session->finished()) {
    const std::size_t count = std::min(piece, bytes.size());
    session->receive(bytes.substr(0, count));
    bytes.remove_prefix(count);
    drain();
  }
  if (!session->finished()) session->receive_end();
  drain();
  // Whether a client is told to go on depends on whether its body was there already.
  constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
  for (std::size_t at = out.find(kGoOn); at != std::string::npos; at = out.find(kGoOn)) out.erase(at, kGoOn.size());
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView bytes(reinterpret_cast<const char*>(data), size);
  const std::string at_once = answers(bytes, bytes.size() + 1);
  const std::string bytewise = answers(bytes, 1);
  // A broken chunk of a few bytes right before the client leaves may be seen as either: as broken, or as cut off.
  const std::string_view more = std::string_view(at_once).substr(std::min(bytewise.size(), at_once.size()));
  const bool cut_off = at_once.starts_with(bytewise) && more.starts_with("HTTP/1.1 400");
  if (at_once != bytewise && !cut_off) {
    std::fprintf(stderr, "input\n%.*s\nat once\n%s\nbyte by byte\n%s\n", static_cast<int>(size), bytes.data(),
                 at_once.c_str(), bytewise.c_str());
    std::abort();
  }
  return 0;
}
