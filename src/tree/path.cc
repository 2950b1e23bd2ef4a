#include "tree/path.h"

#include <algorithm>

namespace etcd::tree {

Bytes clean_path(BytesView path) {
  Bytes out;
  out.reserve(path.size() + 1);
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const BytesView name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      out.resize(out.empty() ? 0 : out.rfind('/'));
      continue;
    }
    out.push_back('/');
    out.append(name);
  }
  if (out.empty()) out = "/";
  return out;
}

bool is_clean(BytesView path) {
  if (is_root(path)) return true;
  if (!path.starts_with('/') || path.ends_with('/')) return false;
  path.remove_prefix(1);
  for (;;) {
    const std::size_t slash = path.find('/');
    const BytesView name = path.substr(0, slash);
    if (name.empty() || name == "." || name == "..") return false;
    if (slash == BytesView::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

BytesView parent_of(BytesView path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == BytesView::npos ? BytesView("/") : path.substr(0, slash);
}

std::size_t depth_of(BytesView path) {
  return is_root(path) ? 0 : static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
}

BytesView ancestor_at(BytesView path, std::size_t depth) {
  if (depth == 0) return "/";
  std::size_t at = 0;
  for (; depth > 0 && at != BytesView::npos; --depth) at = path.find('/', at + 1);
  return path.substr(0, at);
}

BytesView name_of(BytesView path) {
  return path.substr(path.rfind('/') + 1);
}

bool is_hidden_below(BytesView base, BytesView path) {
  BytesView left = path.substr(is_root(base) ? 0 : base.size());
  while (left.starts_with('/')) {
    left.remove_prefix(1);
    if (is_hidden_name(left)) return true;
    left.remove_prefix(std::min(left.find('/'), left.size()));
  }
  return false;
}

bool path_less(BytesView left, BytesView right) {
  const auto weight = [](char byte) { return byte == '/' ? -1 : static_cast<int>(static_cast<unsigned char>(byte)); };
  return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                      [&](char one, char two) { return weight(one) < weight(two); });
}

}  // namespace etcd::tree
