#include "mvcc/entry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/rng.h"
#include "mvcc/history.h"
#include "mvcc/links.h"
#include "mvcc/sort.h"

namespace etcd::mvcc {
namespace {

// Bytes as protobuf's encoding guide has them; 3.7.1 stores the first row for `etcdctl put foo bar` on an empty store.
TEST(KeyValueBytes, KnownForms) {
  struct Row {
    const char* name;
    KeyValue kv;
    Bytes bytes;
  };
  const Row rows[] = {
      {"first put",
       {"foo", 2, 2, 1, "bar", 0},
       Bytes("\x0a\x03"
             "foo\x10\x02\x18\x02\x20\x01\x2a\x03"
             "bar")},
      {"key only",
       {"foo", 0, 0, 0, "", 0},
       Bytes("\x0a\x03"
             "foo")},
      {"two-byte numbers", {"k", 300, 301, 2, "", 7}, Bytes("\x0a\x01k\x10\xac\x02\x18\xad\x02\x20\x02\x30\x07")},
      {"negative lease", {"k", 0, 0, 0, "", -1}, Bytes("\x0a\x01k\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
      {"nothing", {}, Bytes()},
  };
  for (const Row& row : rows) {
    Bytes bytes;
    append_encoded(row.kv, bytes);
    EXPECT_EQ(bytes, row.bytes) << row.name;
    EXPECT_EQ(encoded_size(row.kv), row.bytes.size()) << row.name;
    const Result<KeyValue> back = decode_key_value(row.bytes);
    ASSERT_TRUE(back.has_value()) << row.name;
    EXPECT_EQ(*back, row.kv) << row.name;
  }
}

TEST(KeyValueBytes, OrderAndUnknownFieldsDoNotMatter) {
  const Bytes bytes(
      "\x18\x02\x0a\x01k\x72\x02zz\x79"
      "12345678\x7d"
      "1234\x78\x01",
      25);
  const Result<KeyValue> kv = decode_key_value(bytes);
  ASSERT_TRUE(kv.has_value()) << kv.error().message;
  EXPECT_EQ(*kv, (KeyValue{"k", 0, 2, 0, "", 0}));
}

TEST(KeyValueBytes, MalformedOnesAreRefused) {
  struct Row {
    const char* name;
    Bytes bytes;
  };
  const Row rows[] = {
      {"tag without number", Bytes("\x10")},
      {"length past the end", Bytes("\x0a\x05"
                                    "ab")},
      {"no length", Bytes("\x0a")},
      {"number of 11 bytes", Bytes("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
      {"number past 64 bits", Bytes("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")},
      {"short fixed64", Bytes("\x79"
                              "1234567")},
      {"group", Bytes("\x0b")},
  };
  for (const Row& row : rows) {
    const Result<KeyValue> kv = decode_key_value(row.bytes);
    ASSERT_FALSE(kv.has_value()) << row.name;
    EXPECT_EQ(kv.error().code, ErrorCode::kCorrupt) << row.name;
  }
}

TEST(EntryTest, ShowsWhatItWasMadeOf) {
  Bytes links;
  append_links(90, {{80, 1}, {70, 0}}, links);
  for (const bool with_attributes : {false, true}) {
    for (const std::size_t key_size : {1u, 127u, 128u, 20'000u}) {
      Entry::Parts parts;
      const Bytes key(key_size, 'k');
      parts.kv = {key, 70, 90, 3, "value", 5};
      parts.sub = 4;
      parts.position = 3;
      parts.links = links;
      if (with_attributes) parts.attributes = {.created_index = 12, .deadline = {.ns = 99}, .ttl = 7s};
      const EntryRef entry = Entry::make(parts);
      EXPECT_EQ(entry->key(), key);
      EXPECT_EQ(entry->value(), "value");
      EXPECT_EQ(entry->fields(), parts.kv);
      EXPECT_EQ(entry->revision(), (Revision{90, 4}));
      EXPECT_EQ(entry->attributes(), parts.attributes);
      EXPECT_EQ(entry->created_index(), with_attributes ? 12 : 70);
      EXPECT_EQ(entry->links(), links);
      EXPECT_FALSE(entry->is_tombstone());
      Bytes key_only;
      append_encoded({.key = key, .value = {}}, key_only);
      EXPECT_EQ(entry->encoded_key_only(), key_only);
    }
  }
}

TEST(EntryTest, AStubTellsAllButTheValue) {
  Bytes links;
  append_links(90, {{80, 1}, {70, 0}}, links);
  const Bytes value(30'000, 'v');
  for (const bool with_attributes : {false, true}) {
    Entry::Parts parts;
    parts.kv = {"/a/b", 70, 90, 3, value, 5};
    parts.sub = 4;
    parts.position = 3;
    parts.links = links;
    if (with_attributes) parts.attributes = {.created_index = 12, .deadline = {.ns = 99}, .ttl = 7s};
    const EntryRef whole = Entry::make(parts);
    const EntryRef stub = Entry::make_stub(*whole);
    EXPECT_TRUE(whole->has_value());
    EXPECT_FALSE(stub->has_value());
    EXPECT_EQ(stub->key(), "/a/b");
    EXPECT_EQ(stub->value_size(), 30'000u);
    EXPECT_EQ(whole->value_size(), 30'000u);
    EXPECT_EQ(stub->meta(), whole->meta());
    EXPECT_EQ(stub->meta(), (KeyValue{"/a/b", 70, 90, 3, {}, 5}));
    EXPECT_EQ(stub->version(), 3);
    EXPECT_EQ(stub->lease(), 5);
    EXPECT_EQ(stub->revision(), (Revision{90, 4}));
    EXPECT_EQ(stub->position(), 3u);
    EXPECT_EQ(stub->links(), links);
    EXPECT_EQ(stub->attributes(), parts.attributes);
    EXPECT_EQ(stub->created_index(), with_attributes ? 12 : 70);
    EXPECT_EQ(stub->encoded_key_only(), whole->encoded_key_only());
    EXPECT_LT(stub->footprint(), 120u);
    EXPECT_GT(whole->footprint(), 30'000u);
    EXPECT_DEATH((void)stub->value(), "the value of revision 90.4 is asked of its stub");
    EXPECT_DEATH((void)stub->encoded(), "the value of revision 90.4 is asked of its stub");
  }
}

TEST(EntryTest, CountsItsOwners) {
  Entry::Parts parts;
  parts.kv = {"k", 2, 2, 1, "v", 0};
  EntryRef one = Entry::make(parts);
  EntryRef two = one;
  EntryRef three(one.get());
  one = nullptr;
  EXPECT_EQ(two->key(), "k");
  two = std::move(three);
  EXPECT_FALSE(three);                                   // NOLINT: moved-from is null
  EXPECT_EQ(EntryRef::adopt(two.detach())->key(), "k");  // the sanitizers see a leak or a double free
}

// --- history records ---

TEST(HistoryRecords, ComeBackAsTheyWere) {
  Bytes links;
  append_links(90, {{80, 1}, {70, 0}}, links);
  for (unsigned variant = 0; variant < 16; ++variant) {
    Entry::Parts parts;
    parts.tombstone = (variant & 1) != 0;
    parts.kv = parts.tombstone ? KeyValue{"/a/b", 0, 90, 0, "", 0} : KeyValue{"/a/b", 70, 90, 3, "value", -5};
    parts.sub = 0xFFFFFFFF;
    if ((variant & 2) != 0) parts.attributes = {.created_index = 12, .deadline = {.ns = -99}, .ttl = -7s};
    if ((variant & 4) != 0) {
      parts.position = 3;
      parts.links = links;
    }
    const Cause cause{Action::kExpire, "/a"};
    const EntryRef entry = Entry::make(parts);
    const Bytes key = history_key(entry->revision());
    const Bytes bytes = encode_history_record(record_of(*entry, (variant & 8) != 0 ? &cause : nullptr));
    const Result<HistoryRecord> record = decode_history_record(key, bytes);
    ASSERT_TRUE(record.has_value()) << variant << record.error().message;
    const EntryRef back = record->to_entry();
    EXPECT_EQ(back->encoded(), entry->encoded());
    EXPECT_EQ(back->key(), entry->key());
    EXPECT_EQ(back->revision(), entry->revision());
    EXPECT_EQ(back->is_tombstone(), entry->is_tombstone());
    EXPECT_EQ(back->attributes(), entry->attributes());
    EXPECT_EQ(back->position(), entry->position());
    EXPECT_EQ(back->links(), entry->links());
    EXPECT_EQ(record->cause() != nullptr, (variant & 8) != 0);
    if (record->cause()) {
      EXPECT_EQ(*record->cause(), cause);
    }
    EXPECT_EQ(record->upstream_value(), parts.tombstone ? entry->encoded_key_only() : entry->encoded());

    // Any flipped bit is noticed, in the record and in the key that it is stored under.
    for (std::size_t place = 0; place < bytes.size() * 8; ++place) {
      Bytes bad = bytes;
      bad[place / 8] = static_cast<char>(bad[place / 8] ^ (1 << (place % 8)));
      const Result<HistoryRecord> damaged = decode_history_record(key, bad);
      ASSERT_FALSE(damaged.has_value()) << variant << " bit " << place;
      EXPECT_EQ(damaged.error().code, ErrorCode::kCorrupt);
      EXPECT_NE(damaged.error().message.find("table history, revision 90.4294967295"), std::string::npos);
    }
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode_history_record(key, BytesView(bytes).substr(0, size)).has_value()) << size;
    }
    EXPECT_FALSE(decode_history_record(history_key({91, 0}), bytes).has_value());
    EXPECT_FALSE(decode_history_record("short", bytes).has_value());
  }
}

TEST(HistoryRecords, APeekChecksAllButALargeValue) {
  const Cause cause{Action::kExpire, "/a"};
  Bytes links;
  append_links(90, {{80, 1}, {70, 0}}, links);
  const Bytes value(kPeekedValueBytesMin, 'v');
  for (const LeaseId lease : {0, 7}) {
    for (const bool with_all : {false, true}) {
      Entry::Parts parts;
      parts.kv = {"/a/b", 70, 90, 3, value, lease};
      if (with_all) {
        parts.attributes = {.created_index = 12, .deadline = {.ns = -99}, .ttl = -7s};
        parts.position = 3;
        parts.links = links;
      }
      const EntryRef entry = Entry::make(parts);
      const Bytes key = history_key(entry->revision());
      const Bytes bytes = encode_history_record(record_of(*entry, with_all ? &cause : nullptr));
      const auto whole = decode_history_record(key, bytes);
      ASSERT_TRUE(whole.has_value()) << whole.error().message;
      EXPECT_EQ(whole->to_entry()->encoded(), entry->encoded());
      EXPECT_TRUE(whole->to_entry_or_stub(value.size())->has_value());
      const auto peeked = peek_history_record(key, bytes, 0);
      ASSERT_TRUE(peeked.has_value()) << peeked.error().message;
      const EntryRef stub = peeked->to_entry_or_stub(0);
      EXPECT_FALSE(stub->has_value());
      EXPECT_EQ(stub->value_size(), value.size());
      EXPECT_EQ(stub->meta(), entry->meta());
      EXPECT_EQ(stub->attributes(), entry->attributes());
      EXPECT_EQ(stub->links(), entry->links());
      EXPECT_EQ(stub->position(), entry->position());

      const std::size_t value_begins = bytes.find(value);
      const std::size_t value_ends = value_begins + value.size();
      for (std::size_t place = 0; place < bytes.size(); ++place) {
        Bytes bad = bytes;
        bad[place] = static_cast<char>(bad[place] ^ (1 << place % 8));
        EXPECT_FALSE(decode_history_record(key, bad).has_value()) << place;
        EXPECT_FALSE(peek_history_record(key, bad, value.size()).has_value()) << place;
        const bool unread = place < 4 || (place >= value_begins && place < value_ends);
        EXPECT_EQ(peek_history_record(key, bad, value.size() - 1).has_value(), unread) << place;
      }
      for (std::size_t size = 0; size < value_begins; ++size) {
        EXPECT_FALSE(peek_history_record(key, BytesView(bytes).substr(0, size), 0).has_value()) << size;
      }
      EXPECT_FALSE(peek_history_record(history_key({90, 1}), bytes, 0).has_value()) << "another row's record";
    }
  }
}

TEST(HistoryRecords, KeysOrderAsRevisions) {
  const Revision revisions[] = {{0, 0}, {1, 0}, {1, 1}, {1, 256}, {2, 0}, {255, 9}, {256, 0}, {INT64_MAX, 0}};
  Bytes before;
  for (const Revision& revision : revisions) {
    const Bytes key = history_key(revision);
    EXPECT_GT(key, before);
    EXPECT_EQ(*parse_history_key(key), revision);
    before = key;
  }
}

// --- links ---

TEST(LinksTest, AnyVersionIsFoundInLogarithmicallyManySteps) {
  constexpr int kVersions = 1500;
  struct Node {
    Links links;
    std::uint32_t position;
  };
  std::vector<Node> nodes(1);  // nodes[i] is the version at revision i + 10, from i = 1
  nodes.push_back({{}, 1});
  for (int version = 2; version <= kVersions; ++version) {
    const Node& before = nodes.back();
    NextLinks next = links_on_top({version + 9, 0}, before.links, before.position, 0);
    EXPECT_EQ(next.position, static_cast<std::uint32_t>(version));
    EXPECT_EQ(next.links.size(), link_count(next.position));
    EXPECT_LE(next.links.size(), 12u);
    Bytes bytes;
    append_links(version + 10, next.links, bytes);
    EXPECT_EQ(*decode_links({version + 10, 0}, bytes), next.links);
    nodes.push_back({std::move(next.links), next.position});
  }
  int steps_max = 0;
  for (int wanted = 1; wanted < kVersions; ++wanted) {
    int at = kVersions;
    int steps = 0;
    while (nodes[at].links.front().main > wanted + 10) {
      const Links& links = nodes[at].links;
      std::size_t oldest = 0;
      while (oldest + 1 < links.size() && links[oldest + 1].main > wanted + 10) ++oldest;
      at = static_cast<int>(links[oldest].main - 10);
      ++steps;
    }
    EXPECT_EQ(nodes[at].links.front().main, wanted + 10);
    steps_max = std::max(steps_max, steps);
  }
  EXPECT_LE(steps_max, 12);
}

TEST(LinksTest, WhatNoSearchCanReachIsDropped) {
  Links links;
  std::uint32_t position = 1;
  std::size_t most = 0;
  for (std::int64_t revision = 2; revision < 3000; ++revision) {
    // Everything but the last 20 revisions is compacted.
    NextLinks next = links_on_top({revision, 0}, links, position, revision - 20);
    links = std::move(next.links);
    position = next.position;
    most = std::max(most, links.size());
    for (std::size_t place = 0; place + 1 < links.size(); ++place) EXPECT_GT(links[place].main, revision - 20);
  }
  EXPECT_LE(most, 6u);
  EXPECT_LE(position, 130u);
}

TEST(LinksTest, MalformedBytesAreRefused) {
  struct Row {
    const char* name;
    Bytes bytes;
  };
  const Row rows[] = {
      {"half a link", Bytes("\x01")},
      {"to itself", Bytes("\x00\x05", 2)},
      {"to revision 0", Bytes("\x0a\x00", 2)},
      {"out of order", Bytes("\x02\x00\x01\x00", 4)},
      {"sub of 33 bits", Bytes("\x01\x80\x80\x80\x80\x10")},
  };
  for (const Row& row : rows) EXPECT_FALSE(decode_links({10, 5}, row.bytes).has_value()) << row.name;
  EXPECT_TRUE(decode_links({10, 5}, Bytes("\x00\x04", 2)).has_value());
}

// --- sorting ---

TEST(SortByKey, AgreesWithPlainComparison) {
  Rng rng(5);
  for (int round = 0; round < 60; ++round) {
    std::vector<EntryRef> owners;
    std::set<Bytes> keys;
    const Bytes common(rng.below(40), 'c');
    const std::uint64_t count = rng.below(400);
    while (keys.size() < count) {
      // Few letters, zeros among them, and varying lengths: prefixes of one another, heads that tie.
      Bytes key = rng.chance(9, 10) ? common : Bytes();
      for (std::uint64_t size = 1 + rng.below(30); size-- > 0;) key.push_back("\0\0a\xff"[rng.below(4)]);
      keys.insert(std::move(key));
    }
    std::vector<Bytes> shuffled(keys.begin(), keys.end());
    for (std::size_t place = shuffled.size(); place > 1; --place) {
      std::swap(shuffled[place - 1], shuffled[rng.below(place)]);
    }
    std::vector<const Entry*> entries;
    for (const Bytes& key : shuffled) {
      Entry::Parts parts;
      parts.kv = {key, 2, 2, 1, "", 0};
      owners.push_back(Entry::make(parts));
      entries.push_back(owners.back().get());
    }
    EXPECT_FALSE(sort_by_key(entries));
    auto expected = keys.begin();
    for (const Entry* entry : entries) ASSERT_EQ(entry->key(), *expected++) << "round " << round;
  }
}

TEST(SortByKey, TellsOfEqualKeys) {
  Rng rng(6);
  for (const std::size_t count : {2, 5, 12, 13, 300}) {
    for (int round = 0; round < 20; ++round) {
      // Long or short, with the two that are equal anywhere; zeros at the end are what pads a short one.
      std::vector<EntryRef> owners;
      const Bytes common(rng.below(20), 'c');
      const std::size_t twin = 1 + rng.below(count - 1);
      for (std::size_t number = 0; number < count; ++number) {
        Bytes key = common + std::to_string(number == twin ? 0 : number);
        key.append(rng.chance(1, 2) ? 0 : 9, '\0');
        if (number == twin) key = owners.front()->key();
        Entry::Parts parts;
        parts.kv = {key, 2, static_cast<std::int64_t>(number) + 2, 1, "", 0};
        owners.push_back(Entry::make(parts));
      }
      std::vector<const Entry*> entries;
      for (const EntryRef& owner : owners) entries.push_back(owner.get());
      for (std::size_t place = count; place > 1; --place) std::swap(entries[place - 1], entries[rng.below(place)]);
      EXPECT_TRUE(sort_by_key(entries)) << count;
      EXPECT_TRUE(std::ranges::is_sorted(entries, {}, [](const Entry* entry) { return entry->key(); }));
    }
  }
}

TEST(SortByKey, SeveralThreadsDoAsOne) {
  Rng rng(7);
  // One large group below a long common beginning, one that parts at once, and some that end early.
  std::vector<EntryRef> owners;
  for (int number = 0; number < 150'000; ++number) {
    Bytes key = rng.chance(1, 2) ? "/registry/pods/default/" : "/";
    for (std::uint64_t size = 1 + rng.below(12); size-- > 0;) key.push_back("\0abcdefg"[rng.below(8)]);
    Entry::Parts parts;
    parts.kv = {key, 2, 2, 1, "", 0};
    owners.push_back(Entry::make(parts));
  }
  std::vector<const Entry*> expected;
  for (const EntryRef& owner : owners) expected.push_back(owner.get());
  std::vector<const Entry*> one = expected;
  std::vector<const Entry*> three = expected;
  std::ranges::sort(expected, {}, [](const Entry* entry) { return entry->key(); });
  EXPECT_TRUE(sort_by_key(one)) << "short keys came twice";
  EXPECT_TRUE(sort_by_key(three, 3));
  for (std::size_t place = 0; place < expected.size(); ++place) {
    ASSERT_EQ(one[place]->key(), expected[place]->key()) << place;
    ASSERT_EQ(three[place]->key(), expected[place]->key()) << place;
  }
}

}  // namespace
}  // namespace etcd::mvcc
