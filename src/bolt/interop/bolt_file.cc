// Makes a .db file by our writer, or reads one by our reader, for tests/e2e/bolt_test.py to compare with upstream's.
//
//   bolt_file write FILE RECORDS SEED   a store of that many records in the bucket `key`, buckets as in etcd
//   bolt_file status FILE               checks every page first
//
// Both print what `etcdctl snapshot status -w json` (3.4) prints; `write` computes it without looking into the file,
// and adds how many user keys are alive.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/rng.h"
#include "bolt/etcd_schema.h"
#include "bolt/reader.h"
#include "bolt/writer.h"
#include "codec/wire.h"
#include "io/real_file.h"

namespace etcd {
namespace {

constexpr std::size_t kUserKeys = 500;

struct Status {
  std::uint32_t hash = 0;
  std::int64_t revision = 0;
  std::uint64_t keys = 0;
  std::uint64_t bytes = 0;

  void bucket(BytesView name) { hash = crc32c(hash, name); }
  void pair(BytesView bucket_name, BytesView key, BytesView value) {
    hash = crc32c(crc32c(hash, key), value);
    ++keys;
    if (bucket_name != bolt::kKeyBucket) return;
    if (const auto decoded = bolt::decode_revision_key(key)) revision = decoded->revision.main;
  }
  [[nodiscard]] std::string text() const {
    return fmt::format(R"("hash":{},"revision":{},"totalKey":{},"totalSize":{})", hash, revision, keys, bytes);
  }
};

Result<std::unique_ptr<io::Directory>> directory_of(const std::string& path) {
  return io::open_real_directory(std::filesystem::absolute(path).parent_path().string());
}

std::string name_of_file(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

/// The bucket `key` in order: puts and deletes of a few hundred user keys, now and then with a large value. Returns how
/// many keys are alive at the end.
template <class Put>
Result<std::uint64_t> for_each_record(std::uint64_t records, std::uint64_t seed, Put put) {
  struct Life {
    std::int64_t created = 0;
    std::int64_t version = 0;  // 0: not alive
  };
  std::vector<Life> lives(kUserKeys);
  Rng rng(seed);
  std::uint64_t alive = 0;
  for (std::uint64_t record = 0; record < records; ++record) {
    const auto main = static_cast<std::int64_t>(record) + 2;  // an empty store is at revision 1
    const std::uint64_t number = rng.below(kUserKeys);
    Life& life = lives[number];
    const bool tombstone = life.version > 0 && rng.chance(1, 4);
    Bytes value;
    codec::append_bytes_field(value, 1, fmt::format("key/{:04}", number));
    if (tombstone) {
      life = {};
      --alive;
    } else {
      if (life.version++ == 0) {
        life.created = main;
        ++alive;
      }
      codec::append_varint_field(value, 2, static_cast<std::uint64_t>(life.created));
      codec::append_varint_field(value, 3, static_cast<std::uint64_t>(main));
      codec::append_varint_field(value, 4, static_cast<std::uint64_t>(life.version));
      const std::uint64_t bytes = rng.chance(1, 1000) ? 1'000'000
                                  : rng.chance(1, 50) ? rng.below(20'000)
                                                      : rng.below(200);
      codec::append_bytes_field(value, 5, Bytes(bytes, static_cast<char>('a' + rng.below(26))));
    }
    ETCD_TRY_VOID(put(bolt::encode_revision_key({.revision = {main, 0}, .tombstone = tombstone}), value));
  }
  return alive;
}

/// Hands every bucket to a Planner or a Writer by `begin`, `put` and `end`; returns the number of live user keys.
template <class Begin, class Put, class End>
Result<std::uint64_t> for_each_bucket(std::uint64_t records, std::uint64_t seed, Begin begin, Put put, End end) {
  std::uint64_t alive = 0;
  for (const BytesView bucket : bolt::kEtcdBuckets) {
    ETCD_TRY_VOID(begin(bucket));
    const auto put_here = [&](BytesView key, BytesView value) { return put(bucket, key, value); };
    if (bucket == bolt::kKeyBucket) {
      ETCD_TRY(alive, for_each_record(records, seed, put_here));
    } else if (bucket == bolt::kMetaBucket) {
      ETCD_TRY_VOID(put_here(bolt::kMetaConsistentIndexKey, bolt::number_key(records + 4)));
    }
    ETCD_TRY_VOID(end());
  }
  return alive;
}

Result<std::string> write(const std::string& path, std::uint64_t records, std::uint64_t seed) {
  Status status;
  bolt::Planner planner;
  ETCD_TRY_VOID(for_each_bucket(
      records, seed,
      [&](BytesView bucket) {
        status.bucket(bucket);
        return planner.begin_bucket(bucket);
      },
      [&](BytesView bucket, BytesView key, BytesView value) {
        status.pair(bucket, key, value);
        return planner.put(key, value.size());
      },
      [&] { return planner.end_bucket(); }));
  ETCD_TRY(const bolt::Plan plan, planner.finish());
  status.bytes = plan.file_bytes();
  ETCD_TRY(const auto directory, directory_of(path));
  ETCD_TRY(const auto file, directory->create(name_of_file(path)));
  ETCD_TRY(bolt::Writer writer, bolt::Writer::open(plan, bolt::sink_into(*file)));
  ETCD_TRY(const std::uint64_t alive,
           for_each_bucket(
               records, seed, [&](BytesView bucket) { return writer.begin_bucket(bucket); },
               [&](BytesView, BytesView key, BytesView value) { return writer.put(key, value); },
               [&] { return writer.end_bucket(); }));
  ETCD_TRY_VOID(writer.finish());
  return fmt::format("{{{},\"alive\":{}}}", status.text(), alive);
}

Result<std::string> status(const std::string& path) {
  ETCD_TRY(const auto directory, directory_of(path));
  ETCD_TRY(const auto file, directory->open(name_of_file(path)));
  ETCD_TRY(const bolt::Reader reader, bolt::Reader::open(*file));
  ETCD_TRY_VOID(reader.check());
  Status status;
  bolt::Cursor buckets = reader.cursor(reader.root());
  ETCD_TRY(bool more_buckets, buckets.first());
  while (more_buckets) {
    status.bucket(buckets.key());
    ETCD_TRY(bolt::Bucket bucket, buckets.bucket());
    bolt::Cursor cursor = reader.cursor(std::move(bucket));
    ETCD_TRY(bool more, cursor.first());
    while (more) {
      status.pair(buckets.key(), cursor.key(), cursor.value());
      ETCD_TRY(more, cursor.next());
    }
    ETCD_TRY(more_buckets, buckets.next());
  }
  status.bytes = reader.data_bytes();
  return fmt::format("{{{}}}", status.text());
}

}  // namespace
}  // namespace etcd

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::optional<etcd::Result<std::string>> result;
  if (arguments.size() == 4 && arguments[0] == "write") {
    result = etcd::write(arguments[1], std::stoull(arguments[2]), std::stoull(arguments[3]));
  } else if (arguments.size() == 2 && arguments[0] == "status") {
    result = etcd::status(arguments[1]);
  } else {
    std::fprintf(stderr, "bolt_file write FILE RECORDS SEED | bolt_file status FILE\n");
    return 2;
  }
  if (!*result) {
    std::fprintf(stderr, "%s\n", result->error().message.c_str());
    return 1;
  }
  std::printf("%s\n", (*result)->c_str());
  return 0;
}
