#include "bolt/writer.h"

#include <optional>
#include <utility>
#include <vector>

namespace etcd::bolt {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;  // gathered before the sink is called

constexpr std::uint64_t pages_for(std::uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes;
}

/// Numbers the pages, and sends them when there is a sink.
class Output {
 public:
  Output() = default;
  Output(Plan plan, Sink sink) : plan_(plan), sink_(std::move(sink)) {}

  [[nodiscard]] bool sends() const { return sink_ != nullptr; }
  [[nodiscard]] PageId next() const { return next_; }
  [[nodiscard]] const Plan& plan() const { return plan_; }

  /// The number of a new page that has `bytes` with its header.
  Result<PageId> take(std::uint64_t bytes) {
    const PageId page = next_;
    next_ += pages_for(bytes);
    if (sends() && next_ > plan_.pages) {
      return failure(ErrorCode::kInvalidArgument,
                     fmt::format("the content does not fit into the {} pages planned", plan_.pages));
    }
    return page;
  }

  Result<void> send(BytesView bytes) {
    sent_ += bytes.size();
    if (bytes.size() >= kBufferBytes) {
      ETCD_TRY_VOID(flush());
      return sink_(bytes);
    }
    buffer_ += bytes;
    return buffer_.size() >= kBufferBytes ? flush() : Result<void>();
  }

  /// Zeros up to the end of the page.
  Result<void> pad() { return send(Bytes(pages_for(sent_) * kPageBytes - sent_, '\0')); }

  Result<void> flush() {
    if (buffer_.empty()) return {};
    const Bytes bytes = std::exchange(buffer_, {});
    return sink_(bytes);
  }

 private:
  Plan plan_;
  Sink sink_;  // null when only planning
  PageId next_ = kFirstPage;
  std::uint64_t sent_ = 0;
  Bytes buffer_;
};

std::uint32_t narrow(std::uint64_t value) {
  CHECK(value <= UINT32_MAX, "{} in 32 bits", value);
  return static_cast<std::uint32_t>(value);
}

PageHeader header_of(PageId id, std::uint16_t flags, std::size_t count, std::uint64_t bytes) {
  CHECK(count <= UINT16_MAX, "{} elements in a page", count);
  return {
      .id = id, .flags = flags, .count = static_cast<std::uint16_t>(count), .overflow = narrow(pages_for(bytes) - 1)};
}

/// One bucket's pages, from its sorted elements.
class Tree {
 public:
  explicit Tree(Output& output) : output_(output) {}

  /// `value` is empty when only planning; `value_bytes` says how long it is.
  Result<void> put(std::uint32_t flags, BytesView key, BytesView value, std::uint64_t value_bytes) {
    if (key.empty() || key.size() > kKeyBytesMax) {
      return failure(ErrorCode::kInvalidArgument, fmt::format("a key of {} bytes", key.size()));
    }
    if (value_bytes > kValueBytesMax) {
      return failure(ErrorCode::kInvalidArgument, fmt::format("a value of {} bytes", value_bytes));
    }
    if (key <= last_key_) return failure(ErrorCode::kInvalidArgument, "a key that is not above the one before");
    last_key_ = key;
    const std::uint64_t bytes = kElementBytes + key.size() + value_bytes;
    if (!elements_.empty() && leaf_bytes_ + bytes > kPageBytes) ETCD_TRY_VOID(close_leaf());
    if (elements_.empty()) first_key_ = key;
    const LeafElement element{
        .flags = flags, .at = 0, .key_bytes = narrow(key.size()), .value_bytes = narrow(value_bytes)};
    if (kPageHeaderBytes + bytes > kPageBytes) return send_large(element, key, value);
    elements_.push_back(element);
    leaf_bytes_ += bytes;
    if (output_.sends()) data_.append(key).append(value);
    return {};
  }

  /// Closes all pages; returns the root. The tree is then empty and begins anew.
  Result<PageId> finish() {
    if (!elements_.empty() || levels_.empty()) ETCD_TRY_VOID(close_leaf());
    std::size_t level = 0;
    while (!is_root_of_all(levels_[level])) ETCD_TRY_VOID(close_level(level++));
    const PageId root = levels_[level].open.front().page;
    levels_.clear();
    last_key_.clear();
    return root;
  }

 private:
  struct Child {
    Bytes key;  // the first one in the page
    PageId page = 0;
  };
  /// Children of branches that are not sent yet. Upstream panics when it deletes in a page that has no sibling
  /// (node.go rebalance), so a branch gets two children at least: the last full one waits until its right neighbour
  /// has two, or gives or takes one at the end.
  struct Level {
    std::vector<Child> closed;  // none, or a full page's
    std::vector<Child> open;
    std::uint64_t open_bytes = kPageHeaderBytes;
  };

  /// Nothing was sent from this level, and it has one child: no branch is needed, the child is the root.
  static bool is_root_of_all(const Level& level) { return level.closed.empty() && level.open.size() == 1; }

  /// An element that fills a page and more has it for itself, and is sent from where it lies.
  Result<void> send_large(LeafElement element, BytesView key, BytesView value) {
    const std::uint64_t bytes = kPageHeaderBytes + kElementBytes + key.size() + element.value_bytes;
    ETCD_TRY(const PageId page, output_.take(bytes));
    if (output_.sends()) {
      element.at = kElementBytes;
      ETCD_TRY_VOID(output_.send(as_bytes(header_of(page, kLeafPage, 1, bytes))));
      ETCD_TRY_VOID(output_.send(as_bytes(element)));
      ETCD_TRY_VOID(output_.send(key));
      ETCD_TRY_VOID(output_.send(value));
      ETCD_TRY_VOID(output_.pad());
    }
    return add_child(0, {.key = Bytes(key), .page = page});
  }

  Result<void> close_leaf() {
    ETCD_TRY(const PageId page, output_.take(leaf_bytes_));
    if (output_.sends()) {
      Bytes bytes(as_bytes(header_of(page, kLeafPage, elements_.size(), leaf_bytes_)));
      std::uint64_t data_at = kPageHeaderBytes + elements_.size() * kElementBytes;
      for (LeafElement& element : elements_) {
        element.at = narrow(data_at - bytes.size());
        bytes += as_bytes(element);
        data_at += std::uint64_t{element.key_bytes} + element.value_bytes;
      }
      bytes += data_;
      CHECK(bytes.size() == leaf_bytes_, "{} bytes in a leaf, counted {}", bytes.size(), leaf_bytes_);
      ETCD_TRY_VOID(output_.send(bytes));
      ETCD_TRY_VOID(output_.pad());
    }
    elements_.clear();
    data_.clear();
    leaf_bytes_ = kPageHeaderBytes;
    return add_child(0, {.key = std::exchange(first_key_, {}), .page = page});
  }

  Result<void> add_child(std::size_t number, Child child) {
    if (number == levels_.size()) levels_.emplace_back();
    const std::uint64_t bytes = kElementBytes + child.key.size();
    if (levels_[number].open.size() >= 2 && levels_[number].open_bytes + bytes > kPageBytes) {
      const std::vector<Child> full = std::exchange(levels_[number].closed, std::move(levels_[number].open));
      levels_[number].open.clear();
      levels_[number].open_bytes = kPageHeaderBytes;
      if (!full.empty()) ETCD_TRY_VOID(send_branch(number, full));  // may add a level: no reference survives it
    }
    levels_[number].open.push_back(std::move(child));
    levels_[number].open_bytes += bytes;
    return {};
  }

  Result<void> close_level(std::size_t number) {
    Level level = std::exchange(levels_[number], {});
    if (level.open.size() == 1) {
      if (level.closed.size() > 2) {
        level.open.insert(level.open.begin(), std::move(level.closed.back()));
        level.closed.pop_back();
      } else {
        level.closed.push_back(std::move(level.open.front()));
        level.open.clear();
      }
    }
    if (!level.closed.empty()) ETCD_TRY_VOID(send_branch(number, level.closed));
    if (!level.open.empty()) ETCD_TRY_VOID(send_branch(number, level.open));
    return {};
  }

  /// Long keys may make it longer than a page: then it has overflow.
  Result<void> send_branch(std::size_t number, const std::vector<Child>& children) {
    CHECK(children.size() >= 2, "a branch of {} children", children.size());
    std::uint64_t data_at = kPageHeaderBytes + children.size() * kElementBytes;
    std::uint64_t all_bytes = data_at;
    for (const Child& child : children) all_bytes += child.key.size();
    ETCD_TRY(const PageId page, output_.take(all_bytes));
    if (output_.sends()) {
      Bytes bytes(as_bytes(header_of(page, kBranchPage, children.size(), all_bytes)));
      for (const Child& child : children) {
        const BranchElement element{
            .at = narrow(data_at - bytes.size()), .key_bytes = narrow(child.key.size()), .child = child.page};
        bytes += as_bytes(element);
        data_at += child.key.size();
      }
      for (const Child& child : children) bytes += child.key;
      ETCD_TRY_VOID(output_.send(bytes));
      ETCD_TRY_VOID(output_.pad());
    }
    return add_child(number + 1, {.key = children.front().key, .page = page});
  }

  Output& output_;
  Bytes last_key_;
  std::vector<LeafElement> elements_;  // of the open leaf; `at` is set when it is closed
  Bytes data_;                         // their keys and values; empty when only planning
  std::uint64_t leaf_bytes_ = kPageHeaderBytes;
  Bytes first_key_;            // of the open leaf
  std::vector<Level> levels_;  // [0] holds the leaves' parents
};

}  // namespace

/// What planner and writer have in common: everything but the values.
class Builder {
 public:
  Builder() = default;
  Builder(Plan plan, Sink sink) : output_(plan, std::move(sink)) {}
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  Result<void> send_metas(std::uint64_t txid) {
    CHECK(txid > 0, "a copy whose second meta would have the txid -1");
    for (PageId page = 0; page < kFirstPage; ++page) {
      Meta meta{.root = {.root = output_.plan().root, .sequence = 0},
                .high_water = output_.plan().pages,
                .txid = txid - page};
      meta.checksum = checksum_of(meta);
      ETCD_TRY_VOID(output_.send(as_bytes(header_of(page, kMetaPage, 0, kPageBytes))));
      ETCD_TRY_VOID(output_.send(as_bytes(meta)));
      ETCD_TRY_VOID(output_.pad());
    }
    return {};
  }

  Result<void> begin_bucket(BytesView name, std::uint64_t sequence) {
    if (error_) return std::unexpected(*error_);
    CHECK(!in_bucket_ && !finished_, "a bucket is begun out of turn");
    in_bucket_ = true;
    if (name.empty() || name.size() > kKeyBytesMax || name <= name_) {
      return keep(failure(ErrorCode::kInvalidArgument, "a bucket whose name is empty, too long or not above the last"));
    }
    name_ = name;
    sequence_ = sequence;
    return {};
  }

  Result<void> put(BytesView key, BytesView value, std::uint64_t value_bytes) {
    if (error_) return std::unexpected(*error_);
    CHECK(in_bucket_, "a key outside a bucket");
    return keep(bucket_.put(0, key, value, value_bytes));
  }

  Result<void> end_bucket() {
    if (error_) return std::unexpected(*error_);
    CHECK(in_bucket_, "a bucket is ended out of turn");
    in_bucket_ = false;
    const Result<PageId> root = bucket_.finish();
    if (!root) return keep(std::unexpected(root.error()));
    const BucketHeader header{.root = *root, .sequence = sequence_};
    const BytesView value = as_bytes(header);
    return keep(directory_.put(kBucketElement, name_, value, value.size()));
  }

  Result<Plan> finish() {
    if (error_) return std::unexpected(*error_);
    CHECK(!in_bucket_ && !finished_, "a file is finished out of turn");
    finished_ = true;
    const Result<PageId> root = directory_.finish();
    if (!root) return std::unexpected(keep(std::unexpected(root.error())).error());
    const Plan done{.pages = output_.next(), .root = *root};
    if (!output_.sends()) return done;
    Result<void> sent = output_.flush();
    if (sent && done != output_.plan()) {
      sent = failure(ErrorCode::kInvalidArgument,
                     fmt::format("the content took {} pages with the root in {}, planned were {} and {}", done.pages,
                                 done.root, output_.plan().pages, output_.plan().root));
    }
    if (Result<void> kept = keep(std::move(sent)); !kept) return std::unexpected(kept.error());
    return done;
  }

 private:
  Result<void> keep(Result<void> result) {
    if (!result) error_ = result.error();
    return result;
  }

  Output output_;
  Tree directory_{output_};
  Tree bucket_{output_};
  Bytes name_;  // of the last bucket begun
  std::uint64_t sequence_ = 0;
  bool in_bucket_ = false;
  bool finished_ = false;
  std::optional<Error> error_;
};

Sink sink_into(io::File& file) {
  return [&file, offset = std::uint64_t{0}](BytesView bytes) mutable -> Result<void> {
    ETCD_TRY_VOID(file.write_at(offset, bytes));
    offset += bytes.size();
    return {};
  };
}

Planner::Planner() : builder_(std::make_unique<Builder>()) {}
Planner::~Planner() = default;
Planner::Planner(Planner&&) noexcept = default;
Planner& Planner::operator=(Planner&&) noexcept = default;

Result<void> Planner::begin_bucket(BytesView name) {
  return builder_->begin_bucket(name, 0);
}

Result<void> Planner::put(BytesView key, std::uint64_t value_bytes) {
  return builder_->put(key, {}, value_bytes);
}

Result<void> Planner::end_bucket() {
  return builder_->end_bucket();
}

Result<Plan> Planner::finish() {
  return builder_->finish();
}

Writer::Writer(std::unique_ptr<Builder> builder) : builder_(std::move(builder)) {}
Writer::~Writer() = default;
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;

Result<Writer> Writer::open(Plan plan, Sink sink, WriterOptions options) {
  CHECK(sink != nullptr, "a writer without a sink");
  auto builder = std::make_unique<Builder>(plan, std::move(sink));
  ETCD_TRY_VOID(builder->send_metas(options.txid));
  return Writer(std::move(builder));
}

Result<void> Writer::begin_bucket(BytesView name, std::uint64_t sequence) {
  return builder_->begin_bucket(name, sequence);
}

Result<void> Writer::put(BytesView key, BytesView value) {
  return builder_->put(key, value, value.size());
}

Result<void> Writer::end_bucket() {
  return builder_->end_bucket();
}

Result<void> Writer::finish() {
  if (Result<Plan> done = builder_->finish(); !done) return std::unexpected(done.error());
  return {};
}

}  // namespace etcd::bolt
