// bench/wal_bench.cc - what the write-ahead log costs on this machine's disk, and how much of it is the disk's.
//
// append_and_sync   a group commit of 1, 10 and 100 entries with 256-byte commands, in a pre-written segment
// sync_alone        fdatasync by itself after one small write: the floor of the above, pre-written and growing
// encode            the frames alone, without a file
// replay            open() of a log of 100,000 entries, keeping all of them or none
// read_by_index     runs of entries from random places of that log
//
// Files lie in a directory of their own below TMPDIR; on a tmpfs a sync costs nothing and the figures say nothing.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "codec/wire.h"
#include "io/real_file.h"
#include "latencies.h"
#include "wal/frame.h"
#include "wal/log.h"

namespace etcd::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kCommandBytes = 256;
constexpr std::uint64_t kFrameBytesMax = kCommandBytes + 64;  // the command as an entry, as a record, as a frame
constexpr std::uint64_t kReplayEntries = 100'000;
constexpr benchmark::IterationCount kSyncs = 1'000;  // fixed, so that the segment can be written ahead as a whole

template <class T>
T must(Result<T> result) {
  CHECK(result.has_value(), "{}", result.error().message);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_((std::filesystem::temp_directory_path() / "wal-bench-XXXXXX").string()) {
    CHECK(::mkdtemp(path_.data()) != nullptr, "cannot make the temporary directory {}", path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A raftpb.Entry as the replica writes it.
Bytes raft_entry(Index index) {
  Bytes out;
  codec::append_varint_field(out, 1, 0);
  codec::append_varint_field(out, 2, 7);
  codec::append_varint_field(out, 3, index.value);
  codec::append_bytes_field(out, 4, Bytes(kCommandBytes, 'x'));
  return out;
}

void report(benchmark::State& state, Latencies& latencies) {
  state.counters["p50_us"] = latencies.percentile_us(50);
  state.counters["p99_us"] = latencies.percentile_us(99);
}

void append_and_sync(benchmark::State& state) {
  const auto batch = static_cast<std::uint64_t>(state.range(0));
  const TemporaryDirectory place;
  const std::unique_ptr<io::Directory> directory = must(io::open_real_directory(place.path()));
  wal::LogOptions options;
  options.prewrite_bytes = static_cast<std::uint64_t>(state.max_iterations) * batch * kFrameBytesMax;
  options.segment_bytes = 2 * options.prewrite_bytes;  // never cut
  const std::unique_ptr<wal::Log> log = must(wal::Log::create(*directory, "bench", options, nullptr));
  const Bytes entry = raft_entry(Index{1'000'000});  // nobody reads it back, so it may be the same each time
  Latencies latencies;
  latencies.reserve(static_cast<std::size_t>(state.max_iterations));
  Index next{1};
  for (auto _ : state) {
    const Clock::time_point begin = Clock::now();
    for (std::uint64_t count = 0; count < batch; ++count) {
      must(log->append_entry(next, entry));
      ++next;
    }
    must(log->sync());
    latencies.add(Clock::now() - begin);
  }
  report(state, latencies);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(append_and_sync)
    ->ArgName("entries")
    ->Arg(1)
    ->Arg(10)
    ->Arg(100)
    ->Iterations(kSyncs)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void sync_alone(benchmark::State& state) {
  const bool prewritten = state.range(0) != 0;
  const TemporaryDirectory place;
  const std::unique_ptr<io::Directory> directory = must(io::open_real_directory(place.path()));
  const std::unique_ptr<io::File> file = must(directory->create("data"));
  const Bytes frame(kFrameBytesMax, 'x');
  if (prewritten) {
    must(file->write_at(0, Bytes(frame.size() * static_cast<std::size_t>(state.max_iterations), '\0')));
  }
  must(file->sync());
  Latencies latencies;
  latencies.reserve(static_cast<std::size_t>(state.max_iterations));
  std::uint64_t offset = 0;
  for (auto _ : state) {
    must(file->write_at(offset, frame));
    offset += frame.size();
    const Clock::time_point begin = Clock::now();
    must(file->sync());
    const Clock::duration took = Clock::now() - begin;
    latencies.add(took);
    state.SetIterationTime(std::chrono::duration<double>(took).count());
  }
  report(state, latencies);
}
BENCHMARK(sync_alone)
    ->ArgName("prewritten")
    ->Arg(1)
    ->Arg(0)
    ->Iterations(kSyncs)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

void encode(benchmark::State& state) {
  const Bytes entry = raft_entry(Index{1'000'000});
  Bytes buffer;
  std::uint32_t crc = 0;
  for (auto _ : state) {
    buffer.clear();
    for (std::int64_t count = 0; count < state.range(0); ++count) {
      wal::append_frame(buffer, wal::RecordType::kEntry, entry, crc);
    }
    benchmark::DoNotOptimize(buffer.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(encode)->ArgName("entries")->Arg(1)->Arg(10)->Arg(100);

/// The log that replay and read_by_index open; made when the first of them runs, removed when the program ends.
class LongLog {
 public:
  LongLog() : directory_(must(io::open_real_directory(place_.path()))) {
    const std::unique_ptr<wal::Log> log = must(wal::Log::create(*directory_, "bench", {}, nullptr));
    for (Index index{1}; index <= Index{kReplayEntries}; ++index) {
      must(log->append_entry(index, raft_entry(index)));
      if (index.value % 1000 == 0) must(log->flush());
    }
    must(log->sync());
  }

  /// `keep_after` as for wal::Log::open.
  wal::Log::Opened open(Index keep_after) const {
    return must(wal::Log::open(*directory_, Index{0}, keep_after, {}, nullptr));
  }

 private:
  TemporaryDirectory place_;
  std::unique_ptr<io::Directory> directory_;
};

const LongLog& long_log() {
  static const LongLog log;
  return log;
}

void replay(benchmark::State& state) {
  const Index keep_after{kReplayEntries - static_cast<std::uint64_t>(state.range(0))};
  const LongLog& log = long_log();
  for (auto _ : state) {
    std::optional<wal::Log::Opened> opened = log.open(keep_after);
    CHECK(opened->recovered.entries.size() == kReplayEntries - keep_after.value, "{} entries came back",
          opened->recovered.entries.size());
    state.PauseTiming();
    opened.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kReplayEntries));
}
BENCHMARK(replay)->ArgName("kept")->Arg(kReplayEntries)->Arg(0)->UseRealTime()->Unit(benchmark::kMillisecond);

void read_by_index(benchmark::State& state) {
  const auto count = static_cast<std::uint64_t>(state.range(0));
  const wal::Log::Opened opened = long_log().open(Index{kReplayEntries});
  Rng rng(1);
  for (auto _ : state) {
    const Index begin{1 + rng.below(kReplayEntries - count + 1)};
    const std::vector<wal::EntryRecord> entries = must(opened.log->read(begin, begin + count, UINT64_MAX));
    CHECK(entries.size() == count, "{} entries of {} came back", entries.size(), count);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(read_by_index)->ArgName("entries")->Arg(1)->Arg(10)->Arg(1000)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace etcd::bench
