// engine/lmdb_engine.h - the engine on LMDB 0.9: one file, copy-on-write pages, readers that see one commit.
//
// Life:    open_lmdb() -> commit()*, snapshot()* -> destructor, when no snapshot is left
// Thread:  as engine::Engine.
// Owns:    the files `store.mdb` (mode 0600) and `store.mdb-lock` in the directory, which must outlive the engine. One
//          engine per file and process (LMDB's rule).
// Durable: a commit writes its pages, syncs them, then writes the page that names the new root, synced as well; nothing
//          less is ever asked for. A new file is made under another name and renamed when it is complete, so that a
//          crash while the very first one is made leaves either none or a good one.
// Errors:  as engine::Engine. A file that is damaged, cut short, or not LMDB's gives kCorrupt naming it; an empty file
//          in its place too, since we never leave one.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/engine.h"
#include "io/file.h"

namespace etcd::engine {

struct LmdbOptions {
  std::uint64_t map_bytes = std::uint64_t{1} << 40;  // address space taken at first; doubled when the data outgrows it
  std::uint32_t snapshots_max = 1022;                // at one time, in all processes that have the file open
};

inline constexpr const char* kLmdbFile = "store.mdb";

/// Opens the store in `directory`, making it when it does not exist. `tables` are named in the order of their TableIds;
/// one that is new is made, one that is stored and not named stays untouched.
Result<std::unique_ptr<Engine>> open_lmdb(io::Directory& directory, std::span<const std::string> tables,
                                          const LmdbOptions& options = {});

}  // namespace etcd::engine
