// raft/describe.h - what passes through the core, as text for logs and tests.
//
// The form is that of etcd-io/raft's Describe functions and String methods, so that its transcripts compare by letter.
//
// Thread:  any.
// Source:  etcd-io/raft main util.go, tracker/*.go, quorum/*.go, raftpb/confchange.go.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "raft/core.h"
#include "raft/message.h"

namespace etcd::raft {

std::string_view name_of(EntryType type);             // "EntryNormal"
std::string_view name_of(MessageType type);           // "MsgApp"
std::string_view name_of(ConfChangeType type);        // "ConfChangeAddNode"
std::string_view name_of(ConfChangeTransition type);  // "ConfChangeTransitionAuto"
std::string_view name_of(Role role);                  // "StateLeader"
std::string_view name_of(ProgressState state);        // "StateProbe"
std::string_view name_of(VoteResult result);          // "VoteWon"
std::string_view name_of(NoteLevel level);            // "INFO"

/// Bytes in double quotes, with Go's escapes: what is not printable UTF-8 shows as \n, \x.., \u.... .
std::string quote(BytesView bytes);

/// How an entry's command is shown; default: quote().
using CommandFormat = std::function<std::string(BytesView)>;

std::string describe(const Entry& entry, const CommandFormat& format = {});
std::string describe(std::span<const Entry> entries, const CommandFormat& format = {});  // a line each
/// One line; several when there is more than one entry, a snapshot or responses. No line end behind the last.
std::string describe(const Message& message, const CommandFormat& format = {});
/// Several lines, each with its end; "<empty Ready>" when there is nothing.
std::string describe(const Ready& ready, const CommandFormat& format = {});

std::string describe(const HardState& state);
std::string describe(const SoftState& state);
std::string describe(const ConfState& state);
std::string describe(const Snapshot& snapshot);
std::string describe(const ConfChangeV2& change);                 // "transition:... changes:{...}"
std::string describe(std::span<const ConfChangeSingle> changes);  // "v1 l2 r3"
std::string describe(const IdSet& ids);                           // "(1 2 3)", in hex
std::string describe(const JointVoters& voters);                  // "(1 2)&&(1)"
std::string describe(const Config& config);                       // "voters=(1 2) learners=(3)"
std::string describe(const Progress& progress);                   // "StateReplicate match=3 next=4"
std::string describe(const ProgressMap& progress);                // a line each
/// One line of JSON. Source: etcd-io/raft main status.go; members in ascending order.
std::string describe(const Status& status);

}  // namespace etcd::raft
