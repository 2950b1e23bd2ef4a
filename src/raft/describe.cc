#include "raft/describe.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

namespace etcd::raft {
namespace {

constexpr std::array<std::string_view, kMessageTypeCount> kMessageNames = {"MsgHup",
                                                                           "MsgBeat",
                                                                           "MsgProp",
                                                                           "MsgApp",
                                                                           "MsgAppResp",
                                                                           "MsgVote",
                                                                           "MsgVoteResp",
                                                                           "MsgSnap",
                                                                           "MsgHeartbeat",
                                                                           "MsgHeartbeatResp",
                                                                           "MsgUnreachable",
                                                                           "MsgSnapStatus",
                                                                           "MsgCheckQuorum",
                                                                           "MsgTransferLeader",
                                                                           "MsgTimeoutNow",
                                                                           "MsgReadIndex",
                                                                           "MsgReadIndexResp",
                                                                           "MsgPreVote",
                                                                           "MsgPreVoteResp",
                                                                           "MsgStorageAppend",
                                                                           "MsgStorageAppendResp",
                                                                           "MsgStorageApply",
                                                                           "MsgStorageApplyResp",
                                                                           "MsgForgetLeader"};

template <class... Args>
void put(std::string& text, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(text), format, std::forward<Args>(args)...);
}

/// As Go prints a slice of numbers: "[1 2 3]".
template <class Numbers>
std::string go_list(const Numbers& numbers) {
  return fmt::format("[{}]", fmt::join(numbers, " "));
}

std::string target(MemberId id) {
  switch (id) {
    case kNobody: return "None";
    case kAppendThread: return "AppendThread";
    case kApplyThread: return "ApplyThread";
    default: return fmt::format("{:x}", id);
  }
}

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  // 0: not UTF-8
};

CodePoint decode_utf8(BytesView text) {
  const auto byte = [&](std::size_t place) { return static_cast<unsigned char>(text[place]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first >= 0xf0 && first < 0xf5   ? 4
                           : first >= 0xe0 && first < 0xf0 ? 3
                           : first >= 0xc2 && first < 0xe0 ? 2
                                                           : 0;
  if (size == 0 || text.size() < size) return {};
  std::uint32_t value = first & (0xffu >> (size + 1));
  for (std::size_t place = 1; place < size; ++place) {
    if ((byte(place) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(place) & 0x3f);
  }
  constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[size] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return {};
  return {value, size};
}

void put_indented(std::string& text, const std::string& indent, const Message& message, const CommandFormat& format) {
  put(text, "{}{}->{} {} Term:{} Log:{}/{}", indent, target(message.from), target(message.to), name_of(message.type),
      message.term.value, message.log_term.value, message.index.value);
  if (message.reject) put(text, " Rejected (Hint: {})", message.reject_hint.value);
  if (message.commit != Index{}) put(text, " Commit:{}", message.commit.value);
  if (message.vote != kNobody) put(text, " Vote:{}", message.vote);
  if (message.entries.size() == 1) {
    put(text, " Entries:[{}]", describe(message.entries.front(), format));
  } else if (!message.entries.empty()) {
    text += " Entries:[";
    for (const Entry& entry : message.entries) put(text, "\n{}  {}", indent, describe(entry, format));
    put(text, "\n{}]", indent);
  }
  if (message.snapshot.has_value() && !message.snapshot->empty()) {
    put(text, "\n{}  Snapshot: {}", indent, describe(*message.snapshot));
  }
  if (!message.responses.empty()) {
    text += " Responses:[";
    for (const Message& response : message.responses) {
      text += '\n';
      put_indented(text, indent + "  ", response, format);
    }
    put(text, "\n{}]", indent);
  }
}

}  // namespace

std::string_view name_of(EntryType type) {
  switch (type) {
    case EntryType::kNormal: return "EntryNormal";
    case EntryType::kConfChange: return "EntryConfChange";
    case EntryType::kConfChangeV2: return "EntryConfChangeV2";
  }
  return "?";
}

std::string_view name_of(MessageType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < kMessageNames.size() ? kMessageNames[number] : "?";
}

std::string_view name_of(ConfChangeType type) {
  switch (type) {
    case ConfChangeType::kAddNode: return "ConfChangeAddNode";
    case ConfChangeType::kRemoveNode: return "ConfChangeRemoveNode";
    case ConfChangeType::kUpdateNode: return "ConfChangeUpdateNode";
    case ConfChangeType::kAddLearnerNode: return "ConfChangeAddLearnerNode";
  }
  return "?";
}

std::string_view name_of(ConfChangeTransition type) {
  switch (type) {
    case ConfChangeTransition::kAuto: return "ConfChangeTransitionAuto";
    case ConfChangeTransition::kJointImplicit: return "ConfChangeTransitionJointImplicit";
    case ConfChangeTransition::kJointExplicit: return "ConfChangeTransitionJointExplicit";
  }
  return "?";
}

std::string_view name_of(Role role) {
  switch (role) {
    case Role::kFollower: return "StateFollower";
    case Role::kCandidate: return "StateCandidate";
    case Role::kLeader: return "StateLeader";
    case Role::kPreCandidate: return "StatePreCandidate";
  }
  return "?";
}

std::string_view name_of(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe: return "StateProbe";
    case ProgressState::kReplicate: return "StateReplicate";
    case ProgressState::kSnapshot: return "StateSnapshot";
  }
  return "?";
}

std::string_view name_of(VoteResult result) {
  switch (result) {
    case VoteResult::kPending: return "VotePending";
    case VoteResult::kLost: return "VoteLost";
    case VoteResult::kWon: return "VoteWon";
  }
  return "?";
}

std::string_view name_of(NoteLevel level) {
  switch (level) {
    case NoteLevel::kDebug: return "DEBUG";
    case NoteLevel::kInfo: return "INFO";
    case NoteLevel::kWarning: return "WARN";
    case NoteLevel::kError: return "ERROR";
    case NoteLevel::kNone: return "NONE";
  }
  return "?";
}

std::string quote(BytesView bytes) {
  std::string text = "\"";
  while (!bytes.empty()) {
    const CodePoint point = decode_utf8(bytes);
    const std::size_t size = point.bytes == 0 ? 1 : point.bytes;
    if (point.bytes == 0) {
      put(text, "\\x{:02x}", static_cast<unsigned char>(bytes.front()));
    } else if (point.value == '"' || point.value == '\\') {
      text += '\\';
      text += static_cast<char>(point.value);
    } else if (point.value < 0x20) {
      constexpr std::string_view kLetters = "abtnvfr";  // from 7 on
      if (point.value >= 7 && point.value < 7 + kLetters.size()) {
        text += '\\';
        text += kLetters[point.value - 7];
      } else {
        put(text, "\\x{:02x}", point.value);
      }
    } else if (point.value == 0x7f) {
      text += "\\x7f";
    } else if (point.value >= 0x80 && point.value <= 0xa0) {
      put(text, "\\u{:04x}", point.value);
    } else {
      text += bytes.substr(0, size);
    }
    bytes.remove_prefix(size);
  }
  return text + '"';
}

std::string describe(const Entry& entry, const CommandFormat& format) {
  std::string body;
  if (entry.type == EntryType::kNormal) {
    body = format ? format(entry.data.view()) : quote(entry.data.view());
  } else if (const auto change = decode_conf_change(entry); change.has_value()) {
    body = describe(std::span<const ConfChangeSingle>(change->changes));
  } else {
    body = change.error().message;
  }
  return fmt::format("{}/{} {}{}{}", entry.term.value, entry.index.value, name_of(entry.type), body.empty() ? "" : " ",
                     body);
}

std::string describe(std::span<const Entry> entries, const CommandFormat& format) {
  std::string text;
  for (const Entry& entry : entries) text += describe(entry, format) + '\n';
  return text;
}

std::string describe(const Message& message, const CommandFormat& format) {
  std::string text;
  put_indented(text, "", message, format);
  return text;
}

std::string describe(const Ready& ready, const CommandFormat& format) {
  std::string text;
  if (ready.soft_state.has_value()) put(text, "{}\n", describe(*ready.soft_state));
  if (!ready.hard_state.empty()) put(text, "HardState {}\n", describe(ready.hard_state));
  if (!ready.read_states.empty()) {
    text += "ReadStates [";
    for (std::size_t place = 0; place < ready.read_states.size(); ++place) {
      const ReadState& state = ready.read_states[place];
      const BytesView context = state.context.view();
      const std::vector<unsigned> numbers(reinterpret_cast<const unsigned char*>(context.data()),
                                          reinterpret_cast<const unsigned char*>(context.data()) + context.size());
      put(text, "{}{{{} {}}}", place == 0 ? "" : " ", state.index.value, go_list(numbers));
    }
    text += "]\n";
  }
  if (!ready.entries.empty()) text += "Entries:\n" + describe(std::span<const Entry>(ready.entries), format);
  if (ready.snapshot.has_value()) put(text, "Snapshot {}\n", describe(*ready.snapshot));
  if (!ready.committed_entries.empty()) {
    text += "CommittedEntries:\n" + describe(std::span<const Entry>(ready.committed_entries), format);
  }
  if (!ready.messages.empty()) {
    text += "Messages:\n";
    for (const Message& message : ready.messages) text += describe(message, format) + '\n';
  }
  if (text.empty()) return "<empty Ready>";
  return fmt::format("Ready MustSync={}:\n{}", ready.must_sync, text);
}

std::string describe(const HardState& state) {
  std::string text = fmt::format("Term:{}", state.term.value);
  if (state.vote != kNobody) put(text, " Vote:{}", state.vote);
  put(text, " Commit:{}", state.commit.value);
  return text;
}

std::string describe(const SoftState& state) {
  return fmt::format("Lead:{} State:{}", state.leader, name_of(state.role));
}

std::string describe(const ConfState& state) {
  return fmt::format("Voters:{} VotersOutgoing:{} Learners:{} LearnersNext:{} AutoLeave:{}", go_list(state.voters),
                     go_list(state.voters_outgoing), go_list(state.learners), go_list(state.learners_next),
                     state.auto_leave);
}

std::string describe(const Snapshot& snapshot) {
  return fmt::format("Index:{} Term:{} ConfState:{}", snapshot.metadata.index.value, snapshot.metadata.term.value,
                     describe(snapshot.metadata.conf_state));
}

std::string describe(const ConfChangeV2& change) {
  std::string text = fmt::format("transition:{}", name_of(change.transition));
  for (const ConfChangeSingle& single : change.changes) {
    put(text, " changes:{{type:{} node_id:{}}}", name_of(single.type), single.node_id);
  }
  if (!change.context.empty()) put(text, " context:{}", quote(change.context));
  return text;
}

std::string describe(std::span<const ConfChangeSingle> changes) {
  constexpr std::string_view kLetters = "vrul";  // by the type's number
  std::string text;
  for (const ConfChangeSingle& single : changes) {
    put(text, "{}{}{}", text.empty() ? "" : " ", kLetters[static_cast<std::size_t>(single.type)], single.node_id);
  }
  return text;
}

std::string describe(const IdSet& ids) {
  std::string text = "(";
  for (const MemberId id : ids) put(text, "{}{:x}", text.size() == 1 ? "" : " ", id);
  return text + ')';
}

std::string describe(const JointVoters& voters) {
  return voters.joint() ? describe(voters.incoming) + "&&" + describe(voters.outgoing) : describe(voters.incoming);
}

std::string describe(const Config& config) {
  std::string text = "voters=" + describe(config.voters);
  if (!config.learners.empty()) text += " learners=" + describe(config.learners);
  if (!config.learners_next.empty()) text += " learners_next=" + describe(config.learners_next);
  if (config.auto_leave) text += " autoleave";
  return text;
}

std::string describe(const Progress& progress) {
  std::string text =
      fmt::format("{} match={} next={}", name_of(progress.state), progress.match.value, progress.next.value);
  if (progress.is_learner) text += " learner";
  if (progress.paused()) text += " paused";
  if (progress.pending_snapshot > Index{}) put(text, " pendingSnap={}", progress.pending_snapshot.value);
  if (!progress.recent_active) text += " inactive";
  if (const std::uint32_t count = progress.inflights.count(); count > 0) {
    put(text, " inflight={}{}", count, progress.inflights.full() ? "[full]" : "");
  }
  return text;
}

std::string describe(const ProgressMap& progress) {
  std::string text;
  for (const auto& [id, member] : progress) put(text, "{}: {}\n", id, describe(member));
  return text;
}

std::string describe(const Status& status) {
  std::string text = fmt::format(
      R"({{"id":"{:x}","term":{},"vote":"{:x}","commit":{},"lead":"{:x}","raftState":"{}","applied":{},"progress":{{)",
      status.id, status.hard_state.term.value, status.hard_state.vote, status.hard_state.commit.value,
      status.soft_state.leader, name_of(status.soft_state.role), status.applied.value);
  bool first = true;
  for (const auto& [id, member] : status.progress) {
    put(text, R"({}"{:x}":{{"match":{},"next":{},"state":"{}"}})", first ? "" : ",", id, member.match.value,
        member.next.value, name_of(member.state));
    first = false;
  }
  put(text, R"(}},"leadtransferee":"{:x}"}})", status.transferee);
  return text;
}

}  // namespace etcd::raft
