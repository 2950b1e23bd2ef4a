#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/rng.h"
#include "codec/wire.h"
#include "io/sim_disk.h"
#include "io/sim_scheduler.h"
#include "wal/log.h"

namespace etcd::wal {
namespace {

Bytes entry(std::uint64_t term, std::uint64_t index, BytesView data) {
  Bytes out;
  codec::append_varint_field(out, 1, 0);
  codec::append_varint_field(out, 2, term);
  codec::append_varint_field(out, 3, index);
  codec::append_bytes_field(out, 4, data);
  return out;
}

constexpr LogOptions kSmall{.segment_bytes = 4096, .prewrite_bytes = 2048};
const char* const kFirstSegment = "/wal/0000000000000000-0000000000000000.wal";

Log::Opened reopen(io::SimDisk& disk, std::unique_ptr<io::Directory>& directory, Index keep_after = {}) {
  directory = disk.open_directory("/wal");
  auto opened = Log::open(*directory, Index{0}, keep_after, kSmall, nullptr);
  EXPECT_TRUE(opened.has_value()) << opened.error().message;
  return *std::move(opened);
}

TEST(Frame, LooksLikeUpstreams) {
  // Observed in segments of upstream 3.4.23 and 3.7.1 (docs/formats/wal.md): the first record, crc(0).
  Bytes out;
  std::uint32_t crc = 0;
  append_frame(out, RecordType::kCrc, {}, crc);
  EXPECT_EQ(out, BytesView("\x04\0\0\0\0\0\0\x84\x08\x04\x10\0\0\0\0\0", 16));
  EXPECT_EQ(crc, 0u);
}

TEST(Frame, RoundTripsEveryPadding) {
  std::uint32_t crc = 17;
  for (std::size_t size = 0; size < 40; ++size) {
    const std::uint32_t before = crc;
    Bytes out;
    append_frame(out, RecordType::kEntry, Bytes(size, 'x'), crc);
    EXPECT_EQ(out.size() % kFrameAlign, 0u);
    const FrameLength length = decode_length(out).value();
    EXPECT_EQ(length.frame_bytes(), out.size());
    const Record record = decode_record(BytesView(out).substr(kLengthBytes, length.record_bytes)).value();
    EXPECT_EQ(record.data, Bytes(size, 'x'));
    EXPECT_EQ(record.crc, crc32c(before, record.data));
  }
}

TEST(Log, FindsAgainWhatWasSynced) {
  io::SimDisk disk(1);
  auto directory = disk.open_directory("/wal");
  EXPECT_FALSE(Log::exists(*directory).value());
  {
    const auto log = Log::create(*directory, "who", kSmall, nullptr).value();
    for (std::uint64_t index = 1; index <= 200; ++index) {
      ASSERT_TRUE(log->append_entry(Index{index}, entry(1, index, Bytes(100, 'v'))).has_value());
      ASSERT_TRUE(log->append_state(fmt::format("state {}", index)).has_value());
      ASSERT_TRUE(log->sync().has_value());
    }
    EXPECT_GT(log->segments(), 5u);
    EXPECT_EQ(log->append_entry(Index{205}, entry(1, 205, "")).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(Log::create(*directory, "who", kSmall, nullptr).error().code, ErrorCode::kAlreadyExists);
    EXPECT_EQ(Log::open(*directory, Index{0}, Index{0}, kSmall, nullptr).error().code, ErrorCode::kLocked);
  }
  const Log::Opened opened = reopen(disk, directory, Index{150});
  EXPECT_EQ(opened.recovered.metadata, "who");
  EXPECT_EQ(opened.recovered.state, "state 200");
  ASSERT_EQ(opened.recovered.entries.size(), 50u);
  EXPECT_EQ(opened.recovered.entries.front().index, Index{151});
  EXPECT_EQ(opened.recovered.entries.back().data, entry(1, 200, Bytes(100, 'v')));
  EXPECT_FALSE(opened.recovered.torn.has_value());
  // Entries that were only located are read from the disk.
  const auto read = opened.log->read(Index{3}, Index{90}, UINT64_MAX).value();
  ASSERT_EQ(read.size(), 87u);
  EXPECT_EQ(read[10].data, entry(1, 13, Bytes(100, 'v')));
  EXPECT_EQ(opened.log->read(Index{3}, Index{90}, 1).value().size(), 1u);
  EXPECT_EQ(opened.log->read(Index{200}, Index{202}, 1).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(opened.log->read(Index{0}, Index{2}, 1).error().code, ErrorCode::kCompacted);
}

TEST(Log, BeginsWithItsFirstEntriesOrNotAtAll) {
  const std::vector<EntryRecord> first{{Index{1}, entry(1, 1, "one")}, {Index{2}, entry(1, 2, "two")}};
  int made = 0;
  for (std::uint64_t calls = 0; calls < 10; ++calls) {
    io::SimDisk disk(calls);
    auto directory = disk.open_directory("/wal");
    disk.fail_after(calls);
    const bool done = Log::create(*directory, "who", kSmall, nullptr, first, "state").has_value();
    disk.crash();
    directory = disk.open_directory("/wal");
    const bool there = Log::exists(*directory).value();
    EXPECT_TRUE(there || !done) << calls;
    if (!there) continue;
    ++made;
    const Log::Opened opened = reopen(disk, directory);
    ASSERT_EQ(opened.recovered.entries.size(), 2u);
    EXPECT_EQ(opened.recovered.state, "state");
    EXPECT_EQ(opened.log->read(Index{2}, Index{3}, 1).value()[0].data, entry(1, 2, "two"));
  }
  EXPECT_GT(made, 2);
}

TEST(Log, ALaterEntryDropsWhatItReplaces) {
  io::SimDisk disk(1);
  auto directory = disk.open_directory("/wal");
  {
    const auto log = Log::create(*directory, "who", kSmall, nullptr).value();
    for (std::uint64_t index = 1; index <= 5; ++index) {
      ASSERT_TRUE(log->append_entry(Index{index}, entry(1, index, "old")).has_value());
    }
    ASSERT_TRUE(log->append_entry(Index{3}, entry(2, 3, "new")).has_value());
    ASSERT_TRUE(log->sync().has_value());
    EXPECT_EQ(log->end(), Index{4});
    EXPECT_EQ(log->read(Index{2}, Index{4}, UINT64_MAX).value()[1].data, entry(2, 3, "new"));
  }
  const Log::Opened opened = reopen(disk, directory);
  ASSERT_EQ(opened.recovered.entries.size(), 3u);
  EXPECT_EQ(opened.recovered.entries[1].data, entry(1, 2, "old"));
  EXPECT_EQ(opened.recovered.entries[2].data, entry(2, 3, "new"));
  EXPECT_EQ(opened.log->read(Index{1}, Index{4}, UINT64_MAX).value()[2].data, entry(2, 3, "new"));
}

TEST(Log, ReleasesOldSegmentsOnly) {
  io::SimDisk disk(1);
  auto directory = disk.open_directory("/wal");
  const auto log = Log::create(*directory, "who", kSmall, nullptr).value();
  for (std::uint64_t index = 1; index <= 200; ++index) {
    ASSERT_TRUE(log->append_entry(Index{index}, entry(1, index, Bytes(100, 'v'))).has_value());
    ASSERT_TRUE(log->sync().has_value());
  }
  const std::size_t before = log->segments();
  ASSERT_TRUE(log->release(Index{100}).has_value());
  EXPECT_LT(log->segments(), before);
  EXPECT_LE(log->first(), Index{100});
  EXPECT_GT(log->first(), Index{1});
  EXPECT_EQ(log->read(Index{100}, Index{201}, UINT64_MAX).value().size(), 101u);
  EXPECT_EQ(directory->list().value().size(), log->segments());
}

TEST(Log, PreparesSegmentsInTheBackground) {
  io::SimDisk disk(1);
  io::SimScheduler scheduler(1);
  auto directory = disk.open_directory("/wal");
  const auto log = Log::create(*directory, "who", kSmall, &scheduler.new_executor("workers")).value();
  std::uint64_t index = 0;
  while (log->segments() == 1) {
    ++index;
    ASSERT_TRUE(log->append_entry(Index{index}, entry(1, index, Bytes(100, 'v'))).has_value());
    ASSERT_TRUE(log->sync().has_value());
    while (scheduler.run_one()) {
    }
  }
  // The new segment has its whole length from the start: syncs of it change no size.
  Bytes* const newest = disk.content(fmt::format("/wal/0000000000000001-{:016x}.wal", index + 1));
  ASSERT_NE(newest, nullptr);
  EXPECT_EQ(newest->size(), kSmall.segment_bytes);
}

struct Damage {
  const char* name;
  std::function<void(Bytes&)> harm;
  const char* expected;  // a piece of the error, or null where the tail is cut
};

TEST(Log, CutsATornTailAndRefusesAnyOtherDamage) {
  // Three entries: two whole, the third over several sectors.
  io::SimDisk source(1);
  auto directory = source.open_directory("/wal");
  std::uint64_t second_end = 0;
  {
    const auto log = Log::create(*directory, "who", LogOptions{.prewrite_bytes = 8192}, nullptr).value();
    ASSERT_TRUE(log->append_entry(Index{1}, entry(1, 1, "one")).has_value());
    ASSERT_TRUE(log->append_entry(Index{2}, entry(1, 2, "two")).has_value());
    ASSERT_TRUE(log->sync().has_value());
    second_end = source.content(kFirstSegment)->find_last_not_of('\0') / 8 * 8 + 8;
    ASSERT_TRUE(log->append_entry(Index{3}, entry(1, 3, Bytes(3000, 'v'))).has_value());
    ASSERT_TRUE(log->sync().has_value());
  }
  const Bytes whole = *source.content(kFirstSegment);
  const Damage rows[] = {
      {"nothing", [](Bytes&) {}, ""},
      {"length field cut", [&](Bytes& file) { file.resize(second_end + 5); }, nullptr},
      {"record cut", [&](Bytes& file) { file.resize(second_end + 2000); }, nullptr},
      {"a sector never came", [&](Bytes& file) { file.replace(1024, 512, 512, '\0'); }, nullptr},
      {"bit flip in the last record", [&](Bytes& file) { file[second_end + 900] ^= 1; }, "crc mismatch"},
      {"bit flip in an early record", [&](Bytes& file) { file[second_end - 9] ^= 1; }, "crc mismatch"},
      {"bit flip in the metadata", [&](Bytes& file) { file[40] ^= 1; }, "offset"},
      {"length field: spare bit", [&](Bytes& file) { file[second_end + 7] ^= 0x20; }, "bad length field"},
      {"length field: low bit", [&](Bytes& file) { file[second_end] ^= 1; }, "bad length field"},
      {"length field: far too long", [&](Bytes& file) { file[second_end + 4] ^= 1; }, "bad length field"},
      {"length field: far too short", [&](Bytes& file) { file[second_end + 1] ^= 8; }, "offset"},
      {"all of it gone", [&](Bytes& file) { file.clear(); }, "no metadata record"},
  };
  for (const Damage& row : rows) {
    SCOPED_TRACE(row.name);
    io::SimDisk disk(1);
    auto damaged = disk.open_directory("/wal");
    const std::string name(kFirstSegment + 5);
    ASSERT_TRUE(damaged->create(name).value()->write_at(0, whole).has_value());
    Bytes& content = *disk.content(kFirstSegment);
    row.harm(content);
    const Bytes before = content;
    auto opened = Log::open(*damaged, Index{0}, Index{0}, kSmall, nullptr);
    if (row.expected == nullptr) {
      ASSERT_TRUE(opened.has_value()) << opened.error().message;
      EXPECT_TRUE(opened->recovered.torn.has_value());
      EXPECT_EQ(opened->recovered.entries.size(), 2u);
      ASSERT_TRUE(opened->log->append_entry(Index{3}, entry(2, 3, "again")).has_value());
      ASSERT_TRUE(opened->log->sync().has_value());
      opened->log.reset();
      const auto again = Log::open(*damaged, Index{0}, Index{0}, kSmall, nullptr).value();
      ASSERT_EQ(again.recovered.entries.size(), 3u);
      EXPECT_EQ(again.recovered.entries[2].data, entry(2, 3, "again"));
      EXPECT_FALSE(again.recovered.torn.has_value());
    } else if (*row.expected == '\0') {
      EXPECT_EQ(opened.value().recovered.entries.size(), 3u);
    } else {
      ASSERT_FALSE(opened.has_value());
      EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
      EXPECT_TRUE(opened.error().message.contains(row.expected)) << opened.error().message;
      EXPECT_TRUE(opened.error().message.contains(kFirstSegment)) << opened.error().message;
      EXPECT_EQ(*disk.content(kFirstSegment), before) << "a refusal changes nothing";
    }
  }
}

TEST(Log, AMissingSegmentIsRefused) {
  io::SimDisk disk(1);
  auto directory = disk.open_directory("/wal");
  {
    const auto log = Log::create(*directory, "who", kSmall, nullptr).value();
    for (std::uint64_t index = 1; index <= 200; ++index) {
      ASSERT_TRUE(log->append_entry(Index{index}, entry(1, index, Bytes(100, 'v'))).has_value());
      ASSERT_TRUE(log->sync().has_value());
    }
  }
  ASSERT_TRUE(directory->remove(directory->list().value()[2]).has_value());
  EXPECT_EQ(Log::open(*directory, Index{0}, Index{0}, kSmall, nullptr).error().message, "/wal: segment 2 is missing");
}

TEST(Log, AFailedSyncIsFinal) {
  io::SimDisk disk(1);
  auto directory = disk.open_directory("/wal");
  const auto log = Log::create(*directory, "who", kSmall, nullptr).value();
  ASSERT_TRUE(log->append_entry(Index{1}, entry(1, 1, "x")).has_value());
  disk.fail_next_sync();
  const Error error = log->sync().error();
  EXPECT_EQ(error.code, ErrorCode::kIo);
  EXPECT_EQ(log->sync().error(), error);
  EXPECT_EQ(log->append_entry(Index{2}, entry(1, 2, "x")).error(), error);
}

/// One life of a log after another, each ended by a power cut at a random call; whatever was synced must be there.
void live_and_crash(std::uint64_t seed) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Rng rng(seed);
  io::SimDisk disk(seed);
  std::vector<Bytes> synced;  // entries known to be durable; place 0 is index 1
  Bytes synced_state;
  bool created = false;
  for (int life = 0; life < 6; ++life) {
    auto directory = disk.open_directory("/wal");
    std::vector<Bytes> written;
    std::unique_ptr<Log> log;
    if (!Log::exists(*directory).value()) {
      ASSERT_FALSE(created) << "the log is gone";
      disk.fail_after(rng.below(60));
      auto made = Log::create(*directory, "who", kSmall, nullptr);
      if (made) {
        created = true;
        log = *std::move(made);
      }
    } else {
      auto opened = Log::open(*directory, Index{0}, Index{0}, kSmall, nullptr);
      ASSERT_TRUE(opened.has_value()) << opened.error().message;
      const auto& entries = opened->recovered.entries;
      ASSERT_GE(entries.size(), synced.size());
      for (std::size_t place = 0; place < synced.size(); ++place)
        ASSERT_EQ(entries[place].data, synced[place]) << place;
      for (const EntryRecord& record : entries) written.push_back(record.data);
      synced = written;  // what was found is cut clean and appended to: it counts from now on
      created = true;
      log = std::move(opened->log);
      disk.fail_after(rng.below(120));
    }
    while (log) {
      bool good = true;
      for (std::uint64_t count = rng.below(5); count > 0 && good; --count) {
        const std::uint64_t index = written.size() + 1;
        written.push_back(entry(life + 1, index, Bytes(rng.below(1500), static_cast<char>('a' + life))));
        good = log->append_entry(Index{index}, written.back()).has_value();
      }
      if (!good || !log->append_state(fmt::format("{}", life)) || !log->sync()) break;
      synced = written;
    }
    log.reset();
    disk.crash();
  }
}

TEST(Log, EveryPowerCutKeepsWhatWasSynced) {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    live_and_crash(seed);
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace etcd::wal
