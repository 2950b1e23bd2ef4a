// tree/watch.h - what the revisions of the keyspace mean to somebody who watches a path of the tree.
//
// Thread:  any (functions on values).
// Source:  etcd v2.3.8 store/watcher_hub.go and watcher.go (who is notified of what).
//
//   an event at path X reaches a watcher of path P when
//     X is P,
//     X is below P, the watcher is recursive, and nothing between the two is hidden (older events are shown anyway), or
//     X is a directory above P that went away, and P was there and went with it.
#pragma once
#include <absl/functional/function_ref.h>

#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "mvcc/events.h"
#include "mvcc/key_range.h"
#include "tree/event.h"

namespace etcd::tree {

struct Watched {
  Bytes path;  // clean
  bool recursive = false;
  std::int64_t registered = 0;  // the store's revision when the watch began: what is older was never filtered
};

/// The keys whose changes a watcher must hear of. The views point into the `Keys`, which must stay where it is.
class WatchedKeys {
 public:
  explicit WatchedKeys(const Watched& watched);
  WatchedKeys(const WatchedKeys&) = delete;
  WatchedKeys& operator=(const WatchedKeys&) = delete;
  [[nodiscard]] std::vector<mvcc::KeyRange> ranges() const;

 private:
  bool recursive_;
  Bytes path_;    // the file
  Bytes marker_;  // the directory
  Bytes end_;     // past everything below it
};

/// Finds the marker of a directory as it was before `revision`; null when it is not known any more.
using MarkerBefore = absl::FunctionRef<mvcc::EntryRef(BytesView directory, std::int64_t revision)>;

/// Brings an entry whose value was left to the engine: mvcc::Reader::load().
using LoadEntry = absl::FunctionRef<Result<mvcc::EntryRef>(const mvcc::Entry& entry)>;

/// The v2 events among `events`, which are those of the watcher's keys in the order of their revisions, each revision's
/// together. A v2 command is one event, whatever else it wrote; every other revision is one event for each key.
/// A file's large value of before that is compacted by now is left out of its event.
/// Errors: those of `load`, kCompacted excepted.
Result<std::vector<Event>> watch_events(const Watched& watched, std::span<const mvcc::Event* const> events,
                                        MarkerBefore marker_before, LoadEntry load);

}  // namespace etcd::tree
