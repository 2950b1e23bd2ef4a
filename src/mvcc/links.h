// mvcc/links.h - how a version finds the older versions of its key in O(log n) steps.
//
// Thread:  any (pure functions).
//
// The versions of a key form a skew-binary random-access list, newest first: a row of complete binary trees, the
// smallest first, where only the first two may be of equal size. A version is the root of its tree; its links are the
// roots of the list as it was before that version came. Putting version n+1 in front of a list of n joins the first two
// trees under it if they are of equal size, else it becomes a tree of its own:
//
//      n = 7:  7          n = 8:  8   7            n = 9:  9   8   7         n = 10:  10      7
//            .' '.                  .' '.                        .' '.              .'  '.   .' '.
//           6     3                6     3                      6     3            9      8  6   3
//         .' '. .' '.             ...   ...                    ...   ...                    ... ...
//         5   4 2   1
//      links(7) = 6 3     links(8) = 7             links(9) = 8 7            links(10) = 9 8 7
//
// A search for revision R from a version that is too new follows the oldest link that is still too new, and so halves
// what is left each time. It never reads a record older than the answer, so what compaction removed is not missed.
// Links to what no search can reach any more (behind the first one at or below the compacted revision) are dropped when
// the next version is written. The sizes of the trees follow from the count alone.
// Source: Myers, "An applicative random-access stack" (1983); Okasaki, "Purely Functional Data Structures" 9.3.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>

#include "base/bytes.h"
#include "base/ids.h"

namespace etcd::mvcc {

/// Newest first; the first is the version before.
class Links {
 public:
  static constexpr std::size_t kMax = 33;  // tree sizes below 2^32, the smallest of them twice

  Links() = default;
  Links(std::initializer_list<Revision> links) : count_(links.size()) {
    std::copy(links.begin(), links.end(), links_.begin());
  }

  void push_back(Revision link) { links_.at(count_++) = link; }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] const Revision* begin() const { return links_.data(); }
  [[nodiscard]] const Revision* end() const { return links_.data() + count_; }
  const Revision& operator[](std::size_t place) const { return links_[place]; }
  [[nodiscard]] const Revision& front() const { return links_[0]; }
  [[nodiscard]] const Revision& back() const { return links_[count_ - 1]; }
  friend bool operator==(const Links& left, const Links& right) {
    return std::equal(left.begin(), left.end(), right.begin(), right.end());
  }

 private:
  std::array<Revision, kMax> links_;
  std::size_t count_ = 0;
};

/// The bytes: for each link the distance of its main revision to `owner`'s, and its sub, as varints.
void append_links(std::int64_t owner, const Links& links, Bytes& out);
/// Nothing when the bytes are not well-formed or not in descending order below `owner`.
std::optional<Links> decode_links(Revision owner, BytesView bytes);

/// The first of them, the version before; nothing where there is none. `bytes` are append_links()' own.
std::optional<Revision> first_link(Revision owner, BytesView bytes);

/// How many links the version at `position` (counted from 1) has.
std::size_t link_count(std::uint32_t position);

struct NextLinks {
  Links links;
  std::uint32_t position;
};
/// Links and position of the version written on top of the one at `revision`, whose own are `links` and `position`.
NextLinks links_on_top(Revision revision, const Links& links, std::uint32_t position, std::int64_t compacted);

}  // namespace etcd::mvcc
