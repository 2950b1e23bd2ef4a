// peer/stream_codec.h - the two framings in which one member's messages stream to another.
//
// Life:    an encoder and a decoder per connection; both begin anew with it. After an error a decoder is dead.
// Thread:  any; one owner each.
// Source:  etcd v3.7.1 server/etcdserver/api/rafthttp/{message_codec,msgappv2_codec,stream}.go
//
// Integers are big-endian, 8 bytes.
//
//   message   +--------+--------------------+     A link heartbeat, which keeps a quiet stream alive, is a MsgHeartbeat
//             | length | raftpb.Message     |     from nobody to nobody.
//             +--------+--------------------+
//
//   msgappv2  +----+                                              a link heartbeat
//             | 00 |
//             +----+-------+-----------------------+--------+
//             | 01 | count | count x length, Entry | commit |     a MsgApp that follows from the frames before it
//             +----+-------+-----------------------+--------+
//             | 02 | length | raftpb.Message |                    any message
//             +----+--------+----------------+
//
// Both ends of msgappv2 keep the term and the index where the last frame ended: a MsgApp whose entries join there, in
// that same term, says neither. Frame 02 sets both; frame 01 moves the index by its entries.
//
// Memory:  a decoder holds what came of one frame, never what a frame only announces. A frame of `frame_bytes_max`
//          that is all entries without data takes up to 20 times that when decoded; the limit is the bound.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "raft/message.h"

namespace etcd::peer {

/// True for what keeps a quiet stream alive and means nothing to raft.
bool is_link_heartbeat(const raft::Message& message);

/// Appends a frame of the message stream.
void append_message_frame(Bytes& out, const raft::Message& message);
void append_message_heartbeat(Bytes& out);

/// Writes the msgappv2 stream of one connection.
class MsgAppV2Encoder {
 public:
  void append(Bytes& out, const raft::Message& message);
  static void append_heartbeat(Bytes& out) { out.push_back('\0'); }

 private:
  Term term_;
  Index index_;  // of the last entry that the other end has from this stream
};

struct StreamDecoderOptions {
  std::uint64_t frame_bytes_max = 512ull << 20;  // of one frame in all; upstream's limit on the message stream
};

/// Puts pieces of known size together out of input that may be cut anywhere.
class PieceReader {
 public:
  /// Takes from `input` towards a piece of `size` bytes. Returns it once it is whole; the view is borrowed until the
  /// next call, and from `input` if it was whole there.
  std::optional<BytesView> take(BytesView& input, std::size_t size);
  /// A big-endian number.
  std::optional<std::uint64_t> take_number(BytesView& input);
  /// True between two pieces.
  [[nodiscard]] bool empty() const { return part_.empty(); }

 private:
  Bytes part_;   // of a piece that is not whole yet
  Bytes whole_;  // the last piece, if it was put together
};

/// Reads a message stream.
class MessageDecoder {
 public:
  explicit MessageDecoder(StreamDecoderOptions options = {}) : options_(options) {}

  /// Takes all of `input` and appends the messages that are whole now, without link heartbeats.
  /// Errors: kTooLarge, kInvalidArgument; the messages before the mistake are appended.
  Result<void> decode(BytesView input, std::vector<raft::Message>& messages);
  /// True when the stream may end here without anything missing.
  [[nodiscard]] bool at_frame_start() const { return !length_.has_value() && piece_.empty(); }

 private:
  const StreamDecoderOptions options_;
  PieceReader piece_;
  std::optional<std::uint64_t> length_;  // of the frame being read
};

/// Reads a msgappv2 stream.
class MsgAppV2Decoder {
 public:
  /// `local` reads what `remote` writes; frames 01 name neither.
  MsgAppV2Decoder(MemberId local, MemberId remote, StreamDecoderOptions options = {})
      : local_(local), remote_(remote), options_(options) {}

  /// As MessageDecoder::decode(). An entry in a frame 01 that is not the next one is an error, too.
  Result<void> decode(BytesView input, std::vector<raft::Message>& messages);
  [[nodiscard]] bool at_frame_start() const { return state_ == State::kType; }

 private:
  enum class State : std::uint8_t { kType, kCount, kEntryLength, kEntry, kCommit, kLength, kMessage };

  Result<void> begin_frame(char type);
  /// Counts `bytes` that the frame will have at least.
  Result<void> count_bytes(std::uint64_t bytes);
  Result<void> add_entry(BytesView bytes);

  const MemberId local_;
  const MemberId remote_;
  const StreamDecoderOptions options_;

  PieceReader piece_;
  State state_ = State::kType;
  Term term_;
  Index index_;  // where the last frame ended, and with a frame 01 where its entries so far do
  std::uint64_t entries_left_ = 0;
  std::uint64_t length_ = 0;       // of the entry or message being read
  std::uint64_t frame_bytes_ = 0;  // what the frame has announced so far; invariant: <= frame_bytes_max
  raft::Message append_;           // the MsgApp of a frame 01 being read
};

}  // namespace etcd::peer
