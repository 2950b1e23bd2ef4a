#include "raft/tracker.h"

namespace etcd::raft {

ConfState Config::conf_state() const {
  return {.voters = voters.incoming.ids(),
          .learners = learners.ids(),
          .voters_outgoing = voters.outgoing.ids(),
          .learners_next = learners_next.ids(),
          .auto_leave = auto_leave};
}

Index Tracker::committed() const {
  return committed_index(config.voters, [this](MemberId id) -> std::optional<Index> {
    const Progress* const found = progress.find(id);
    if (found == nullptr) return std::nullopt;
    return found->match;
  });
}

bool Tracker::quorum_active() const {
  Votes active;
  for (const auto& [id, member] : progress) {
    if (!member.is_learner) active.record(id, member.recent_active);
  }
  return vote_result(config.voters, active) == VoteResult::kWon;
}

Tally Tracker::tally_votes() const {
  Tally tally;
  for (const auto& [id, member] : progress) {
    if (member.is_learner) continue;
    const std::optional<bool> vote = votes.of(id);
    if (!vote.has_value()) continue;
    ++(*vote ? tally.granted : tally.rejected);
  }
  tally.result = vote_result(config.voters, votes);
  return tally;
}

}  // namespace etcd::raft
