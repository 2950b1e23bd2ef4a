// raft/message.h - what members say to each other, and to their own storage, as plain values.
//
// Thread:  any (values). Copying an entry copies a handle, not its bytes.
// Source:  etcd-io/raft main (August 2026) raftpb/raft.proto; Raft paper figure 2. Numbers of enumerators are the
// wire's.
//
// The wire form is codec's business. Here a field that a message type does not use keeps its default. Every field has
// an initializer, so that a designated one (`{.voters = {1, 2}}`) may leave out the others.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace etcd::raft {

constexpr MemberId kNobody = 0;  // no leader, no vote

// Addressees inside the own member, used with asynchronous storage writes only. No member may have such an id.
constexpr MemberId kAppendThread = ~std::uint64_t{0};     // saves entries, hard state and snapshots
constexpr MemberId kApplyThread = ~std::uint64_t{0} - 1;  // applies committed entries

constexpr bool is_storage_thread(MemberId id) {
  return id == kAppendThread || id == kApplyThread;
}

enum class EntryType : std::uint8_t {
  kNormal = 0,
  kConfChange = 1,    // data is a v1 change: one member, one step
  kConfChangeV2 = 2,  // data is a ConfChangeV2; empty data leaves a joint configuration
};

struct Entry {
  Term term{};
  Index index{};
  EntryType type = EntryType::kNormal;
  SharedBytes data{};

  friend bool operator==(const Entry&, const Entry&) = default;
};

/// What a member must find again after a crash, besides its log. Source: Raft paper figure 2, "persistent state".
struct HardState {
  Term term{};
  MemberId vote = kNobody;
  Index commit{};

  [[nodiscard]] bool empty() const { return *this == HardState{}; }
  friend bool operator==(const HardState&, const HardState&) = default;
};

/// Who takes part. Joint while `voters_outgoing` is not empty: then both sets of voters must agree (Raft paper 6).
/// Shape: each list ascending and without repetition when it comes from the core; any order going in.
struct ConfState {
  std::vector<MemberId> voters{};           // the incoming half while joint
  std::vector<MemberId> learners{};         // receive the log, do not vote
  std::vector<MemberId> voters_outgoing{};  // the half to be left
  std::vector<MemberId> learners_next{};    // outgoing voters that become learners once the joint configuration is left
  bool auto_leave = false;                  // the leader proposes leaving the joint configuration by itself

  friend bool operator==(const ConfState&, const ConfState&) = default;
};

struct SnapshotMetadata {
  ConfState conf_state{};
  Index index{};  // last entry that the snapshot covers
  Term term{};    // that entry's

  friend bool operator==(const SnapshotMetadata&, const SnapshotMetadata&) = default;
};

struct Snapshot {
  SharedBytes data{};  // opaque to raft; etcd leaves the state itself out of it and streams that beside the message
  SnapshotMetadata metadata{};

  [[nodiscard]] bool empty() const { return metadata.index == Index{}; }
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

enum class MessageType : std::uint8_t {
  kHup = 0,      // local: start an election
  kBeat = 1,     // local: the leader's heartbeat is due
  kProp = 2,     // a proposal, from this member or forwarded to the leader
  kApp = 3,      // leader: entries behind (index, log_term)
  kAppResp = 4,  // follower: holds the log up to index, or rejects with a hint
  kVote = 5,     // candidate: its log ends at (index, log_term)
  kVoteResp = 6,
  kSnap = 7,  // leader: the log no longer reaches back, here is a snapshot
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kUnreachable = 10,     // local: the last message to `from` did not get through
  kSnapStatus = 11,      // local: how sending a snapshot to `from` ended
  kCheckQuorum = 12,     // local: does a majority still answer?
  kTransferLeader = 13,  // hand leadership to `from`
  kTimeoutNow = 14,      // leader: campaign at once
  kReadIndex = 15,       // entries[0].data names the read
  kReadIndexResp = 16,
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,      // local: save this, then deliver `responses`
  kStorageAppendResp = 20,  // local
  kStorageApply = 21,       // local: apply `entries`, then deliver `responses`
  kStorageApplyResp = 22,   // local
  kForgetLeader = 23,       // local: stop following, without becoming a candidate
};
constexpr int kMessageTypeCount = 24;

/// True for messages that only this member itself may produce; core refuses them from a peer.
bool is_local(MessageType type);
/// True for answers, which count only when they come from a member of the configuration.
bool is_response(MessageType type);

struct Message {
  MessageType type = MessageType::kHup;
  bool reject = false;
  MemberId to = kNobody;
  MemberId from = kNobody;
  Term term{};  // 0 in local messages, proposals and read requests
  Term log_term{};
  Index index{};
  Index commit{};
  MemberId vote = kNobody;  // kStorageAppend only; term, vote and commit are then the hard state to save
  Index reject_hint{};      // kAppResp: where the logs may agree
  std::vector<Entry> entries{};
  std::optional<Snapshot> snapshot{};
  Bytes context{};                   // the campaign's kind, or the read round that a heartbeat confirms
  std::vector<Message> responses{};  // local storage messages: deliver these once the write is done

  friend bool operator==(const Message&, const Message&) = default;
};

enum class ConfChangeType : std::uint8_t { kAddNode = 0, kRemoveNode = 1, kUpdateNode = 2, kAddLearnerNode = 3 };

enum class ConfChangeTransition : std::uint8_t {
  kAuto = 0,           // one step if a single change, else joint and left automatically
  kJointImplicit = 1,  // joint, left automatically
  kJointExplicit = 2,  // joint until a change with an empty list is proposed
};

struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  MemberId node_id = 0;  // 0: a change that was refused after it was committed; no effect

  friend bool operator==(const ConfChangeSingle&, const ConfChangeSingle&) = default;
};

/// A change of configuration. `v1` marks the older form: exactly one change, transition kAuto, and an id.
struct ConfChangeV2 {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes{};  // empty with kAuto: leave the joint configuration
  Bytes context{};                          // opaque to raft; etcd keeps the member's JSON here
  bool v1 = false;
  std::uint64_t id = 0;  // v1 only: names the request, opaque to raft

  /// True when applying it leaves a joint configuration.
  [[nodiscard]] bool leaves_joint() const { return transition == ConfChangeTransition::kAuto && changes.empty(); }
  /// True when applying it enters a joint configuration. Source: etcd-io/raft raftpb/confchange.go EnterJoint.
  [[nodiscard]] bool enters_joint() const { return transition != ConfChangeTransition::kAuto || changes.size() > 1; }
  /// Whether a joint configuration entered by it is left automatically.
  [[nodiscard]] bool auto_leave() const { return transition != ConfChangeTransition::kJointExplicit; }

  friend bool operator==(const ConfChangeV2&, const ConfChangeV2&) = default;
};

/// A v1 change.
ConfChangeV2 conf_change_v1(ConfChangeType type, MemberId node_id, Bytes context = {}, std::uint64_t id = 0);

/// The change as an entry's type and data (a raftpb.ConfChange or raftpb.ConfChangeV2 with every scalar written, as
/// etcd up to 3.6 does; leaving a joint configuration without context has empty data). Term and index stay 0.
Entry encode_conf_change(const ConfChangeV2& change);

/// The change that an entry carries; fields that are not known are skipped.
/// Errors: kInvalidArgument when the entry is a normal one or its data cannot be read.
Result<ConfChangeV2> decode_conf_change(const Entry& entry);

/// Bytes of the entry as a protobuf message; the unit of every limit on messages and on entries being applied.
std::uint64_t encoded_bytes(const Entry& entry);
std::uint64_t encoded_bytes(std::span<const Entry> entries);

/// Bytes of the commands alone; the unit of the limits on uncommitted and in-flight entries.
std::uint64_t payload_bytes(std::span<const Entry> entries);

}  // namespace etcd::raft
