// Queries, forms, targets and media types: whatever a client writes into them.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "net/media_type.h"
#include "net/url.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace etcd::net;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Form form = parse_form(text);
  for (const auto& [name, value] : form.pairs) {
    if (name.size() + value.size() > text.size()) std::abort();  // decoding never makes more of it
  }
  static_cast<void>(parse_media_type(text));
  if (const auto target = parse_target("GET", text)) {
    const std::string clean = clean_path(target->path);
    if (target->path != "*" && !is_clean_path(clean)) std::abort();
    if (unescape_path(escape_path(clean)).value() != clean) std::abort();
  }
  return 0;
}
