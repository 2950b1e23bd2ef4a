// raft/quorum.h - what a majority, or two majorities at once, have agreed on.
//
// Thread:  any (values).
// Source:  Raft paper 5.3, 5.4 and 6 (joint consensus); etcd-io/raft main quorum/.
#pragma once
#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace etcd::raft {

/// A set of members, ascending.
class IdSet {
 public:
  IdSet() = default;
  IdSet(std::initializer_list<MemberId> ids);
  explicit IdSet(const std::vector<MemberId>& ids);

  bool insert(MemberId id);  // false when it was there
  bool erase(MemberId id);   // false when it was not
  void clear() { ids_.clear(); }
  [[nodiscard]] bool contains(MemberId id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }
  [[nodiscard]] std::size_t size() const { return ids_.size(); }
  [[nodiscard]] bool empty() const { return ids_.empty(); }
  [[nodiscard]] auto begin() const { return ids_.begin(); }
  [[nodiscard]] auto end() const { return ids_.end(); }
  [[nodiscard]] const std::vector<MemberId>& ids() const { return ids_; }

  friend bool operator==(const IdSet&, const IdSet&) = default;

 private:
  std::vector<MemberId> ids_;
};

enum class VoteResult : std::uint8_t { kPending = 1, kLost = 2, kWon = 3 };

/// The votes cast so far; the first vote of a member counts.
class Votes {
 public:
  void record(MemberId id, bool granted);
  void clear() { cast_.clear(); }
  [[nodiscard]] std::optional<bool> of(MemberId id) const;

 private:
  std::vector<std::pair<MemberId, bool>> cast_;
};

/// What an empty set of voters has committed, so that an empty half of a joint configuration decides nothing.
constexpr Index kEverything{~std::uint64_t{0}};

/// The highest index that a majority of `voters` acknowledged. `acked(id)` is an optional index; none counts as 0.
template <class Acked>
Index committed_index(const IdSet& voters, const Acked& acked) {
  if (voters.empty()) return kEverything;
  constexpr std::size_t kUsual = 9;
  Index few[kUsual];
  std::vector<Index> many;
  Index* first = few;
  if (voters.size() > kUsual) {
    many.resize(voters.size());
    first = many.data();
  }
  Index* last = first;
  for (const MemberId id : voters) *last++ = acked(id).value_or(Index{});
  // Ascending, position (n - 1) / 2 has itself and n / 2 more at or behind it: a majority.
  Index* const middle = first + (voters.size() - 1) / 2;
  std::nth_element(first, middle, last);
  return *middle;
}

VoteResult vote_result(const IdSet& voters, const Votes& votes);

/// Two sets of voters that must both agree; the second is empty unless a change is under way.
struct JointVoters {
  IdSet incoming;
  IdSet outgoing;

  [[nodiscard]] bool joint() const { return !outgoing.empty(); }
  [[nodiscard]] bool contains(MemberId id) const { return incoming.contains(id) || outgoing.contains(id); }
  /// Members of either half.
  [[nodiscard]] IdSet ids() const;

  friend bool operator==(const JointVoters&, const JointVoters&) = default;
};

template <class Acked>
Index committed_index(const JointVoters& voters, const Acked& acked) {
  return std::min(committed_index(voters.incoming, acked), committed_index(voters.outgoing, acked));
}

VoteResult vote_result(const JointVoters& voters, const Votes& votes);

/// One voter in describe_acked().
struct AckedVoter {
  MemberId id = 0;
  std::optional<Index> index;
};

/// A small bar chart of who acknowledged what, for tests and debugging; one line per voter under a title line.
std::string describe_acked(std::vector<AckedVoter> voters);

}  // namespace etcd::raft
