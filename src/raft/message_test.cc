#include "raft/message.h"

#include <gtest/gtest.h>

#include <vector>

namespace etcd::raft {
namespace {

TEST(ConfChange, IsTheSameAfterTheWire) {
  const struct {
    const char* name;
    ConfChangeV2 change;
    EntryType type;
    Bytes data;
  } rows[] = {
      {"v1 as etcd up to 3.6 writes it", conf_change_v1(ConfChangeType::kRemoveNode, 300, "x", 7),
       EntryType::kConfChange, Bytes("\x08\x07\x10\x01\x18\xac\x02\x22\x01x", 10)},
      {"v1 without context", conf_change_v1(ConfChangeType::kAddNode, 1), EntryType::kConfChange,
       Bytes("\x08\x00\x10\x00\x18\x01", 6)},
      {"leaving a joint configuration is empty", {}, EntryType::kConfChangeV2, Bytes()},
      {"leaving with a context",
       {.changes = {}, .context = "c"},
       EntryType::kConfChangeV2,
       Bytes("\x08\x00\x1a\x01"
             "c",
             5)},
      {"two changes, explicit",
       {.transition = ConfChangeTransition::kJointExplicit,
        .changes = {{ConfChangeType::kAddNode, 2}, {ConfChangeType::kAddLearnerNode, 3}}},
       EntryType::kConfChangeV2,
       Bytes("\x08\x02\x12\x04\x08\x00\x10\x02\x12\x04\x08\x03\x10\x03", 14)},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Entry entry = encode_conf_change(row.change);
    EXPECT_EQ(entry.type, row.type);
    EXPECT_EQ(entry.data.view(), row.data);
    const auto read = decode_conf_change(entry);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(*read, row.change);
  }
}

TEST(ConfChange, RefusesWhatItCannotRead) {
  const struct {
    const char* name;
    EntryType type;
    Bytes data;
  } rows[] = {
      {"a normal entry", EntryType::kNormal, Bytes()},
      {"a number without its end", EntryType::kConfChange, Bytes("\x08\x80", 2)},
      {"a number of eleven bytes", EntryType::kConfChange,
       Bytes("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12)},
      {"bytes shorter than they say", EntryType::kConfChange, Bytes("\x22\x05x", 3)},
      {"field number 0", EntryType::kConfChange, Bytes("\x00\x00", 2)},
      {"a group", EntryType::kConfChangeV2, Bytes("\x0b", 1)},
      {"an unknown type of change", EntryType::kConfChange, Bytes("\x10\x04", 2)},
      {"an unknown transition", EntryType::kConfChangeV2, Bytes("\x08\x03", 2)},
      {"a damaged change within", EntryType::kConfChangeV2, Bytes("\x12\x02\x08\x80", 4)},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto read = decode_conf_change({.type = row.type, .data = SharedBytes(row.data)});
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(ConfChange, SkipsFieldsItDoesNotKnow) {
  const Bytes data("\x08\x01\x28\x05\x35\x01\x02\x03\x04\x39\x01\x02\x03\x04\x05\x06\x07\x08\x18\x09", 20);
  const auto read = decode_conf_change({.type = EntryType::kConfChange, .data = SharedBytes(data)});
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, conf_change_v1(ConfChangeType::kAddNode, 9, {}, 1));
}

TEST(ConfChange, KnowsWhetherItEntersOrLeavesAJointConfiguration) {
  using enum ConfChangeTransition;
  const std::vector<ConfChangeSingle> one = {{ConfChangeType::kAddNode, 1}};
  const std::vector<ConfChangeSingle> two = {{ConfChangeType::kAddNode, 1}, {ConfChangeType::kAddNode, 2}};
  const struct {
    const char* name;
    ConfChangeTransition transition;
    std::vector<ConfChangeSingle> changes;
    bool enters, auto_leave, leaves;
  } rows[] = {
      {"one change takes one step", kAuto, one, false, true, false},
      {"two changes are joint", kAuto, two, true, true, false},
      {"none leaves", kAuto, {}, false, true, true},
      {"implicit", kJointImplicit, one, true, true, false},
      {"explicit", kJointExplicit, one, true, false, false},
      {"explicit without changes", kJointExplicit, {}, true, false, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const ConfChangeV2 change{.transition = row.transition, .changes = row.changes};
    EXPECT_EQ(change.enters_joint(), row.enters);
    EXPECT_EQ(change.auto_leave(), row.auto_leave);
    EXPECT_EQ(change.leaves_joint(), row.leaves);
  }
}

TEST(Entry, CountsItsBytes) {
  const struct {
    const char* name;
    Entry entry;
    std::uint64_t encoded;
  } rows[] = {
      {"empty", {.term = Term{1}, .index = Index{1}, .type = EntryType::kNormal}, 4},
      {"large numbers", {.term = Term{300}, .index = Index{1 << 14}, .type = EntryType::kNormal}, 7},
      {"a typed one",
       {.term = Term{1}, .index = Index{1}, .type = EntryType::kConfChange, .data = SharedBytes("ab")},
       10},
      {"200 bytes",
       {.term = Term{1}, .index = Index{1}, .type = EntryType::kNormal, .data = SharedBytes(Bytes(200, 'x'))},
       207},
  };
  std::vector<Entry> all;
  std::uint64_t sum = 0;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(encoded_bytes(row.entry), row.encoded);
    all.push_back(row.entry);
    sum += row.encoded;
  }
  EXPECT_EQ(encoded_bytes(all), sum);
  EXPECT_EQ(payload_bytes(all), 202u);
}

}  // namespace
}  // namespace etcd::raft
