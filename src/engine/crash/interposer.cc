#include "engine/crash/interposer.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <utility>

#include "base/check.h"

namespace etcd::engine::crash {

namespace {

struct State {
  std::mutex mu;  // guards all below
  bool recording = false;
  dev_t device = 0;
  ino_t inode = 0;
  std::vector<FileEvent> events;
  int writes_before_failure = 0;
  int writes_to_fail = 0;
  int write_error = 0;
  int syncs_to_fail = 0;
  int sync_error = 0;
};

State& state() {
  static State state;
  return state;
}

bool is_watched(const State& watched, int fd) {
  struct stat info{};
  return watched.recording && fstat(fd, &info) == 0 && info.st_dev == watched.device && info.st_ino == watched.inode;
}

/// Takes note of a write that is about to be made; false when it must fail, with errno set.
bool about_to_write(int fd, std::uint64_t offset, Bytes bytes) {
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  if (!is_watched(watched, fd)) return true;
  if (watched.writes_before_failure > 0) {
    --watched.writes_before_failure;
  } else if (watched.writes_to_fail > 0) {
    --watched.writes_to_fail;
    errno = watched.write_error;
    return false;
  }
  const bool durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
  watched.events.push_back(
      {durable ? FileEvent::Kind::kDurableWrite : FileEvent::Kind::kWrite, offset, std::move(bytes)});
  return true;
}

bool about_to_sync(int fd) {
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  if (!is_watched(watched, fd)) return true;
  if (watched.syncs_to_fail > 0) {
    --watched.syncs_to_fail;
    errno = watched.sync_error;
    return false;
  }
  watched.events.push_back({FileEvent::Kind::kSync});
  return true;
}

bool is_recording() {
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  return watched.recording;
}

template <class Function>
Function* next(const char* name) {
  auto* function = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
  CHECK(function != nullptr, "no {}", name);
  return function;
}

std::uint64_t position_of(int fd) {
  return static_cast<std::uint64_t>(lseek(fd, 0, SEEK_CUR));
}

}  // namespace

void start(const std::string& path) {
  struct stat info{};
  CHECK(stat(path.c_str(), &info) == 0, "no {}", path);
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  watched.device = info.st_dev;
  watched.inode = info.st_ino;
  watched.events.clear();
  watched.writes_before_failure = watched.writes_to_fail = watched.syncs_to_fail = 0;
  watched.recording = true;
}

std::vector<FileEvent> stop() {
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  watched.recording = false;
  return std::exchange(watched.events, {});
}

void mark(std::uint64_t number) {
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  watched.events.push_back({FileEvent::Kind::kMark, number});
}

void fail_writes(int calls, int times, int error) {
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  watched.writes_before_failure = calls;
  watched.writes_to_fail = times;
  watched.write_error = error;
}

void fail_syncs(int times, int error) {
  State& watched = state();
  const std::lock_guard lock(watched.mu);
  watched.syncs_to_fail = times;
  watched.sync_error = error;
}

}  // namespace etcd::engine::crash

// --- in the place of libc's ---

namespace crash = etcd::engine::crash;

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static auto* const real = crash::next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  if (!crash::about_to_write(fd, static_cast<std::uint64_t>(offset),
                             etcd::Bytes(static_cast<const char*>(bytes), count))) {
    return -1;
  }
  return real(fd, bytes, count, offset);
}

ssize_t pwritev(int fd, const struct iovec* pieces, int count, off_t offset) {
  static auto* const real = crash::next<ssize_t(int, const struct iovec*, int, off_t)>("pwritev");
  etcd::Bytes bytes;
  for (int piece = 0; piece < count; ++piece) {
    bytes.append(static_cast<const char*>(pieces[piece].iov_base), pieces[piece].iov_len);
  }
  if (!crash::about_to_write(fd, static_cast<std::uint64_t>(offset), std::move(bytes))) return -1;
  return real(fd, pieces, count, offset);
}

ssize_t write(int fd, const void* bytes, size_t count) {
  static auto* const real = crash::next<ssize_t(int, const void*, size_t)>("write");
  if (crash::is_recording() &&
      !crash::about_to_write(fd, crash::position_of(fd), etcd::Bytes(static_cast<const char*>(bytes), count))) {
    return -1;
  }
  return real(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec* pieces, int count) {
  static auto* const real = crash::next<ssize_t(int, const struct iovec*, int)>("writev");
  if (crash::is_recording()) {
    etcd::Bytes bytes;
    for (int piece = 0; piece < count; ++piece) {
      bytes.append(static_cast<const char*>(pieces[piece].iov_base), pieces[piece].iov_len);
    }
    if (!crash::about_to_write(fd, crash::position_of(fd), std::move(bytes))) return -1;
  }
  return real(fd, pieces, count);
}

int fdatasync(int fd) {
  static auto* const real = crash::next<int(int)>("fdatasync");
  return crash::about_to_sync(fd) ? real(fd) : -1;
}

int fsync(int fd) {
  static auto* const real = crash::next<int(int)>("fsync");
  return crash::about_to_sync(fd) ? real(fd) : -1;
}

int msync(void* address, size_t length, int flags) {
  static auto* const real = crash::next<int(void*, size_t, int)>("msync");
  // The store is never written through its map; if that changes, this test has to learn it.
  CHECK(!crash::is_recording(), "msync while recording");
  return real(address, length, flags);
}

int ftruncate(int fd, off_t size) noexcept {
  static auto* const real = crash::next<int(int, off_t)>("ftruncate");
  if (crash::is_recording()) {
    auto& watched = crash::state();
    const std::lock_guard lock(watched.mu);
    if (crash::is_watched(watched, fd)) {
      watched.events.push_back({crash::FileEvent::Kind::kTruncate, static_cast<std::uint64_t>(size)});
    }
  }
  return real(fd, size);
}

}  // extern "C"
