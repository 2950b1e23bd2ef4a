// raft/transcript/arithmetic.h - the verbs that need no member: quorums, and configuration changes without a log.
//
// Thread:  one.
// Source:  etcd-io/raft main quorum/datadriven_test.go, confchange/datadriven_test.go (verbs and their output).
#pragma once
#include <string>

#include "raft/tracker.h"
#include "raft/transcript/script.h"

namespace etcd::raft::transcript {

/// committed, vote.
///
///     cfg=(1,2) cfgj=(2,3)    the voters, and the other half of a joint configuration ("zero": an empty one)
///     idx=(5,_,7)             what each voter acknowledged, in the order of cfg, cfgj; "_" is nothing
///     votes=(y,n,_)           likewise
std::string play_quorum(const Command& command);

/// simple, enter-joint, leave-joint: from one configuration to the next.
class ConfChanges {
 public:
  std::string play(const Command& command);

 private:
  Tracker tracker_{.config = {}, .progress = {}, .votes = {}, .inflight_messages_max = 10, .inflight_bytes_max = 0};
  Index last_index_;  // one more with each command
};

}  // namespace etcd::raft::transcript
