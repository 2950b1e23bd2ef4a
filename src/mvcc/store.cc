#include "mvcc/store.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "mvcc/history.h"
#include "mvcc/links.h"
#include "mvcc/load.h"
#include "mvcc/metrics.h"

namespace etcd::mvcc {

namespace {

constexpr BytesView kRevisionMark = "revision";
constexpr BytesView kScheduledMark = "compaction_scheduled";
constexpr BytesView kFinishedMark = "compaction_finished";
constexpr BytesView kLiveMark = "live";

void append_number(std::uint64_t number, Bytes& bytes) {
  for (int place = 0; place < 8; ++place) bytes.push_back(static_cast<char>(number >> (56 - 8 * place)));
}

std::uint64_t read_number(BytesView bytes) {
  std::uint64_t number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<unsigned char>(byte);
  return number;
}

SharedBytes encode_mark(std::int64_t revision) {
  Bytes bytes;
  append_number(static_cast<std::uint64_t>(revision), bytes);
  return SharedBytes(std::move(bytes));
}

Result<std::int64_t> read_mark(const engine::Snapshot& snapshot, engine::TableId table, BytesView name,
                               std::int64_t absent) {
  ETCD_TRY(const std::optional<BytesView> value, snapshot.get(table, name));
  if (!value.has_value()) return absent;
  const std::uint64_t revision = read_number(*value);
  if (value->size() != 8 || revision > 0x7FFFFFFFFFFFFFFFu) {
    return failure(ErrorCode::kCorrupt, fmt::format("table {}, key {}: not a revision", kMetaTable, name));
  }
  return static_cast<std::int64_t>(revision);
}

/// That the table `live` is complete: up to which revision, and with how many bits.
struct LiveMark {
  std::int64_t revision;
  std::uint64_t bits;
};

Result<std::optional<LiveMark>> read_live_mark(const engine::Snapshot& snapshot, engine::TableId table) {
  ETCD_TRY(const std::optional<BytesView> value, snapshot.get(table, kLiveMark));
  if (!value.has_value()) return std::nullopt;
  if (value->size() != 16) {
    return failure(ErrorCode::kCorrupt,
                   fmt::format("table {}, key {}: {} bytes", kMetaTable, kLiveMark, value->size()));
  }
  return LiveMark{static_cast<std::int64_t>(read_number(value->substr(0, 8))), read_number(value->substr(8))};
}

}  // namespace

// --- opening ---

Store::Store(engine::Engine& engine, const io::Clock& clock, const StoreOptions& options)
    : engine_(engine), clock_(clock), options_(options), tree_(limbo_), tail_(limbo_) {
  options_.load_threads = std::max(options_.load_threads, 1U);
}

Store::~Store() {
  constexpr std::uint64_t kNobody = ~std::uint64_t{0};
  CHECK(!in_txn_, "a transaction is open at revision {}", revision_);
  CHECK(epochs_.oldest_pin(kNobody) == kNobody, "a view outlives the store at revision {}", revision_);
  for (const Change& change : changes_) {
    if (change.previous != nullptr) limbo_.retire(change.previous);
  }
  delete state_.load(std::memory_order_seq_cst);
}

Result<std::unique_ptr<Store>> Store::open(engine::Engine& engine, const io::Clock& clock, const StoreOptions& options,
                                           std::vector<EntryRef>* deadlines) {
  std::unique_ptr<Store> store(new Store(engine, clock, options));
  ETCD_TRY_VOID(store->load(deadlines));
  return store;
}

Result<void> Store::load(std::vector<EntryRef>* deadlines) {
  // One snapshot for the whole load, past the 50 ms: nobody writes yet.
  ETCD_TRY(const auto snapshot, engine_.snapshot());
  ETCD_TRY_VOID(load_marks(*snapshot));
  ETCD_TRY(Loaded loaded, load_entries(*snapshot));
  tree_.build(std::exchange(loaded.entries, {}), options_.load_threads);
  tree_.seal();
  if (deadlines != nullptr) *deadlines = std::move(loaded.deadlines);
  committed_ = taken_revision_ = revision_;
  publish_state({tree_.view(), tail_.view(), revision_, scheduled_});
  return {};
}

Result<void> Store::load_marks(const engine::Snapshot& snapshot) {
  ETCD_TRY(finished_, read_mark(snapshot, options_.meta, kFinishedMark, -1));
  ETCD_TRY(scheduled_, read_mark(snapshot, options_.meta, kScheduledMark, -1));
  ETCD_TRY(revision_, read_mark(snapshot, options_.meta, kRevisionMark, 1));
  scheduled_ = std::max(scheduled_, finished_);
  ETCD_TRY(const auto last, snapshot.last(options_.history));
  Revision newest;
  if (last.has_value()) {
    ETCD_TRY(newest, parse_history_key(last->first));
  }
  // As upstream: no mark may point past the current revision.
  revision_ = std::max({revision_, newest.main, scheduled_});
  return {};
}

Result<Loaded> Store::load_entries(const engine::Snapshot& snapshot) {
  const LoadOptions options{options_.history, options_.large_value_bytes, options_.load_threads};
  ETCD_TRY(const auto last, snapshot.last(options_.history));
  Revision newest;
  if (last.has_value()) {
    ETCD_TRY(newest, parse_history_key(last->first));
  }
  ETCD_TRY(const std::optional<LiveMark> mark, read_live_mark(snapshot, options_.meta));
  // A version that knows nothing of the map may have written on.
  if (!mark.has_value() || newest.main > mark->revision) {
    ETCD_TRY_VOID(live_.discard(snapshot, options_.live));
    return load_all(snapshot, options, finished_, live_);
  }
  ETCD_TRY_VOID(live_.load(snapshot, options_.live));
  if (live_.bits() != mark->bits) {
    return failure(ErrorCode::kCorrupt, fmt::format("table {}: {} revisions are named, {} were written", kLiveTable,
                                                    live_.bits(), mark->bits));
  }
  if (last.has_value() && live_.live_in(newest.main) == 0) {
    return failure(ErrorCode::kCorrupt,
                   fmt::format("table {}, revision {}: the last one, and not named", kLiveTable, newest.main));
  }
  return load_live(engine_, options, live_);
}

// --- any thread ---

View Store::view() const {
  Epochs::Pin pin = epochs_.pin();
  const State* state = state_.load(std::memory_order_seq_cst);
  return View(*this, std::move(pin), state->tree, state->tail, state->revision, state->compacted);
}

void Store::add_sink(std::shared_ptr<EventSink> sink) {
  const std::lock_guard lock(sinks_mu_);
  sinks_.push_back(std::move(sink));
}

void Store::remove_sink(const std::shared_ptr<EventSink>& sink) {
  const std::lock_guard lock(sinks_mu_);
  std::erase(sinks_, sink);
}

// --- publishing ---

void Store::publish_state(const State& state) {
  const State* old = state_.exchange(new State(state), std::memory_order_seq_cst);
  if (old != nullptr) limbo_.retire_object(old);
  published_revision_.store(state.revision, std::memory_order_seq_cst);
  published_compacted_.store(state.compacted, std::memory_order_seq_cst);
  epochs_.advance(++number_);
}

void Store::collect() {
  limbo_.collect(epochs_.oldest_pin(number_));
  held_back_bytes_.store(limbo_.bytes(), std::memory_order_relaxed);
}

SharedEventBatch Store::events_of_changes() const {
  auto batch = std::make_shared<EventBatch>();
  batch->revision = revision_;
  batch->events.reserve(changes_.size());
  const TailView tail = tail_.view();
  std::uint64_t place = published_end_;
  SharedCause cause;
  for (const Change& change : changes_) {
    const TailSlot& slot = tail.at(place++);
    CHECK(slot.entry == change.entry, "change at revision {} is not in its place", change.entry->mod_revision());
    if (change.entry->revision().sub == 0) cause = slot.cause;
    const bool existed = change.previous != nullptr && !change.previous->is_tombstone();
    batch->events.push_back({EntryRef(change.entry), existed ? EntryRef(change.previous) : EntryRef(), cause});
  }
  return batch;
}

void Store::count_changes() const {
  if (options_.metrics == nullptr || changes_.empty()) return;
  std::uint64_t deletes = 0;
  std::uint64_t transactions = 0;
  std::uint64_t put_bytes = 0;
  for (const Change& change : changes_) {
    const Entry& entry = *change.entry;
    if (entry.revision().sub == 1) ++transactions;  // its second change makes a command one
    if (entry.is_tombstone()) {
      ++deletes;
    } else {
      put_bytes += entry.key().size() + entry.value_size();
    }
  }
  Metrics& metrics = *options_.metrics;
  metrics.puts.add(changes_.size() - deletes);
  metrics.put_bytes.add(static_cast<double>(put_bytes));
  if (deletes > 0) metrics.deletes.add(deletes);
  if (transactions > 0) metrics.transactions.add(transactions);
}

void Store::publish() {
  CHECK(!in_txn_, "a transaction is open at revision {}", revision_);
  if (changes_.empty() && !tree_changed_ && published_compacted_.load(std::memory_order_relaxed) == scheduled_) return;
  publish_state({tree_.view(), tail_.view(), revision_, scheduled_});

  // Who wants events is asked after the state is out: a watcher that looked before missed no later batch (watch.h).
  std::vector<std::shared_ptr<EventSink>> wanting;
  if (!changes_.empty()) {
    const std::lock_guard lock(sinks_mu_);
    for (const auto& sink : sinks_) {
      if (sink->wanted_.load(std::memory_order_seq_cst)) wanting.push_back(sink);
    }
  }
  const SharedEventBatch events = wanting.empty() ? nullptr : events_of_changes();

  count_changes();
  for (const Change& change : changes_) {
    if (change.previous != nullptr) limbo_.retire(change.previous);
  }
  changes_.clear();
  tree_changed_ = false;
  tree_.seal();
  published_end_ = tail_.end();
  limbo_.seal(number_);
  collect();

  for (auto& sink : wanting) {
    io::Executor& loop = sink->loop_;
    loop.dispatch([sink = std::move(sink), events] {
      if (sink->take_) sink->take_(events);
    });
  }
}

std::int64_t Store::take_changes(engine::Batch& batch) {
  CHECK(!in_txn_ && changes_.empty(), "revision {} is not published", revision_);
  const TailView tail = tail_.view();
  for (; taken_ < tail.end; ++taken_) {
    const TailSlot& slot = tail.at(taken_);
    batch.append(options_.history, history_key(slot.entry->revision()),
                 SharedBytes(encode_history_record(record_of(*slot.entry, slot.cause.get()))));
    const Revision at = slot.entry->revision();
    live_.add(at.main);
    if (const auto before = first_link(at, slot.entry->links())) {
      if (erased_early_.empty() || erased_early_.erase({before->main, before->sub}) == 0) live_.remove(before->main);
    }
  }
  if (taken_revision_ != revision_) batch.put(options_.meta, Bytes(kRevisionMark), encode_mark(revision_));
  if (!schedule_taken_) batch.put(options_.meta, Bytes(kScheduledMark), encode_mark(scheduled_));
  schedule_taken_ = true;
  taken_revision_ = revision_;
  take_live(batch);
  return revision_;
}

void Store::take_live(engine::Batch& batch) {
  if (!live_.changed()) return;
  live_.take_changes(batch, options_.live);
  Bytes mark;
  append_number(static_cast<std::uint64_t>(taken_revision_), mark);
  append_number(live_.bits(), mark);
  batch.put(options_.meta, Bytes(kLiveMark), SharedBytes(std::move(mark)));
}

bool Store::is_large(const Entry& entry) const {
  return entry.value_size() > options_.large_value_bytes;
}

void Store::leave_out_large_values(std::int64_t revision) {
  const TailView tail = tail_.view();
  for (std::uint64_t place = tail.begin; place < tail.end; ++place) {
    const Entry* entry = tail.at(place).entry;
    if (entry->mod_revision() > revision) return;
    // The first look spares small entries one at their fields.
    if (entry->footprint() <= options_.large_value_bytes || !is_large(*entry)) continue;
    if (tree_.view().find(entry->key()) != entry) continue;  // replaced already
    limbo_.retire(tree_.put(Entry::make_stub(*entry).detach()));
    tree_changed_ = true;
  }
}

void Store::committed(std::int64_t revision) {
  CHECK(!in_txn_, "a transaction is open at revision {}", revision_);
  CHECK(revision >= committed_ && revision <= taken_revision_, "committed {}, after {}, taken {}", revision, committed_,
        taken_revision_);
  committed_ = revision;
  const std::uint64_t begin = tail_.begin();
  const bool batch_open = !changes_.empty() || tree_changed_;
  leave_out_large_values(revision);
  tail_.drop(revision);
  if (tail_.begin() == begin) return;
  tail_bytes_.store(tail_.bytes(), std::memory_order_relaxed);

  // The same revision again, with the shorter tail. Commands that are not published yet stay unseen, and what they let
  // go of is still reached from the published tree: it waits in Limbo for publish().
  State state = *state_.load(std::memory_order_relaxed);
  state.tail = tail_.view();
  state.tail.end = published_end_;
  // Without an open batch the tree shows the same keys, though an aborted command may have left it in other nodes, and
  // stubs have come.
  if (!batch_open) state.tree = tree_.view();
  publish_state(state);
  if (!batch_open) {
    tree_changed_ = false;
    tree_.seal();
    limbo_.seal(number_);
  }
  collect();
}

// --- compaction ---

Result<void> Store::compact(std::int64_t revision) {
  CHECK(!in_txn_, "a transaction is open at revision {}", revision_);
  if (revision <= scheduled_) {
    return failure(ErrorCode::kCompacted, fmt::format("revision {} is compacted, at {}", revision, scheduled_));
  }
  if (revision > revision_) {
    return failure(ErrorCode::kFutureRevision, fmt::format("revision {} is past {}", revision, revision_));
  }
  scheduled_ = revision;
  schedule_taken_ = false;
  return {};
}

Result<CompactionState> Store::compact_slice(engine::Batch& batch, const SliceBudget& budget) {
  CHECK(!in_txn_, "a transaction is open at revision {}", revision_);
  if (finished_ == scheduled_) return CompactionState::kIdle;
  if (options_.metrics == nullptr) return run_slice(batch, budget);
  const MonotonicTime began = clock_.now();
  if (!compaction_began_) compaction_began_ = began;
  const std::int64_t finished = finished_;
  const std::uint64_t erased = erased_;
  Result<CompactionState> state = run_slice(batch, budget);
  const auto milliseconds_since = [now = clock_.now()](MonotonicTime then) {
    return std::chrono::duration<double, std::milli>(now - then).count();
  };
  Metrics& metrics = *options_.metrics;
  metrics.compaction_slice_ms.observe(milliseconds_since(began));
  metrics.compacted_records.add(erased_ - erased);
  if (finished_ != finished) {
    metrics.compaction_total_ms.observe(milliseconds_since(*std::exchange(compaction_began_, std::nullopt)));
    metrics.last_compaction.set(static_cast<double>(clock_.wall().ns / 1'000'000'000));
  }
  return state;
}

Result<CompactionState> Store::run_slice(engine::Batch& batch, const SliceBudget& budget) {
  // Readers learn of it before the first record goes, and so does the disk: the mark travels no later than the deletes.
  publish();
  if (!schedule_taken_) batch.put(options_.meta, Bytes(kScheduledMark), encode_mark(scheduled_));
  schedule_taken_ = true;
  if (target_ == -1) {
    target_ = scheduled_;
    walk_ = {std::max<std::int64_t>(finished_, 0), 0};
  }
  // Asked before the snapshot is opened, which then has every record up to here.
  const bool all_there = committed_ >= target_;
  const Result<bool> past = walk_history(batch, budget);
  take_live(batch);
  publish();
  if (!past.has_value()) return std::unexpected(past.error());
  if (!*past) return CompactionState::kMore;
  if (!all_there) return CompactionState::kWaiting;
  finished_ = std::exchange(target_, -1);
  batch.put(options_.meta, Bytes(kFinishedMark), encode_mark(finished_));
  return finished_ == scheduled_ ? CompactionState::kIdle : CompactionState::kMore;
}

Result<bool> Store::walk_history(engine::Batch& batch, const SliceBudget& budget) {
  ETCD_TRY(const auto snapshot, engine_.snapshot());
  const MonotonicTime end = clock_.now() + budget.time;
  std::uint64_t records = 0;
  bool cut = false;
  std::optional<Error> error;
  ETCD_TRY_VOID(snapshot->scan(options_.history, history_key(walk_), [&](BytesView key, BytesView value) {
    if (records >= budget.records || (records % 16 == 15 && clock_.now() >= end)) {
      cut = true;
      return false;
    }
    ++records;
    const Result<HistoryRecord> record = peek_history_record(key, value, 0);
    if (!record.has_value()) {
      error = record.error();
      return false;
    }
    const Revision at = record->revision;
    if (at.main > target_) return false;
    walk_ = {at.main, at.sub + 1};
    // The records of finished_ itself are walked again for the tombstones that were kept then.
    if (at.main > finished_ && !record->links.empty()) {
      batch.erase(options_.history, history_key(decode_links(at, record->links)->front()));
      ++erased_;
    }
    // A tombstone at exactly the compacted revision stays until the next compaction, as upstream has it.
    if (record->tombstone && at.main < target_) {
      batch.erase(options_.history, history_key(at));
      ++erased_;
      erase_tombstone(at, tree_.view().find(record->key()));
    }
    return true;
  }));
  if (error) return std::unexpected(std::move(*error));
  return !cut;
}

void Store::erase_tombstone(Revision at, const Entry* newest) {
  if (newest == nullptr) return;
  if (newest->revision() == at) {
    live_.remove(at.main);
    limbo_.retire(tree_.remove(newest->key()));
    tree_changed_ = true;
  } else if (newest->mod_revision() > taken_revision_ && newest_on_disk(at, *newest)) {
    live_.remove(at.main);
    erased_early_.emplace(at.main, at.sub);
  }
}

bool Store::newest_on_disk(Revision at, const Entry& newest) const {
  const Entry* oldest = &newest;
  for (;;) {
    const std::optional<Links> links = decode_links(oldest->revision(), oldest->links());
    CHECK(links.has_value(), "links of revision {}.{}", oldest->revision().main, oldest->revision().sub);
    const auto taken = std::find_if(links->begin(), links->end(),
                                    [this](const Revision& link) { return link.main <= taken_revision_; });
    if (taken == links->begin()) return taken != links->end() && *taken == at;
    const TailSlot* slot = tail_.view().find(*(taken - 1));
    CHECK(slot != nullptr, "revision {}.{} is neither in the tail nor taken", (taken - 1)->main, (taken - 1)->sub);
    oldest = slot->entry;
  }
}

// --- invariants ---

void Store::check_invariants() const {
  tree_.check_invariants();
  CHECK(finished_ <= scheduled_ && scheduled_ <= revision_, "finished {} scheduled {} revision {}", finished_,
        scheduled_, revision_);
  CHECK(published_revision_ <= revision_ && committed_ <= taken_revision_ && taken_revision_ <= revision_,
        "published {} committed {} taken {} revision {}", published_revision_.load(), committed_, taken_revision_,
        revision_);
  CHECK(tail_.begin() <= taken_ && taken_ <= published_end_ && published_end_ <= tail_.end(),
        "tail [{}, {}) taken {} published {}", tail_.begin(), tail_.end(), taken_, published_end_);
  const TailView tail = tail_.view();
  std::uint64_t bytes = 0;
  Revision last{committed_, 0x7FFFFFFF};
  for (std::uint64_t place = tail.begin; place < tail.end; ++place) {
    const Entry& entry = *tail.at(place).entry;
    CHECK(entry.has_value(), "tail: revision {}.{} is a stub", entry.revision().main, entry.revision().sub);
    CHECK(entry.revision() > last, "tail: {}.{} behind {}.{}", entry.revision().main, entry.revision().sub, last.main,
          last.sub);
    const Entry* newest = tree_.view().find(entry.key());
    CHECK(newest != nullptr && newest->revision() >= entry.revision(), "the tree has an older version of {}",
          entry.key());
    last = entry.revision();
    bytes += entry.footprint();
  }
  CHECK(bytes == tail_.bytes(), "tail of {} bytes, {} counted", tail_.bytes(), bytes);
  absl::flat_hash_map<std::int64_t, std::uint32_t> newest_in;  // by revision
  for (Cursor cursor = tree_.view().cursor_all({}); cursor.valid(); cursor.next()) {
    const Entry& entry = cursor.entry();
    ++newest_in[entry.mod_revision()];
    CHECK(entry.has_value() == (entry.mod_revision() > committed_ || !is_large(entry)),
          "revision {}.{} of {}, value of {} bytes {}, committed {}", entry.revision().main, entry.revision().sub,
          entry.key(), entry.value_size(), entry.has_value() ? "in memory" : "left out", committed_);
  }
  if (taken_ != tail_.end() || in_txn_) return;
  CHECK(erased_early_.empty(), "{} tombstones erased early", erased_early_.size());
  CHECK(newest_in.size() == live_.bits(), "{} revisions are newest, {} in the map", newest_in.size(), live_.bits());
  for (const auto& [revision, records] : newest_in) {
    CHECK(live_.live_in(revision) == records, "revision {}: {} records are newest, {} in the map", revision, records,
          live_.live_in(revision));
  }
}

// --- transactions ---

WriteTxn Store::begin() {
  CHECK(!in_txn_, "two transactions at revision {}", revision_);
  in_txn_ = true;
  return WriteTxn(*this);
}

WriteTxn::WriteTxn(Store& store)
    : Reader(store, store.tree_.view(), store.tail_.view(), store.revision_, store.scheduled_),
      writer_(&store),
      first_change_(store.changes_.size()),
      first_place_(store.tail_.end()) {}

WriteTxn::WriteTxn(WriteTxn&& other) noexcept
    : Reader(std::move(other)),
      writer_(std::exchange(other.writer_, nullptr)),
      cause_(std::move(other.cause_)),
      sub_(other.sub_),
      first_change_(other.first_change_),
      first_place_(other.first_place_) {}

WriteTxn::~WriteTxn() {
  if (writer_ != nullptr) abort();
}

const Entry* WriteTxn::put(BytesView key, BytesView value, const PutOptions& options) {
  CHECK(writer_ != nullptr && !key.empty(), "put in a transaction that ended, or without a key");
  Entry::Parts parts;
  parts.kv = {key, revision(), revision(), 1, value, options.lease};
  parts.sub = sub_;
  parts.attributes = options.attributes;
  Bytes links;
  if (const Entry* old = tree_.find(key)) {
    if (!old->is_tombstone()) {
      const KeyValue before = old->meta();
      parts.kv.create_revision = before.create_revision;
      parts.kv.version = before.version + 1;
    }
    const NextLinks next =
        links_on_top(old->revision(), *decode_links(old->revision(), old->links()), old->position(), compacted_);
    append_links(revision(), next.links, links);
    parts.links = links;
    parts.position = next.position;
  }
  return write(Entry::make(parts));
}

const Entry* WriteTxn::erase(BytesView key) {
  CHECK(writer_ != nullptr, "erase in a transaction that ended");
  const Entry* old = tree_.find_live(key);
  if (old == nullptr) return nullptr;
  Entry::Parts parts;
  parts.kv.key = old->key();
  parts.kv.mod_revision = revision();
  parts.sub = sub_;
  parts.tombstone = true;
  const NextLinks next =
      links_on_top(old->revision(), *decode_links(old->revision(), old->links()), old->position(), compacted_);
  Bytes links;
  append_links(revision(), next.links, links);
  parts.links = links;
  parts.position = next.position;
  write(Entry::make(parts));
  return old;
}

const Entry* WriteTxn::write(EntryRef entry) {
  const Entry* written = entry.get();
  writer_->tail_.append(entry);
  const Entry* previous = writer_->tree_.put(entry.detach());
  writer_->changes_.push_back({written, previous});
  tree_ = writer_->tree_.view();
  tail_ = writer_->tail_.view();
  newer_ = true;
  ++sub_;
  return written;
}

std::optional<std::int64_t> WriteTxn::commit() {
  CHECK(writer_ != nullptr, "the transaction ended before");
  Store& store = *std::exchange(writer_, nullptr);
  store.in_txn_ = false;
  if (!changed()) return std::nullopt;
  if (!cause_.is_default()) {
    store.tail_.set_cause(first_place_, std::make_shared<const Cause>(std::move(cause_)));
  }
  store.revision_ = revision();
  store.tail_bytes_.store(store.tail_.bytes(), std::memory_order_relaxed);
  return store.revision_;
}

void WriteTxn::abort() {
  CHECK(writer_ != nullptr, "the transaction ended before");
  Store& store = *std::exchange(writer_, nullptr);
  store.in_txn_ = false;
  // Newest first, so that a key written twice gets its first version back last.
  while (store.changes_.size() > first_change_) {
    const Store::Change change = store.changes_.back();
    store.changes_.pop_back();
    store.limbo_.retire(change.previous != nullptr ? store.tree_.put(change.previous)
                                                   : store.tree_.remove(change.entry->key()));
  }
  store.tail_.truncate(first_place_);
  // The tree holds what it held, perhaps in nodes of another shape that no reader has seen: nothing to publish.
}

}  // namespace etcd::mvcc
