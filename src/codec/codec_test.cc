#include <gtest/gtest.h>

#include "base/rng.h"
#include "codec/json.h"
#include "codec/proto/raft.pb.h"
#include "codec/proto/raft_internal.pb.h"
#include "codec/wire.h"

namespace etcd::codec {
namespace {

TEST(Json, StringsAsGoWritesThem) {
  struct Row {
    const char* name;
    Bytes text;
    Bytes json;
  };
  const Row rows[] = {
      {"empty", "", "\"\""},
      {"plain", "this is awesome", "\"this is awesome\""},
      {"quote and backslash", "a\"b\\c", "\"a\\\"b\\\\c\""},
      {"html", "<a>&", "\"\\u003ca\\u003e\\u0026\""},
      {"short escapes", "\n\r\t", "\"\\n\\r\\t\""},
      {"control", Bytes("\x01\x1f\0", 3), "\"\\u0001\\u001f\\u0000\""},
      {"delete is plain", "\x7f", "\"\x7f\""},
      {"two bytes", "\u00e9", "\"\u00e9\""},
      {"four bytes", "\U0001F600", "\"\U0001F600\""},
      {"line separators", "\u2028\u2029", "\"\\u2028\\u2029\""},
      {"a stray byte",
       "a\xff"
       "b",
       "\"a\\ufffdb\""},
      {"overlong", "\xc0\xaf", "\"\\ufffd\\ufffd\""},
      {"surrogate", "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
      {"cut off", "\xe4\xbd", "\"\\ufffd\\ufffd\""},
      {"past the end", "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
  };
  for (const Row& row : rows) {
    Bytes out = "x";
    append_json_string(out, row.text);
    EXPECT_EQ(out, "x" + row.json) << row.name;
  }
}

TEST(Json, NumbersAtTheirEnds) {
  Bytes out;
  append_json_number(out, std::uint64_t{18446744073709551615u});
  out.push_back(' ');
  append_json_number(out, std::int64_t{INT64_MIN});
  EXPECT_EQ(out, "18446744073709551615 -9223372036854775808");
  EXPECT_EQ(to_valid_utf8("a\xff\u00e9"), "a\uFFFD\u00e9");
}

TEST(Wire, ReadsWhatProtobufWrites) {
  raftpb::Entry entry;
  entry.set_type(raftpb::EntryConfChange);
  entry.set_term(1u << 31);
  entry.set_index(UINT64_MAX);
  entry.set_data(Bytes("ab\0c", 4));
  const Bytes bytes = entry.SerializeAsString();
  Bytes ours;
  append_varint_field(ours, 1, 1);
  append_varint_field(ours, 2, 1u << 31);
  append_varint_field(ours, 3, UINT64_MAX);
  append_bytes_field(ours, 4, BytesView("ab\0c", 4));
  EXPECT_EQ(ours, bytes);
  FieldReader reader(bytes);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.field(), 1u);
  EXPECT_EQ(reader.varint(), 1u);
  ASSERT_TRUE(reader.next());
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.varint(), UINT64_MAX);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.bytes(), BytesView("ab\0c", 4));
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.ok());
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    FieldReader torn(BytesView(bytes).substr(0, cut));
    while (torn.next()) {
    }
    raftpb::Entry parsed;
    EXPECT_EQ(torn.ok(), parsed.ParseFromString(bytes.substr(0, cut))) << cut;
  }
}

TEST(Wire, RandomBytesNeverRunAway) {
  Rng rng(11);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes;
    for (std::uint64_t count = rng.below(24); count > 0; --count) bytes.push_back(static_cast<char>(rng.next()));
    FieldReader reader(bytes);
    int fields = 0;
    while (reader.next()) ++fields;
    EXPECT_LE(fields, 24);
  }
}

TEST(Proto, OurFieldIsUnknownToUpstreamOnlyByNumber) {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header()->set_id(7);
  request.mutable_v2_command()->set_path("/a");
  etcdserverpb::InternalRaftRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(request.SerializeAsString()));
  EXPECT_EQ(parsed.v2_command().path(), "/a");
  EXPECT_EQ(etcdserverpb::InternalRaftRequest::kV2CommandFieldNumber, 70000);
}

}  // namespace
}  // namespace etcd::codec
