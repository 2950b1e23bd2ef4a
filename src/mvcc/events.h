// mvcc/events.h - what a revision changed, as watchers see it: made once per batch and shared by all loops.
//
// Thread:  any (immutable).
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "mvcc/cause.h"
#include "mvcc/entry.h"

namespace etcd::mvcc {

struct Event {
  EntryRef entry;     // the version written; a tombstone for a delete. entry->encoded() is the event's kv
  EntryRef previous;  // the version it replaced; null when the key did not exist (or, from history, see watch.h).
                      // It may be a stub (Reader::load), `entry` never is
  SharedCause shared_cause;  // one per revision

  [[nodiscard]] bool is_delete() const { return entry->is_tombstone(); }
  [[nodiscard]] std::int64_t revision() const { return entry->mod_revision(); }
  [[nodiscard]] const Cause& cause() const {
    static const Cause kDefault;
    return shared_cause ? *shared_cause : kDefault;
  }
};

struct EventBatch {
  std::int64_t revision = 0;  // the store's, as of this batch; batches ascend
  std::vector<Event> events;  // in the order of their revisions (main, sub)
};

/// Shared by the net loops, each of which drops its part when it has walked the batch.
using SharedEventBatch = std::shared_ptr<const EventBatch>;

}  // namespace etcd::mvcc
