#include "peer/stream_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "peer/message_codec.h"
#include "replica/entry_codec.h"

namespace etcd::peer {
namespace {

constexpr std::size_t kNumberBytes = 8;
constexpr std::size_t kKeptBytesMax = 64 * 1024;  // capacity that an empty piece may keep

enum FrameType : char { kLinkHeartbeat = 0, kAppEntries = 1, kApp = 2 };

void set_number(Bytes& out, std::size_t at, std::uint64_t value) {
  for (std::size_t place = kNumberBytes; place-- > 0; value >>= 8) out[at + place] = static_cast<char>(value & 0xff);
}

void append_number(Bytes& out, std::uint64_t value) {
  const std::size_t at = out.size();
  out.resize(at + kNumberBytes);
  set_number(out, at, value);
}

/// Appends what `body` appends, behind its length.
template <class Body>
void append_with_length(Bytes& out, const Body& body) {
  const std::size_t at = out.size();
  append_number(out, 0);
  body();
  set_number(out, at, out.size() - at - kNumberBytes);
}

Index last_index(const raft::Message& message) {
  return message.entries.empty() ? message.index : message.entries.back().index;
}

std::unexpected<Error> too_large(std::uint64_t bytes, std::uint64_t bytes_max) {
  return failure(ErrorCode::kTooLarge,
                 fmt::format("stream: a frame of {} bytes is over the limit of {}", bytes, bytes_max));
}

}  // namespace

bool is_link_heartbeat(const raft::Message& message) {
  return message.type == raft::MessageType::kHeartbeat && message.from == raft::kNobody && message.to == raft::kNobody;
}

void append_message_frame(Bytes& out, const raft::Message& message) {
  append_with_length(out, [&] { append_message(out, message); });
}

void append_message_heartbeat(Bytes& out) {
  append_message_frame(out, {.type = raft::MessageType::kHeartbeat});
}

void MsgAppV2Encoder::append(Bytes& out, const raft::Message& message) {
  if (is_link_heartbeat(message)) {
    append_heartbeat(out);
    return;
  }
  // A frame 01 has no place for a type, so nothing but a MsgApp may go as one.
  const bool follows = message.type == raft::MessageType::kApp && message.index == index_ &&
                       message.log_term == term_ && message.term == term_;
  if (follows) {
    out.push_back(kAppEntries);
    append_number(out, message.entries.size());
    for (const raft::Entry& entry : message.entries) {
      append_with_length(out, [&] { replica::append_entry(out, entry); });
    }
    append_number(out, message.commit.value);
    index_ = index_ + message.entries.size();
    return;
  }
  out.push_back(kApp);
  append_message_frame(out, message);
  term_ = message.term;
  index_ = last_index(message);
}

// PieceReader

std::optional<BytesView> PieceReader::take(BytesView& input, std::size_t size) {
  if (whole_.capacity() > kKeptBytesMax) whole_ = Bytes();
  if (part_.empty() && input.size() >= size) {
    const BytesView piece = input.substr(0, size);
    input.remove_prefix(size);
    return piece;
  }
  const std::size_t count = std::min(size - part_.size(), input.size());
  part_ += input.substr(0, count);
  input.remove_prefix(count);
  if (part_.size() < size) return std::nullopt;
  whole_.swap(part_);
  part_.clear();
  return whole_;
}

std::optional<std::uint64_t> PieceReader::take_number(BytesView& input) {
  const std::optional<BytesView> bytes = take(input, kNumberBytes);
  if (!bytes.has_value()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char byte : *bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

// MessageDecoder

Result<void> MessageDecoder::decode(BytesView input, std::vector<raft::Message>& messages) {
  for (;;) {
    if (!length_.has_value()) {
      length_ = piece_.take_number(input);
      if (!length_.has_value()) return {};
      if (*length_ > options_.frame_bytes_max) return too_large(*length_, options_.frame_bytes_max);
    }
    const std::optional<BytesView> bytes = piece_.take(input, static_cast<std::size_t>(*length_));
    if (!bytes.has_value()) return {};
    length_.reset();
    ETCD_TRY(raft::Message message, decode_message(*bytes));
    if (!is_link_heartbeat(message)) messages.push_back(std::move(message));
  }
}

// MsgAppV2Decoder

Result<void> MsgAppV2Decoder::decode(BytesView input, std::vector<raft::Message>& messages) {
  for (;;) {
    switch (state_) {
      case State::kType: {
        if (input.empty()) return {};
        const char type = input.front();
        input.remove_prefix(1);
        ETCD_TRY_VOID(begin_frame(type));
        break;
      }
      case State::kCount: {
        const std::optional<std::uint64_t> count = piece_.take_number(input);
        if (!count.has_value()) return {};
        // Each has at least its length on the wire, so this bounds what a list of empty entries takes.
        if (*count > options_.frame_bytes_max / kNumberBytes) return too_large(*count, options_.frame_bytes_max);
        ETCD_TRY_VOID(count_bytes(*count * kNumberBytes));
        entries_left_ = *count;
        state_ = *count > 0 ? State::kEntryLength : State::kCommit;
        break;
      }
      case State::kEntryLength:
      case State::kLength: {
        const std::optional<std::uint64_t> length = piece_.take_number(input);
        if (!length.has_value()) return {};
        ETCD_TRY_VOID(count_bytes(*length));
        length_ = *length;
        state_ = state_ == State::kLength ? State::kMessage : State::kEntry;
        break;
      }
      case State::kEntry: {
        const std::optional<BytesView> bytes = piece_.take(input, static_cast<std::size_t>(length_));
        if (!bytes.has_value()) return {};
        ETCD_TRY_VOID(add_entry(*bytes));
        state_ = --entries_left_ > 0 ? State::kEntryLength : State::kCommit;
        break;
      }
      case State::kCommit: {
        const std::optional<std::uint64_t> commit = piece_.take_number(input);
        if (!commit.has_value()) return {};
        append_.commit = Index{*commit};
        messages.push_back(std::exchange(append_, {}));
        state_ = State::kType;
        break;
      }
      case State::kMessage: {
        const std::optional<BytesView> bytes = piece_.take(input, static_cast<std::size_t>(length_));
        if (!bytes.has_value()) return {};
        ETCD_TRY(raft::Message message, decode_message(*bytes));
        term_ = message.term;
        index_ = last_index(message);
        if (!is_link_heartbeat(message)) messages.push_back(std::move(message));
        state_ = State::kType;
        break;
      }
    }
  }
}

Result<void> MsgAppV2Decoder::begin_frame(char type) {
  frame_bytes_ = 0;
  switch (type) {
    case kLinkHeartbeat: return {};
    case kAppEntries:
      append_ = {.type = raft::MessageType::kApp,
                 .to = local_,
                 .from = remote_,
                 .term = term_,
                 .log_term = term_,
                 .index = index_};
      state_ = State::kCount;
      return {};
    case kApp: state_ = State::kLength; return {};
    default:
      return failure(ErrorCode::kInvalidArgument,
                     fmt::format("failed to parse type {} in msgappv2 stream", static_cast<unsigned char>(type)));
  }
}

Result<void> MsgAppV2Decoder::count_bytes(std::uint64_t bytes) {
  if (bytes > options_.frame_bytes_max - frame_bytes_) return too_large(bytes, options_.frame_bytes_max);
  frame_bytes_ += bytes;
  return {};
}

Result<void> MsgAppV2Decoder::add_entry(BytesView bytes) {
  Result<raft::Entry> entry = replica::decode_entry(bytes);
  if (!entry.has_value()) {
    return failure(ErrorCode::kInvalidArgument,
                   fmt::format("msgappv2 stream: entry behind {}: {}", index_.value, entry.error().message));
  }
  if (entry->index != index_ + 1) {
    return failure(ErrorCode::kInvalidArgument,
                   fmt::format("msgappv2 stream: entry {} behind {}", entry->index.value, index_.value));
  }
  ++index_;
  append_.entries.push_back(std::move(*entry));
  return {};
}

}  // namespace etcd::peer
