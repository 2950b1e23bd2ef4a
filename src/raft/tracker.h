// raft/tracker.h - the configuration in force, and how far each of its members is.
//
// Thread:  the core's loop only (values).
// Source:  etcd-io/raft main tracker/tracker.go; Raft thesis 4.3.
#pragma once
#include <cstdint>

#include "raft/message.h"
#include "raft/progress.h"
#include "raft/quorum.h"

namespace etcd::raft {

/// Who votes, who only listens. Invariant: nobody is voter (in either half) and learner at once.
///
/// A voter that becomes a learner while the configuration is joint still votes in the outgoing half. It waits in
/// `learners_next` until that half is left:
///
///     voters (1 2 3)    demote 3:    voters (1 2)&&(1 2 3)  learners_next (3)    then    voters (1 2)  learners (3)
struct Config {
  JointVoters voters;
  IdSet learners;
  IdSet learners_next;      // invariant: all in voters.outgoing
  bool auto_leave = false;  // invariant: false unless joint

  [[nodiscard]] ConfState conf_state() const;

  friend bool operator==(const Config&, const Config&) = default;
};

struct Tally {
  int granted = 0;
  int rejected = 0;
  VoteResult result = VoteResult::kPending;
};

struct Tracker {
  Config config;
  ProgressMap progress;  // of every member of `config`
  Votes votes;           // in the current campaign
  std::uint32_t inflight_messages_max = 0;
  std::uint64_t inflight_bytes_max = 0;  // 0: no limit

  /// True when a single voter decides everything alone.
  [[nodiscard]] bool is_singleton() const { return config.voters.incoming.size() == 1 && !config.voters.joint(); }

  /// The highest index that the voters hold, by what they acknowledged.
  [[nodiscard]] Index committed() const;

  /// True when a quorum answered since the flags were last cleared.
  [[nodiscard]] bool quorum_active() const;

  [[nodiscard]] Tally tally_votes() const;
  [[nodiscard]] Inflights new_inflights() const { return Inflights(inflight_messages_max, inflight_bytes_max); }
};

}  // namespace etcd::raft
