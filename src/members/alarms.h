// members/alarms.h - which members have raised which alarm, as of the applied index: changed by committed entries only.
//
// Life:    load() -> activate(), deactivate() ... -> take_changes() once per batch
// Thread:  apply loop only, but for active(), raised() and all(): any thread.
// Owns:    the alarms in memory. What changed goes into the engine's batch together with the applied index.
// Format:  table `alarms`: key is upstream's encoded AlarmMember, as in its bucket `alarm` (docs/formats/store.md).
// Source:  etcd v3.7.1 server/etcdserver/api/v3alarm/alarms.go.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "engine/engine.h"

namespace etcd::members {

/// Source: etcdserverpb.AlarmType.
enum class AlarmType : std::uint8_t {
  kNone = 0,     // in a request: all of them
  kNoSpace = 1,  // nothing is added to the keyspace any more
  kCorrupt = 2,  // a member's data differ from the others'
};

struct Alarm {
  MemberId member = 0;
  AlarmType type = AlarmType::kNone;

  friend auto operator<=>(const Alarm&, const Alarm&) = default;
};

class Alarms {
 public:
  /// `table` is where `alarms` stands in the list the engine was opened with. Errors: kCorrupt naming the key; kIo.
  static Result<std::unique_ptr<Alarms>> load(const engine::Engine& engine, engine::TableId table);

  /// Returns false when it was raised already.
  bool activate(Alarm alarm);
  /// Returns false when there was no such alarm.
  bool deactivate(Alarm alarm);

  /// Whether any member has raised it.
  [[nodiscard]] bool active(AlarmType type) const {
    return counts_[static_cast<std::size_t>(type)].load(std::memory_order_acquire) > 0;
  }
  /// Whether this very alarm is raised.
  [[nodiscard]] bool raised(const Alarm& alarm) const;
  /// All that are raised, in the order of their members.
  [[nodiscard]] std::vector<Alarm> all() const;

  /// Appends what changed since the last call to `batch`.
  void take_changes(engine::Batch& batch);

 private:
  explicit Alarms(engine::TableId table) : table_(table) {}

  const engine::TableId table_;
  std::set<Alarm> dirty_;
  mutable std::mutex mu_;  // guards alarms_, for the length of a copy
  std::set<Alarm> alarms_;
  std::atomic<int> counts_[3] = {0, 0, 0};
};

}  // namespace etcd::members
