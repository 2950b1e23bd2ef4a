// HTTP/1.1 answers from the wire: the client must not crash, and must see the same however the bytes were cut.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "io/sim_scheduler.h"
#include "net/http1_client_session.h"

namespace {

using namespace etcd;

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

class Call final : public net::ClientCall {
 public:
  void on_head(net::ClientResponse response) override {
    text_ += std::to_string(response.status) + ' ' + response.reason;
    for (const auto& [name, value] : response.headers.fields()) text_ += '\n' + name + ": " + value;
    text_ += "\n\n";
  }
  bool on_data(BytesView piece) override {
    if (over_) std::abort();
    text_ += piece;
    return true;
  }
  void on_end() override { finish("\nend"); }
  // The words may show as much of a broken line as there was.
  void on_failure(Error, bool) override { finish("\nfailed"); }

  std::string text_;
  bool over_ = false;

 private:
  void finish(const char* how) {
    if (over_) std::abort();
    over_ = true;
    text_ += how;
  }
};

/// What several calls on one connection are told.
std::string told(BytesView bytes, std::size_t piece) {
  Host host;
  const net::Http1ClientOptions options{.header_bytes_max = 2000, .header_fields_max = 20};
  const auto session = net::make_http1_client_session(host, "h:1", "tcp a->b", options);
  Call call;
  if (session->start({.method = "GET"}, call).has_value()) std::abort();
  session->sent(session->output().size());
  while (!bytes.empty() && !session->finished()) {
    const std::size_t count = std::min(piece, bytes.size());
    session->receive(bytes.substr(0, count));
    bytes.remove_prefix(count);
  }
  if (!session->finished()) session->receive_end();
  if (!call.over_ || !session->finished()) std::abort();
  return call.text_;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView bytes(reinterpret_cast<const char*>(data), size);
  const std::string at_once = told(bytes, bytes.size() + 1);
  for (const std::size_t piece : {1, 3, 17}) {
    if (told(bytes, piece) == at_once) continue;
    std::fprintf(stderr, "input\n%.*s\nat once\n%s\nin pieces of %zu\n%s\n", static_cast<int>(size), bytes.data(),
                 at_once.c_str(), piece, told(bytes, piece).c_str());
    std::abort();
  }
  return 0;
}
