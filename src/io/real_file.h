// io/real_file.h - files of the machine.
//
// Thread:  as io::File and io::Directory.
// Source:  POSIX open, pread, pwrite, fdatasync; Linux fcntl(2) F_OFD_SETLK.
#pragma once
#include <memory>
#include <string>

#include "io/file.h"

namespace etcd::io {

/// Opens a directory, making it and its parents (mode 0700) when they do not exist. An existing one that others may
/// enter is narrowed to 0700, as upstream does.
/// Errors: kIo naming the path.
Result<std::unique_ptr<Directory>> open_real_directory(const std::string& path);

}  // namespace etcd::io
