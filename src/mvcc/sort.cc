#include "mvcc/sort.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace etcd::mvcc {

namespace {

struct Item {
  std::uint64_t head;  // 8 bytes of the key from the group's depth on, big-endian, padded with zeros
  const Entry* entry;
};

struct Group {
  std::size_t begin;
  std::size_t end;
  std::size_t depth;  // so many leading bytes are equal in all its keys
};

constexpr std::size_t kSmallGroup = 12;

std::uint64_t head_of(BytesView key, std::size_t depth) {
  std::uint64_t raw = 0;
  if (key.size() >= depth + 8) {
    std::memcpy(&raw, key.data() + depth, 8);
  } else if (key.size() > depth) {
    std::memcpy(&raw, key.data() + depth, key.size() - depth);
  }
  return __builtin_bswap64(raw);
}

/// How many bytes past `depth` all keys of the group share.
std::size_t shared_past(const std::vector<Item>& items, const Group& group) {
  const BytesView first = items[group.begin].entry->key().substr(group.depth);
  std::size_t shared = first.size();
  for (std::size_t place = group.begin + 1; place < group.end && shared > 0; ++place) {
    const BytesView key = items[place].entry->key().substr(group.depth);
    shared = std::min(shared, key.size());
    if (std::memcmp(first.data(), key.data(), shared) == 0) continue;
    shared = static_cast<std::size_t>(
        std::mismatch(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(shared), key.begin()).first -
        first.begin());
  }
  return shared;
}

}  // namespace

void sort_by_key(std::vector<const Entry*>& entries) {
  std::vector<Item> items;
  items.reserve(entries.size());
  for (const Entry* entry : entries) items.push_back({0, entry});

  // A stack of our own: keys that nest deeply must not use up the thread's.
  std::vector<Group> groups{{0, items.size(), 0}};
  while (!groups.empty()) {
    Group group = groups.back();
    groups.pop_back();
    const auto begin = items.begin() + static_cast<std::ptrdiff_t>(group.begin);
    const auto end = items.begin() + static_cast<std::ptrdiff_t>(group.end);
    if (group.end - group.begin <= kSmallGroup) {
      std::sort(begin, end, [&group](const Item& left, const Item& right) {
        return left.entry->key().substr(group.depth) < right.entry->key().substr(group.depth);
      });
      continue;
    }
    group.depth += shared_past(items, group);
    for (auto item = begin; item != end; ++item) item->head = head_of(item->entry->key(), group.depth);
    std::sort(begin, end, [](const Item& left, const Item& right) { return left.head < right.head; });
    for (auto run = begin; run != end;) {
      auto after = run + 1;
      while (after != end && after->head == run->head) ++after;
      if (after - run > 1) {
        // Keys that end within these bytes differ in trailing zeros only: the shorter is the smaller.
        const std::size_t depth = group.depth + 8;
        const auto longer =
            std::partition(run, after, [depth](const Item& item) { return item.entry->key().size() <= depth; });
        std::sort(run, longer, [](const Item& left, const Item& right) {
          return left.entry->key().size() < right.entry->key().size();
        });
        if (after - longer > 1) {
          groups.push_back({static_cast<std::size_t>(longer - items.begin()),
                            static_cast<std::size_t>(after - items.begin()), depth});
        }
      }
      run = after;
    }
  }
  for (std::size_t place = 0; place < items.size(); ++place) entries[place] = items[place].entry;
}

}  // namespace etcd::mvcc
