// engine/memory_engine.h - the engine in memory: models committed batches, for simulation and tests.
//
// Life:    MemoryDisk -> open_memory() -> commit()*, snapshot()* -> engine destroyed: that is the crash -> open_memory()
// Thread:  as engine::Engine; a MemoryDisk's own calls on any thread.
// Owns:    the MemoryDisk owns the committed state and outlives the engine; snapshots outlive both.
// Durable: what commit() returned success for. A batch is applied whole when commit() returns; there is no moment in
//          between at which a crash could catch it.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace etcd::engine {

/// What survives a crash, and the faults to come. The test owns it.
class MemoryDisk {
 public:
  MemoryDisk();
  ~MemoryDisk();
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;

  /// The next `times` commits find no space.
  void fail_no_space(int times);
  /// The next commit fails with kIo, nothing of it is there, and the engine that made it is dead.
  void fail_io_once();
  /// Puts other bytes in the place of a stored value, or erases it when `value` is null: damage for tests to find.
  void damage(const std::string& table, BytesView key, const Bytes* value);

  [[nodiscard]] std::uint64_t commits() const;

 private:
  friend class MemoryEngine;
  struct Table;

  mutable std::mutex mu_;                       // guards all below
  std::vector<std::shared_ptr<Table>> tables_;  // shared with snapshots, which copy-on-write keeps unchanged
  std::uint64_t commits_ = 0;
  int no_space_ = 0;
  bool io_once_ = false;
};

/// Opens the tables, making those that are not there. `disk` must outlive the engine.
std::unique_ptr<Engine> open_memory(MemoryDisk& disk, std::span<const std::string> tables);

}  // namespace etcd::engine
