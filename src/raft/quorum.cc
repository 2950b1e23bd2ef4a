#include "raft/quorum.h"

#include <fmt/format.h>

namespace etcd::raft {

IdSet::IdSet(std::initializer_list<MemberId> ids) {
  for (const MemberId id : ids) insert(id);
}

IdSet::IdSet(const std::vector<MemberId>& ids) {
  for (const MemberId id : ids) insert(id);
}

bool IdSet::insert(MemberId id) {
  const auto place = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (place != ids_.end() && *place == id) return false;
  ids_.insert(place, id);
  return true;
}

bool IdSet::erase(MemberId id) {
  const auto place = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (place == ids_.end() || *place != id) return false;
  ids_.erase(place);
  return true;
}

void Votes::record(MemberId id, bool granted) {
  if (!of(id).has_value()) cast_.emplace_back(id, granted);
}

std::optional<bool> Votes::of(MemberId id) const {
  for (const auto& [voter, granted] : cast_) {
    if (voter == id) return granted;
  }
  return std::nullopt;
}

VoteResult vote_result(const IdSet& voters, const Votes& votes) {
  if (voters.empty()) return VoteResult::kWon;  // an empty half decides nothing
  std::size_t granted = 0;
  std::size_t missing = 0;
  for (const MemberId id : voters) {
    const std::optional<bool> vote = votes.of(id);
    if (!vote.has_value()) {
      ++missing;
    } else if (*vote) {
      ++granted;
    }
  }
  const std::size_t majority = voters.size() / 2 + 1;
  if (granted >= majority) return VoteResult::kWon;
  return granted + missing >= majority ? VoteResult::kPending : VoteResult::kLost;
}

IdSet JointVoters::ids() const {
  IdSet all = incoming;
  for (const MemberId id : outgoing) all.insert(id);
  return all;
}

VoteResult vote_result(const JointVoters& voters, const Votes& votes) {
  const VoteResult incoming = vote_result(voters.incoming, votes);
  const VoteResult outgoing = vote_result(voters.outgoing, votes);
  if (incoming == VoteResult::kLost || outgoing == VoteResult::kLost) return VoteResult::kLost;
  return incoming == outgoing ? incoming : VoteResult::kPending;
}

std::string describe_acked(std::vector<AckedVoter> voters) {
  if (voters.empty()) return "<empty majority quorum>";
  std::sort(voters.begin(), voters.end(), [](const AckedVoter& a, const AckedVoter& b) { return a.id < b.id; });
  const std::size_t width = voters.size();
  std::string text = fmt::format("{:{}}    idx\n", "", width);
  for (const AckedVoter& voter : voters) {
    const Index index = voter.index.value_or(Index{});
    if (voter.index.has_value()) {
      // The bar is as long as there are voters with less.
      const auto behind =
          static_cast<std::size_t>(std::count_if(voters.begin(), voters.end(), [&](const AckedVoter& other) {
            return other.index.value_or(Index{}) < index;
          }));
      text += std::string(behind, 'x') + '>' + std::string(width - behind, ' ');
    } else {
      text += '?' + std::string(width, ' ');
    }
    text += fmt::format(" {:5}    (id={:x})\n", index.value, voter.id);
  }
  return text;
}

}  // namespace etcd::raft
