#include "peer/stream_codec.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "peer/message_codec.h"
#include "replica/entry_codec.h"

namespace etcd::peer {
namespace {

constexpr MemberId kLeader = 2;
constexpr MemberId kFollower = 1;

raft::Entry entry(std::uint64_t term, std::uint64_t index, Bytes data = "d") {
  return {.term = Term{term}, .index = Index{index}, .data = SharedBytes(std::move(data))};
}

raft::Message append(std::uint64_t term, std::uint64_t log_term, std::uint64_t index, std::vector<raft::Entry> entries,
                     std::uint64_t commit) {
  return {.type = raft::MessageType::kApp,
          .to = kFollower,
          .from = kLeader,
          .term = Term{term},
          .log_term = Term{log_term},
          .index = Index{index},
          .commit = Index{commit},
          .entries = std::move(entries)};
}

Bytes number(std::uint64_t value) {
  Bytes bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift & 0xff));
  return bytes;
}

Bytes with_length(const Bytes& bytes) {
  return number(bytes.size()) + bytes;
}

Bytes encoded(const raft::Entry& one) {
  Bytes bytes;
  replica::append_entry(bytes, one);
  return bytes;
}

Bytes encoded(const raft::Message& message) {
  Bytes bytes;
  append_message(bytes, message);
  return bytes;
}

/// What a decoder makes of `bytes` in pieces of random sizes up to `size_max`.
template <class Decoder>
std::vector<raft::Message> decoded(Decoder decoder, BytesView bytes, std::size_t size_max, Rng& rng) {
  std::vector<raft::Message> messages;
  while (!bytes.empty()) {
    const std::size_t size = std::min<std::size_t>(bytes.size(), 1 + rng.below(size_max));
    const Result<void> result = decoder.decode(bytes.substr(0, size), messages);
    EXPECT_TRUE(result.has_value()) << result.error().message;
    bytes.remove_prefix(size);
  }
  EXPECT_TRUE(decoder.at_frame_start());
  return messages;
}

template <class Decoder>
Result<void> decode_once(Decoder decoder, BytesView bytes, std::size_t* count = nullptr) {
  std::vector<raft::Message> messages;
  Result<void> result = decoder.decode(bytes, messages);
  if (count != nullptr) *count = messages.size();
  return result;
}

TEST(MessageStream, HeartbeatIsTheOneOf37) {
  Bytes bytes;
  append_message_heartbeat(bytes);
  EXPECT_EQ(bytes, number(2) + "\x08\x08");
}

TEST(MessageStream, MessagesComeBackHoweverTheyAreCut) {
  const std::vector<raft::Message> messages = {
      append(3, 3, 7, {entry(3, 8), entry(3, 9, Bytes(300'000, 'x'))}, 7),
      {.type = raft::MessageType::kVote, .to = 1, .from = 2, .term = Term{4}},
      {.type = raft::MessageType::kHeartbeat, .to = 1, .from = 2, .term = Term{4}, .context = "c"},
  };
  Bytes bytes;
  for (const raft::Message& message : messages) {
    append_message_frame(bytes, message);
    append_message_heartbeat(bytes);
  }
  Rng rng(7);
  for (const std::size_t size_max : {3u, 40u, 70'000u, 1'000'000u}) {
    EXPECT_EQ(decoded(MessageDecoder(), bytes, size_max, rng), messages);
  }
}

TEST(MessageStream, BoundsAFrameBeforeItIsThere) {
  const StreamDecoderOptions options{.frame_bytes_max = 100};
  EXPECT_TRUE(decode_once(MessageDecoder(options), number(100)).has_value());
  const Result<void> result = decode_once(MessageDecoder(options), number(101));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(decode_once(MessageDecoder(), number((512ull << 20) + 1)).has_value());
}

TEST(MessageStream, WhatCameBeforeAMistakeCounts) {
  Bytes bytes;
  append_message_frame(bytes, append(3, 3, 7, {}, 7));
  bytes += with_length("\x08\x18");
  std::size_t count = 0;
  const Result<void> result = decode_once(MessageDecoder(), bytes, &count);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(count, 1u);
}

// The steps of facts/rafthttp.md section 4, as 3.7.1 was seen to take them.
TEST(MsgAppV2, TheBytesOfAFollowedLog) {
  MsgAppV2Encoder encoder;
  struct Step {
    const char* name;
    raft::Message message;
    Bytes bytes;
  };
  const raft::Message first = append(2, 2, 381, {entry(2, 382), entry(2, 383), entry(2, 384)}, 381);
  const raft::Message behind_a_gap = append(2, 2, 390, {entry(2, 391)}, 385);
  const raft::Message new_term = append(3, 2, 391, {entry(3, 392)}, 385);
  const raft::Message same_term = append(3, 3, 392, {entry(3, 393)}, 392);
  const Step steps[] = {
      {"the first says everything", first, Bytes("\2") + with_length(encoded(first))},
      {"a commit alone", append(2, 2, 384, {}, 384), Bytes("\1") + number(0) + number(384)},
      {"one entry", append(2, 2, 384, {entry(2, 385)}, 384),
       Bytes("\1") + number(1) + with_length(encoded(entry(2, 385))) + number(384)},
      {"a link heartbeat", {.type = raft::MessageType::kHeartbeat}, Bytes("\0", 1)},
      {"it changes nothing", append(2, 2, 385, {}, 385), Bytes("\1") + number(0) + number(385)},
      {"not the next one", behind_a_gap, Bytes("\2") + with_length(encoded(behind_a_gap))},
      {"a new term", new_term, Bytes("\2") + with_length(encoded(new_term))},
      {"and on in it", same_term, Bytes("\1") + number(1) + with_length(encoded(entry(3, 393))) + number(392)},
  };
  Bytes all;
  std::vector<raft::Message> messages;
  for (const Step& step : steps) {
    Bytes bytes;
    encoder.append(bytes, step.message);
    EXPECT_EQ(bytes, step.bytes) << step.name;
    all += bytes;
    if (!is_link_heartbeat(step.message)) messages.push_back(step.message);
  }
  Rng rng(7);
  for (const std::size_t size_max : {1u, 9u, 1'000'000u}) {
    EXPECT_EQ(decoded(MsgAppV2Decoder(kFollower, kLeader), all, size_max, rng), messages);
  }
}

TEST(MsgAppV2, RandomStreamsComeBack) {
  Rng rng(11);
  for (int round = 0; round < 50; ++round) {
    MsgAppV2Encoder encoder;
    Bytes bytes;
    std::vector<raft::Message> messages;
    std::uint64_t term = 1;
    std::uint64_t index = rng.below(5);
    for (int count = 0; count < 40; ++count) {
      const std::uint64_t log_term = term;
      if (rng.below(8) == 0) ++term;
      if (rng.below(8) == 0) index = rng.below(20);
      std::vector<raft::Entry> entries;
      for (std::uint64_t more = rng.below(4); more > 0; --more) {
        entries.push_back(entry(term, index + entries.size() + 1, Bytes(rng.below(200), 'e')));
      }
      messages.push_back(append(term, log_term, index, entries, index));
      index += entries.size();
      encoder.append(bytes, messages.back());
      if (rng.below(4) == 0) MsgAppV2Encoder::append_heartbeat(bytes);
    }
    EXPECT_EQ(decoded(MsgAppV2Decoder(kFollower, kLeader), bytes, 1 + rng.below(300), rng), messages) << round;
  }
}

TEST(MsgAppV2, OtherMessagesKeepTheirType) {
  MsgAppV2Encoder encoder;
  const raft::Message hup{.type = raft::MessageType::kVote, .to = 1, .from = 2};  // its numbers are those at the start
  Bytes bytes;
  encoder.append(bytes, hup);
  EXPECT_EQ(bytes, Bytes("\2") + with_length(encoded(hup)));
}

TEST(MsgAppV2, NonsenseIsRefused) {
  const raft::Message first = append(2, 2, 381, {entry(2, 382)}, 381);
  const Bytes start = Bytes("\2") + with_length(encoded(first));
  struct Row {
    const char* name;
    Bytes bytes;
    ErrorCode code;
    const char* message;
  };
  const Row rows[] = {
      {"an unknown frame", Bytes("\3"), ErrorCode::kInvalidArgument, "failed to parse type 3 in msgappv2 stream"},
      {"an entry behind a gap", Bytes("\1") + number(1) + with_length(encoded(entry(2, 384))),
       ErrorCode::kInvalidArgument, "msgappv2 stream: entry 384 behind 382"},
      {"no entry", Bytes("\1") + number(1) + with_length("\x08\x09"), ErrorCode::kInvalidArgument,
       "msgappv2 stream: entry behind 382: not an entry"},
      {"no message", Bytes("\2") + with_length("\x08\x18"), ErrorCode::kInvalidArgument,
       "raft message: unknown type 24"},
      {"a large message", Bytes("\2") + number(1001), ErrorCode::kTooLarge,
       "stream: a frame of 1001 bytes is over the limit of 1000"},
      {"a large entry", Bytes("\1") + number(1) + number(993), ErrorCode::kTooLarge,
       "stream: a frame of 993 bytes is over the limit of 1000"},
      {"many entries", Bytes("\1") + number(126), ErrorCode::kTooLarge,
       "stream: a frame of 126 bytes is over the limit of 1000"},
      {"more entries than there are numbers", Bytes("\1") + number(~std::uint64_t{0}), ErrorCode::kTooLarge,
       "stream: a frame of 18446744073709551615 bytes is over the limit of 1000"},
  };
  for (const Row& row : rows) {
    std::size_t count = 0;
    const Result<void> result =
        decode_once(MsgAppV2Decoder(kFollower, kLeader, {.frame_bytes_max = 1000}), start + row.bytes, &count);
    ASSERT_FALSE(result.has_value()) << row.name;
    EXPECT_EQ(result.error(), (Error{row.code, row.message})) << row.name;
    EXPECT_EQ(count, 1u) << row.name;
  }
}

}  // namespace
}  // namespace etcd::peer
