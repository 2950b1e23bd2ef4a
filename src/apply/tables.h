// apply/tables.h - the engine's tables: one list, so that every room that keeps one is opened with the right place.
//
// Thread:  any (constants).
// Format:  docs/formats/store.md. Append only: the place in the list is not stored, but the name is.
#pragma once
#include <string>
#include <vector>

#include "engine/engine.h"

namespace etcd::apply {

enum Table : engine::TableId {
  kHistoryTable,  // mvcc: every version of every key, by revision
  kMvccTable,     // mvcc: current revision, compaction marks
  kAppliedTable,  // apply: how far the log has been applied
  kMembersTable,
  kMembersRemovedTable,
  kClusterTable,
  kAlarmsTable,
  kLiveTable,  // mvcc: which revisions hold a newest version
};

/// The names, in the order of the places above.
inline std::vector<std::string> table_names() {
  return {"history", "mvcc", "applied", "members", "members_removed", "cluster", "alarms", "live"};
}

}  // namespace etcd::apply
