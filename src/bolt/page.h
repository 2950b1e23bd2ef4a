// bolt/page.h - one branch or leaf page with its overflow, checked once and then read without doubt.
//
// Life:    Page::decode() -> key(), value(), child() ...
// Thread:  any (immutable).
// Owns:    the bytes of the page and its overflow.
// Format:  docs/formats/db.md
#pragma once
#include <cstdint>

#include "bolt/format.h"

namespace etcd::bolt {

class Page {
 public:
  /// Takes the bytes of a page with its overflow, or of an inline page.
  ///
  /// Checked: type; every element inside the bytes, its data right behind that of the one before; keys neither empty
  ///          nor too long, ascending; children of a branch.
  /// Errors:  kCorrupt, saying what is wrong but not where: the caller knows file and page.
  /// Source:  bbolt internal/common/inode.go WriteInodeToPage: data in the order of the elements, without gaps.
  static Result<Page> decode(Bytes bytes);

  [[nodiscard]] bool is_leaf() const { return header_.flags == kLeafPage; }
  [[nodiscard]] std::size_t count() const { return header_.count; }
  [[nodiscard]] PageId id() const { return header_.id; }
  /// From the header to the end of the last value.
  [[nodiscard]] std::uint64_t used_bytes() const { return used_bytes_; }

  // `index` < count(). Views live as long as the page stays where it is.
  [[nodiscard]] BytesView key(std::size_t index) const;
  [[nodiscard]] BytesView value(std::size_t index) const;  // of a leaf
  [[nodiscard]] bool is_bucket(std::size_t index) const;   // of a leaf
  [[nodiscard]] PageId child(std::size_t index) const;     // of a branch

  /// The first element whose key is not below `key`; count() when there is none.
  [[nodiscard]] std::size_t lower_bound(BytesView key) const;

 private:
  Page(Bytes bytes, PageHeader header) : bytes_(std::move(bytes)), header_(header) {}

  [[nodiscard]] LeafElement leaf(std::size_t index) const;
  [[nodiscard]] BranchElement branch(std::size_t index) const;
  Result<void> check();

  Bytes bytes_;
  PageHeader header_;
  std::uint64_t used_bytes_ = kPageHeaderBytes;
};

}  // namespace etcd::bolt
