#include "raft/transcript/arithmetic.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "raft/conf_changer.h"
#include "raft/describe.h"
#include "raft/transcript/interaction.h"

namespace etcd::raft::transcript {
namespace {

std::string text_of(Index index) {
  return index == kEverything ? "∞" : fmt::format("{}", index.value);
}

/// What one voter said: "_" nothing, else an index, "y" or "n".
struct Said {
  MemberId id = 0;
  std::string what;
};

struct Acked {
  std::vector<AckedVoter> voters;

  std::optional<Index> operator()(MemberId id) const {
    for (const AckedVoter& voter : voters) {
      if (voter.id == id) return voter.index;
    }
    return std::nullopt;
  }
  /// With another index for one voter.
  [[nodiscard]] Acked with(MemberId id, Index index) const {
    Acked changed = *this;
    for (AckedVoter& voter : changed.voters) {
      if (voter.id == id) voter.index = index;
    }
    return changed;
  }
};

std::string play_committed(const JointVoters& voters, bool joint, const std::vector<Said>& said) {
  Acked acked;
  for (const Said& one : said) {
    const auto index = to_number(one.what);
    acked.voters.push_back({one.id, index.has_value() ? std::optional(Index{*index}) : std::nullopt});
  }
  const Index index = committed_index(voters, acked);
  std::string text = describe_acked(acked.voters);
  // The same must come out by other ways; where it does not, that shows in the output.
  const auto compare = [&](Index other, std::string_view way) {
    if (other != index) text += fmt::format("{} <-- via {}\n", text_of(other), way);
  };
  if (joint) {
    compare(committed_index(JointVoters{voters.outgoing, voters.incoming}, acked), "symmetry");
  } else {
    compare(committed_index(voters.incoming, acked), "majority");
    compare(committed_index(JointVoters{voters.incoming, voters.incoming}, acked), "self-joint quorum");
    for (const AckedVoter& voter : acked.voters) {
      if (!voter.index.has_value() || *voter.index >= index) continue;
      compare(committed_index(voters, acked.with(voter.id, *voter.index - 1)), "a lower index");
      compare(committed_index(voters, acked.with(voter.id, Index{})), "index 0");
    }
  }
  return text + text_of(index);
}

std::string play_vote(const JointVoters& voters, const std::vector<Said>& said) {
  Votes votes;
  for (const Said& one : said) {
    if (one.what == "y" || one.what == "n") votes.record(one.id, one.what == "y");
  }
  const VoteResult result = vote_result(voters, votes);
  const VoteResult swapped = vote_result(JointVoters{voters.outgoing, voters.incoming}, votes);
  std::string text;
  if (swapped != result) text = fmt::format("{} <-- via symmetry\n", name_of(swapped));
  return text + std::string(name_of(result));
}

}  // namespace

std::string play_quorum(const Command& command) {
  std::vector<MemberId> order;  // each voter once
  JointVoters voters;
  bool joint = false;
  std::vector<std::string> words;
  for (const Argument& argument : command.arguments) {
    const bool incoming = argument.key == "cfg";
    if (incoming || argument.key == "cfgj") {
      joint |= !incoming;
      for (const std::string& value : argument.values) {
        if (value == "zero") continue;
        const auto id = to_number(value);
        if (!id.has_value()) return id.error().message;
        if (!voters.contains(*id)) order.push_back(*id);
        (incoming ? voters.incoming : voters.outgoing).insert(*id);
      }
    } else if (argument.key == "idx" || argument.key == "votes") {
      words = argument.values;
    } else {
      return fmt::format("unknown arg {}", argument.key);
    }
  }
  if (words.size() != order.size()) {
    return fmt::format("error: mismatched input (explicit or _) for voters {}: [{}]", describe(voters.ids()),
                       fmt::join(words, " "));
  }
  std::vector<Said> said;
  for (std::size_t place = 0; place < order.size(); ++place) said.push_back({order[place], words[place]});
  return command.verb == "vote" ? play_vote(voters, said) : play_committed(voters, joint, said);
}

std::string ConfChanges::play(const Command& command) {
  const Index last = std::exchange(last_index_, last_index_ + 1);
  const auto changes = parse_changes(command.body);
  if (!changes.has_value()) return changes.error().message;
  const auto change = [&]() -> Result<Configured> {
    if (command.verb == "simple") return change_simple(tracker_, last, *changes);
    if (command.verb == "leave-joint") {
      if (!changes->empty()) return failure(ErrorCode::kInvalidArgument, "this command takes no input");
      return leave_joint(tracker_);
    }
    const Argument* const auto_leave = command.find("autoleave");
    return enter_joint(tracker_, last, auto_leave != nullptr && auto_leave->values.front() == "true", *changes);
  };
  auto next = change();
  if (!next.has_value()) return next.error().message;
  tracker_.config = std::move(next->config);
  tracker_.progress = std::move(next->progress);
  return fmt::format("{}\n{}", describe(tracker_.config), describe(tracker_.progress));
}

}  // namespace etcd::raft::transcript
