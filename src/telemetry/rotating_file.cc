#include "telemetry/rotating_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace etcd::telemetry {
namespace {

constexpr std::string_view kCompressed = ".gz";
constexpr std::size_t kStampBytes = 23;  // 2026-11-25T11-22-33.444
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kNsPerS = 1'000'000'000;

std::string error_text(int number) {
  return std::error_code(number, std::generic_category()).message();
}

/// The parts that the names of all files set aside share: "folder/etcd-" and ".log".
struct NameParts {
  std::string folder;  // with its slash; empty: the working directory
  std::string prefix;
  std::string extension;
};

NameParts parts_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
  std::size_t dot = path.rfind('.');
  if (dot == std::string::npos || dot < name) dot = path.size();
  return {path.substr(0, name), path.substr(name, dot - name) + "-", path.substr(dot)};
}

std::string stamp_of(std::int64_t ms, bool local) {
  const auto seconds = static_cast<std::time_t>((ms - ((ms % 1000 + 1000) % 1000)) / 1000);
  std::tm fields{};
  (local ? ::localtime_r : ::gmtime_r)(&seconds, &fields);
  return fmt::format("{:04}-{:02}-{:02}T{:02}-{:02}-{:02}.{:03}", fields.tm_year + 1900, fields.tm_mon + 1,
                     fields.tm_mday, fields.tm_hour, fields.tm_min, fields.tm_sec, (ms % 1000 + 1000) % 1000);
}

/// The time that stamp_of() wrote so; nothing when it wrote no such text.
std::optional<WallTime> time_of(std::string_view stamp, bool local) {
  constexpr std::string_view kForm = "0000-00-00T00-00-00.000";
  static_assert(kForm.size() == kStampBytes);
  if (stamp.size() != kForm.size()) return std::nullopt;
  for (std::size_t place = 0; place < kForm.size(); ++place) {
    const bool digit = stamp[place] >= '0' && stamp[place] <= '9';
    if (kForm[place] == '0' ? !digit : stamp[place] != kForm[place]) return std::nullopt;
  }
  const auto number = [stamp](std::size_t begin, std::size_t count) {
    int value = 0;
    for (std::size_t place = begin; place < begin + count; ++place) value = value * 10 + (stamp[place] - '0');
    return value;
  };
  std::tm fields{};
  fields.tm_year = number(0, 4) - 1900;
  fields.tm_mon = number(5, 2) - 1;
  fields.tm_mday = number(8, 2);
  fields.tm_hour = number(11, 2);
  fields.tm_min = number(14, 2);
  fields.tm_sec = number(17, 2);
  fields.tm_isdst = -1;
  if (fields.tm_year < 70 || fields.tm_year >= 360) return std::nullopt;  // a WallTime ends in 2262
  const std::time_t seconds = local ? ::mktime(&fields) : ::timegm(&fields);
  return WallTime{static_cast<std::int64_t>(seconds) * kNsPerS + number(20, 3) * kNsPerMs};
}

/// A file that was set aside: as it was, compressed, or, when compressing it was cut short, both.
struct Backup {
  bool plain = false;
  bool compressed = false;
};

/// The files set aside, by their stamps.
std::map<std::string, Backup> backups_of(const NameParts& parts) {
  std::map<std::string, Backup> backups;
  const std::size_t plain_bytes = parts.prefix.size() + kStampBytes + parts.extension.size();
  DIR* const directory = ::opendir(parts.folder.empty() ? "." : parts.folder.c_str());
  if (directory == nullptr) return backups;
  while (const dirent* const entry = ::readdir(directory)) {
    std::string_view name = entry->d_name;
    const bool compressed = name.size() == plain_bytes + kCompressed.size() && name.ends_with(kCompressed);
    if (compressed) name.remove_suffix(kCompressed.size());
    if (name.size() != plain_bytes) continue;
    if (!name.starts_with(parts.prefix) || !name.ends_with(parts.extension)) continue;
    const std::string_view stamp = name.substr(parts.prefix.size(), kStampBytes);
    if (!time_of(stamp, false)) continue;
    Backup& backup = backups[std::string(stamp)];
    (compressed ? backup.compressed : backup.plain) = true;
  }
  ::closedir(directory);
  return backups;
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

/// Gives the file the access rights and, as far as we may, the owner of another.
void copy_rights(int from, int to) {
  struct stat status{};
  if (::fstat(from, &status) != 0) return;
  if (::fchown(to, status.st_uid, status.st_gid) != 0) {
    // Only root may give files away; without that the new file is ours, as it should be.
  }
  ::fchmod(to, status.st_mode & 07777);
}

/// Copies all of `source` into `out`. False on an error, or when told to stop.
bool compress_into(gzFile out, int source, const std::stop_token& stop) {
  std::array<char, 64 << 10> piece{};
  for (;;) {
    const ssize_t count = ::read(source, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) return true;
    if (count < 0 || stop.stop_requested()) return false;
    if (::gzwrite(out, piece.data(), static_cast<unsigned>(count)) != static_cast<int>(count)) return false;
  }
}

/// Puts a compressed file in the place of `path`, which stays when that does not work out.
void compress_file(const std::string& path, const std::stop_token& stop) {
  const std::string target = path + std::string(kCompressed);
  const Descriptor source(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (source.number() < 0) return;
  // One that is there already was cut short.
  const Descriptor file(::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (file.number() < 0) return;
  copy_rights(source.number(), file.number());
  Descriptor second(::fcntl(file.number(), F_DUPFD_CLOEXEC, 0));
  const gzFile out = second.number() < 0 ? nullptr : ::gzdopen(second.number(), "wb");
  if (out != nullptr) second.release();  // it is closed by gzclose()
  const bool copied = out != nullptr && compress_into(out, source.number(), stop);
  const bool closed = out != nullptr && ::gzclose(out) == Z_OK;
  // The lines must be on the disk in their new form before the old one goes.
  const bool durable = copied && closed && ::fdatasync(file.number()) == 0;
  ::unlink(durable ? path.c_str() : target.c_str());
}

/// Errors: those of open(2), in errno; then -1.
int open_for_appending(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

}  // namespace

Result<std::shared_ptr<RotatingFile>> RotatingFile::open(std::string path, RotationOptions options,
                                                         std::function<WallTime()> wall) {
  const std::string folder = parts_of(path).folder;
  std::error_code ignored;  // what is wrong with the folder, opening the file will tell
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  const int descriptor = open_for_appending(path);
  struct stat status{};
  if (descriptor < 0 || ::fstat(descriptor, &status) != 0) {
    const int why = errno;
    if (descriptor >= 0) ::close(descriptor);
    return failure(ErrorCode::kIo, fmt::format("cannot open log file {}: {}", path, error_text(why)));
  }
  if (!S_ISREG(status.st_mode)) options.bytes_max = std::numeric_limits<std::uint64_t>::max();  // such as /dev/stderr
  return std::shared_ptr<RotatingFile>(new RotatingFile(std::move(path), options, std::move(wall), descriptor,
                                                        static_cast<std::uint64_t>(status.st_size)));
}

RotatingFile::RotatingFile(std::string path, RotationOptions options, std::function<WallTime()> wall, int descriptor,
                           std::uint64_t bytes)
    : path_(std::move(path)),
      options_(options),
      wall_(std::move(wall)),
      descriptor_(descriptor),
      bytes_(bytes),
      rotate_at_(options.bytes_max),
      worker_([this](const std::stop_token& stop) { work(stop); }) {}

RotatingFile::~RotatingFile() {
  worker_.request_stop();
  worker_.join();
  ::close(descriptor_);
}

void RotatingFile::write(std::string_view line) {
  const std::lock_guard lock(mu_);
  if (bytes_ > 0 && bytes_ + line.size() > rotate_at_) rotate();
  while (!line.empty()) {
    const ssize_t count = ::write(descriptor_, line.data(), line.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // a full disk; a sink has nobody to tell
    bytes_ += static_cast<std::uint64_t>(count);
    line.remove_prefix(static_cast<std::size_t>(count));
  }
}

void RotatingFile::rotate() {
  const std::string backup = free_backup_path();
  const bool moved = std::rename(path_.c_str(), backup.c_str()) == 0;
  // A file that somebody removed needs no setting aside.
  const int fresh = moved || errno == ENOENT ? open_for_appending(path_) : -1;
  if (fresh < 0) {
    if (moved) std::rename(backup.c_str(), path_.c_str());
    rotate_at_ = bytes_ + options_.bytes_max / 10 + 1;
    return;
  }
  copy_rights(descriptor_, fresh);
  ::close(descriptor_);
  descriptor_ = fresh;
  bytes_ = 0;
  rotate_at_ = options_.bytes_max;
  untidy_ = true;
  changed_.notify_all();
}

std::string RotatingFile::free_backup_path() const {
  const NameParts parts = parts_of(path_);
  for (std::int64_t ms = wall_().ns / kNsPerMs;; ++ms) {
    const std::string path = parts.folder + parts.prefix + stamp_of(ms, options_.local_time) + parts.extension;
    const std::string compressed = path + std::string(kCompressed);
    if (::access(path.c_str(), F_OK) != 0 && ::access(compressed.c_str(), F_OK) != 0) return path;
  }
}

void RotatingFile::settle() {
  std::unique_lock lock(mu_);
  changed_.wait(lock, [this] { return !untidy_ && !tidying_; });
}

void RotatingFile::work(const std::stop_token& stop) {
  std::unique_lock lock(mu_);
  while (changed_.wait(lock, stop, [this] { return untidy_; })) {
    if (stop.stop_requested()) return;
    untidy_ = false;
    tidying_ = true;
    lock.unlock();
    tidy(stop);
    lock.lock();
    tidying_ = false;
    changed_.notify_all();
  }
}

void RotatingFile::tidy(const std::stop_token& stop) const {
  if (options_.backups_max == 0 && options_.age_max <= Duration::zero() && !options_.compress) return;
  const NameParts parts = parts_of(path_);
  const std::map<std::string, Backup> backups = backups_of(parts);
  std::size_t newer = 0;
  for (auto each = backups.rbegin(); each != backups.rend() && !stop.stop_requested(); ++each, ++newer) {
    const auto& [stamp, backup] = *each;
    const std::string path = parts.folder + parts.prefix + stamp + parts.extension;
    const std::optional<WallTime> time = time_of(stamp, options_.local_time);
    const bool too_many = options_.backups_max > 0 && newer >= options_.backups_max;
    const bool too_old = options_.age_max > Duration::zero() && time && wall_() - *time > options_.age_max;
    if (too_many || too_old) {
      if (backup.plain) ::unlink(path.c_str());
      if (backup.compressed) ::unlink((path + std::string(kCompressed)).c_str());
    } else if (options_.compress && backup.plain) {
      compress_file(path, stop);
    }
  }
}

}  // namespace etcd::telemetry
