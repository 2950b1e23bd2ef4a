#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "base/crc32c.h"
#include "base/rng.h"
#include "bolt/etcd_schema.h"
#include "bolt/reader.h"
#include "bolt/writer.h"
#include "io/sim_disk.h"

namespace etcd::bolt {
namespace {

using Content = std::map<Bytes, std::map<Bytes, Bytes>>;  // bucket -> key -> value

Plan plan_of(const Content& content) {
  Planner planner;
  for (const auto& [name, pairs] : content) {
    EXPECT_TRUE(planner.begin_bucket(name));
    for (const auto& [key, value] : pairs) EXPECT_TRUE(planner.put(key, value.size()));
    EXPECT_TRUE(planner.end_bucket());
  }
  return planner.finish().value();
}

Result<void> write(const Content& content, Plan plan, Sink sink) {
  ETCD_TRY(Writer writer, Writer::open(plan, std::move(sink)));
  std::uint64_t sequence = 0;
  for (const auto& [name, pairs] : content) {
    ETCD_TRY_VOID(writer.begin_bucket(name, ++sequence));
    for (const auto& [key, value] : pairs) ETCD_TRY_VOID(writer.put(key, value));
    ETCD_TRY_VOID(writer.end_bucket());
  }
  return writer.finish();
}

/// A file on a disk of its own.
struct TestFile {
  io::SimDisk disk{1};
  std::unique_ptr<io::Directory> directory = disk.open_directory("/d");
  std::unique_ptr<io::File> file = directory->create("db").value();

  TestFile() = default;
  explicit TestFile(BytesView bytes) { EXPECT_TRUE(file->write_at(0, bytes)); }
  explicit TestFile(const Content& content) {
    const Plan plan = plan_of(content);
    const Result<void> written = write(content, plan, sink_into(*file));
    EXPECT_TRUE(written) << written.error().message;
    EXPECT_EQ(file->size().value(), plan.file_bytes());
  }

  Bytes& bytes() { return *disk.content("/d/db"); }
};

/// Everything in the file, after a full check.
Result<Content> read(const io::File& file) {
  ETCD_TRY(const Reader reader, Reader::open(file));
  ETCD_TRY_VOID(reader.check());
  Content content;
  Cursor buckets = reader.cursor(reader.root());
  ETCD_TRY(bool more_buckets, buckets.first());
  while (more_buckets) {
    auto& pairs = content[Bytes(buckets.key())];
    ETCD_TRY(Bucket bucket, buckets.bucket());
    Cursor cursor = reader.cursor(std::move(bucket));
    ETCD_TRY(bool more, cursor.first());
    while (more) {
      if (cursor.is_bucket()) return failure(ErrorCode::kCorrupt, file.name() + ": a bucket in a bucket");
      pairs.emplace(cursor.key(), cursor.value());
      ETCD_TRY(more, cursor.next());
    }
    ETCD_TRY(more_buckets, buckets.next());
  }
  return content;
}

Cursor cursor_of(const Reader& reader, BytesView bucket) {
  return reader.cursor(reader.find(bucket).value().value());
}

std::map<Bytes, Bytes> numbered(std::size_t count, std::size_t value_bytes) {
  std::map<Bytes, Bytes> pairs;
  for (std::size_t index = 0; index < count; ++index) {
    pairs.emplace(fmt::format("{:08}", index), Bytes(value_bytes, static_cast<char>('a' + index % 26)));
  }
  return pairs;
}

/// What etcdctl 3.4.23 saved of an etcd 3.4.23 after: put foo bar, put foo baz, put long (3000 times x), del foo, and a
/// lease of 1000 s.
Bytes upstream_snapshot() {
  std::ifstream file(ETCD_SOURCE_DIR "/testdata/etcd-3.4.23.db", std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

/// Where a page's header, elements and data lie: for tests that look inside.
PageHeader header_at(const Bytes& bytes, PageId page) {
  return load<PageHeader>(bytes, page * kPageBytes);
}

TEST(Format, ReadsAMetaOfUpstreams) {
  Bytes page = upstream_snapshot().substr(0, kPageHeaderBytes + kMetaBytes);
  const Meta meta = decode_meta(page).value();
  EXPECT_EQ(meta.page_bytes, 4096u);
  EXPECT_EQ(meta.high_water, 6u);
  EXPECT_EQ(meta.txid, 10u);
  for (std::size_t at = kPageHeaderBytes; at < page.size(); ++at) {
    page[at] ^= 1;
    EXPECT_EQ(decode_meta(page).error().code, ErrorCode::kCorrupt) << at;
    page[at] ^= 1;
  }
}

TEST(RoundTrip, Table) {
  struct Row {
    const char* name;
    Content content;
  };
  Content etcd_like;
  for (const BytesView bucket : kEtcdBuckets) etcd_like[Bytes(bucket)] = {};
  for (std::int64_t main = 1; main < 500; ++main) {
    etcd_like["key"][encode_revision_key({.revision = {main, 0}, .tombstone = main % 7 == 0})] =
        Bytes(static_cast<std::size_t>(main), 'v');
  }
  etcd_like["meta"]["consistent_index"] = number_key(17);
  Content long_keys;
  for (char first = 'a'; first <= 'z'; ++first) long_keys["b"][first + Bytes(5000, 'k')] = Bytes(1, first);
  long_keys["b"]["zz" + Bytes(kKeyBytesMax - 2, 'k')] = "last";
  Content many_buckets;
  for (int number = 0; number < 1000; ++number) many_buckets[fmt::format("bucket {:05}", number)]["k"] = "v";
  const Row rows[] = {
      {"no bucket", {}},
      {"an empty bucket", {{"only", {}}}},
      {"one key", {{"only", {{"k", "v"}}}}},
      {"an empty value", {{"only", {{"k", ""}}}}},
      {"bytes of every kind", {{Bytes("\0\xff", 2), {{Bytes("\0", 1), Bytes("\xff\0", 2)}, {"\xff", "\x80"}}}}},
      {"some large values", {{"b", {{"a", "1"}, {"b", Bytes(1'500'000, 'x')}, {"c", "2"}, {"d", Bytes(70'000, 'y')}}}}},
      {"only large values", {{"b", numbered(300, 5000)}}},
      {"long keys", long_keys},
      {"many levels", {{"a", {}}, {"key", numbered(100'000, 20)}, {"z", numbered(3, 3)}}},
      {"many buckets", many_buckets},
      {"as in etcd", etcd_like},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    TestFile test(row.content);
    const Result<Content> found = read(*test.file);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_TRUE(*found == row.content);
  }
}

TEST(RoundTrip, EveryFillOfALeaf) {
  // Around the sizes at which an element just fits, fills a page to the byte, and no longer fits.
  for (std::size_t bytes = 3980; bytes <= 4120; ++bytes) {
    const Content content{{"b", {{"a", Bytes(bytes, 'x')}, {"b", Bytes(8192 - 33 - bytes % 3, 'y')}, {"c", "z"}}}};
    TestFile test(content);
    const Result<Content> found = read(*test.file);
    ASSERT_TRUE(found) << bytes << ": " << found.error().message;
    ASSERT_TRUE(*found == content) << bytes;
  }
}

TEST(RoundTrip, RandomShapes) {
  Rng rng(20260101);
  for (int round = 0; round < 60; ++round) {
    Content content;
    const std::uint64_t buckets = rng.below(4);
    for (std::uint64_t bucket = 0; bucket < buckets; ++bucket) {
      auto& pairs = content[fmt::format("b{}", bucket)];
      const std::uint64_t keys = rng.below(600);
      const std::uint64_t key_bytes = 1 + rng.below(round % 3 == 0 ? 3000 : 40);
      const std::uint64_t value_bytes = rng.below(round % 4 == 0 ? 9000 : 200);
      for (std::uint64_t key = 0; key < keys; ++key) {
        pairs[fmt::format("{:x}", rng.next()) + Bytes(rng.below(key_bytes), 'k')] =
            Bytes(rng.below(value_bytes + 1), 'v');
      }
    }
    TestFile test(content);
    const Result<Content> found = read(*test.file);
    ASSERT_TRUE(found) << round << ": " << found.error().message;
    ASSERT_TRUE(*found == content) << round;
  }
}

TEST(Layout, IsWhatUpstreamMakesOfIt) {
  TestFile test(Content{{"b", {{"k1", "v1"}, {"k2", ""}}}});
  // Two metas, the bucket's leaf, the root's leaf.
  ASSERT_EQ(test.bytes().size(), 4 * kPageBytes);
  for (PageId page = 0; page < 2; ++page) {
    EXPECT_EQ(header_at(test.bytes(), page).id, page);
    EXPECT_EQ(header_at(test.bytes(), page).flags, kMetaPage);
    const Meta meta = decode_meta(BytesView(test.bytes()).substr(page * kPageBytes)).value();
    EXPECT_EQ(meta.txid, 2 - page);
    EXPECT_EQ(meta.root.root, 3u);
    EXPECT_EQ(meta.high_water, 4u);
    EXPECT_EQ(meta.freelist, kNoFreelist);
  }
  const BytesView leaf = BytesView(test.bytes()).substr(2 * kPageBytes, kPageBytes);
  const Bytes front(
      "\x02\0\0\0\0\0\0\0\x02\0\x02\0\0\0\0\0"  // page 2, leaf, 2 elements, no overflow
      "\0\0\0\0\x20\0\0\0\x02\0\0\0\x02\0\0\0"  // key 32 bytes on, 2 and 2 bytes
      "\0\0\0\0\x14\0\0\0\x02\0\0\0\0\0\0\0"    // key 20 bytes on, 2 and 0 bytes
      "k1v1k2",
      16 * 3 + 6);
  EXPECT_EQ(leaf.substr(0, front.size()), front);
  EXPECT_EQ(leaf.find_first_not_of('\0', front.size()), BytesView::npos);
}

TEST(Layout, EveryBranchHasTwoChildren) {
  // Upstream panics when it deletes in a page without a sibling, so each count around a level's limits is tried.
  for (const std::size_t key_bytes : {900u, 1340u, 2020u, 3000u}) {
    for (std::size_t count = 1; count <= 40; ++count) {
      Content content;
      for (std::size_t index = 0; index < count; ++index) {
        content["b"][fmt::format("{:04}", index) + Bytes(key_bytes - 4, 'k')] = Bytes(3000, 'v');
      }
      TestFile test(content);
      ASSERT_TRUE(read(*test.file).value() == content) << count << " keys of " << key_bytes;
      for (PageId page = 2; page < test.bytes().size() / kPageBytes;) {
        const PageHeader header = header_at(test.bytes(), page);
        ASSERT_EQ(header.id, page);
        if (header.flags == kBranchPage) {
          ASSERT_GE(header.count, 2) << count << " keys of " << key_bytes;
        }
        page += header.overflow + 1;
      }
    }
  }
}

TEST(Writer, RefusesWhatHasNoPlace) {
  const auto sink = [](BytesView) { return Result<void>(); };
  Planner planner;
  ASSERT_TRUE(planner.begin_bucket("b"));
  ASSERT_TRUE(planner.put("k", 1));
  EXPECT_EQ(planner.put("k", 1).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(planner.put("l", 1).error().code, ErrorCode::kInvalidArgument);  // dead from then on
  EXPECT_EQ(planner.finish().error().code, ErrorCode::kInvalidArgument);
  const std::pair<Bytes, std::uint64_t> bad[] = {
      {"", 1}, {Bytes(kKeyBytesMax + 1, 'k'), 1}, {"k", kValueBytesMax + 1}, {"a", 1}};
  for (const auto& [key, value_bytes] : bad) {
    Planner fresh;
    ASSERT_TRUE(fresh.begin_bucket("b"));
    ASSERT_TRUE(fresh.put("b", 1));
    EXPECT_EQ(fresh.put(key, value_bytes).error().code, ErrorCode::kInvalidArgument) << key.size();
  }
  auto writer = Writer::open(plan_of({{"b", {}}}), sink).value();
  ASSERT_TRUE(writer.begin_bucket("b"));
  ASSERT_TRUE(writer.end_bucket());
  EXPECT_EQ(writer.begin_bucket("a").error().code, ErrorCode::kInvalidArgument);
}

TEST(Writer, RefusesContentThatLeavesThePlan) {
  const Content planned{{"b", numbered(1000, 100)}};
  const Plan plan = plan_of(planned);
  Content less = planned;
  less["b"].erase(std::next(less["b"].begin(), 500), less["b"].end());
  Content more = planned;
  more["b"].merge(numbered(2000, 100));
  for (const Content& content : {less, more}) {
    std::uint64_t sent = 0;
    const Result<void> result = write(content, plan, [&](BytesView bytes) {
      sent += bytes.size();
      return Result<void>();
    });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_LE(sent, plan.file_bytes());  // a peer that was told the length never gets more
  }
}

TEST(Writer, PassesTheSinksErrorOnAndIsDead) {
  const Content content{{"b", numbered(20'000, 100)}};
  std::uint64_t calls = 0;
  auto writer = Writer::open(plan_of(content), [&](BytesView) -> Result<void> {
                  ++calls;
                  return failure(ErrorCode::kNoSpace, "full");
                }).value();
  ASSERT_TRUE(writer.begin_bucket("b"));
  Result<void> result;
  for (const auto& [key, value] : content.at("b")) {
    result = writer.put(key, value);
    if (!result) break;
  }
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(writer.end_bucket().error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(writer.finish().error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(calls, 1u);
}

TEST(Writer, NeedsTheSinkInPiecesOfBoundedSize) {
  const Content content{{"b", numbered(100'000, 50)}};
  std::size_t largest = 0;
  std::uint64_t sent = 0;
  const Plan plan = plan_of(content);
  ASSERT_TRUE(write(content, plan, [&](BytesView bytes) {
    largest = std::max(largest, bytes.size());
    sent += bytes.size();
    return Result<void>();
  }));
  EXPECT_EQ(sent, plan.file_bytes());
  EXPECT_LT(largest, 80'000u);
}

TEST(Cursor, SeeksAndMoves) {
  const Content content{{"b", numbered(5000, 30)}, {"c", {}}, {"d", {{"only", "one"}}}};
  TestFile test(content);
  const Reader reader = Reader::open(*test.file).value();
  Cursor cursor = cursor_of(reader, "b");
  EXPECT_FALSE(cursor.valid());
  for (std::size_t index = 0; index < 5000; index += 37) {
    const Bytes key = fmt::format("{:08}", index);
    ASSERT_TRUE(cursor.seek(key).value());
    EXPECT_EQ(cursor.key(), key);
    ASSERT_TRUE(cursor.seek(key + "x").value() || index == 4999);
    EXPECT_EQ(cursor.key(), fmt::format("{:08}", index + 1));
  }
  EXPECT_TRUE(cursor.seek("").value());
  EXPECT_EQ(cursor.key(), "00000000");
  EXPECT_FALSE(cursor.seek("1").value());
  EXPECT_FALSE(cursor.valid());
  ASSERT_TRUE(cursor.last().value());
  EXPECT_EQ(cursor.key(), "00004999");
  EXPECT_FALSE(cursor.next().value());
  Cursor empty = cursor_of(reader, "c");
  EXPECT_FALSE(empty.first().value());
  EXPECT_FALSE(empty.last().value());
  EXPECT_FALSE(empty.seek("k").value());
  Cursor one = cursor_of(reader, "d");
  ASSERT_TRUE(one.last().value());
  EXPECT_EQ(one.value(), "one");
  EXPECT_FALSE(reader.find("bb").value());
  EXPECT_EQ(reader.find("c").value()->sequence, 2u);
}

/// A leaf as bbolt lays it out, header first.
Bytes leaf_bytes(PageId id, const std::vector<std::tuple<std::uint32_t, Bytes, Bytes>>& elements) {
  const PageHeader header{
      .id = id, .flags = kLeafPage, .count = static_cast<std::uint16_t>(elements.size()), .overflow = 0};
  Bytes bytes(as_bytes(header));
  Bytes data;
  for (const auto& [flags, key, value] : elements) {
    const auto at = static_cast<std::uint32_t>(kPageHeaderBytes + elements.size() * kElementBytes + data.size());
    const LeafElement element{.flags = flags,
                              .at = at - static_cast<std::uint32_t>(bytes.size()),
                              .key_bytes = static_cast<std::uint32_t>(key.size()),
                              .value_bytes = static_cast<std::uint32_t>(value.size())};
    bytes += as_bytes(element);
    data += key + value;
  }
  return bytes + data;
}

/// A file of any page size whose pages behind the metas are given.
Bytes file_of(const std::vector<Bytes>& pages, PageId root, std::uint32_t page_bytes = kPageBytes) {
  Bytes file;
  for (PageId page = 0; page < 2; ++page) {
    Meta meta{.page_bytes = page_bytes, .root = {root, 0}, .high_water = 2 + pages.size(), .txid = 9 - page};
    meta.checksum = checksum_of(meta);
    const PageHeader header{.id = page, .flags = kMetaPage, .count = 0, .overflow = 0};
    file.append(as_bytes(header)).append(as_bytes(meta));
    file.resize((page + 1) * page_bytes);
  }
  for (std::size_t page = 0; page < pages.size(); ++page) {
    file += pages[page];
    file.resize((page + 3) * page_bytes);
  }
  return file;
}

Bytes branch_bytes(PageId id, const std::vector<std::pair<Bytes, PageId>>& children) {
  const PageHeader header{
      .id = id, .flags = kBranchPage, .count = static_cast<std::uint16_t>(children.size()), .overflow = 0};
  Bytes bytes(as_bytes(header));
  Bytes data;
  for (const auto& [key, child] : children) {
    const auto at = static_cast<std::uint32_t>(kPageHeaderBytes + children.size() * kElementBytes + data.size());
    const BranchElement element{.at = at - static_cast<std::uint32_t>(bytes.size()),
                                .key_bytes = static_cast<std::uint32_t>(key.size()),
                                .child = child};
    bytes += as_bytes(element);
    data += key;
  }
  return bytes + data;
}

Bytes bucket_value(PageId root, std::uint64_t sequence = 0) {
  const BucketHeader header{.root = root, .sequence = sequence};
  return Bytes(as_bytes(header));
}

TEST(Reader, CopesWithInlineAndNestedBuckets) {
  const Bytes inline_empty = bucket_value(0, 5) + leaf_bytes(0, {});
  const Bytes inline_full = bucket_value(0) + leaf_bytes(0, {{0, "a", "1"}, {0, "b", "2"}});
  TestFile test(file_of({leaf_bytes(2, {{kBucketElement, "empty", inline_empty},
                                        {kBucketElement, "full", inline_full},
                                        {kBucketElement, "outer", bucket_value(3)}}),
                         leaf_bytes(3, {{kBucketElement, "inner", inline_full}, {0, "plain", "x"}})},
                        2));
  const Reader reader = Reader::open(*test.file).value();
  ASSERT_TRUE(reader.check());
  EXPECT_EQ(reader.find("empty").value()->sequence, 5u);
  EXPECT_FALSE(cursor_of(reader, "empty").first().value());
  Cursor full = cursor_of(reader, "full");
  ASSERT_TRUE(full.seek("b").value());
  EXPECT_EQ(full.value(), "2");
  EXPECT_FALSE(full.next().value());
  Cursor outer = cursor_of(reader, "outer");
  ASSERT_TRUE(outer.first().value());
  ASSERT_TRUE(outer.is_bucket());
  Cursor inner = reader.cursor(outer.bucket().value());
  ASSERT_TRUE(inner.last().value());
  EXPECT_EQ(inner.key(), "b");
  ASSERT_TRUE(outer.next().value());
  EXPECT_FALSE(outer.is_bucket());
  EXPECT_EQ(outer.bucket().error().code, ErrorCode::kCorrupt);
}

TEST(Reader, TakesAnyPageSizeAndALongerFile) {
  for (const std::uint32_t page_bytes : {1024u, 4096u, 16384u, 65536u}) {
    const Bytes whole =
        file_of({leaf_bytes(2, {{kBucketElement, "b", bucket_value(3)}}), leaf_bytes(3, {{0, "k", "v"}})}, 2,
                page_bytes) +
        Bytes(32, 's');
    for (const std::size_t damage : {std::size_t{0}, std::size_t{17}, std::size_t{page_bytes} + 17}) {
      TestFile test(whole);
      if (damage != 0) test.bytes()[damage] ^= 1;  // one of the two metas
      const Result<Content> found = read(*test.file);
      ASSERT_TRUE(found) << page_bytes << ": " << found.error().message;
      EXPECT_EQ(found->at("b").at("k"), "v");
      EXPECT_EQ(Reader::open(*test.file)->meta().txid, damage == 17 ? 8u : 9u);
      EXPECT_EQ(Reader::open(*test.file)->data_bytes(), 4u * page_bytes);
    }
  }
}

TEST(Reader, NamesFilePageAndFault) {
  const Bytes root = leaf_bytes(2, {{kBucketElement, "b", bucket_value(3)}});
  const Bytes leaf = leaf_bytes(3, {{0, "k", "v"}});
  const auto with = [](Bytes bytes, std::size_t at, char byte) {
    bytes.at(at) = byte;
    return bytes;
  };
  struct Row {
    Bytes file;
    const char* message;
  };
  const Row rows[] = {
      {"", "page 0: the file ends before it; nor is there a valid meta in page 1"},
      {Bytes(8192, '\0'), "page 0: no bbolt meta (magic); nor is there a valid meta in page 1"},
      {file_of({root, leaf}, 2).substr(0, 4 * 4096 - 1),
       "the meta counts 4 pages of 4096 bytes, the file has 16383 bytes"},
      {file_of({root, leaf}, 4), "the meta's root is page 4 of 4"},
      {file_of({root, leaf}, 1), "the meta's root is page 1 of 4"},
      {file_of({root, leaf}, 2, 3000), "page 0: a page size of 3000; nor is there a valid meta in page 1"},
      {file_of({leaf_bytes(2, {{kBucketElement, "b", bucket_value(9)}}), leaf}, 2),
       "page 2: a bucket's root is page 9 of 4"},
      {file_of({leaf_bytes(2, {{kBucketElement, "b", "short"}}), leaf}, 2), "page 2: a bucket's value has 5 bytes"},
      {file_of({leaf_bytes(2, {{0, "b", bucket_value(3)}}), leaf}, 2),
       "page 2: the root has an element that is no bucket"},
      {file_of({leaf_bytes(2, {{2, "b", bucket_value(3)}}), leaf}, 2), "page 2: element 0: unknown flags 0x2"},
      {file_of({root, leaf_bytes(7, {})}, 2), "page 3: its header says page 7"},
      {file_of({root, with(leaf, 8, 4)}, 2), "page 3: type 0x4 is neither branch nor leaf"},
      {file_of({root, with(leaf, 12, 1)}, 2), "page 3: 1 pages of overflow pass the high-water mark 4"},
      {file_of({root, with(leaf, 12, 1), ""}, 2), "page 3: 1 pages of overflow for 34 bytes"},
      {file_of({root, with(leaf, 11, 1)}, 2), "page 3: 257 elements do not fit into 4096 bytes"},
      {file_of({root, with(leaf, 20, 17)}, 2), "page 3: element 0: its key is at 33, not at 32"},
      {file_of({root, with(leaf, 24, 0)}, 2), "page 3: element 0: a key of 0 bytes"},
      {file_of({root, with(leaf, 26, 1)}, 2), "page 3: element 0: a key of 65537 bytes"},
      {file_of({root, with(leaf, 31, 1)}, 2), "page 3: element 0: ends at 16777250 of 4096 bytes"},
      {file_of({root, leaf_bytes(3, {{0, "b", ""}, {0, "a", ""}})}, 2),
       "page 3: element 1: its key is not above the one before"},
      {file_of({root, branch_bytes(3, {})}, 2), "page 3: a branch without children"},
      {file_of({root, branch_bytes(3, {{"k", 3}})}, 2), "page 3: it is its own ancestor"},
      {file_of({root, branch_bytes(3, {{"k", 4}}), branch_bytes(4, {{"k", 3}})}, 2), "page 3: it is its own ancestor"},
      {file_of({root, branch_bytes(3, {{"k", 1}})}, 2), "page 1: not between 2 and the high-water mark 4"},
      {file_of({root, branch_bytes(3, {{"l", 4}}), leaf_bytes(4, {{0, "k", ""}})}, 2),
       "page 4: a key below the one its parent names"},
      {file_of({root, branch_bytes(3, {{"k", 4}, {"l", 4}}), leaf_bytes(4, {{0, "k", ""}, {0, "l", ""}})}, 2),
       "page 4: a key that belongs into the page behind it"},
      {file_of({leaf_bytes(2, {{kBucketElement, "b", bucket_value(3)}, {kBucketElement, "c", bucket_value(3)}}), leaf},
               2),
       "page 3: it is reached twice"},
      {file_of({leaf_bytes(2, {{kBucketElement, "b", bucket_value(0)}}), leaf}, 2),
       "page 2: an inline bucket: 0 bytes are no page"},
      {file_of({leaf_bytes(2, {{kBucketElement, "b", bucket_value(0) + branch_bytes(0, {{"k", 3}})}}), leaf}, 2),
       "page 2: an inline bucket: a branch"},
      {file_of({leaf_bytes(2, {{kBucketElement, "b", bucket_value(2)}}), leaf}, 2), "page 2: it is reached twice"},
  };
  for (const Row& row : rows) {
    TestFile test(row.file);
    const Result<Content> found = read(*test.file);
    ASSERT_FALSE(found) << row.message;
    EXPECT_EQ(found.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(found.error().message, test.file->name() + ": " + row.message);
  }
}

TEST(Reader, RefusesEndlessLevelsAndTooMuchOverflow) {
  std::vector<Bytes> pages{leaf_bytes(2, {{kBucketElement, "b", bucket_value(3)}})};
  for (PageId page = 3; page < 100; ++page) pages.push_back(branch_bytes(page, {{"k", page + 1}}));
  pages.push_back(leaf_bytes(100, {{0, "k", "v"}}));
  TestFile deep(file_of(pages, 2));
  EXPECT_TRUE(read(*deep.file).error().message.ends_with("more than 64 levels"));

  TestFile large(Content{{"b", {{"k", Bytes(100'000, 'v')}}}});
  const Reader reader = Reader::open(*large.file, {.overflow_bytes_max = 50'000}).value();
  EXPECT_TRUE(cursor_of(reader, "b").first().error().message.ends_with("above the limit of 50000"));
}

/// True for the bytes that nothing in the format protects: keys and values of plain elements, and, in the last element
/// of a page, how the bytes are divided and how many there are.
bool is_unprotected(const Bytes& file, std::size_t at, PageId root) {
  for (PageId page = kFirstPage; page * kPageBytes < file.size();) {
    const PageHeader header = header_at(file, page);
    const std::size_t end = (page + header.overflow + 1) * kPageBytes;
    if (at >= end) {
      page += header.overflow + 1;
      continue;
    }
    if (page == root || header.flags != kLeafPage) return false;
    const std::size_t data = page * kPageBytes + kPageHeaderBytes + header.count * kElementBytes;
    return at >= data || (header.count > 0 && at >= data - 8);
  }
  return false;
}

TEST(Reader, NoticesOrSurvivesEveryDamagedByte) {
  const Content content{{"a", numbered(150, 40)}, {"b", {{"k", Bytes(5000, 'v')}}}, {"c", {}}, {"d", {{"k", "v"}}}};
  TestFile test(content);
  const Bytes whole = test.bytes();
  const PageId root = Reader::open(*test.file)->meta().root.root;
  Rng rng(7);
  std::size_t noticed = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    if (whole[at] == 0 && at % 16 != 0 && is_unprotected(whole, at, root)) continue;  // most of that is padding
    test.bytes()[at] = static_cast<char>(whole[at] ^ (1 + rng.below(255)));
    const Result<Content> found = read(*test.file);
    test.bytes()[at] = whole[at];
    if (!found) {
      ++noticed;
      EXPECT_EQ(found.error().code, ErrorCode::kCorrupt) << at;
      EXPECT_TRUE(found.error().message.starts_with(test.file->name() + ": ")) << found.error().message;
    } else if (*found != content) {
      // A damaged name of a bucket in the root is data, too.
      const bool renamed = at / kPageBytes == root && found->size() == content.size();
      EXPECT_TRUE(renamed || is_unprotected(whole, at, root)) << "byte " << at << " of page " << at / kPageBytes;
    }
  }
  EXPECT_GT(noticed, 2000u);
}

TEST(Reader, NoticesEveryCut) {
  TestFile test(Content{{"a", numbered(150, 40)}, {"b", {{"k", Bytes(5000, 'v')}}}});
  const Bytes whole = test.bytes();
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 1 + bytes % 61) {
    TestFile cut(BytesView(whole).substr(0, bytes));
    const Result<Content> found = read(*cut.file);
    ASSERT_FALSE(found) << bytes;
    EXPECT_EQ(found.error().code, ErrorCode::kCorrupt);
  }
}

TEST(Upstream, ItsSnapshotIsRead) {
  // etcdctl 3.4.23 snapshot status: hash 3325935177, revision 5, 9 keys, 24576 bytes.
  TestFile test(upstream_snapshot());
  const Content content = read(*test.file).value();
  EXPECT_EQ(Reader::open(*test.file)->data_bytes(), 24576u);
  std::uint32_t hash = 0;
  std::size_t keys = 0;
  for (const auto& [name, pairs] : content) {
    hash = crc32c(hash, name);
    for (const auto& [key, value] : pairs) hash = crc32c(crc32c(hash, key), value);
    keys += pairs.size();
  }
  EXPECT_EQ(hash, 3325935177u);
  EXPECT_EQ(keys, 9u);
  const auto& records = content.at("key");
  EXPECT_EQ(decode_revision_key(records.begin()->first), (RevisionKey{{2, 0}, false}));
  EXPECT_EQ(decode_revision_key(records.rbegin()->first), (RevisionKey{{5, 0}, true}));
  EXPECT_TRUE(decode_number_key(content.at("lease").begin()->first));
  for (const auto& [name, pairs] : content) {
    EXPECT_TRUE(std::find(kEtcdBuckets.begin(), kEtcdBuckets.end(), name) != kEtcdBuckets.end()) << name;
  }
  // What was read can be written again, and reads the same.
  TestFile copy(content);
  EXPECT_TRUE(read(*copy.file).value() == content);
}

TEST(EtcdSchema, BucketsAreInOrder) {
  EXPECT_TRUE(std::is_sorted(kEtcdBuckets.begin(), kEtcdBuckets.end()));
}

TEST(EtcdSchema, RevisionKeys) {
  const Bytes put("\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03", 17);
  EXPECT_EQ(encode_revision_key({.revision = {0x102, 3}, .tombstone = false}), put);
  EXPECT_EQ(encode_revision_key({.revision = {0x102, 3}, .tombstone = true}), put + "t");
  EXPECT_EQ(decode_revision_key(put), (RevisionKey{{0x102, 3}, false}));
  EXPECT_EQ(decode_revision_key(put + "t"), (RevisionKey{{0x102, 3}, true}));
  const Bytes bad[] = {"",
                       put.substr(1),
                       put + "u",
                       put + "tt",
                       "\xff" + put.substr(1),
                       put.substr(0, 8) + "-" + put.substr(9),
                       put.substr(0, 9) + "\x80" + put.substr(10)};
  for (const Bytes& each : bad) EXPECT_FALSE(decode_revision_key(each)) << each.size();
  EXPECT_EQ(number_key(0x0102030405060708), "\1\2\3\4\5\6\7\x08");
  EXPECT_EQ(decode_number_key(number_key(77)), 77u);
  EXPECT_FALSE(decode_number_key("1234567"));
}

}  // namespace
}  // namespace etcd::bolt
