#include "peer/message_codec.h"

#include <gtest/gtest.h>

#include "codec/wire.h"

namespace etcd::peer {
namespace {

Bytes bytes_of(std::string_view hex) {
  Bytes bytes;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(at, 2)), nullptr, 16)));
  }
  return bytes;
}

Bytes encoded(const raft::Message& message) {
  Bytes bytes;
  append_message(bytes, message);
  return bytes;
}

raft::Entry entry(std::uint64_t term, std::uint64_t index, Bytes data) {
  return {.term = Term{term}, .index = Index{index}, .data = SharedBytes(std::move(data))};
}

std::vector<raft::Message> messages() {
  raft::Snapshot snapshot;
  snapshot.data = SharedBytes(Bytes("{\"root\":{}}"));
  snapshot.metadata = {.conf_state = {.voters = {1, 2},
                                      .learners = {3},
                                      .voters_outgoing = {1, 4},
                                      .learners_next = {4},
                                      .auto_leave = true},
                       .index = Index{300},
                       .term = Term{7}};
  raft::Entry change = entry(7, 10, "change");
  change.type = raft::EntryType::kConfChangeV2;
  return {
      {.type = raft::MessageType::kApp,
       .to = 1,
       .from = ~std::uint64_t{0} - 5,
       .term = Term{7},
       .log_term = Term{6},
       .index = Index{9},
       .commit = Index{8},
       .entries = {change, entry(7, 11, ""), entry(7, 12, Bytes(1000, '\0'))}},
      {.type = raft::MessageType::kAppResp,
       .reject = true,
       .to = 1,
       .from = 2,
       .term = Term{7},
       .log_term = Term{3},
       .index = Index{9},
       .reject_hint = Index{5}},
      {.type = raft::MessageType::kHeartbeat,
       .to = 1,
       .from = 2,
       .term = Term{7},
       .commit = Index{3},
       .context = Bytes("\0\1\2", 3)},
      {.type = raft::MessageType::kSnap, .to = 1, .from = 2, .term = Term{7}, .snapshot = snapshot},
      {.type = raft::MessageType::kReadIndex, .to = 1, .from = 2, .entries = {entry(0, 0, "12345678")}},
      {.type = raft::MessageType::kForgetLeader, .vote = 3},
  };
}

TEST(MessageCodec, EveryFieldComesBack) {
  for (const raft::Message& message : messages()) {
    const Result<raft::Message> again = decode_message(encoded(message));
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(*again, message);
  }
}

TEST(MessageCodec, ResponsesStayAtHome) {
  const raft::Message message{.type = raft::MessageType::kStorageAppend, .responses = {{.to = 1}}};
  EXPECT_EQ(decode_message(encoded(message)).value(), raft::Message{.type = raft::MessageType::kStorageAppend});
}

// Recorded from members of 3.7.1 and 3.4.23.
TEST(MessageCodec, TheBytesOfOldAndNewMembers) {
  const raft::Message heartbeat{.type = raft::MessageType::kHeartbeat};
  EXPECT_EQ(encoded(heartbeat), bytes_of("0808"));
  const Bytes old = bytes_of("08081000180020002800300040004a0a12080a0228001000180050005800");
  ASSERT_EQ(old.size(), 30u);
  const Result<raft::Message> read = decode_message(old);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, heartbeat);  // a snapshot that is there and empty is none
  const Result<raft::Message> vote = decode_message(bytes_of("0805100118022003280230ff02"));
  EXPECT_EQ(vote.value(), (raft::Message{.type = raft::MessageType::kVote,
                                         .to = 1,
                                         .from = 2,
                                         .term = Term{3},
                                         .log_term = Term{2},
                                         .index = Index{383}}));
}

TEST(MessageCodec, IdsOfASnapshotMayComePacked) {
  Bytes conf;
  codec::append_bytes_field(conf, 1, bytes_of("01ac02"));
  codec::append_varint_field(conf, 1, 9);
  Bytes metadata;
  codec::append_bytes_field(metadata, 1, conf);
  codec::append_varint_field(metadata, 2, 5);
  Bytes snapshot;
  codec::append_bytes_field(snapshot, 2, metadata);
  Bytes message;
  codec::append_bytes_field(message, 9, snapshot);
  EXPECT_EQ(decode_message(message).value().snapshot.value().metadata.conf_state.voters,
            (std::vector<MemberId>{1, 300, 9}));
}

TEST(MessageCodec, NonsenseIsRefused) {
  struct Row {
    const char* name;
    const char* hex;
  };
  const Row rows[] = {
      {"cut off",
       "0803100"
       "1182"},
      {"a length beyond the end", "3a05"},
      {"an entry of an unknown type", "3a020807"},
      {"a message of an unknown type", "0818"},
      {"a broken snapshot", "4a0112"},
      {"a broken list of ids", "4a0612040a020aff"},
      {"a group", "0b"},
      {"field zero", "0000"},
  };
  for (const Row& row : rows) {
    const Result<raft::Message> message = decode_message(bytes_of(row.hex));
    ASSERT_FALSE(message.has_value()) << row.name;
    EXPECT_EQ(message.error().code, ErrorCode::kInvalidArgument) << row.name;
  }
  EXPECT_EQ(decode_message(bytes_of("7a0161")).value(), raft::Message{});  // a field of later times is skipped
}

}  // namespace
}  // namespace etcd::peer
