// raft/progress.h - what the leader knows of one member's log, and how it sends to it.
//
//              kAppResp matches                     log does not reach back
//     probe ─────────────────────> replicate        ──────────> snapshot
//       ^ one message per            │ optimistic: next runs       │ nothing is sent
//       │ heartbeat interval         │ ahead within the window     │
//       └────────────────────────────┘                             │
//       ^        rejected, unreachable                             │
//       └──────────────────────────────────────────────────────────┘
//                snapshot reported, or its kAppResp (then on to replicate)
//
// Thread:  the core's loop only (values).
// Source:  etcd-io/raft main tracker/progress.go; Raft paper 5.3 (next and match index).
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "raft/inflights.h"

namespace etcd::raft {

enum class ProgressState : std::uint8_t { kProbe = 0, kReplicate = 1, kSnapshot = 2 };

struct Progress {
  Index match;             // its log is known to equal ours up to here
  Index next{1};           // the next entry to send; invariant: match < next
  Index sent_commit;       // the highest commit index on its way to the member; falls back with next
  Index pending_snapshot;  // kSnapshot only: the index of the snapshot being sent
  ProgressState state = ProgressState::kProbe;
  bool recent_active = false;  // it answered since the last check of the quorum
  bool flow_paused = false;    // no kApp until it answers a heartbeat
  bool is_learner = false;
  Inflights inflights;

  void become_probe();
  void become_replicate();
  void become_snapshot(Index snapshot);

  /// A kApp with `count` entries of `bytes` was sent.
  void sent_entries(std::uint64_t count, std::uint64_t bytes);

  /// True when telling commit index `commit` may move the member's own.
  [[nodiscard]] bool can_bump_commit(Index commit) const { return commit > sent_commit && sent_commit + 1 < next; }

  /// It acknowledged `index`. False when that is old news.
  bool maybe_update(Index index);

  /// It rejected a kApp behind `rejected`, hinting that logs may match at `hint`. False when that is old news.
  bool maybe_decrease_to(Index rejected, Index hint);

  /// True when no kApp may be sent now.
  [[nodiscard]] bool paused() const { return state == ProgressState::kSnapshot || flow_paused; }

  void check_invariants(MemberId id) const;

 private:
  void reset_state(ProgressState state);
};

/// Members and their progress, by ascending id. A cluster has few members, so a sorted vector beats a tree.
class ProgressMap {
 public:
  using Item = std::pair<MemberId, Progress>;

  [[nodiscard]] Progress* find(MemberId id);
  [[nodiscard]] const Progress* find(MemberId id) const;
  /// Adds or replaces.
  Progress& put(MemberId id, Progress progress);
  void erase(MemberId id);

  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] bool empty() const { return items_.empty(); }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }
  [[nodiscard]] auto begin() const { return items_.begin(); }
  [[nodiscard]] auto end() const { return items_.end(); }

 private:
  std::vector<Item> items_;
};

}  // namespace etcd::raft
