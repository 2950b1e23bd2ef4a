#include "tree/watch.h"

#include <algorithm>
#include <utility>

#include "tree/path.h"

namespace etcd::tree {
namespace {

using mvcc::Action;
using Events = std::span<const mvcc::Event* const>;

bool is_marker(BytesView key) {
  return key.ends_with('/');
}

BytesView path_of(BytesView key) {
  return is_marker(key) && key.size() > 1 ? key.substr(0, key.size() - 1) : key;
}

bool lies_below(BytesView path, BytesView directory) {
  return is_root(directory)
             ? !is_root(path)
             : path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

bool reaches(BytesView event_path, std::int64_t revision, const Watched& watched) {
  if (event_path == watched.path) return true;
  return watched.recursive && lies_below(event_path, watched.path) &&
         (revision <= watched.registered || !is_hidden_below(watched.path, event_path));
}

const mvcc::Event* find(Events events, BytesView key) {
  const auto at =
      std::find_if(events.begin(), events.end(), [&](const mvcc::Event* event) { return event->entry->key() == key; });
  return at == events.end() ? nullptr : *at;
}

const mvcc::Entry* live(const mvcc::EntryRef& entry) {
  return entry && !entry->is_tombstone() ? entry.get() : nullptr;
}

/// An event shows TTLs as they were when it happened. A write with a TTL tells when that was; of others we know no
/// better than that a live watcher hears of them at once. What expired had nothing left.
void date_back(Event& event, Duration ttl) {
  std::optional<WallTime> written;
  if (event.node.deadline.ns != 0) {
    event.node.ttl_left = ttl;
    written = WallTime{event.node.deadline.ns - ttl.count()};
  }
  if (!event.previous || event.previous->deadline.ns == 0) return;
  if (event.action == Action::kExpire) {
    event.previous->ttl_left = Duration::zero();
  } else if (written) {
    event.previous->ttl_left = event.previous->deadline - *written;
  }
}

Event start_event(Action action, BytesView path, bool dir, std::int64_t revision) {
  Event event;
  event.action = action;
  event.index = revision;
  event.node.path = Bytes(path);
  event.node.dir = dir;
  event.node.modified_index = revision;
  return event;
}

/// The file as it was before an event.
Result<Node> file_before(const mvcc::Entry& entry, LoadEntry load) {
  const Result<mvcc::EntryRef> whole = load(entry);
  if (whole) return file_of(**whole);
  if (whole.error().code == ErrorCode::kCompacted) return file_without_value(entry);
  return std::unexpected(whole.error());
}

/// What one record of a file, or of a directory's marker by itself, tells.
Result<Event> event_of_record(const mvcc::Event& record, Action action, LoadEntry load) {
  const mvcc::Entry& entry = *record.entry;
  const BytesView path = path_of(entry.key());
  const bool dir = is_marker(entry.key());
  Event event = start_event(action, path, dir, record.revision());
  if (const mvcc::Entry* const previous = live(record.previous)) {
    if (dir) {
      event.previous = directory_of(path, previous);
    } else {
      ETCD_TRY(event.previous, file_before(*previous, load));
    }
    event.node.created_index = event.previous->created_index;
  }
  if (!record.is_delete()) {
    event.node.created_index = entry.created_index();
    event.node.deadline = entry.attributes().deadline;
    if (!dir) event.node.value = Bytes(entry.value());
  }
  date_back(event, entry.attributes().ttl);
  return event;
}

/// A v2 command on a directory. `records` are those of the watcher's keys.
Result<Event> event_of_directory(BytesView path, Action action, Events records, std::int64_t revision,
                                 MarkerBefore marker_before, LoadEntry load) {
  const mvcc::Event* const marker = find(records, marker_of(path));
  if (marker != nullptr && !marker->is_delete()) {
    ETCD_TRY(Event event, event_of_record(*marker, action, load));
    // A file that gave way to the directory is what was there before.
    if (const mvcc::Event* const file = find(records, path)) {
      if (const mvcc::Entry* const previous = live(file->previous)) {
        ETCD_TRY(event.previous, file_before(*previous, load));
      }
    }
    return event;
  }
  Event event = start_event(action, path, true, revision);
  mvcc::EntryRef before = marker != nullptr ? marker->previous : mvcc::EntryRef();
  if (!before) before = marker_before(path, revision);
  event.previous = directory_of(path, live(before));
  event.node.created_index = event.previous->created_index;
  date_back(event, Duration::zero());
  return event;
}

bool goes_with(BytesView directory, const Watched& watched, Events records) {
  if (!lies_below(watched.path, directory)) return false;
  const mvcc::Event* node = find(records, watched.path);
  if (node == nullptr) node = find(records, marker_of(watched.path));
  return node != nullptr && node->is_delete();
}

Result<void> add_events_of_revision(const Watched& watched, Events records, MarkerBefore marker_before, LoadEntry load,
                                    std::vector<Event>& events) {
  const mvcc::Cause& cause = records.front()->cause();
  const std::int64_t revision = records.front()->revision();
  if (cause.action == Action::kRefresh) return {};  // a deadline that moves wakes nobody
  if (!cause.path.empty()) {
    const bool deletes = cause.action == Action::kDelete || cause.action == Action::kExpire;
    if (reaches(cause.path, revision, watched) || (deletes && goes_with(cause.path, watched, records))) {
      ETCD_TRY(Event event, event_of_directory(cause.path, cause.action, records, revision, marker_before, load));
      events.push_back(std::move(event));
    }
    return {};
  }
  const bool each_is_one = cause.action == Action::kPut || cause.action == Action::kExpire;
  for (const mvcc::Event* record : records) {
    // A v2 command's node comes first; what follows are parents that it made on the way.
    if (!each_is_one && record->entry->revision().sub != 0) continue;
    const BytesView path = path_of(record->entry->key());
    if (!is_clean(path) || !reaches(path, revision, watched)) continue;
    const Action action = cause.action == Action::kPut && record->is_delete() ? Action::kDelete
                          : cause.action == Action::kPut                      ? Action::kSet
                                                                              : cause.action;
    ETCD_TRY(Event event, event_of_record(*record, action, load));
    events.push_back(std::move(event));
  }
  return {};
}

}  // namespace

WatchedKeys::WatchedKeys(const Watched& watched)
    : recursive_(watched.recursive), path_(watched.path), marker_(marker_of(watched.path)), end_(marker_) {
  end_.back() = '/' + 1;
}

std::vector<mvcc::KeyRange> WatchedKeys::ranges() const {
  std::vector<mvcc::KeyRange> ranges;
  if (!is_root(path_)) ranges.push_back(mvcc::KeyRange::one(path_));
  ranges.push_back(recursive_ ? mvcc::KeyRange::between(marker_, end_) : mvcc::KeyRange::one(marker_));
  return ranges;
}

Result<std::vector<Event>> watch_events(const Watched& watched, Events events, MarkerBefore marker_before,
                                        LoadEntry load) {
  std::vector<Event> found;
  while (!events.empty()) {
    const std::int64_t revision = events.front()->revision();
    std::size_t count = 1;
    while (count < events.size() && events[count]->revision() == revision) ++count;
    ETCD_TRY_VOID(add_events_of_revision(watched, events.first(count), marker_before, load, found));
    events = events.subspan(count);
  }
  return found;
}

}  // namespace etcd::tree
