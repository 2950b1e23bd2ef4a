#include "io/sim_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace etcd::io {
namespace {

constexpr std::size_t kSectorBytes = 512;  // the unit that a disk writes whole

}  // namespace

struct SimDisk::Node {
  Bytes now;                      // what a read sees
  Bytes stable;                   // what a crash leaves for certain
  std::set<std::uint64_t> dirty;  // sectors written since the last sync
  bool locked = false;
};

struct SimDisk::Folder {
  std::map<std::string, std::shared_ptr<Node>> now;     // shared with open handles and with `stable`
  std::map<std::string, std::shared_ptr<Node>> stable;  // the names that a crash leaves for certain
};

class SimDisk::SimFile final : public File {
 public:
  SimFile(SimDisk& disk, std::shared_ptr<Node> node, std::string name)
      : disk_(disk), node_(std::move(node)), name_(std::move(name)), epoch_(disk.epoch_) {}
  ~SimFile() override {
    if (holds_lock_ && epoch_ == disk_.epoch_) node_->locked = false;
  }
  SimFile(const SimFile&) = delete;
  SimFile& operator=(const SimFile&) = delete;

  Result<void> write_at(std::uint64_t offset, BytesView bytes) override {
    ETCD_TRY_VOID(alive());
    if (bytes.empty()) return {};
    if (!disk_.change().has_value()) {
      // The write that power failed in may have reached any of its sectors.
      apply(offset, bytes);
      return gone();
    }
    const std::uint64_t end = offset + bytes.size();
    const std::uint64_t growth = end > node_->now.size() ? end - node_->now.size() : 0;
    if (growth > 0 && disk_.used() + growth > disk_.capacity_) {
      return failure(ErrorCode::kNoSpace, fmt::format("write {}: no space left on the simulated disk", name_));
    }
    apply(offset, bytes);
    return {};
  }

  Result<Bytes> read_at(std::uint64_t offset, std::uint64_t count) const override {
    ETCD_TRY_VOID(alive());
    if (offset >= node_->now.size()) return Bytes();
    return node_->now.substr(offset, count);
  }

  Result<void> sync() override {
    ETCD_TRY_VOID(alive());
    ETCD_TRY_VOID(disk_.change());
    if (std::exchange(disk_.fail_sync_, false)) {
      return failure(ErrorCode::kIo, fmt::format("fdatasync {}: simulated error", name_));
    }
    node_->stable = node_->now;
    node_->dirty.clear();
    return {};
  }

  Result<void> truncate(std::uint64_t size) override {
    ETCD_TRY_VOID(alive());
    ETCD_TRY_VOID(disk_.change());
    const std::uint64_t old = node_->now.size();
    node_->now.resize(size, '\0');
    for (std::uint64_t at = std::min(old, size) / kSectorBytes; at * kSectorBytes < std::max(old, size); ++at) {
      node_->dirty.insert(at);
    }
    return {};
  }

  Result<std::uint64_t> size() const override {
    ETCD_TRY_VOID(alive());
    return node_->now.size();
  }

  Result<void> lock() override {
    ETCD_TRY_VOID(alive());
    if (node_->locked) return failure(ErrorCode::kLocked, fmt::format("{}: file already locked", name_));
    node_->locked = true;
    holds_lock_ = true;
    return {};
  }

  const std::string& name() const override { return name_; }

 private:
  std::unexpected<Error> gone() const { return failure(ErrorCode::kIo, fmt::format("{}: power has gone", name_)); }

  Result<void> alive() const {
    if (epoch_ != disk_.epoch_ || disk_.power_gone_) return gone();
    return {};
  }

  void apply(std::uint64_t offset, BytesView bytes) {
    const std::uint64_t end = offset + bytes.size();
    const std::uint64_t first = std::min<std::uint64_t>(offset, node_->now.size()) / kSectorBytes;
    if (node_->now.size() < end) node_->now.resize(end, '\0');
    node_->now.replace(offset, bytes.size(), bytes);
    for (std::uint64_t at = first; at * kSectorBytes < end; ++at) node_->dirty.insert(at);
  }

  SimDisk& disk_;
  std::shared_ptr<Node> node_;  // shared with the folder: a removed file lives on in its handles
  std::string name_;
  std::uint64_t epoch_;
  bool holds_lock_ = false;
};

class SimDisk::SimDirectory final : public Directory {
 public:
  SimDirectory(SimDisk& disk, std::shared_ptr<Folder> folder, std::string path)
      : disk_(disk), folder_(std::move(folder)), path_(std::move(path)), epoch_(disk.epoch_) {}

  Result<std::unique_ptr<File>> create(const std::string& name) override {
    ETCD_TRY_VOID(alive());
    if (folder_->now.contains(name)) {
      return failure(ErrorCode::kAlreadyExists, fmt::format("{}/{}: file exists", path_, name));
    }
    ETCD_TRY_VOID(disk_.change());
    const auto node = folder_->now.emplace(name, std::make_shared<Node>()).first->second;
    return std::make_unique<SimFile>(disk_, node, path_ + "/" + name);
  }

  Result<std::unique_ptr<File>> open(const std::string& name) override {
    ETCD_TRY_VOID(alive());
    const auto at = folder_->now.find(name);
    if (at == folder_->now.end()) {
      return failure(ErrorCode::kNotFound, fmt::format("{}/{}: no such file", path_, name));
    }
    return std::make_unique<SimFile>(disk_, at->second, path_ + "/" + name);
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    ETCD_TRY_VOID(alive());
    const auto at = folder_->now.find(from);
    if (at == folder_->now.end()) {
      return failure(ErrorCode::kNotFound, fmt::format("{}/{}: no such file", path_, from));
    }
    ETCD_TRY_VOID(disk_.change());
    const auto node = at->second;
    folder_->now.erase(at);
    folder_->now[to] = node;
    return {};
  }

  Result<void> remove(const std::string& name) override {
    ETCD_TRY_VOID(alive());
    ETCD_TRY_VOID(disk_.change());
    if (folder_->now.erase(name) == 0) {
      return failure(ErrorCode::kNotFound, fmt::format("{}/{}: no such file", path_, name));
    }
    return {};
  }

  Result<Space> space() const override {
    ETCD_TRY_VOID(alive());
    const std::uint64_t used = disk_.used();
    return Space{.free_bytes = disk_.capacity_ - std::min(used, disk_.capacity_), .total_bytes = disk_.capacity_};
  }

  Result<std::vector<std::string>> list() const override {
    ETCD_TRY_VOID(alive());
    std::vector<std::string> names;
    for (const auto& [name, node] : folder_->now) names.push_back(name);
    return names;
  }

  Result<void> sync() override {
    ETCD_TRY_VOID(alive());
    ETCD_TRY_VOID(disk_.change());
    folder_->stable = folder_->now;
    return {};
  }

  Result<std::unique_ptr<Directory>> subdirectory(const std::string& name) override {
    ETCD_TRY_VOID(alive());
    return disk_.open_directory(path_ + "/" + name);
  }

  const std::string& path() const override { return path_; }

 private:
  Result<void> alive() const {
    if (epoch_ != disk_.epoch_ || disk_.power_gone_) {
      return failure(ErrorCode::kIo, fmt::format("{}: power has gone", path_));
    }
    return {};
  }

  SimDisk& disk_;
  std::shared_ptr<Folder> folder_;  // shared with the disk
  std::string path_;
  std::uint64_t epoch_;
};

SimDisk::SimDisk(std::uint64_t seed) : rng_(seed) {}
SimDisk::~SimDisk() = default;

std::unique_ptr<Directory> SimDisk::open_directory(const std::string& path) {
  auto& folder = folders_[path];
  if (!folder) folder = std::make_shared<Folder>();
  return std::make_unique<SimDirectory>(*this, folder, path);
}

void SimDisk::crash() {
  ++epoch_;
  power_gone_ = false;
  fail_at_.reset();
  fail_sync_ = false;
  for (auto& [path, folder] : folders_) {
    // Names: each change since the last sync of the directory has happened or not. A rename that half happened leaves
    // the file under either name, never under none.
    std::map<std::string, std::shared_ptr<Node>> names;
    if (rng_.chance(1, 2)) {
      names = folder->now;
    } else {
      names = folder->stable;
      for (const auto& [name, node] : folder->now) {
        if (!folder->stable.contains(name) && rng_.chance(1, 2) &&
            std::none_of(names.begin(), names.end(), [&](const auto& entry) { return entry.second == node; })) {
          names.emplace(name, node);
        }
      }
    }
    folder = std::make_shared<Folder>();
    for (const auto& [name, node] : names) {
      auto survivor = std::make_shared<Node>();
      survivor->now = node->stable;
      const std::uint64_t sizes[] = {node->stable.size(), node->now.size()};
      const bool keep_none = rng_.chance(1, 4);
      const bool keep_all = !keep_none && rng_.chance(1, 3);
      const std::uint64_t size = keep_none ? sizes[0] : keep_all ? sizes[1] : sizes[rng_.below(2)];
      survivor->now.resize(size, '\0');
      for (const std::uint64_t sector : node->dirty) {
        if (keep_none || (!keep_all && rng_.chance(1, 2))) continue;
        const std::uint64_t begin = sector * kSectorBytes;
        const std::uint64_t end = std::min({begin + kSectorBytes, size, std::uint64_t{node->now.size()}});
        if (begin < end) survivor->now.replace(begin, end - begin, BytesView(node->now).substr(begin, end - begin));
      }
      survivor->stable = survivor->now;
      folder->now.emplace(name, survivor);
    }
    folder->stable = folder->now;
  }
}

void SimDisk::fail_after(std::uint64_t calls) {
  fail_at_ = calls_ + calls;
}
void SimDisk::fail_next_sync() {
  fail_sync_ = true;
}

Result<void> SimDisk::change() {
  if (!power_gone_ && fail_at_ && calls_ >= *fail_at_) power_gone_ = true;
  if (power_gone_) return failure(ErrorCode::kIo, "power has gone");
  ++calls_;
  return {};
}

std::uint64_t SimDisk::used() const {
  std::uint64_t bytes = 0;
  for (const auto& [path, folder] : folders_) {
    for (const auto& [name, node] : folder->now) bytes += node->now.size();
  }
  return bytes;
}

Bytes* SimDisk::content(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return nullptr;
  const auto folder = folders_.find(path.substr(0, slash));
  if (folder == folders_.end()) return nullptr;
  const auto node = folder->second->now.find(path.substr(slash + 1));
  return node == folder->second->now.end() ? nullptr : &node->second->now;
}

void SimDisk::settle() {
  for (auto& [path, folder] : folders_) {
    folder->stable = folder->now;
    for (auto& [name, node] : folder->now) {
      node->stable = node->now;
      node->dirty.clear();
    }
  }
}

}  // namespace etcd::io
