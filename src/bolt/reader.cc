#include "bolt/reader.h"

#include <utility>

namespace etcd::bolt {
namespace {

// Far more than any file needs: a level multiplies the pages by two at least.
constexpr std::size_t kDepthMax = 64;

constexpr std::uint64_t kMetaEnd = kPageHeaderBytes + kMetaBytes;

bool is_page_size(std::uint64_t bytes) {
  return bytes >= kPageBytesMin && bytes <= kPageBytesMax && std::has_single_bit(bytes);
}

std::unexpected<Error> corrupt_file(const io::File& file, const std::string& what) {
  return failure(ErrorCode::kCorrupt, fmt::format("{}: {}", file.name(), what));
}

/// The meta whose page begins at `offset`. Errors: kCorrupt without the file's name; kIo.
Result<Meta> read_meta(const io::File& file, std::uint64_t offset) {
  ETCD_TRY(const Bytes bytes, file.read_at(offset, kMetaEnd));
  if (bytes.size() < kMetaEnd) return failure(ErrorCode::kCorrupt, "the file ends before it");
  ETCD_TRY(const Meta meta, decode_meta(bytes));
  if (!is_page_size(meta.page_bytes)) {
    return failure(ErrorCode::kCorrupt, fmt::format("a page size of {}", meta.page_bytes));
  }
  return meta;
}

/// Both metas are tried. Where the first is bad, the page size and so the place of the second is unknown: it is looked
/// for at every size there can be.
Result<Meta> choose_meta(const io::File& file, std::uint64_t file_bytes) {
  Result<Meta> first = read_meta(file, 0);
  if (first) {
    const Result<Meta> second = read_meta(file, first->page_bytes);
    if (second && second->page_bytes == first->page_bytes && second->txid > first->txid) return second;
    if (!second && second.error().code != ErrorCode::kCorrupt) return second;
    return first;
  }
  if (first.error().code != ErrorCode::kCorrupt) return first;
  for (std::uint64_t size = kPageBytesMin; size <= kPageBytesMax && size + kMetaEnd <= file_bytes; size *= 2) {
    Result<Meta> second = read_meta(file, size);
    if (second ? second->page_bytes == size : second.error().code != ErrorCode::kCorrupt) return second;
  }
  return corrupt_file(file, fmt::format("page 0: {}; nor is there a valid meta in page 1", first.error().message));
}

}  // namespace

Result<Reader> Reader::open(const io::File& file, ReaderOptions options) {
  ETCD_TRY(const std::uint64_t file_bytes, file.size());
  ETCD_TRY(const Meta meta, choose_meta(file, file_bytes));
  if (meta.high_water > file_bytes / meta.page_bytes) {
    return corrupt_file(file, fmt::format("the meta counts {} pages of {} bytes, the file has {} bytes",
                                          meta.high_water, meta.page_bytes, file_bytes));
  }
  if (meta.root.root < kFirstPage || meta.root.root >= meta.high_water) {
    return corrupt_file(file, fmt::format("the meta's root is page {} of {}", meta.root.root, meta.high_water));
  }
  if (meta.freelist != kNoFreelist && (meta.freelist < kFirstPage || meta.freelist >= meta.high_water)) {
    return corrupt_file(file, fmt::format("the meta's freelist is page {} of {}", meta.freelist, meta.high_water));
  }
  return Reader(file, options, meta);
}

std::unexpected<Error> Reader::corrupt(PageId id, const std::string& what) const {
  return corrupt_file(*file_, fmt::format("page {}: {}", id, what));
}

Result<Page> Reader::load_page(PageId id) const {
  if (id < kFirstPage || id >= meta_.high_water) {
    return corrupt(id, fmt::format("not between 2 and the high-water mark {}", meta_.high_water));
  }
  const std::uint64_t page_bytes = meta_.page_bytes;
  ETCD_TRY(Bytes bytes, file_->read_at(id * page_bytes, page_bytes));
  if (bytes.size() < page_bytes) return corrupt(id, "the file ends within it");
  const auto header = load<PageHeader>(bytes, 0);
  if (header.id != id) return corrupt(id, fmt::format("its header says page {}", header.id));
  if (header.overflow >= meta_.high_water - id) {
    return corrupt(id,
                   fmt::format("{} pages of overflow pass the high-water mark {}", header.overflow, meta_.high_water));
  }
  const std::uint64_t pages = std::uint64_t{header.overflow} + 1;
  if (pages * page_bytes > options_.overflow_bytes_max && pages > 1) {
    return corrupt(id, fmt::format("{} bytes with its overflow, above the limit of {}", pages * page_bytes,
                                   options_.overflow_bytes_max));
  }
  if (pages > 1) {
    const std::uint64_t rest_bytes = header.overflow * page_bytes;
    ETCD_TRY(const Bytes rest, file_->read_at((id + 1) * page_bytes, rest_bytes));
    if (rest.size() < rest_bytes) return corrupt(id, "the file ends within its overflow");
    bytes += rest;
  }
  Result<Page> page = Page::decode(std::move(bytes));
  if (!page) return corrupt(id, page.error().message);
  // bbolt takes as many pages as the elements fill; its versions before 1.4 one more when they fill them to the byte.
  const std::uint64_t full_pages = page->used_bytes() / page_bytes;
  if (pages != full_pages + 1 && pages * page_bytes != page->used_bytes()) {
    return corrupt(id, fmt::format("{} pages of overflow for {} bytes", header.overflow, page->used_bytes()));
  }
  return page;
}

Cursor Reader::cursor(Bucket bucket) const {
  return {*this, std::move(bucket)};
}

Result<std::optional<Bucket>> Reader::find(BytesView name) const {
  Cursor buckets = cursor(root());
  ETCD_TRY(const bool found, buckets.seek(name));
  if (!found || buckets.key() != name) return std::optional<Bucket>();
  ETCD_TRY(Bucket bucket, buckets.bucket());
  return std::optional<Bucket>(std::move(bucket));
}

Result<void> Reader::check() const {
  std::vector<bool> seen(meta_.high_water);
  return check_bucket(root(), seen, 0);
}

Result<void> Reader::check_bucket(Bucket bucket, std::vector<bool>& seen, std::size_t depth) const {
  if (depth > kDepthMax) return corrupt(bucket.found_in, "buckets within buckets without end");
  Cursor elements = cursor(std::move(bucket));
  elements.seen_ = &seen;
  ETCD_TRY(bool more, elements.first());
  while (more) {
    if (elements.is_bucket()) {
      ETCD_TRY(Bucket inner, elements.bucket());
      ETCD_TRY_VOID(check_bucket(std::move(inner), seen, depth + 1));
    } else if (depth == 0) {
      return corrupt(elements.path_.back().page.id(), "the root has an element that is no bucket");
    }
    ETCD_TRY(more, elements.next());
  }
  return {};
}

template <class T>
Result<T> Cursor::kept(Result<T> result) {
  if (!result) path_.clear();
  return result;
}

Result<bool> Cursor::first() {
  return seek({});
}

Result<bool> Cursor::last() {
  if (Result<void> entered = kept(enter_root()); !entered) return std::unexpected(entered.error());
  return kept(settle_backward());
}

Result<bool> Cursor::seek(BytesView key) {
  const Bytes wanted(key);  // the caller's may be a view of a page that goes now
  if (Result<void> entered = kept(enter_root()); !entered) return std::unexpected(entered.error());
  while (!path_.back().page.is_leaf()) {
    Step& step = path_.back();
    const std::size_t at = step.page.lower_bound(wanted);
    const bool exact = at < step.page.count() && step.page.key(at) == wanted;
    step.index = exact || at == 0 ? at : at - 1;
    if (Result<void> entered = kept(enter_child()); !entered) return std::unexpected(entered.error());
  }
  path_.back().index = path_.back().page.lower_bound(wanted);
  return kept(settle_forward());
}

Result<bool> Cursor::next() {
  CHECK(valid(), "a cursor that is on no element was moved");
  ++path_.back().index;
  return kept(settle_forward());
}

Result<bool> Cursor::settle_forward() {
  while (!path_.empty()) {
    Step& step = path_.back();
    if (step.index >= step.page.count()) {
      path_.pop_back();
      if (!path_.empty()) ++path_.back().index;
    } else if (step.page.is_leaf()) {
      return true;
    } else {
      ETCD_TRY_VOID(enter_child());
    }
  }
  return false;
}

Result<bool> Cursor::settle_backward() {
  path_.back().index = path_.back().page.count();
  while (!path_.empty()) {
    Step& step = path_.back();
    if (step.index == 0) {
      path_.pop_back();
      continue;
    }
    --step.index;
    if (step.page.is_leaf()) return true;
    ETCD_TRY_VOID(enter_child());
    path_.back().index = path_.back().page.count();
  }
  return false;
}

Result<void> Cursor::enter_root() {
  path_.clear();
  if (bucket_.root != 0) {
    ETCD_TRY(Page page, reader_.load_page(bucket_.root));
    return push(std::move(page), {}, std::nullopt);
  }
  Result<Page> page = Page::decode(bucket_.inline_page);
  if (!page) return reader_.corrupt(bucket_.found_in, "an inline bucket: " + page.error().message);
  if (!page->is_leaf()) return reader_.corrupt(bucket_.found_in, "an inline bucket: a branch");
  for (std::size_t index = 0; index < page->count(); ++index) {
    if (page->is_bucket(index)) return reader_.corrupt(bucket_.found_in, "an inline bucket: a bucket in it");
  }
  path_.push_back(Step{.page = *std::move(page), .index = 0, .end = std::nullopt});
  return {};
}

Result<void> Cursor::enter_child() {
  const Step& parent = path_.back();
  const PageId id = parent.page.child(parent.index);
  for (const Step& step : path_) {
    if (step.page.id() == id) return reader_.corrupt(id, "it is its own ancestor");
  }
  if (path_.size() >= kDepthMax) return reader_.corrupt(id, fmt::format("more than {} levels", kDepthMax));
  ETCD_TRY(Page page, reader_.load_page(id));
  const Bytes begin(parent.page.key(parent.index));
  std::optional<Bytes> end = parent.end;
  if (parent.index + 1 < parent.page.count()) end = Bytes(parent.page.key(parent.index + 1));
  return push(std::move(page), begin, std::move(end));
}

Result<void> Cursor::push(Page page, BytesView begin, std::optional<Bytes> end) {
  const PageId id = page.id();
  if (page.count() > 0 && page.key(0) < begin) return reader_.corrupt(id, "a key below the one its parent names");
  if (page.count() > 0 && end && page.key(page.count() - 1) >= *end) {
    return reader_.corrupt(id, "a key that belongs into the page behind it");
  }
  if (seen_ != nullptr) {
    const std::uint64_t pages = (page.used_bytes() + reader_.meta_.page_bytes - 1) / reader_.meta_.page_bytes;
    for (PageId each = id; each < id + pages; ++each) {
      if ((*seen_)[each]) return reader_.corrupt(each, "it is reached twice");
      (*seen_)[each] = true;
    }
  }
  path_.push_back(Step{.page = std::move(page), .index = 0, .end = std::move(end)});
  return {};
}

BytesView Cursor::key() const {
  CHECK(valid(), "a cursor that is on no element was read");
  return path_.back().page.key(path_.back().index);
}

BytesView Cursor::value() const {
  CHECK(valid(), "a cursor that is on no element was read");
  return path_.back().page.value(path_.back().index);
}

bool Cursor::is_bucket() const {
  CHECK(valid(), "a cursor that is on no element was read");
  return path_.back().page.is_bucket(path_.back().index);
}

Result<Bucket> Cursor::bucket() const {
  // An inline page has id 0; then the page that holds it is what a message should name.
  const PageId here = path_.empty() || path_.back().page.id() == 0 ? bucket_.found_in : path_.back().page.id();
  if (!is_bucket()) return reader_.corrupt(here, "a bucket's name has a plain value");
  const BytesView bytes = value();
  if (bytes.size() < kBucketHeaderBytes) {
    return reader_.corrupt(here, fmt::format("a bucket's value has {} bytes", bytes.size()));
  }
  const auto header = load<BucketHeader>(bytes, 0);
  Bucket bucket{.root = header.root, .sequence = header.sequence, .inline_page = {}, .found_in = here};
  if (header.root == 0) {
    bucket.inline_page = bytes.substr(kBucketHeaderBytes);
  } else if (header.root < kFirstPage || header.root >= reader_.meta_.high_water) {
    return reader_.corrupt(here,
                           fmt::format("a bucket's root is page {} of {}", header.root, reader_.meta_.high_water));
  }
  return bucket;
}

}  // namespace etcd::bolt
