#include "engine/memory_engine.h"

#include <fmt/format.h>

#include <atomic>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "base/check.h"

namespace etcd::engine {

namespace {

constexpr std::size_t kKeyBytesMax = 511;

using Rows = std::map<Bytes, SharedBytes, std::less<>>;

}  // namespace

struct MemoryDisk::Table {
  std::string name;
  Rows rows;
  std::uint64_t bytes = 0;
  // Snapshots that look at these rows. While there are any, a commit changes a copy.
  mutable std::atomic<std::uint64_t> watched{0};
};

MemoryDisk::MemoryDisk() = default;
MemoryDisk::~MemoryDisk() = default;

void MemoryDisk::fail_no_space(int times) {
  const std::lock_guard lock(mu_);
  no_space_ = times;
}

void MemoryDisk::fail_io_once() {
  const std::lock_guard lock(mu_);
  io_once_ = true;
}

std::uint64_t MemoryDisk::commits() const {
  const std::lock_guard lock(mu_);
  return commits_;
}

namespace {

/// The table itself, or a copy in its place when a snapshot looks at it. Holding the disk's lock.
template <class Table>
Table& own(std::shared_ptr<Table>& table) {
  if (table->watched.load(std::memory_order_acquire) != 0) {
    auto copy = std::make_shared<Table>();
    copy->name = table->name;
    copy->rows = table->rows;
    copy->bytes = table->bytes;
    table = std::move(copy);
  }
  return *table;
}

}  // namespace

void MemoryDisk::damage(const std::string& name, BytesView key, const Bytes* value) {
  const std::lock_guard lock(mu_);
  for (auto& table : tables_) {
    if (table->name != name) continue;
    Table& owned = own(table);
    const auto row = owned.rows.find(key);
    CHECK(row != owned.rows.end(), "no such key in table {}", name);
    if (value == nullptr) {
      owned.rows.erase(row);
    } else {
      row->second = SharedBytes(*value);
    }
    return;
  }
  CHECK(false, "no table {}", name);
}

class MemoryEngine final : public Engine {
 public:
  MemoryEngine(MemoryDisk& disk, std::span<const std::string> names) : disk_(disk) {
    const std::lock_guard lock(disk_.mu_);
    for (const std::string& name : names) {
      std::size_t place = 0;
      while (place < disk_.tables_.size() && disk_.tables_[place]->name != name) ++place;
      if (place == disk_.tables_.size()) {
        auto table = std::make_shared<MemoryDisk::Table>();
        table->name = name;
        disk_.tables_.push_back(std::move(table));
      }
      places_.push_back(place);
    }
  }

  Result<void> commit(const Batch& batch) override {
    const std::lock_guard lock(disk_.mu_);
    if (dead_) return std::unexpected(*dead_);
    if (disk_.no_space_ > 0) {
      --disk_.no_space_;
      return failure(ErrorCode::kNoSpace, "memory disk: full");
    }
    if (std::exchange(disk_.io_once_, false)) return die({ErrorCode::kIo, "memory disk: injected failure"});
    if (Result<void> valid = check(batch); !valid.has_value()) return die(std::move(valid).error());
    for (const Batch::Operation& operation : batch.operations()) {
      MemoryDisk::Table& table = own(disk_.tables_[places_[operation.table]]);
      const auto row = table.rows.lower_bound(operation.key);
      const bool there = row != table.rows.end() && row->first == operation.key;
      if (there) table.bytes -= row->first.size() + row->second.size();
      if (operation.kind == Batch::Kind::kErase) {
        if (there) table.rows.erase(row);
        continue;
      }
      table.bytes += operation.key.size() + operation.value.size();
      if (there) {
        row->second = operation.value;
      } else {
        table.rows.emplace_hint(row, operation.key, operation.value);
      }
    }
    ++disk_.commits_;
    return {};
  }

  Result<std::unique_ptr<Snapshot>> snapshot() const override;

  [[nodiscard]] Usage usage() const override {
    const std::lock_guard lock(disk_.mu_);
    Usage usage;
    for (const std::size_t place : places_) usage.bytes_in_use += disk_.tables_[place]->bytes;
    usage.bytes_file = usage.bytes_in_use;
    usage.snapshots = snapshots_->load(std::memory_order_relaxed);
    return usage;
  }

 private:
  class MemorySnapshot;

  std::unexpected<Error> die(Error error) {
    dead_ = std::move(error);
    return std::unexpected(*dead_);
  }

  /// The appends of a batch must be past the last key and in order; asked before anything is changed.
  Result<void> check(const Batch& batch) const {
    std::map<TableId, Bytes> last;
    for (const Batch::Operation& operation : batch.operations()) {
      CHECK(operation.table < places_.size(), "table {} of {}", operation.table, places_.size());
      CHECK(!operation.key.empty() && operation.key.size() <= kKeyBytesMax, "a key of {} bytes", operation.key.size());
      auto known = last.find(operation.table);
      if (known == last.end()) {
        const Rows& rows = disk_.tables_[places_[operation.table]]->rows;
        known = last.emplace(operation.table, rows.empty() ? Bytes() : rows.rbegin()->first).first;
      }
      if (operation.kind == Batch::Kind::kAppend && operation.key <= known->second) {
        return failure(ErrorCode::kInvalidArgument,
                       fmt::format("table {}: appended key is not past the last", operation.table));
      }
      if (operation.kind != Batch::Kind::kErase && operation.key > known->second) known->second = operation.key;
    }
    return {};
  }

  MemoryDisk& disk_;
  std::vector<std::size_t> places_;  // of our tables in the disk's list
  std::optional<Error> dead_;        // guarded by disk_.mu_
  // Of open snapshots; shared with them, since they may outlive us.
  std::shared_ptr<std::atomic<std::uint64_t>> snapshots_ = std::make_shared<std::atomic<std::uint64_t>>(0);
};

class MemoryEngine::MemorySnapshot final : public Snapshot {
 public:
  MemorySnapshot(std::vector<std::shared_ptr<const MemoryDisk::Table>> tables,
                 std::shared_ptr<std::atomic<std::uint64_t>> open)
      : tables_(std::move(tables)), open_(std::move(open)) {
    open_->fetch_add(1, std::memory_order_relaxed);
    for (const auto& table : tables_) table->watched.fetch_add(1, std::memory_order_relaxed);
  }
  ~MemorySnapshot() override {
    open_->fetch_sub(1, std::memory_order_relaxed);
    for (const auto& table : tables_) table->watched.fetch_sub(1, std::memory_order_release);
  }
  MemorySnapshot(const MemorySnapshot&) = delete;
  MemorySnapshot& operator=(const MemorySnapshot&) = delete;

  Result<std::optional<BytesView>> get(TableId table, BytesView key) const override {
    const Rows& rows = tables_.at(table)->rows;
    const auto row = rows.find(key);
    if (row == rows.end()) return std::nullopt;
    return row->second.view();
  }

  Result<void> scan(TableId table, BytesView from,
                    const std::function<bool(BytesView, BytesView)>& visit) const override {
    const Rows& rows = tables_.at(table)->rows;
    for (auto row = rows.lower_bound(from); row != rows.end(); ++row) {
      if (!visit(row->first, row->second.view())) break;
    }
    return {};
  }

  Result<void> walk(TableId table, BytesView from, const Steps& visit) const override {
    const Rows& rows = tables_.at(table)->rows;
    for (auto row = rows.lower_bound(from); row != rows.end();) {
      const std::optional<BytesView> next = visit(row->first, row->second.view());
      if (!next.has_value()) break;
      row = next->empty() ? std::next(row) : rows.lower_bound(*next);
    }
    return {};
  }

  Result<void> scan_back(TableId table, BytesView from,
                         const std::function<bool(BytesView, BytesView)>& visit) const override {
    const Rows& rows = tables_.at(table)->rows;
    auto row = from.empty() ? rows.end() : rows.upper_bound(from);
    while (row != rows.begin()) {
      --row;
      if (!visit(row->first, row->second.view())) break;
    }
    return {};
  }

  Result<std::optional<std::pair<BytesView, BytesView>>> last(TableId table) const override {
    const Rows& rows = tables_.at(table)->rows;
    if (rows.empty()) return std::nullopt;
    return std::pair<BytesView, BytesView>(rows.rbegin()->first, rows.rbegin()->second.view());
  }

 private:
  std::vector<std::shared_ptr<const MemoryDisk::Table>> tables_;  // shared with the disk
  std::shared_ptr<std::atomic<std::uint64_t>> open_;              // shared with the engine, which it may outlive
};

Result<std::unique_ptr<Snapshot>> MemoryEngine::snapshot() const {
  const std::lock_guard lock(disk_.mu_);
  if (dead_) return std::unexpected(*dead_);
  std::vector<std::shared_ptr<const MemoryDisk::Table>> tables;
  for (const std::size_t place : places_) tables.push_back(disk_.tables_[place]);
  return std::make_unique<MemorySnapshot>(std::move(tables), snapshots_);
}

std::unique_ptr<Engine> open_memory(MemoryDisk& disk, std::span<const std::string> tables) {
  return std::make_unique<MemoryEngine>(disk, tables);
}

}  // namespace etcd::engine
