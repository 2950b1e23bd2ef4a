#include "engine/lmdb_engine.h"

#include <fmt/format.h>
#include <lmdb.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"

namespace etcd::engine {

namespace {

constexpr unsigned kOpenFlags = MDB_NOSUBDIR | MDB_NOTLS;  // and full sync, which is what no flag means
constexpr mdb_mode_t kFileMode = 0600;
constexpr std::size_t kKeyBytesMax = 511;
constexpr std::uint64_t kSmallestMap = std::uint64_t{64} << 20;

Error error_of(int code, const std::string& name, const char* doing) {
  ErrorCode kind = ErrorCode::kIo;
  switch (code) {
    case ENOSPC:
    case EDQUOT: kind = ErrorCode::kNoSpace; break;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH: kind = ErrorCode::kCorrupt; break;
    case MDB_KEYEXIST: kind = ErrorCode::kInvalidArgument; break;
    case MDB_TXN_FULL: kind = ErrorCode::kTooLarge; break;
    default: break;
  }
  return {kind, fmt::format("{}: {}: {}", name, doing, mdb_strerror(code))};
}

std::unexpected<Error> lmdb_failure(int code, const std::string& name, const char* doing) {
  return std::unexpected(error_of(code, name, doing));
}

MDB_val to_val(BytesView bytes) {
  return {bytes.size(), const_cast<char*>(bytes.data())};
}
BytesView to_view(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

struct EnvCloser {
  void operator()(MDB_env* env) const { mdb_env_close(env); }
};
using EnvPtr = std::unique_ptr<MDB_env, EnvCloser>;

struct OpenEnv {
  EnvPtr env;
  std::vector<MDB_dbi> tables;
};

Result<OpenEnv> open_env(const std::string& path, std::span<const std::string> names, const LmdbOptions& options) {
  OpenEnv open;
  for (std::uint64_t map_bytes = options.map_bytes;; map_bytes /= 2) {
    MDB_env* env = nullptr;
    if (const int code = mdb_env_create(&env); code != 0) return lmdb_failure(code, path, "create environment");
    open.env.reset(env);
    mdb_env_set_maxdbs(env, static_cast<MDB_dbi>(names.size()));
    mdb_env_set_maxreaders(env, options.snapshots_max);
    mdb_env_set_mapsize(env, map_bytes);
    const int code = mdb_env_open(env, path.c_str(), kOpenFlags, kFileMode);
    if (code == 0) break;
    // Address space may be limited (ulimit -v, small machines); the map grows when it is needed.
    if (code != ENOMEM || map_bytes / 2 < kSmallestMap) return lmdb_failure(code, path, "open");
  }
  int dead = 0;
  mdb_reader_check(open.env.get(), &dead);  // slots of processes that died

  // LMDB maps the file and would take SIGBUS where it is shorter than it says.
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(open.env.get(), &info);
  mdb_env_stat(open.env.get(), &stat);
  int fd = -1;
  mdb_env_get_fd(open.env.get(), &fd);
  struct stat file{};
  if (fstat(fd, &file) != 0) return lmdb_failure(errno, path, "stat");
  const std::uint64_t needed = (std::uint64_t{info.me_last_pgno} + 1) * stat.ms_psize;
  if (static_cast<std::uint64_t>(file.st_size) < needed) {
    return failure(ErrorCode::kCorrupt, fmt::format("{}: {} bytes, its pages take {}", path, file.st_size, needed));
  }

  MDB_txn* txn = nullptr;
  if (const int code = mdb_txn_begin(open.env.get(), nullptr, 0, &txn); code != 0) {
    return lmdb_failure(code, path, "begin");
  }
  for (const std::string& name : names) {
    MDB_dbi table = 0;
    if (const int code = mdb_dbi_open(txn, name.c_str(), MDB_CREATE, &table); code != 0) {
      mdb_txn_abort(txn);
      return lmdb_failure(code, path, "open table");
    }
    open.tables.push_back(table);
  }
  if (const int code = mdb_txn_commit(txn); code != 0) return lmdb_failure(code, path, "commit tables");
  return open;
}

/// Makes a file with empty tables, whole or not at all.
Result<void> make_file(io::Directory& directory, std::span<const std::string> tables, const LmdbOptions& options) {
  const std::string fresh = std::string(kLmdbFile) + ".new";
  ETCD_TRY(const std::vector<std::string> names, directory.list());
  for (const std::string& name : {fresh, fresh + "-lock"}) {
    if (std::ranges::find(names, name) != names.end()) ETCD_TRY_VOID(directory.remove(name));
  }
  {
    ETCD_TRY(const OpenEnv open, open_env(directory.path() + "/" + fresh, tables, options));
    // The commit of the tables has synced the file.
  }
  ETCD_TRY_VOID(directory.remove(fresh + "-lock"));
  ETCD_TRY_VOID(directory.rename(fresh, kLmdbFile));
  return directory.sync();
}

class LmdbEngine final : public Engine {
 public:
  LmdbEngine(std::string path, OpenEnv open, const LmdbOptions& options)
      : path_(std::move(path)),
        env_(std::move(open.env)),
        tables_(std::move(open.tables)),
        map_bytes_(options.map_bytes) {
    MDB_envinfo info{};
    mdb_env_info(env_.get(), &info);
    map_bytes_ = info.me_mapsize;
  }

  ~LmdbEngine() override {
    const std::lock_guard lock(mu_);
    CHECK(active_ == 0, "{}: {} snapshots outlive the engine", path_, active_);
    for (MDB_txn* txn : idle_) mdb_txn_abort(txn);
  }

  Result<void> measure() {
    MDB_txn* txn = nullptr;
    if (const int code = mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &txn); code != 0) {
      return lmdb_failure(code, path_, "begin");
    }
    count_pages(txn);
    mdb_txn_abort(txn);
    return {};
  }

  Result<void> commit(const Batch& batch) override {
    const std::lock_guard lock(commit_mu_);
    if (dead_) return std::unexpected(*dead_);
    for (;;) {
      const int code = try_commit(batch);
      if (code == 0) return {};
      if (code == MDB_MAP_FULL || code == MDB_MAP_RESIZED) {
        // Nothing of the batch is there; so the failure to grow is as good as a full disk: try again later.
        ETCD_TRY_VOID(resize(code == MDB_MAP_FULL ? map_bytes_ * 2 : 0));
        continue;
      }
      // No space, be it in a write or in the sync: the pages that the last commit named were not touched, and a second
      // try writes every page of the batch anew. So unlike after a failed sync of a log, a later success proves what it
      // says. Any other failure leaves doubt about the device itself.
      Error error = error_of(code, path_, "commit");
      if (error.code == ErrorCode::kNoSpace && has_panicked()) error.code = ErrorCode::kIo;
      if (error.code != ErrorCode::kNoSpace) dead_ = error;
      return std::unexpected(std::move(error));
    }
  }

  Result<std::unique_ptr<Snapshot>> snapshot() const override;

  [[nodiscard]] Usage usage() const override {
    Usage usage;
    usage.bytes_in_use = bytes_in_use_.load(std::memory_order_relaxed);
    int fd = -1;
    struct stat file{};
    mdb_env_get_fd(env_.get(), &fd);
    if (fstat(fd, &file) == 0) usage.bytes_file = static_cast<std::uint64_t>(file.st_blocks) * 512;
    const std::lock_guard lock(mu_);
    usage.snapshots = active_;
    return usage;
  }

 private:
  class LmdbSnapshot;

  int try_commit(const Batch& batch) {
    MDB_txn* txn = nullptr;
    if (const int code = mdb_txn_begin(env_.get(), nullptr, 0, &txn); code != 0) return code;
    for (const Batch::Operation& operation : batch.operations()) {
      CHECK(operation.table < tables_.size(), "table {} of {}", operation.table, tables_.size());
      CHECK(!operation.key.empty() && operation.key.size() <= kKeyBytesMax, "a key of {} bytes", operation.key.size());
      MDB_val key = to_val(operation.key);
      MDB_val value = to_val(operation.value.view());
      const MDB_dbi table = tables_[operation.table];
      int code = 0;
      switch (operation.kind) {
        case Batch::Kind::kPut: code = mdb_put(txn, table, &key, &value, 0); break;
        case Batch::Kind::kAppend: code = mdb_put(txn, table, &key, &value, MDB_APPEND); break;
        case Batch::Kind::kErase:
          code = mdb_del(txn, table, &key, nullptr);
          if (code == MDB_NOTFOUND) code = 0;
          break;
      }
      if (code != 0) {
        mdb_txn_abort(txn);
        return code;
      }
    }
    count_pages(txn);
    return mdb_txn_commit(txn);
  }

  /// True when LMDB has given up: the write of the page that names the root failed, which takes no space on a file
  /// system that writes in place.
  bool has_panicked() {
    MDB_txn* txn = nullptr;
    if (mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &txn) != 0) return true;
    mdb_txn_abort(txn);
    return false;
  }

  /// Pages of the tables, of the table of tables and of the list of free pages, and the two that name the root. That is
  /// what is allocated minus what is free, without walking the list.
  void count_pages(MDB_txn* txn) {
    std::uint64_t pages = 2;
    std::uint64_t page_bytes = 0;
    const auto add = [&](MDB_dbi table) {
      MDB_stat stat{};
      if (mdb_stat(txn, table, &stat) != 0) return;
      pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
      page_bytes = stat.ms_psize;
    };
    add(0);
    add(1);
    for (const MDB_dbi table : tables_) add(table);
    bytes_in_use_.store(pages * page_bytes, std::memory_order_relaxed);
  }

  /// Gives the map another size; 0 takes the one that another process gave it. No transaction may be open meanwhile.
  Result<void> resize(std::uint64_t bytes) const {
    std::unique_lock lock(mu_);
    // Snapshots live for at most 50 ms. Waiting longer could be a deadlock with a thread that holds one.
    if (!none_active_.wait_for(lock, std::chrono::seconds(1), [this] { return active_ == 0; })) {
      return failure(ErrorCode::kNoSpace, path_ + ": the map is full, and snapshots keep it from growing");
    }
    for (MDB_txn* txn : idle_) mdb_txn_abort(txn);
    idle_.clear();
    if (const int code = mdb_env_set_mapsize(env_.get(), bytes); code != 0) {
      return failure(ErrorCode::kNoSpace, fmt::format("{}: map of {} bytes: {}", path_, bytes, mdb_strerror(code)));
    }
    MDB_envinfo info{};
    mdb_env_info(env_.get(), &info);
    map_bytes_ = info.me_mapsize;
    return {};
  }

  /// Takes an idle read transaction, or null, and counts the caller as active.
  MDB_txn* enter() const {
    const std::lock_guard lock(mu_);
    ++active_;
    if (idle_.empty()) return nullptr;
    MDB_txn* txn = idle_.back();
    idle_.pop_back();
    return txn;
  }

  /// `txn` is reset, or null.
  void leave(MDB_txn* txn) const {
    constexpr std::size_t kIdleMax = 16;
    const std::lock_guard lock(mu_);
    if (txn != nullptr) {
      if (idle_.size() < kIdleMax) {
        idle_.push_back(txn);
      } else {
        mdb_txn_abort(txn);
      }
    }
    if (--active_ == 0) none_active_.notify_all();
  }

  std::string path_;
  EnvPtr env_;
  std::vector<MDB_dbi> tables_;
  std::atomic<std::uint64_t> bytes_in_use_{0};

  mutable std::mutex commit_mu_;  // held by who writes or resizes; taken before mu_
  std::optional<Error> dead_;     // guarded by commit_mu_

  mutable std::mutex mu_;  // guards all below; held for moments only
  mutable std::condition_variable none_active_;
  mutable std::uint64_t active_ = 0;    // snapshots
  mutable std::vector<MDB_txn*> idle_;  // reset read transactions: a renewed one takes no lock of LMDB's
  mutable std::uint64_t map_bytes_;
};

class LmdbEngine::LmdbSnapshot final : public Snapshot {
 public:
  LmdbSnapshot(const LmdbEngine& engine, MDB_txn* txn) : engine_(engine), txn_(txn) {}
  ~LmdbSnapshot() override {
    mdb_txn_reset(txn_);
    engine_.leave(txn_);
  }
  LmdbSnapshot(const LmdbSnapshot&) = delete;
  LmdbSnapshot& operator=(const LmdbSnapshot&) = delete;

  Result<std::optional<BytesView>> get(TableId table, BytesView key) const override {
    MDB_val wanted = to_val(key);
    MDB_val value{};
    const int code = mdb_get(txn_, engine_.tables_.at(table), &wanted, &value);
    if (code == MDB_NOTFOUND) return std::nullopt;
    if (code != 0) return lmdb_failure(code, engine_.path_, "get");
    return to_view(value);
  }

  Result<void> scan(TableId table, BytesView from,
                    const std::function<bool(BytesView, BytesView)>& visit) const override {
    ETCD_TRY(const CursorPtr cursor, open_cursor(table));
    MDB_val key = to_val(from);
    MDB_val value{};
    int code = mdb_cursor_get(cursor.get(), &key, &value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
    while (code == 0 && visit(to_view(key), to_view(value)))
      code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT);
    if (code != 0 && code != MDB_NOTFOUND) return lmdb_failure(code, engine_.path_, "scan");
    return {};
  }

  Result<void> walk(TableId table, BytesView from, const Steps& visit) const override {
    ETCD_TRY(const CursorPtr cursor, open_cursor(table));
    MDB_val key = to_val(from);
    MDB_val value{};
    int code = mdb_cursor_get(cursor.get(), &key, &value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
    while (code == 0) {
      const std::optional<BytesView> next = visit(to_view(key), to_view(value));
      if (!next.has_value()) return {};
      if (!next->empty()) key = to_val(*next);
      code = mdb_cursor_get(cursor.get(), &key, &value, next->empty() ? MDB_NEXT : MDB_SET_RANGE);
    }
    if (code != MDB_NOTFOUND) return lmdb_failure(code, engine_.path_, "walk");
    return {};
  }

  Result<void> scan_back(TableId table, BytesView from,
                         const std::function<bool(BytesView, BytesView)>& visit) const override {
    ETCD_TRY(const CursorPtr cursor, open_cursor(table));
    MDB_val key = to_val(from);
    MDB_val value{};
    int code = mdb_cursor_get(cursor.get(), &key, &value, from.empty() ? MDB_LAST : MDB_SET_RANGE);
    if (!from.empty()) {
      // MDB_SET_RANGE goes to the first key >= from, or nowhere.
      if (code == MDB_NOTFOUND) {
        code = mdb_cursor_get(cursor.get(), &key, &value, MDB_LAST);
      } else if (code == 0 && to_view(key) != from) {
        code = mdb_cursor_get(cursor.get(), &key, &value, MDB_PREV);
      }
    }
    while (code == 0 && visit(to_view(key), to_view(value)))
      code = mdb_cursor_get(cursor.get(), &key, &value, MDB_PREV);
    if (code != 0 && code != MDB_NOTFOUND) return lmdb_failure(code, engine_.path_, "scan back");
    return {};
  }

  Result<std::optional<std::pair<BytesView, BytesView>>> last(TableId table) const override {
    ETCD_TRY(const CursorPtr cursor, open_cursor(table));
    MDB_val key{};
    MDB_val value{};
    const int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_LAST);
    if (code == MDB_NOTFOUND) return std::nullopt;
    if (code != 0) return lmdb_failure(code, engine_.path_, "last");
    return std::pair(to_view(key), to_view(value));
  }

 private:
  struct CursorCloser {
    void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
  };
  using CursorPtr = std::unique_ptr<MDB_cursor, CursorCloser>;

  Result<CursorPtr> open_cursor(TableId table) const {
    MDB_cursor* cursor = nullptr;
    const int code = mdb_cursor_open(txn_, engine_.tables_.at(table), &cursor);
    if (code != 0) return lmdb_failure(code, engine_.path_, "open cursor");
    return CursorPtr(cursor);
  }

  const LmdbEngine& engine_;
  MDB_txn* txn_;
};

Result<std::unique_ptr<Snapshot>> LmdbEngine::snapshot() const {
  for (int attempt = 0;; ++attempt) {
    MDB_txn* txn = enter();
    int code = 0;
    if (txn != nullptr) {
      code = mdb_txn_renew(txn);
      if (code != 0) mdb_txn_abort(txn);
    } else {
      code = mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &txn);
    }
    if (code == 0) return std::make_unique<LmdbSnapshot>(*this, txn);
    leave(nullptr);
    if (code != MDB_MAP_RESIZED || attempt > 0) return lmdb_failure(code, path_, "snapshot");
    const std::lock_guard lock(commit_mu_);
    ETCD_TRY_VOID(resize(0));
  }
}

}  // namespace

Result<std::unique_ptr<Engine>> open_lmdb(io::Directory& directory, std::span<const std::string> tables,
                                          const LmdbOptions& options) {
  ETCD_TRY(const std::vector<std::string> names, directory.list());
  const std::string path = directory.path() + "/" + kLmdbFile;
  if (std::ranges::find(names, kLmdbFile) == names.end()) {
    ETCD_TRY_VOID(make_file(directory, tables, options));
  } else {
    ETCD_TRY(const auto file, directory.open(kLmdbFile));
    ETCD_TRY(const std::uint64_t size, file->size());
    if (size == 0) return failure(ErrorCode::kCorrupt, path + ": empty");
  }
  ETCD_TRY(OpenEnv open, open_env(path, tables, options));
  auto engine = std::make_unique<LmdbEngine>(path, std::move(open), options);
  ETCD_TRY_VOID(engine->measure());
  return engine;
}

}  // namespace etcd::engine
