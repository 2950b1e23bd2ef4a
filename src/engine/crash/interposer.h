// engine/crash/interposer.h - watches one file: records each write and sync that anybody in this process makes to it.
//
// Life:    start(path) -> the file is written, mark() in between -> stop() gives the recording
// Thread:  one thread; the functions that it takes the place of may be called from any.
// Source:  DESIGN section 8. LMDB opens its files itself, so a simulated disk cannot stand in for it; symbol
//          interposition (ld.so(8)) can.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace etcd::engine::crash {

struct FileEvent {
  enum class Kind : std::uint8_t {
    kWrite,         // in the page cache when it returns
    kDurableWrite,  // on the disk when it returns (O_DSYNC)
    kSync,          // all earlier writes are on the disk when it returns
    kTruncate,      // offset is the new size
    kMark,          // offset is the caller's number
  };
  Kind kind;
  std::uint64_t offset = 0;
  Bytes bytes{};
};

void start(const std::string& path);
std::vector<FileEvent> stop();
/// Puts a mark into the recording.
void mark(std::uint64_t number);

/// While recording: after `calls` further writes to the file, `times` of them fail with `error`, writing nothing.
void fail_writes(int calls, int times, int error);
/// While recording: the next `times` syncs of the file fail with `error`.
void fail_syncs(int times, int error);

}  // namespace etcd::engine::crash
