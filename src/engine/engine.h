// engine/engine.h - a durable ordered map of named tables: one writer, many snapshots.
//
// Life:    open_lmdb() or MemoryEngine -> commit()* and snapshot()* -> destructor
// Thread:  commit() on one loop (store); snapshot() and a Snapshot's reads on any thread, each Snapshot on one.
// Owns:    its files. Keys are at most 511 bytes (LMDB's limit) and never empty; values up to 2 GiB.
// Durable: a batch is there whole or not at all, and once commit() has returned it survives a crash.
// Errors:  kNoSpace from commit(): nothing of the batch is there, and the same batch may be tried again. Any other
// error
//          from commit() leaves the engine dead: each later call repeats it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace etcd::engine {

/// The place of a table's name in the list the engine was opened with.
using TableId = std::uint8_t;

/// Changes in the order they were made; a later one to the same key wins. Built by one owner, then handed over whole.
class Batch {
 public:
  enum class Kind : std::uint8_t {
    kPut,
    kAppend,  // a put whose key is past the table's last: cheaper, and checked
    kErase,   // a key that is not there is fine
  };
  struct Operation {
    Kind kind;
    TableId table;
    Bytes key;
    SharedBytes value;
  };

  void put(TableId table, Bytes key, SharedBytes value) { add(Kind::kPut, table, std::move(key), std::move(value)); }
  void append(TableId table, Bytes key, SharedBytes value) {
    add(Kind::kAppend, table, std::move(key), std::move(value));
  }
  void erase(TableId table, Bytes key) { add(Kind::kErase, table, std::move(key), SharedBytes()); }

  [[nodiscard]] const std::vector<Operation>& operations() const { return operations_; }
  [[nodiscard]] bool empty() const { return operations_.empty(); }
  /// Keys and values, roughly what a commit writes.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  void add(Kind kind, TableId table, Bytes key, SharedBytes value) {
    bytes_ += key.size() + value.size();
    operations_.push_back({kind, table, std::move(key), std::move(value)});
  }

  std::vector<Operation> operations_;
  std::uint64_t bytes_ = 0;
};

/// Looks at a row and says where a walk goes on: empty, at the next row; else at the first row whose key is >= the one
/// given, which is past the row shown and is read before the next call; nothing ends the walk.
using Steps = std::function<std::optional<BytesView>(BytesView key, BytesView value)>;

/// One state of all tables. Hold it for at most 50 ms: it keeps freed pages from being used again. Copy out, renew.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  /// The value, or nothing. The view lives as long as this snapshot. Errors: kIo, kCorrupt.
  virtual Result<std::optional<BytesView>> get(TableId table, BytesView key) const = 0;
  /// Calls `visit(key, value)` for keys >= `from` in byte order until it returns false.
  virtual Result<void> scan(TableId table, BytesView from,
                            const std::function<bool(BytesView key, BytesView value)>& visit) const = 0;
  /// Goes over some of the rows with keys >= `from` in byte order. A jump costs as much as some ten rows.
  virtual Result<void> walk(TableId table, BytesView from, const Steps& visit) const = 0;
  /// Calls `visit(key, value)` for keys <= `from` in descending order until it returns false; an empty `from` starts at
  /// the last key.
  virtual Result<void> scan_back(TableId table, BytesView from,
                                 const std::function<bool(BytesView key, BytesView value)>& visit) const = 0;
  /// The last key of the table with its value, or nothing when it is empty.
  virtual Result<std::optional<std::pair<BytesView, BytesView>>> last(TableId table) const = 0;
};

struct Usage {
  std::uint64_t bytes_in_use = 0;  // pages that hold data
  std::uint64_t bytes_file = 0;    // what the file takes on disk
  std::uint64_t snapshots = 0;     // open now
};

class Engine {
 public:
  virtual ~Engine() = default;
  /// Makes the whole batch durable. See the errors above.
  virtual Result<void> commit(const Batch& batch) = 0;
  /// The state after the newest commit that has returned.
  virtual Result<std::unique_ptr<Snapshot>> snapshot() const = 0;
  [[nodiscard]] virtual Usage usage() const = 0;
};

}  // namespace etcd::engine
