// A .db file with whatever in it: refused as corrupt with the file's name, or read to the end; and what could be read
// goes through the writer and reads the same again.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "bolt/reader.h"
#include "bolt/writer.h"
#include "io/sim_disk.h"

namespace {

using namespace etcd;

// A damaged file may name one large page from many places; one is enough to see.
constexpr std::size_t kReadMax = 1 << 22;

struct NamedPairs {
  Bytes name;
  std::vector<std::pair<Bytes, Bytes>> pairs;
  friend bool operator==(const NamedPairs&, const NamedPairs&) = default;
};

template <class T>
T expect_sound(Result<T> result) {
  if (!result) std::abort();
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

/// The file's buckets with their plain pairs; nothing when there is more than kReadMax. Aborts on an error that is not
/// kCorrupt or does not name the file.
Result<std::optional<std::vector<NamedPairs>>> read(const io::File& file) {
  ETCD_TRY(const bolt::Reader reader, bolt::Reader::open(file));
  std::vector<NamedPairs> buckets;
  std::size_t bytes = 0;
  bolt::Cursor names = reader.cursor(reader.root());
  ETCD_TRY(bool more_names, names.first());
  while (more_names) {
    NamedPairs& pairs = buckets.emplace_back(NamedPairs{.name = Bytes(names.key()), .pairs = {}});
    ETCD_TRY(bolt::Bucket bucket, names.bucket());
    bolt::Cursor cursor = reader.cursor(std::move(bucket));
    ETCD_TRY(bool more, cursor.first());
    while (more) {
      bytes += cursor.key().size() + cursor.value().size();
      if (bytes > kReadMax) return std::optional<std::vector<NamedPairs>>();
      if (!cursor.is_bucket()) pairs.pairs.emplace_back(cursor.key(), cursor.value());
      ETCD_TRY(more, cursor.next());
    }
    ETCD_TRY(more_names, names.next());
  }
  return std::optional(std::move(buckets));
}

void expect_named(const Result<void>& result, const io::File& file) {
  if (result) return;
  const Error& error = result.error();
  if (error.code != ErrorCode::kCorrupt || !error.message.starts_with(file.name() + ": ")) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  io::SimDisk disk(1);
  const auto directory = disk.open_directory("/d");
  const auto file = expect_sound(directory->create("damaged.db"));
  expect_sound(file->write_at(0, BytesView(reinterpret_cast<const char*>(data), size)));
  if (const auto reader = bolt::Reader::open(*file)) expect_named(reader->check(), *file);
  const auto found = read(*file);
  if (!found) expect_named(std::unexpected(found.error()), *file);
  if (!found || !*found) return 0;

  bolt::Planner planner;
  for (const auto& [name, pairs] : **found) {
    expect_sound(planner.begin_bucket(name));
    for (const auto& [key, value] : pairs) expect_sound(planner.put(key, value.size()));
    expect_sound(planner.end_bucket());
  }
  const auto copy = expect_sound(directory->create("copy.db"));
  const bolt::Plan plan = expect_sound(planner.finish());
  bolt::Writer writer = expect_sound(bolt::Writer::open(plan, bolt::sink_into(*copy)));
  for (const auto& [name, pairs] : **found) {
    expect_sound(writer.begin_bucket(name));
    for (const auto& [key, value] : pairs) expect_sound(writer.put(key, value));
    expect_sound(writer.end_bucket());
  }
  expect_sound(writer.finish());
  if (expect_sound(copy->size()) != plan.file_bytes()) std::abort();
  expect_sound(expect_sound(bolt::Reader::open(*copy)).check());
  if (expect_sound(read(*copy)) != *found) std::abort();
  return 0;
}
