// v2 paths: cleaning is idempotent, and a clean path is taken apart and put together without loss.
#include "tree/path.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace etcd;
  const BytesView text(reinterpret_cast<const char*>(data), size);
  const Bytes clean = tree::clean_path(text);
  if (!tree::is_clean(clean) || tree::clean_path(clean) != clean) std::abort();
  if (tree::is_clean(text) && text != clean) std::abort();
  const std::size_t depth = tree::depth_of(clean);
  if (tree::ancestor_at(clean, depth) != clean) std::abort();
  if (depth > 0 && tree::ancestor_at(clean, depth - 1) != tree::parent_of(clean)) std::abort();
  if (tree::path_less(clean, clean)) std::abort();
  static_cast<void>(tree::is_hidden_below("/", clean));
  return 0;
}
