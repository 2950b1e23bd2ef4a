// raft/conf_changer.h - from one configuration to the next: one step, into a joint one, out of it.
//
// Pure functions: the tracker is read, the outcome is a value that the caller puts in its place.
//
// Thread:  any (values).
// Source:  Raft paper 6, thesis 4.3; etcd-io/raft main confchange/.
#pragma once
#include <span>

#include "base/result.h"
#include "raft/message.h"
#include "raft/tracker.h"

namespace etcd::raft {

/// A configuration and the progress of its members. A member that stays keeps its progress; a new one starts probing.
struct Configured {
  Config config;
  ProgressMap progress;
};

/// One step: at most one voter more or less, any number of learners.
/// Errors: kInvalidArgument while joint, when more voters change, or when none would be left.
Result<Configured> change_simple(const Tracker& now, Index last_index, std::span<const ConfChangeSingle> changes);

/// The voters become the outgoing half, and `changes` make the incoming half from them.
/// Errors: kInvalidArgument while joint, without voters, or when no voter would be left.
Result<Configured> enter_joint(const Tracker& now, Index last_index, bool auto_leave,
                               std::span<const ConfChangeSingle> changes);

/// Only the incoming half stays; waiting learners become learners; who is in neither is forgotten.
/// Errors: kInvalidArgument unless joint.
Result<Configured> leave_joint(const Tracker& now);

/// What a conf state describes, built from nothing; `limits` gives the inflight window of new progress.
/// Errors: kInvalidArgument when no sequence of changes leads there.
Result<Configured> restore_config(const Tracker& limits, Index last_index, const ConfState& state);

/// True when both mean the same, whatever the order of their lists.
bool equivalent(ConfState left, ConfState right);

/// Errors: kInvalidArgument, naming the member, when sets or progress contradict each other.
Result<void> check_config(const Config& config, const ProgressMap& progress);

}  // namespace etcd::raft
