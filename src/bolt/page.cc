#include "bolt/page.h"

#include <utility>

namespace etcd::bolt {
namespace {

std::unexpected<Error> corrupt(std::string what) {
  return failure(ErrorCode::kCorrupt, std::move(what));
}

constexpr std::uint64_t place_of(std::size_t index) {
  return kPageHeaderBytes + index * kElementBytes;
}

}  // namespace

Result<Page> Page::decode(Bytes bytes) {
  if (bytes.size() < kPageHeaderBytes) return corrupt(fmt::format("{} bytes are no page", bytes.size()));
  const auto header = load<PageHeader>(bytes, 0);
  Page page(std::move(bytes), header);
  ETCD_TRY_VOID(page.check());
  return page;
}

Result<void> Page::check() {
  if (header_.flags != kBranchPage && header_.flags != kLeafPage) {
    return corrupt(fmt::format("type {:#x} is neither branch nor leaf", header_.flags));
  }
  if (header_.flags == kBranchPage && header_.count == 0) return corrupt("a branch without children");
  std::uint64_t end = place_of(count());
  if (end > bytes_.size()) {
    return corrupt(fmt::format("{} elements do not fit into {} bytes", count(), bytes_.size()));
  }
  for (std::size_t index = 0; index < count(); ++index) {
    std::uint64_t at = 0;
    std::uint64_t key_bytes = 0;
    std::uint64_t value_bytes = 0;
    if (is_leaf()) {
      const LeafElement element = leaf(index);
      if ((element.flags & ~kBucketElement) != 0) {
        return corrupt(fmt::format("element {}: unknown flags {:#x}", index, element.flags));
      }
      at = element.at;
      key_bytes = element.key_bytes;
      value_bytes = element.value_bytes;
    } else {
      const BranchElement element = branch(index);
      at = element.at;
      key_bytes = element.key_bytes;
    }
    if (place_of(index) + at != end) {
      return corrupt(fmt::format("element {}: its key is at {}, not at {}", index, place_of(index) + at, end));
    }
    if (key_bytes == 0 || key_bytes > kKeyBytesMax) {
      return corrupt(fmt::format("element {}: a key of {} bytes", index, key_bytes));
    }
    end += key_bytes + value_bytes;  // each below 2^32, and `end` is inside the bytes: no overflow
    if (end > bytes_.size()) {
      return corrupt(fmt::format("element {}: ends at {} of {} bytes", index, end, bytes_.size()));
    }
    if (index > 0 && key(index - 1) >= key(index)) {
      return corrupt(fmt::format("element {}: its key is not above the one before", index));
    }
  }
  used_bytes_ = end;
  return {};
}

LeafElement Page::leaf(std::size_t index) const {
  return load<LeafElement>(bytes_, place_of(index));
}

BranchElement Page::branch(std::size_t index) const {
  return load<BranchElement>(bytes_, place_of(index));
}

BytesView Page::key(std::size_t index) const {
  CHECK(index < count(), "element {} of {}", index, count());
  if (is_leaf()) {
    const LeafElement element = leaf(index);
    return BytesView(bytes_).substr(place_of(index) + element.at, element.key_bytes);
  }
  const BranchElement element = branch(index);
  return BytesView(bytes_).substr(place_of(index) + element.at, element.key_bytes);
}

BytesView Page::value(std::size_t index) const {
  CHECK(is_leaf() && index < count(), "element {} of {}", index, count());
  const LeafElement element = leaf(index);
  return BytesView(bytes_).substr(place_of(index) + element.at + element.key_bytes, element.value_bytes);
}

bool Page::is_bucket(std::size_t index) const {
  CHECK(is_leaf() && index < count(), "element {} of {}", index, count());
  return (leaf(index).flags & kBucketElement) != 0;
}

PageId Page::child(std::size_t index) const {
  CHECK(!is_leaf() && index < count(), "element {} of {}", index, count());
  return branch(index).child;
}

std::size_t Page::lower_bound(BytesView wanted) const {
  std::size_t begin = 0;
  std::size_t end = count();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    if (key(middle) < wanted) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

}  // namespace etcd::bolt
