#include "mvcc/links.h"

#include "base/check.h"
#include "mvcc/varint.h"

namespace etcd::mvcc {

namespace {

/// The sizes of the trees of a list of `count`, smallest first. Greedy from above is the only such row: every size is
/// 2^k - 1, and just the smallest may appear twice.
absl::InlinedVector<std::uint32_t, 34> tree_sizes(std::uint32_t count) {
  absl::InlinedVector<std::uint32_t, 34> sizes;
  for (std::uint32_t size = 0xFFFFFFFFu; size > 0; size >>= 1) {
    while (count >= size) {
      sizes.insert(sizes.begin(), size);
      count -= size;
    }
  }
  return sizes;
}

}  // namespace

void append_links(std::int64_t owner, const Links& links, Bytes& out) {
  for (const Revision& link : links) {
    append_varint(static_cast<std::uint64_t>(owner - link.main), out);
    append_varint(static_cast<std::uint64_t>(link.sub), out);
  }
}

std::optional<Links> decode_links(Revision owner, BytesView bytes) {
  Links links;
  Revision before = owner;
  while (!bytes.empty()) {
    std::uint64_t distance = 0;
    std::uint64_t sub = 0;
    if (!read_varint(bytes, distance) || !read_varint(bytes, sub)) return std::nullopt;
    if (distance >= static_cast<std::uint64_t>(owner.main) || sub > 0xFFFFFFFFu) return std::nullopt;
    const Revision link{owner.main - static_cast<std::int64_t>(distance), static_cast<std::int64_t>(sub)};
    if (link >= before) return std::nullopt;
    links.push_back(link);
    before = link;
  }
  return links;
}

std::size_t link_count(std::uint32_t position) {
  return tree_sizes(position - 1).size();
}

NextLinks links_on_top(Revision revision, const Links& links, std::uint32_t position, std::int64_t compacted) {
  const auto sizes = tree_sizes(position - 1);
  CHECK(sizes.size() == links.size(), "position {} has {} links, expected {}", position, links.size(), sizes.size());
  CHECK(position < 0xFFFFFFFEu, "a key has {} versions", position);
  NextLinks next{{revision}, 1};
  std::size_t behind = 0;
  std::uint32_t own = 1;
  if (sizes.size() >= 2 && sizes[0] == sizes[1]) {
    own = 1 + sizes[0] + sizes[1];
    behind = 2;
  }
  next.position += own;
  for (; behind < links.size() && next.links.back().main > compacted; ++behind) {
    next.links.push_back(links[behind]);
    next.position += sizes[behind];
  }
  return next;
}

}  // namespace etcd::mvcc
