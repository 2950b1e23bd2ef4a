#include "io/real_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace etcd::io {
namespace {

std::unexpected<Error> system_error(const std::string& name, const char* call, int number) {
  ErrorCode code = ErrorCode::kIo;
  if (number == ENOSPC || number == EDQUOT) code = ErrorCode::kNoSpace;
  if (number == ENOENT) code = ErrorCode::kNotFound;
  if (number == EEXIST) code = ErrorCode::kAlreadyExists;
  return failure(code, fmt::format("{} {}: {}", call, name, std::strerror(number)));
}

class RealFile final : public File {
 public:
  RealFile(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}
  ~RealFile() override { ::close(descriptor_); }
  RealFile(const RealFile&) = delete;
  RealFile& operator=(const RealFile&) = delete;

  Result<void> write_at(std::uint64_t offset, BytesView bytes) override {
    while (!bytes.empty()) {
      const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count < 0) {
        if (errno == EINTR) continue;
        return system_error(name_, "write", errno);
      }
      bytes.remove_prefix(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
    return {};
  }

  Result<Bytes> read_at(std::uint64_t offset, std::uint64_t count) const override {
    Bytes bytes(count, '\0');
    std::size_t got = 0;
    while (got < count) {
      const ssize_t step = ::pread(descriptor_, bytes.data() + got, count - got, static_cast<off_t>(offset + got));
      if (step < 0) {
        if (errno == EINTR) continue;
        return system_error(name_, "read", errno);
      }
      if (step == 0) break;
      got += static_cast<std::size_t>(step);
    }
    bytes.resize(got);
    return bytes;
  }

  Result<void> sync() override {
    if (::fdatasync(descriptor_) != 0) return system_error(name_, "fdatasync", errno);
    return {};
  }

  Result<void> truncate(std::uint64_t size) override {
    if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) return system_error(name_, "truncate", errno);
    return {};
  }

  Result<std::uint64_t> size() const override {
    struct stat facts{};
    if (::fstat(descriptor_, &facts) != 0) return system_error(name_, "stat", errno);
    return static_cast<std::uint64_t>(facts.st_size);
  }

  Result<void> lock() override {
    struct flock range{};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    if (::fcntl(descriptor_, F_OFD_SETLK, &range) == 0) return {};
    if (errno == EAGAIN || errno == EACCES) {
      return failure(ErrorCode::kLocked, fmt::format("{}: file already locked by another process", name_));
    }
    return system_error(name_, "lock", errno);
  }

  const std::string& name() const override { return name_; }

 private:
  int descriptor_;
  std::string name_;
};

class RealDirectory final : public Directory {
 public:
  RealDirectory(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~RealDirectory() override { ::close(descriptor_); }
  RealDirectory(const RealDirectory&) = delete;
  RealDirectory& operator=(const RealDirectory&) = delete;

  Result<std::unique_ptr<File>> create(const std::string& name) override {
    return open_file(name, O_RDWR | O_CREAT | O_EXCL);
  }
  Result<std::unique_ptr<File>> open(const std::string& name) override { return open_file(name, O_RDWR); }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::renameat(descriptor_, from.c_str(), descriptor_, to.c_str()) != 0) {
      return system_error(full(from), "rename", errno);
    }
    return {};
  }

  Result<void> remove(const std::string& name) override {
    if (::unlinkat(descriptor_, name.c_str(), 0) != 0) return system_error(full(name), "remove", errno);
    return {};
  }

  Result<Space> space() const override {
    struct statvfs facts{};
    if (::fstatvfs(descriptor_, &facts) != 0) return system_error(path_, "statvfs", errno);
    return Space{.free_bytes = std::uint64_t{facts.f_bavail} * facts.f_frsize,
                 .total_bytes = std::uint64_t{facts.f_blocks} * facts.f_frsize};
  }

  Result<std::vector<std::string>> list() const override {
    // A stream of its own, so that two lists at once do not share a position.
    const int copy = ::openat(descriptor_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) return system_error(path_, "open", errno);
    DIR* stream = ::fdopendir(copy);
    if (stream == nullptr) {
      const int number = errno;
      ::close(copy);
      return system_error(path_, "list", number);
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) {
      struct stat facts{};
      if (::fstatat(descriptor_, entry->d_name, &facts, 0) == 0 && S_ISREG(facts.st_mode)) {
        names.emplace_back(entry->d_name);
      }
      errno = 0;
    }
    const int number = errno;
    ::closedir(stream);
    if (number != 0) return system_error(path_, "list", number);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<void> sync() override {
    if (::fsync(descriptor_) != 0) return system_error(path_, "fsync", errno);
    return {};
  }

  Result<std::unique_ptr<Directory>> subdirectory(const std::string& name) override {
    return open_real_directory(full(name));
  }

  const std::string& path() const override { return path_; }

 private:
  std::string full(const std::string& name) const { return path_ + "/" + name; }

  Result<std::unique_ptr<File>> open_file(const std::string& name, int flags) {
    const int descriptor = ::openat(descriptor_, name.c_str(), flags | O_CLOEXEC, 0600);
    if (descriptor < 0) return system_error(full(name), "open", errno);
    return std::make_unique<RealFile>(descriptor, full(name));
  }

  int descriptor_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<Directory>> open_real_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    if (errno != ENOENT) return system_error(path, "mkdir", errno);
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    if (error) return failure(ErrorCode::kIo, fmt::format("mkdir {}: {}", path, error.message()));
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error(path, "mkdir", errno);
  }
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return system_error(path, "open", errno);
  struct stat facts{};
  if (::fstat(descriptor, &facts) == 0 && (facts.st_mode & 077) != 0 && ::fchmod(descriptor, 0700) != 0) {
    const int number = errno;
    ::close(descriptor);
    return system_error(path, "chmod", number);
  }
  return std::make_unique<RealDirectory>(descriptor, path);
}

}  // namespace etcd::io
