#include "mvcc/links.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "mvcc/varint.h"

namespace etcd::mvcc {

namespace {

struct TreeSizes {
  std::array<std::uint32_t, Links::kMax> sizes;
  std::size_t count = 0;
};

/// The sizes of the trees of a list of `length`, smallest first. Greedy from above is the only such row: every size is
/// 2^k - 1, and just the smallest may appear twice.
TreeSizes tree_sizes(std::uint32_t length) {
  TreeSizes row{};
  for (auto size = static_cast<std::uint32_t>(std::bit_ceil(std::uint64_t{length} + 1) - 1); size > 0; size >>= 1) {
    while (length >= size) {
      row.sizes.at(row.count++) = size;
      length -= size;
    }
  }
  std::reverse(row.sizes.begin(), row.sizes.begin() + static_cast<std::ptrdiff_t>(row.count));
  return row;
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
    if (links.size() == Links::kMax) return std::nullopt;
    const Revision link{owner.main - static_cast<std::int64_t>(distance), static_cast<std::int64_t>(sub)};
    if (link >= before) return std::nullopt;
    links.push_back(link);
    before = link;
  }
  return links;
}

std::optional<Revision> first_link(Revision owner, BytesView bytes) {
  if (bytes.empty()) return std::nullopt;
  std::uint64_t distance = 0;
  std::uint64_t sub = 0;
  CHECK(read_varint(bytes, distance) && read_varint(bytes, sub), "links of revision {}.{}", owner.main, owner.sub);
  return Revision{owner.main - static_cast<std::int64_t>(distance), static_cast<std::int64_t>(sub)};
}

std::size_t link_count(std::uint32_t position) {
  return tree_sizes(position - 1).count;
}

NextLinks links_on_top(Revision revision, const Links& links, std::uint32_t position, std::int64_t compacted) {
  const auto [sizes, count] = tree_sizes(position - 1);
  CHECK(count == links.size(), "position {} has {} links, expected {}", position, links.size(), count);
  CHECK(position < 0xFFFFFFFEu, "a key has {} versions", position);
  NextLinks next{{revision}, 1};
  std::size_t behind = 0;
  std::uint32_t own = 1;
  if (count >= 2 && sizes[0] == sizes[1]) {
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
