#include "raft/conf_changer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace etcd::raft {
namespace {

std::unexpected<Error> refused(std::string why) {
  return failure(ErrorCode::kInvalidArgument, std::move(why));
}

/// A configuration being changed.
class Draft {
 public:
  Draft(const Tracker& now, Index last_index)
      : next{.config = now.config, .progress = now.progress}, limits_(now), last_index_(last_index) {}

  Configured next;

  Result<void> apply(std::span<const ConfChangeSingle> changes) {
    for (const ConfChangeSingle& change : changes) {
      if (change.node_id == 0) continue;  // refused by the driver after it was committed
      switch (change.type) {
        case ConfChangeType::kAddNode: make_voter(change.node_id); break;
        case ConfChangeType::kAddLearnerNode: make_learner(change.node_id); break;
        case ConfChangeType::kRemoveNode: remove(change.node_id); break;
        case ConfChangeType::kUpdateNode: break;  // changes the driver's data only
      }
    }
    if (next.config.voters.incoming.empty()) return refused("removed all voters");
    return {};
  }

  Result<Configured> finish() && {
    ETCD_TRY_VOID(check_config(next.config, next.progress));
    return std::move(next);
  }

 private:
  void make_voter(MemberId id) {
    Progress* const member = next.progress.find(id);
    if (member == nullptr) return add(id, /*is_learner=*/false);
    member->is_learner = false;
    next.config.learners.erase(id);
    next.config.learners_next.erase(id);
    next.config.voters.incoming.insert(id);
  }

  void make_learner(MemberId id) {
    Progress* const member = next.progress.find(id);
    if (member == nullptr) return add(id, /*is_learner=*/true);
    if (member->is_learner) return;
    next.config.voters.incoming.erase(id);
    // Still a voter of the outgoing half: it must wait, for nobody is both.
    if (next.config.voters.outgoing.contains(id)) {
      next.config.learners_next.insert(id);
    } else {
      member->is_learner = true;
      next.config.learners.insert(id);
    }
  }

  void remove(MemberId id) {
    next.config.voters.incoming.erase(id);
    next.config.learners.erase(id);
    next.config.learners_next.erase(id);
    if (!next.config.voters.outgoing.contains(id)) next.progress.erase(id);
  }

  void add(MemberId id, bool is_learner) {
    (is_learner ? next.config.learners : next.config.voters.incoming).insert(id);
    Progress member;
    member.next = std::max(last_index_, Index{1});
    member.is_learner = is_learner;
    member.inflights = limits_.new_inflights();
    // Otherwise a check of the quorum before its first answer would count it as gone.
    member.recent_active = true;
    next.progress.put(id, std::move(member));
  }

  const Tracker& limits_;
  Index last_index_;
};

std::size_t voters_changed(const IdSet& before, const IdSet& after) {
  const auto missing = [](const IdSet& from, const IdSet& in) {
    return std::count_if(from.begin(), from.end(), [&](MemberId id) { return !in.contains(id); });
  };
  return static_cast<std::size_t>(missing(before, after) + missing(after, before));
}

void append(std::vector<ConfChangeSingle>& changes, ConfChangeType type, const std::vector<MemberId>& ids) {
  for (const MemberId id : ids) changes.push_back({.type = type, .node_id = id});
}

}  // namespace

Result<Configured> change_simple(const Tracker& now, Index last_index, std::span<const ConfChangeSingle> changes) {
  if (now.config.voters.joint()) return refused("can't apply simple config change in joint config");
  Draft draft(now, last_index);
  ETCD_TRY_VOID(draft.apply(changes));
  // Two majorities that differ in one voter always overlap; with more they need not (thesis 4.1).
  if (voters_changed(now.config.voters.incoming, draft.next.config.voters.incoming) > 1) {
    return refused("more than one voter changed without entering joint config");
  }
  return std::move(draft).finish();
}

Result<Configured> enter_joint(const Tracker& now, Index last_index, bool auto_leave,
                               std::span<const ConfChangeSingle> changes) {
  if (now.config.voters.joint()) return refused("config is already joint");
  if (now.config.voters.incoming.empty()) return refused("can't make a zero-voter config joint");
  Draft draft(now, last_index);
  draft.next.config.voters.outgoing = now.config.voters.incoming;
  ETCD_TRY_VOID(draft.apply(changes));
  draft.next.config.auto_leave = auto_leave;
  return std::move(draft).finish();
}

Result<Configured> leave_joint(const Tracker& now) {
  if (!now.config.voters.joint()) return refused("can't leave a non-joint config");
  Configured next{.config = now.config, .progress = now.progress};
  for (const MemberId id : next.config.learners_next) {
    next.config.learners.insert(id);
    if (Progress* const member = next.progress.find(id); member != nullptr) member->is_learner = true;
  }
  next.config.learners_next.clear();
  for (const MemberId id : next.config.voters.outgoing) {
    if (!next.config.voters.incoming.contains(id) && !next.config.learners.contains(id)) next.progress.erase(id);
  }
  next.config.voters.outgoing.clear();
  next.config.auto_leave = false;
  ETCD_TRY_VOID(check_config(next.config, next.progress));
  return next;
}

Result<Configured> restore_config(const Tracker& limits, Index last_index, const ConfState& state) {
  // As if the outgoing voters had been added one by one, and then a joint change had replaced them by the incoming
  // ones. Which learners were there before does not show in a conf state, and does not matter.
  std::vector<ConfChangeSingle> first;
  std::vector<ConfChangeSingle> second;
  append(first, ConfChangeType::kAddNode, state.voters_outgoing);
  append(second, ConfChangeType::kRemoveNode, state.voters_outgoing);
  append(second, ConfChangeType::kAddNode, state.voters);
  append(second, ConfChangeType::kAddLearnerNode, state.learners);
  append(second, ConfChangeType::kAddLearnerNode, state.learners_next);

  Tracker built{.config = {},
                .progress = {},
                .votes = {},
                .inflight_messages_max = limits.inflight_messages_max,
                .inflight_bytes_max = limits.inflight_bytes_max};
  const auto one_by_one = [&](const std::vector<ConfChangeSingle>& changes) -> Result<void> {
    for (const ConfChangeSingle& change : changes) {
      ETCD_TRY(Configured step, change_simple(built, last_index, {&change, 1}));
      built.config = std::move(step.config);
      built.progress = std::move(step.progress);
    }
    return {};
  };
  ETCD_TRY_VOID(one_by_one(first.empty() ? second : first));
  if (!first.empty()) return enter_joint(built, last_index, state.auto_leave, second);
  return Configured{.config = std::move(built.config), .progress = std::move(built.progress)};
}

bool equivalent(ConfState left, ConfState right) {
  for (ConfState* const state : {&left, &right}) {
    for (std::vector<MemberId>* const ids :
         {&state->voters, &state->learners, &state->voters_outgoing, &state->learners_next}) {
      std::sort(ids->begin(), ids->end());
    }
  }
  return left == right;
}

Result<void> check_config(const Config& config, const ProgressMap& progress) {
  const auto tracked = [&](const IdSet& ids) -> Result<void> {
    for (const MemberId id : ids) {
      if (progress.find(id) == nullptr) return refused(fmt::format("no progress for {}", id));
    }
    return {};
  };
  ETCD_TRY_VOID(tracked(config.voters.incoming));
  ETCD_TRY_VOID(tracked(config.voters.outgoing));
  ETCD_TRY_VOID(tracked(config.learners));
  ETCD_TRY_VOID(tracked(config.learners_next));
  for (const MemberId id : config.learners_next) {
    if (!config.voters.outgoing.contains(id)) {
      return refused(fmt::format("{} is in LearnersNext, but not Voters[1]", id));
    }
    if (progress.find(id)->is_learner) {
      return refused(fmt::format("{} is in LearnersNext, but is already marked as learner", id));
    }
  }
  for (const MemberId id : config.learners) {
    if (config.voters.outgoing.contains(id)) return refused(fmt::format("{} is in Learners and Voters[1]", id));
    if (config.voters.incoming.contains(id)) return refused(fmt::format("{} is in Learners and Voters[0]", id));
    if (!progress.find(id)->is_learner) {
      return refused(fmt::format("{} is in Learners, but is not marked as learner", id));
    }
  }
  if (!config.voters.joint()) {
    if (!config.learners_next.empty()) return refused("cfg.LearnersNext must be nil when not joint");
    if (config.auto_leave) return refused("AutoLeave must be false when not joint");
  }
  return {};
}

}  // namespace etcd::raft
