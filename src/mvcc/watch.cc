#include "mvcc/watch.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "mvcc/links.h"
#include "mvcc/metrics.h"

namespace etcd::mvcc {

namespace {

// Batches kept for watchers that catch up; past this they read the log once more instead.
constexpr std::size_t kRecentMax = 256;

}  // namespace

/// One look at the revision log for many watchers. Made on the loop, run on a worker, finished on the loop.
struct WatchGroup::Pass {
  struct Part {
    WatcherId watcher;
    std::shared_ptr<const OwnedRanges> ranges;
    WatchOptions options;
    std::int64_t next_revision;
    std::vector<std::size_t> events;  // result: places in Pass::events
  };
  std::vector<Part> parts;
  CatchUpLimits limits;

  // Results.
  std::vector<Event> events;
  std::int64_t through = 0;         // every record up to this revision was looked at
  std::int64_t store_revision = 0;  // of the view that was read
  std::int64_t compacted = -1;      // after the reading was done
  std::optional<Error> error;
};

WatchGroup::OwnedRange::OwnedRange(const KeyRange& range)
    : kind(range.is_one()    ? Kind::kOne
           : range.is_open() ? Kind::kFrom
                             : Kind::kBetween),
      begin(range.begin()),
      end(range.is_between() ? range.end() : BytesView()) {}

KeyRange WatchGroup::OwnedRange::view() const {
  switch (kind) {
    case Kind::kOne: return KeyRange::one(begin);
    case Kind::kBetween: return KeyRange::between(begin, end);
    case Kind::kFrom: break;
  }
  return KeyRange::from(begin);
}

WatchGroup::WatchGroup(Store& store, io::Executor& loop, io::Executor& workers, CatchUpLimits limits)
    : store_(store),
      loop_(loop),
      workers_(workers),
      limits_(limits),
      sink_(std::make_shared<EventSink>(loop, [this](const SharedEventBatch& batch) { take_batch(batch); })),
      alive_(std::make_shared<WatchGroup*>(this)) {
  store_.add_sink(sink_);
}

WatchGroup::~WatchGroup() {
  sink_->close();
  store_.remove_sink(sink_);
  if (Metrics* const metrics = store_.metrics()) {
    metrics->watchers.add(-static_cast<double>(watchers_.size()));
    for (const auto& [id, watcher] : watchers_) {
      if (watcher->phase != Phase::kSynced) metrics->slow_watchers.add(-1);
    }
  }
  *alive_ = nullptr;
}

WatchGroup::Watcher* WatchGroup::find(WatcherId id) {
  const auto place = watchers_.find(id);
  return place == watchers_.end() ? nullptr : place->second.get();
}

WatcherId WatchGroup::watch(std::span<const KeyRange> ranges, const WatchOptions& options, WatchReceiver& receiver) {
  sink_->want(true);
  const std::int64_t published = store_.published_revision();
  // Nobody had to be offered anything before.
  if (watchers_.empty()) synced_revision_ = std::max(synced_revision_, published);

  auto owned = std::make_shared<OwnedRanges>();
  for (const KeyRange& range : ranges) owned->emplace_back(range);
  auto watcher = std::make_unique<Watcher>();
  watcher->ranges = std::move(owned);
  watcher->options = options;
  watcher->receiver = &receiver;
  watcher->next_revision = options.start_revision == 0 ? published + 1 : options.start_revision;
  watcher->phase = Phase::kVictim;  // in no list yet
  const WatcherId id = ++last_id_;
  Watcher& placed = *watchers_.emplace(id, std::move(watcher)).first->second;
  if (Metrics* const metrics = store_.metrics()) {
    metrics->watchers.add(1);
    metrics->slow_watchers.add(1);  // a victim, so far
  }
  set_phase(id, placed, placed.next_revision > published ? Phase::kSynced : Phase::kUnsynced);
  start_pass();
  return id;
}

void WatchGroup::cancel(WatcherId id) {
  Watcher* watcher = find(id);
  if (watcher == nullptr) return;
  set_phase(id, *watcher, Phase::kVictim);
  watchers_.erase(id);
  if (Metrics* const metrics = store_.metrics()) {
    metrics->watchers.add(-1);
    metrics->slow_watchers.add(-1);
  }
  if (watchers_.empty()) sink_->want(false);
}

void WatchGroup::resume(WatcherId id) {
  Watcher* watcher = find(id);
  if (watcher == nullptr || watcher->phase != Phase::kVictim) return;
  set_phase(id, *watcher, Phase::kUnsynced);
  start_pass();
}

void WatchGroup::set_phase(WatcherId id, Watcher& watcher, Phase phase) {
  if (watcher.phase == phase) return;
  if (Metrics* const metrics = store_.metrics()) {
    if (watcher.phase == Phase::kSynced) metrics->slow_watchers.add(1);
    if (phase == Phase::kSynced) metrics->slow_watchers.add(-1);
  }
  if (watcher.phase == Phase::kSynced) {
    for (const OwnedRange& range : *watcher.ranges) index_.remove(range.view(), id);
  }
  if (watcher.phase == Phase::kUnsynced) unsynced_.erase(id);
  watcher.phase = phase;
  if (phase == Phase::kSynced) {
    for (const OwnedRange& range : *watcher.ranges) index_.add(range.view(), id);
  }
  if (phase == Phase::kUnsynced) unsynced_.insert(id);
}

bool WatchGroup::is_synced(WatcherId id) const {
  const auto place = watchers_.find(id);
  return place != watchers_.end() && place->second->phase == Phase::kSynced;
}

bool WatchGroup::is_future(WatcherId id) const {
  const auto place = watchers_.find(id);
  return place != watchers_.end() && place->second->options.start_revision > synced_revision_;
}

// --- live ---

void WatchGroup::take_batch(const SharedEventBatch& batch) {
  if (watchers_.empty()) return;  // it was under way when the last one left
  if (pass_running_) {
    if (recent_.size() == kRecentMax) recent_complete_ = false;
    if (recent_complete_) recent_.push_back(batch);
  }
  const std::span<const Event> events(batch->events);
  for (std::size_t begin = 0; begin < events.size();) {
    std::size_t end = begin + 1;
    while (end < events.size() && events[end].revision() == events[begin].revision()) ++end;
    offer(events.subspan(begin, end - begin));
    begin = end;
  }
  synced_revision_ = std::max(synced_revision_, batch->revision);
}

void WatchGroup::offer(std::span<const Event> revision_events) {
  touched_.clear();
  for (const Event& event : revision_events) {
    index_.find(event.entry->key(), [&](WatcherId id) {
      Watcher& watcher = *watchers_.find(id)->second;
      if (!watcher.wants(event)) return;
      if (watcher.matched.empty()) touched_.push_back(id);
      // Two ranges of one watcher may hold the key.
      if (watcher.matched.empty() || watcher.matched.back() != &event) watcher.matched.push_back(&event);
    });
  }
  const std::int64_t revision = revision_events.front().revision();
  for (const WatcherId id : touched_) {
    // A receiver may have cancelled this one meanwhile.
    Watcher* watcher = find(id);
    if (watcher == nullptr) continue;
    std::vector<const Event*> events = std::exchange(watcher->matched, {});
    if (watcher->phase != Phase::kSynced) continue;
    if (!deliver(id, events, revision, revision)) continue;
    events.clear();
    find(id)->matched = std::move(events);  // keeps its memory for the next revision
  }
}

bool WatchGroup::deliver(WatcherId id, std::span<const Event* const> events, std::int64_t through,
                         std::int64_t store_revision) {
  const bool taken = find(id)->receiver->deliver(id, {store_revision, events});
  if (Metrics* const metrics = store_.metrics(); metrics != nullptr && taken) metrics->events.add(events.size());
  Watcher* watcher = find(id);
  if (watcher == nullptr) return false;
  if (!taken) {
    // Its cursor stands where the refused events begin; what was matched before is offered by now.
    watcher->next_revision = std::max(watcher->next_revision, events.front()->revision());
    set_phase(id, *watcher, Phase::kVictim);
    return false;
  }
  watcher->next_revision = through + 1;
  return true;
}

// --- catching up ---

void WatchGroup::start_pass() {
  if (pass_running_ || unsynced_.empty()) return;
  // Those furthest behind go first: they share one walk of the log until they are level with the others.
  std::vector<std::pair<std::int64_t, WatcherId>> waiting;
  waiting.reserve(unsynced_.size());
  for (const WatcherId id : unsynced_) waiting.emplace_back(find(id)->next_revision, id);
  std::sort(waiting.begin(), waiting.end());
  if (waiting.size() > limits_.watchers) waiting.resize(limits_.watchers);

  auto pass = std::make_shared<Pass>();
  pass->limits = limits_;
  for (const auto& [next, id] : waiting) {
    const Watcher& watcher = *find(id);
    pass->parts.push_back({id, watcher.ranges, watcher.options, next, {}});
  }
  pass_running_ = true;
  recent_.clear();
  recent_complete_ = true;
  workers_.post([&store = store_, &loop = loop_, alive = alive_, pass = std::move(pass)] {
    run_pass(store, *pass);
    loop.post([alive, pass] {
      if (*alive != nullptr) (*alive)->finish_pass(*pass);
    });
  });
}

void WatchGroup::run_pass(const Store& store, Pass& pass) {
  const View view = store.view();
  pass.store_revision = view.revision();
  pass.through = view.revision();

  WatchIndex index;
  std::int64_t first = view.revision() + 1;
  bool previous_wanted = false;
  for (std::size_t place = 0; place < pass.parts.size(); ++place) {
    for (const OwnedRange& range : *pass.parts[place].ranges) index.add(range.view(), place + 1);
    first = std::min(first, pass.parts[place].next_revision);
  }

  std::int64_t revisions = 0;
  std::int64_t current = 0;
  std::uint64_t bytes = 0;
  SharedCause cause;
  std::vector<bool> previous;  // of each event: somebody asked for it
  const Result<void> read = view.history(first, view.revision(), [&](const HistoryRecord& record) {
    if (record.revision.main != current) {
      if (revisions == pass.limits.revisions || bytes >= pass.limits.bytes) {
        pass.through = current;
        return false;
      }
      ++revisions;
      current = record.revision.main;
      cause = record.cause();
    }
    bytes += record.encoded.size();
    bool kept = false;
    index.find(record.key(), [&](WatcherId hit) {
      Pass::Part& part = pass.parts[hit - 1];
      if (part.next_revision > current || !(record.tombstone ? part.options.deletes : part.options.puts)) return;
      if (!kept) {
        pass.events.push_back({record.to_entry(), {}, cause});
        previous.push_back(false);
        kept = true;
      }
      const std::size_t place = pass.events.size() - 1;
      if (part.events.empty() || part.events.back() != place) part.events.push_back(place);
      if (part.options.previous) previous[place] = previous_wanted = true;
    });
    return true;
  });
  if (!read.has_value()) pass.error = read.error();

  for (std::size_t place = 0; previous_wanted && !pass.error && place < pass.events.size(); ++place) {
    Event& event = pass.events[place];
    if (!previous[place] || event.entry->links().empty()) continue;
    const Revision before = decode_links(event.entry->revision(), event.entry->links())->front();
    Result<EntryRef> version = view.version(before);
    if (!version.has_value()) {
      pass.error = version.error();
    } else if (*version && !(*version)->is_tombstone()) {
      event.previous = std::move(*version);
    }
  }
  // Asked last: what was compacted while we read may have been missed.
  pass.compacted = store.compacted();
}

void WatchGroup::finish_pass(Pass& pass) {
  // New watchers that a receiver starts meanwhile must not start a pass over the batches in recent_.
  for (const Pass::Part& part : pass.parts) {
    Watcher* watcher = find(part.watcher);
    if (watcher == nullptr || watcher->phase != Phase::kUnsynced || watcher->next_revision != part.next_revision)
      continue;
    WatchReceiver* receiver = watcher->receiver;
    if (part.next_revision < pass.compacted) {
      cancel(part.watcher);
      receiver->compacted(part.watcher, pass.compacted);
      continue;
    }
    if (pass.error) {
      cancel(part.watcher);
      receiver->failed(part.watcher, *pass.error);
      continue;
    }
    if (part.next_revision > pass.through) continue;
    if (part.events.empty()) {
      watcher->next_revision = pass.through + 1;
    } else {
      std::vector<const Event*> events;
      events.reserve(part.events.size());
      for (const std::size_t place : part.events) events.push_back(&pass.events[place]);
      if (!deliver(part.watcher, events, pass.through, pass.store_revision)) continue;
    }
    // Caught up with the view; then with what came since, if we still have it.
    if (pass.through == pass.store_revision && recent_complete_ && replay_recent(part.watcher)) {
      set_phase(part.watcher, *find(part.watcher), Phase::kSynced);
    }
  }
  pass_running_ = false;
  recent_.clear();
  start_pass();
}

/// Offers what lies between the pass and now. False when the watcher is now gone or a victim.
bool WatchGroup::replay_recent(WatcherId id) {
  for (const SharedEventBatch& batch : recent_) {
    const std::vector<Event>& all = batch->events;
    for (std::size_t begin = 0; begin < all.size();) {
      const std::int64_t revision = all[begin].revision();
      std::vector<const Event*> events;
      std::size_t end = begin;
      for (; end < all.size() && all[end].revision() == revision; ++end) {
        const Watcher& watcher = *find(id);
        if (watcher.wants(all[end]) && std::ranges::any_of(*watcher.ranges, [&](const OwnedRange& range) {
              return range.view().contains(all[end].entry->key());
            })) {
          events.push_back(&all[end]);
        }
      }
      if (!events.empty() && !deliver(id, events, revision, revision)) return false;
      begin = end;
    }
  }
  return true;
}

void WatchGroup::check_invariants() const {
  index_.check_invariants();
  std::size_t unsynced_count = 0;
  for (const auto& [id, watcher] : watchers_) {
    CHECK(watcher->matched.empty(), "watcher {} has leftovers", id);
    CHECK((watcher->phase == Phase::kUnsynced) == unsynced_.contains(id), "watcher {} and the unsynced", id);
    unsynced_count += watcher->phase == Phase::kUnsynced ? 1 : 0;
    bool indexed = false;
    for (const OwnedRange& range : *watcher->ranges) {
      index_.find(range.begin, [&, id = id](WatcherId hit) { indexed |= hit == id; });
    }
    const bool findable = std::ranges::any_of(
        *watcher->ranges, [](const OwnedRange& range) { return range.view().contains(range.begin); });
    CHECK(indexed == (watcher->phase == Phase::kSynced && findable), "watcher {} and the index", id);
  }
  CHECK(unsynced_count == unsynced_.size(), "{} unsynced, {} counted", unsynced_.size(), unsynced_count);
  CHECK(unsynced_.empty() || pass_running_, "{} unsynced and no pass", unsynced_.size());
}

}  // namespace etcd::mvcc
