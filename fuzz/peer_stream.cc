// The streams between members: what comes of them does not depend on how the bytes were cut, and what was read can be
// written and read again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "peer/message_codec.h"
#include "peer/stream_codec.h"

namespace {

using namespace etcd;

constexpr peer::StreamDecoderOptions kOptions{.frame_bytes_max = 4096};

struct Outcome {
  std::vector<raft::Message> messages;
  std::optional<Error> error;
  bool at_frame_start = false;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

template <class Decoder>
Outcome read(Decoder decoder, BytesView bytes, std::size_t piece) {
  Outcome outcome;
  while (!bytes.empty() && !outcome.error) {
    const std::size_t count = std::min(piece, bytes.size());
    if (auto result = decoder.decode(bytes.substr(0, count), outcome.messages); !result) outcome.error = result.error();
    bytes.remove_prefix(count);
  }
  if (!outcome.error) outcome.at_frame_start = decoder.at_frame_start();
  return outcome;
}

template <class Decoder>
std::vector<raft::Message> read_all_ways(const Decoder& decoder, BytesView bytes) {
  const Outcome at_once = read(decoder, bytes, bytes.size() + 1);
  for (const std::size_t piece : {1, 3, 11}) {
    if (read(decoder, bytes, piece) != at_once) std::abort();
  }
  return at_once.messages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView bytes(reinterpret_cast<const char*>(data), size);
  constexpr peer::StreamDecoderOptions kWide{};

  const std::vector<raft::Message> messages = read_all_ways(peer::MessageDecoder(kOptions), bytes);
  Bytes again;
  for (const raft::Message& message : messages) peer::append_message_frame(again, message);
  if (read(peer::MessageDecoder(kWide), again, again.size() + 1) != Outcome{messages, {}, true}) std::abort();

  const std::vector<raft::Message> appends = read_all_ways(peer::MsgAppV2Decoder(1, 2, kOptions), bytes);
  // Written again, one may go as the other kind of frame, which knows neither other ids nor other fields.
  for (const raft::Message& message : appends) {
    peer::MsgAppV2Encoder encoder;
    raft::Message first = message;
    if (first.term == Term{}) first.term = Term{1};
    Bytes frame;
    encoder.append(frame, first);
    if (read(peer::MsgAppV2Decoder(1, 2, kWide), frame, 5) != Outcome{{first}, {}, true}) std::abort();
  }
  return 0;
}
