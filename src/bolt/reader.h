// bolt/reader.h - reads a bbolt file: its buckets, and cursors over their keys.
//
// Life:    Reader::open() -> find() -> cursor() -> first() or seek() -> key(), value(), next()* ...
// Thread:  one owner at a time for each Reader and Cursor; cursors of one file on several threads need a File each.
// Owns:    nothing. Borrows the file, which must outlive reader and cursors and must not change.
// Format:  docs/formats/db.md
// Source:  bbolt v1.5.0 db.go (choice of meta and page size), cursor.go, tx_check.go (what a sound file is).
//
// No number in the file is trusted: pages must lie below the high-water mark and that inside the file, elements inside
// their page, keys in order and inside the range that the parent gives the page, and no page may be its own ancestor.
// What the format itself does not protect is the data: a changed byte of a value is not noticed here. A snapshot has a
// SHA-256 for that.
//
// Memory: one page for each level of the tree (and its overflow, so at least the value at the cursor).
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "bolt/format.h"
#include "bolt/page.h"
#include "io/file.h"

namespace etcd::bolt {

struct ReaderOptions {
  std::uint64_t overflow_bytes_max = std::uint64_t{1} << 30;  // a page with its overflow that is longer is refused
};

/// Where a bucket is. Valid for the reader that gave it.
struct Bucket {
  PageId root = 0;  // 0: `inline_page` is all there is
  std::uint64_t sequence = 0;
  Bytes inline_page;
  PageId found_in = 0;  // the page that names the bucket, for messages; 0 for the root
};

class Cursor;

class Reader {
 public:
  /// Picks the valid meta with the higher txid and checks it against the file. A file may be longer than its meta says.
  /// Errors: kCorrupt naming the file; kIo.
  static Result<Reader> open(const io::File& file, ReaderOptions options = {});

  [[nodiscard]] const Meta& meta() const { return meta_; }
  /// Bytes up to the high-water mark: what upstream calls the db's size, and the length of a snapshot of it.
  [[nodiscard]] std::uint64_t data_bytes() const { return meta_.high_water * meta_.page_bytes; }

  /// The bucket whose elements are the buckets.
  [[nodiscard]] Bucket root() const { return {meta_.root.root, meta_.root.sequence, {}, 0}; }
  /// A bucket of that root, by name. Errors: kCorrupt, kIo.
  [[nodiscard]] Result<std::optional<Bucket>> find(BytesView name) const;
  [[nodiscard]] Cursor cursor(Bucket bucket) const;

  /// Walks every page of every bucket, and sees that none is reached twice. Takes one bit of memory for each page.
  /// Errors: kCorrupt, kIo.
  [[nodiscard]] Result<void> check() const;

 private:
  friend class Cursor;
  Reader(const io::File& file, ReaderOptions options, const Meta& meta)
      : file_(&file), options_(options), meta_(meta) {}

  [[nodiscard]] Result<Page> load_page(PageId id) const;
  Result<void> check_bucket(Bucket bucket, std::vector<bool>& seen, std::size_t depth) const;
  [[nodiscard]] std::unexpected<Error> corrupt(PageId id, const std::string& what) const;

  const io::File* file_;  // never null
  ReaderOptions options_;
  Meta meta_;  // checked: page size, root and high water fit the file
};

/// A place among the keys of one bucket, in byte order.
class Cursor {
 public:
  // Each moves and says whether the cursor is on an element now. Errors: kCorrupt naming file and page, kIo; after one
  // the cursor is on no element, and first(), last() and seek() begin anew.
  Result<bool> first();
  Result<bool> last();
  Result<bool> seek(BytesView key);  // the first element whose key is not below `key`
  Result<bool> next();               // only when on an element

  [[nodiscard]] bool valid() const { return !path_.empty(); }
  // Of the element; they live until the cursor moves.
  [[nodiscard]] BytesView key() const;
  [[nodiscard]] BytesView value() const;
  [[nodiscard]] bool is_bucket() const;
  /// The bucket that the element holds; is_bucket(). Errors: kCorrupt.
  [[nodiscard]] Result<Bucket> bucket() const;

 private:
  friend class Reader;
  struct Step {
    Page page;
    std::size_t index = 0;
    std::optional<Bytes> end;  // keys of this page are below it
  };

  Cursor(const Reader& reader, Bucket bucket) : reader_(reader), bucket_(std::move(bucket)) {}

  Result<void> enter_root();
  Result<void> enter_child();      // of the last step's element
  Result<bool> settle_forward();   // on the first element at or behind the last step's
  Result<bool> settle_backward();  // on the last element of the last step's page, or one before it
  Result<void> push(Page page, BytesView begin, std::optional<Bytes> end);
  template <class T>
  Result<T> kept(Result<T> result);  // an error leaves the cursor on no element

  Reader reader_;
  Bucket bucket_;
  std::vector<Step> path_;             // root first; empty when on no element
  std::vector<bool>* seen_ = nullptr;  // for Reader::check: the pages reached so far
};

}  // namespace etcd::bolt
