#include "mvcc/sort.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "mvcc/parallel.h"

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

  [[nodiscard]] std::size_t size() const { return end - begin; }
};

constexpr std::size_t kSmallGroup = 12;
constexpr std::size_t kLargeGroup = 1 << 15;  // worth the work of several threads
constexpr std::size_t kSample = 32;           // keys that are asked what all have in common
constexpr std::size_t kAhead = 12;            // items whose keys are on their way to the cache

std::uint64_t head_of(BytesView key, std::size_t depth) {
  std::uint64_t raw = 0;
  if (key.size() >= depth + 8) {
    std::memcpy(&raw, key.data() + depth, 8);
  } else if (key.size() > depth) {
    std::memcpy(&raw, key.data() + depth, key.size() - depth);
  }
  return __builtin_bswap64(raw);
}

/// How many bytes `left` and `right` have in common, of the first `max`.
std::size_t shared_bytes(BytesView left, BytesView right, std::size_t max) {
  max = std::min({max, left.size(), right.size()});
  if (std::memcmp(left.data(), right.data(), max) == 0) return max;
  return static_cast<std::size_t>(
      std::mismatch(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(max), right.begin()).first - left.begin());
}

class Sorter {
 public:
  Sorter(std::vector<const Entry*>& entries, unsigned threads) : entries_(entries), threads_(threads) {}

  bool sort() {
    items_.reserve(entries_.size());
    for (const Entry* entry : entries_) items_.push_back({0, entry});
    // Large groups one after the other, each on all threads; then the small ones that they fell into, shared out.
    // Stacks of our own: keys that nest deeply must not use up the threads'.
    std::vector<Group> large{{0, items_.size(), 0}};
    std::vector<Group> small;
    while (!large.empty()) {
      const Group group = large.back();
      large.pop_back();
      if (group.size() < kLargeGroup) {
        small.push_back(group);
        continue;
      }
      split(group, threads_, large);
    }
    std::atomic<std::size_t> next{0};
    run_on_threads(small.size() > 1 ? threads_ : 1, [&](unsigned) {
      std::vector<Group> stack;
      constexpr std::size_t kAtOnce = 64;
      for (std::size_t begin = 0; (begin = next.fetch_add(kAtOnce)) < small.size();) {
        const std::size_t end = std::min(begin + kAtOnce, small.size());
        for (std::size_t place = begin; place < end; ++place) {
          stack.push_back(small[place]);
          while (!stack.empty()) {
            const Group group = stack.back();
            stack.pop_back();
            split(group, 1, stack);
          }
        }
      }
    });
    for (std::size_t place = 0; place < items_.size(); ++place) entries_[place] = items_[place].entry;
    return equal_.load();
  }

 private:
  [[nodiscard]] BytesView key(std::size_t place) const { return items_[place].entry->key(); }

  /// Sorts the group by the next bytes that differ; what is equal there goes into `groups`.
  void split(Group group, unsigned threads, std::vector<Group>& groups) {
    const auto begin = items_.begin() + static_cast<std::ptrdiff_t>(group.begin);
    const auto end = items_.begin() + static_cast<std::ptrdiff_t>(group.end);
    if (group.size() <= kSmallGroup) {
      std::sort(begin, end, [&group](const Item& left, const Item& right) {
        return left.entry->key().substr(group.depth) < right.entry->key().substr(group.depth);
      });
      for (std::size_t place = group.begin + 1; place < group.end; ++place) {
        if (key(place - 1) == key(place)) equal_ = true;
      }
      return;
    }
    group.depth = read_heads(group, threads);
    sort_heads(group, threads);
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
        for (auto item = run; item != longer; ++item) {
          if (item != run && item->entry->key().size() == (item - 1)->entry->key().size()) equal_ = true;
        }
        if (after - longer > 1) {
          groups.push_back({static_cast<std::size_t>(longer - items_.begin()),
                            static_cast<std::size_t>(after - items_.begin()), depth});
        }
      }
      run = after;
    }
  }

  /// Fills in the heads and returns the depth at which they lie, which all keys of the group share.
  std::size_t read_heads(const Group& group, unsigned threads) {
    const auto rest = [this, &group](std::size_t place) { return key(place).substr(group.depth); };
    const BytesView first = rest(group.begin);
    const std::size_t step = std::max<std::size_t>(group.size() / kSample, 1);
    std::size_t depth = first.size();
    for (std::size_t place = group.begin; place < group.end; place += step) {
      depth = shared_bytes(first, rest(place), depth);
    }
    // Where the sample told too much, once more.
    for (;;) {
      std::vector<std::size_t> shared(threads, depth);
      run_on_threads(threads, [&](unsigned thread) {
        const Part part(group.size(), thread, threads);
        std::size_t least = depth;
        for (std::size_t place = group.begin + part.begin; place < group.begin + part.end; ++place) {
          if (place + kAhead < group.end) {
            const char* const ahead = reinterpret_cast<const char*>(items_[place + kAhead].entry);
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + 64);
          }
          const BytesView at = rest(place);
          least = shared_bytes(first, at, least);
          items_[place].head = head_of(at, depth);
        }
        shared[thread] = least;
      });
      const std::size_t least = std::ranges::min(shared);
      if (least == depth) return group.depth + depth;
      depth = least;
    }
  }

  void sort_heads(const Group& group, unsigned threads) {
    const auto by_head = [](const Item& left, const Item& right) { return left.head < right.head; };
    const auto at = [&](unsigned thread) {
      return items_.begin() + static_cast<std::ptrdiff_t>(group.begin + Part(group.size(), thread, threads).begin);
    };
    run_on_threads(threads, [&](unsigned thread) { std::sort(at(thread), at(thread + 1), by_head); });
    for (unsigned thread = 1; thread < threads; ++thread) {
      std::inplace_merge(at(0), at(thread), at(thread + 1), by_head);
    }
  }

  std::vector<const Entry*>& entries_;
  const unsigned threads_;
  std::vector<Item> items_;
  std::atomic<bool> equal_{false};
};

}  // namespace

bool sort_by_key(std::vector<const Entry*>& entries, unsigned threads) {
  return Sorter(entries, threads).sort();
}

}  // namespace etcd::mvcc
