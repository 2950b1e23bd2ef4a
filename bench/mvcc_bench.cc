// Benches of mvcc at 1,000,000 keys of 100 bytes with values of 256 bytes, over LMDB in a temporary directory.
//
// Run:     mvcc_bench [--benchmark_filter=...]; ETCD_BENCH_KEYS=200000 for a smaller store, TMPDIR for another disk.
// Budgets: docs/ARCHITECTURE.md: 550 MB RssAnon and 1.5 s to open; range of 1,000 keys in 0.25 ms; count in 10 us.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "engine/lmdb_engine.h"
#include "io/clock.h"
#include "io/real_file.h"
#include "mvcc/history.h"
#include "mvcc/store.h"
#include "mvcc/watch_index.h"

namespace etcd::mvcc {
namespace {

std::uint64_t key_count() {
  static const char* const set = std::getenv("ETCD_BENCH_KEYS");
  static const std::uint64_t count = set != nullptr ? std::stoull(set) : 1'000'000;
  return count;
}

/// 100 bytes; neighbours in number are spread over the keyspace, so that loading is not sorted.
Bytes key_of(std::uint64_t number) {
  char text[101];
  const std::uint64_t spread = number * 0x9E3779B97F4A7C15u;
  std::snprintf(text, sizeof(text), "/registry/pods/namespace-%03u/%016llx-%0*llu",
                static_cast<unsigned>(spread >> 32) % 500, static_cast<unsigned long long>(spread), 100 - 46,
                static_cast<unsigned long long>(number));
  return text;
}

double rss_anon_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stod(line.substr(8)) / 1000;
  }
  return 0;
}

void must(const Result<void>& result) {
  CHECK(result.has_value(), "{}", result.error().message);
}

class World {
 public:
  static World& the() {
    if (world() == nullptr) world() = std::make_unique<World>();
    return *world();
  }
  /// A new one, that no other bench has written to.
  static World& fresh() {
    world().reset();
    return the();
  }
  World();
  ~World() {
    store_.reset();
    engine_.reset();
    std::filesystem::remove_all(path_);
  }

  Store& store() { return *store_; }
  engine::Engine& engine() { return *engine_; }

  void flush() {
    store_->publish();
    engine::Batch batch;
    const std::int64_t revision = store_->take_changes(batch);
    for (const engine::Batch::Operation& operation : batch.operations()) {
      const std::uint64_t bytes = operation.key.size() + operation.value.size();
      (operation.table == kLive ? map_bytes_ : other_bytes_) += bytes;
    }
    must(engine_->commit(batch));
    store_->committed(revision);
  }
  /// Writes over random keys until the history has this many records.
  void grow(std::uint64_t records) {
    Rng rng(10);
    const Bytes value(256, 'h');
    if (static_cast<std::uint64_t>(store_->revision()) < records + 1) map_bytes_ = other_bytes_ = 0;
    while (static_cast<std::uint64_t>(store_->revision()) < records + 1) {
      put(rng.below(key_count()), value);
      if (store_->revision() % 100 == 0) store_->publish();
      if (store_->revision() % 20'000 == 0) flush();
    }
    flush();
  }
  /// What flush() wrote of the map of newest versions, per cent of all else, since the last grow() began.
  [[nodiscard]] double map_percent() const {
    return other_bytes_ == 0 ? 0 : 100.0 * static_cast<double>(map_bytes_) / static_cast<double>(other_bytes_);
  }
  /// The next open() reads the whole history.
  void forget_map() {
    engine::Batch batch;
    batch.erase(kMeta, "live");
    must(engine_->commit(batch));
  }
  void put(std::uint64_t number, BytesView value) {
    WriteTxn txn = store_->begin();
    txn.put(key_of(number), value);
    txn.commit();
  }
  void close() {
    store_.reset();
    malloc_trim(0);
  }
  void open(unsigned threads = 1) {
    store_ = std::move(*Store::open(*engine_, clock_, {.meta = kMeta, .live = kLive, .load_threads = threads}));
  }

 private:
  static constexpr engine::TableId kMeta = 1;
  static constexpr engine::TableId kLive = 2;
  static std::unique_ptr<World>& world() {
    static std::unique_ptr<World> world;
    return world;
  }

  std::string path_;
  io::RealClock clock_;
  std::unique_ptr<io::Directory> directory_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Store> store_;
  std::uint64_t map_bytes_ = 0;
  std::uint64_t other_bytes_ = 0;
};

World::World() {
  std::string name = std::filesystem::temp_directory_path() / "mvcc_bench.XXXXXX";
  path_ = mkdtemp(name.data());
  directory_ = std::move(*io::open_real_directory(path_));
  const std::vector<std::string> tables = {std::string(kHistoryTable), std::string(kMetaTable),
                                           std::string(kLiveTable)};
  engine_ = std::move(*engine::open_lmdb(*directory_, tables));
  open();
  const Bytes value(256, 'v');
  const MonotonicTime start = clock_.now();
  for (std::uint64_t number = 0; number < key_count(); ++number) {
    put(number, value);
    if (number % 100 == 99) store_->publish();
    if (number % 20'000 == 19'999) flush();
  }
  flush();
  std::fprintf(stderr, "filled with %llu keys in %.1f s: RssAnon %.0f MB, store uses %.0f MB\n",
               static_cast<unsigned long long>(key_count()), static_cast<double>((clock_.now() - start).count()) / 1e9,
               rss_anon_mb(), static_cast<double>(engine_->usage().bytes_in_use) / 1e6);
  CHECK(key_of(1).size() == 100, "a key of {} bytes", key_of(1).size());
}

/// What apply pays for one put in a batch of its own: look-up, write, publication.
void BM_PutAndPublish(benchmark::State& state) {
  World& world = World::the();
  Rng rng(1);
  const Bytes value(256, 'w');
  std::int64_t puts = 0;
  for (auto _ : state) {
    world.put(rng.below(key_count()), value);
    world.store().publish();
    if (++puts % 5000 == 0) {
      state.PauseTiming();
      world.flush();
      state.ResumeTiming();
    }
  }
  world.flush();
}
BENCHMARK(BM_PutAndPublish)->Unit(benchmark::kMicrosecond);

/// As above, with a hundred puts to a publication and the records encoded for the engine.
void BM_PutBatchOf100(benchmark::State& state) {
  World& world = World::the();
  Rng rng(2);
  const Bytes value(256, 'w');
  for (auto _ : state) {
    for (int count = 0; count < 100; ++count) world.put(rng.below(key_count()), value);
    world.store().publish();
    engine::Batch batch;
    const std::int64_t revision = world.store().take_changes(batch);
    state.PauseTiming();
    must(world.engine().commit(batch));
    world.store().committed(revision);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * 100);
}
BENCHMARK(BM_PutBatchOf100)->Unit(benchmark::kMicrosecond)->MinTime(1.0);

/// The store loop's part: one synced commit of 1,000 records.
void BM_EngineCommitOf1000(benchmark::State& state) {
  World& world = World::the();
  Rng rng(3);
  const Bytes value(256, 'w');
  for (auto _ : state) {
    state.PauseTiming();
    for (int count = 0; count < 1000; ++count) world.put(rng.below(key_count()), value);
    world.store().publish();
    engine::Batch batch;
    const std::int64_t revision = world.store().take_changes(batch);
    state.ResumeTiming();
    must(world.engine().commit(batch));
    state.PauseTiming();
    world.store().committed(revision);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_EngineCommitOf1000)->Unit(benchmark::kMillisecond)->Iterations(50);

void BM_PinAView(benchmark::State& state) {
  Store& store = World::the().store();
  for (auto _ : state) benchmark::DoNotOptimize(store.view().revision());
}
BENCHMARK(BM_PinAView)->Unit(benchmark::kNanosecond);

void BM_Get(benchmark::State& state) {
  Store& store = World::the().store();
  Rng rng(4);
  std::vector<Bytes> keys;
  for (int count = 0; count < 100'000; ++count) keys.push_back(key_of(rng.below(key_count())));
  std::size_t place = 0;
  Bytes reply;
  for (auto _ : state) {
    const View view = store.view();
    const Entry* entry = view.get(keys[place++ % keys.size()]);
    reply.assign(entry->encoded());
    benchmark::DoNotOptimize(reply.data());
  }
}
BENCHMARK(BM_Get)->Unit(benchmark::kNanosecond);

void BM_RangeOf1000(benchmark::State& state) {
  Store& store = World::the().store();
  Rng rng(5);
  Bytes reply;
  for (auto _ : state) {
    reply.clear();
    const View view = store.view();
    const Result<bool> more =
        view.range(KeyRange::from(key_of(rng.below(key_count() / 2))), {.limit = 1000}, [&](const Entry& entry) {
          reply.append(entry.encoded());
          return true;
        });
    benchmark::DoNotOptimize(more.has_value());
  }
}
BENCHMARK(BM_RangeOf1000)->Unit(benchmark::kMicrosecond);

void BM_Count(benchmark::State& state) {
  Store& store = World::the().store();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        store.view().count(KeyRange::between("/registry/pods/namespace-100", "/registry/pods/namespace-300")));
  }
}
BENCHMARK(BM_Count)->Unit(benchmark::kMicrosecond);

/// The second page of a paged list: a count at a revision that a thousand writes have passed since.
void BM_CountAtARecentRevision(benchmark::State& state) {
  World& world = World::the();
  Rng rng(6);
  const std::int64_t revision = world.store().revision();
  for (int count = 0; count < 1000; ++count) world.put(rng.below(key_count()), "new");
  world.flush();
  for (auto _ : state) {
    const View view = world.store().view();
    benchmark::DoNotOptimize(
        *view.count(KeyRange::between("/registry/pods/namespace-100", "/registry/pods/namespace-300"), revision));
  }
}
BENCHMARK(BM_CountAtARecentRevision)->Unit(benchmark::kMicrosecond);

/// One key with 10,000 versions, read at any of them.
void BM_GetAtAnOldRevision(benchmark::State& state) {
  World& world = World::the();
  Rng rng(7);
  const std::int64_t first = world.store().revision() + 1;
  for (int count = 0; count < 10'000; ++count) {
    world.put(42, Bytes(256, 'x'));
    if (count % 1000 == 999) world.flush();
  }
  world.flush();
  const std::int64_t last = world.store().revision();
  const Bytes key = key_of(42);
  for (auto _ : state) {
    const View view = world.store().view();
    const auto revision = first + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(last - first)));
    benchmark::DoNotOptimize((*view.get(key, revision))->mod_revision());
  }
}
BENCHMARK(BM_GetAtAnOldRevision)->Unit(benchmark::kMicrosecond);

/// 100,000 overwrites on top of the million, compacted in slices; the engine's commits are not counted.
void BM_Compaction(benchmark::State& state) {
  World& world = World::the();
  Rng rng(8);
  double slowest_ms = 0;
  double commit_ms = 0;
  int slices = 0;
  const io::RealClock clock;
  for (auto _ : state) {
    state.PauseTiming();
    for (int count = 0; count < 100'000; ++count) {
      world.put(rng.below(key_count()), Bytes(256, 'y'));
      if (count % 10'000 == 9'999) world.flush();
    }
    world.flush();
    must(world.store().compact(world.store().revision()));
    state.ResumeTiming();
    for (CompactionState progress = CompactionState::kMore; progress != CompactionState::kIdle;) {
      engine::Batch batch;
      const MonotonicTime start = clock.now();
      progress = *world.store().compact_slice(batch, {.time = 10ms});
      slowest_ms = std::max(slowest_ms, static_cast<double>((clock.now() - start).count()) / 1e6);
      ++slices;
      state.PauseTiming();
      const MonotonicTime commit_start = clock.now();
      must(world.engine().commit(batch));
      commit_ms += static_cast<double>((clock.now() - commit_start).count()) / 1e6;
      state.ResumeTiming();
    }
  }
  state.counters["slices"] = static_cast<double>(slices) / static_cast<double>(state.iterations());
  state.counters["slowest_slice_ms"] = slowest_ms;
  state.counters["engine_ms"] = commit_ms / static_cast<double>(state.iterations());
}
BENCHMARK(BM_Compaction)->Unit(benchmark::kMillisecond)->Iterations(3);

/// A restart (its pages in the page cache) after so many records for each key, on so many threads; with the map of
/// newest versions, or by reading the whole history, as the first start on a store of an older version does.
void open_again(benchmark::State& state, bool by_map) {
  const auto history = static_cast<std::uint64_t>(state.range(0));
  World& world = history == 1 && state.range(1) == 1 && by_map ? World::fresh() : World::the();
  world.grow(history * key_count());
  double grown_mb = 0;
  for (auto _ : state) {
    state.PauseTiming();
    world.close();
    if (!by_map) world.forget_map();
    const double before = rss_anon_mb();
    state.ResumeTiming();
    world.open(static_cast<unsigned>(state.range(1)));
    state.PauseTiming();
    malloc_trim(0);
    grown_mb = rss_anon_mb() - before;
    state.ResumeTiming();
  }
  if (!by_map) world.flush();
  state.counters["keys"] = static_cast<double>(world.store().view().count(KeyRange::from("")));
  state.counters["map_percent"] = world.map_percent();
  state.counters["store_RssAnon_MB"] = grown_mb;
  state.counters["process_RssAnon_MB"] = rss_anon_mb();
}
void BM_Open(benchmark::State& state) {
  open_again(state, true);
}
void BM_OpenWithoutMap(benchmark::State& state) {
  open_again(state, false);
}
void register_opens() {
  for (const std::int64_t history : {1, 4, 10}) {
    for (const bool by_map : {true, false}) {
      benchmark::RegisterBenchmark(by_map ? "BM_Open" : "BM_OpenWithoutMap", by_map ? BM_Open : BM_OpenWithoutMap)
          ->ArgNames({"records_per_key", "threads"})
          ->Args({history, 1})
          ->Args({history, 2})
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime()
          ->Iterations(3);
    }
  }
}
const bool opens_registered = (register_opens(), true);

/// Who watches this key, among 10,000 keys and 1,000 prefixes?
void BM_WatchIndexFind(benchmark::State& state) {
  WatchIndex index;
  WatcherId watcher = 0;
  Rng rng(9);
  for (int count = 0; count < 10'000; ++count) index.add(KeyRange::one(key_of(rng.below(key_count()))), ++watcher);
  for (int count = 0; count < 1'000; ++count) {
    const Bytes begin = key_of(rng.below(key_count())).substr(0, 30);
    index.add(KeyRange::until(begin, prefix_end(begin)), ++watcher);
  }
  std::vector<Bytes> keys;
  for (int count = 0; count < 10'000; ++count) keys.push_back(key_of(rng.below(key_count())));
  std::uint64_t hits = 0;
  std::size_t place = 0;
  for (auto _ : state) index.find(keys[place++ % keys.size()], [&](WatcherId) { ++hits; });
  state.counters["hits"] = static_cast<double>(hits) / static_cast<double>(state.iterations());
}
BENCHMARK(BM_WatchIndexFind)->Unit(benchmark::kNanosecond);

}  // namespace
}  // namespace etcd::mvcc
