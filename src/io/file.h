// io/file.h - the door to files: a directory of named files, each written and read at offsets.
//
// Life:    Directory::create or open -> write_at()* -> sync() ... -> close (destructor; syncs nothing)
// Thread:  one owner at a time for each File; a Directory from any thread.
// Forms:   RealDirectory (io/real_file.h), SimDirectory (io/sim_disk.h).
// Durable: bytes of a file after its sync(); a name's creation, renaming or removal after the directory's sync().
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace etcd::io {

class File {
 public:
  virtual ~File() = default;

  /// Writes all of `bytes` at `offset`, growing the file with zeros where needed.
  /// Errors: kNoSpace, kIo; a prefix may have been written.
  virtual Result<void> write_at(std::uint64_t offset, BytesView bytes) = 0;

  /// Reads up to `count` bytes at `offset`; fewer only at the end of the file. Errors: kIo.
  virtual Result<Bytes> read_at(std::uint64_t offset, std::uint64_t count) const = 0;

  /// Returns once everything written is on stable storage, with the size needed to read it back (fdatasync).
  /// Errors: kIo, kNoSpace. After one, what is stable is unknown: do not try again (Rebello et al., ATC 2020).
  virtual Result<void> sync() = 0;

  virtual Result<void> truncate(std::uint64_t size) = 0;
  [[nodiscard]] virtual Result<std::uint64_t> size() const = 0;

  /// Takes an exclusive lock on the whole file, kept until the file is closed (open-file-description lock).
  /// Errors: kLocked when another opener has it.
  virtual Result<void> lock() = 0;

  /// For messages: the path as the user knows it.
  [[nodiscard]] virtual const std::string& name() const = 0;
};

/// Of a file system.
struct Space {
  std::uint64_t free_bytes = 0;  // for us to fill
  std::uint64_t total_bytes = 0;
};

class Directory {
 public:
  virtual ~Directory() = default;

  /// Makes an empty file, mode 0600. Errors: kAlreadyExists, kNoSpace, kIo.
  virtual Result<std::unique_ptr<File>> create(const std::string& name) = 0;
  /// Opens a file that exists, for reading and writing. Errors: kNotFound, kIo.
  virtual Result<std::unique_ptr<File>> open(const std::string& name) = 0;
  /// Puts `from` in the place of `to`, which may exist.
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& name) = 0;
  /// The names of the files, in byte order; sub-directories are left out.
  virtual Result<std::vector<std::string>> list() const = 0;
  /// Returns once the names are on stable storage.
  virtual Result<void> sync() = 0;
  /// Opens a sub-directory, making it (mode 0700) when it does not exist.
  virtual Result<std::unique_ptr<Directory>> subdirectory(const std::string& name) = 0;

  /// How much room the file system has that this directory lies on. Errors: kIo.
  [[nodiscard]] virtual Result<Space> space() const = 0;

  /// For messages, and for a library that opens files by itself (LMDB): the path as the user knows it.
  [[nodiscard]] virtual const std::string& path() const = 0;
};

}  // namespace etcd::io
