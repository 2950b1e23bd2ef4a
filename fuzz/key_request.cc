// Requests to /v2/keys: the first line of the input is the method, the second the query, the rest the body.
#include "api/v2/key_request.h"

#include <cstdint>
#include <cstdlib>

#include "api/v2/json.h"
#include "tree/path.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace etcd;
  BytesView text(reinterpret_cast<const char*>(data), size);
  const auto take_line = [&] {
    const BytesView line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    return Bytes(line);
  };
  net::Request request;
  request.method = take_line();
  request.query = take_line();
  request.path = "/v2/keys" + take_line();
  request.body = Bytes(text);
  request.headers.add("Content-Type", "application/x-www-form-urlencoded");
  const auto parsed = api::v2::parse_key_request(request, WallTime{1});
  if (parsed) {
    if (!tree::is_clean(parsed->path)) std::abort();
  } else {
    Bytes out;
    api::v2::append_refusal(out, parsed.error());
    if (api::v2::status_of(parsed.error().code) != 400) std::abort();
  }
  return 0;
}
