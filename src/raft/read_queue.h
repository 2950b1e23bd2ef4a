// raft/read_queue.h - linearizable reads waiting until a majority has confirmed that this leader still leads.
//
// Reads are numbered from 1 in the order in which they came. A heartbeat carries the number of the last read waiting
// when it was sent; a follower echoes it, which confirms that read and all before it. An echo that was asked for
// earlier holds a smaller number, so it cannot confirm a later read: that is what makes an old acknowledgement
// worthless.
//
// Thread:  the core's loop only.
// Source:  Raft thesis 6.4; etcd-io/raft main read_only.go.
#pragma once
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "raft/message.h"
#include "raft/quorum.h"

namespace etcd::raft {

/// A read that may be answered: the request, and the commit index when it came.
struct WaitingRead {
  Message request;
  Index index;
};

class ReadQueue {
 public:
  /// A read came while `committed` was the commit index.
  void add(Index committed, Message&& request) { waiting_.push_back({std::move(request), committed}); }

  /// The context for a heartbeat sent now: the last waiting read's number as 8 bytes, little-endian; empty when no read
  /// waits.
  [[nodiscard]] Bytes heartbeat_context() const;

  /// `from` echoed `context`. One that no heartbeat of ours carried is ignored.
  void acknowledge(MemberId from, BytesView context);

  /// Takes the reads that `voters` have confirmed by now.
  std::vector<WaitingRead> take_confirmed(const JointVoters& voters);

  /// Leadership was lost or won: nothing waits, nothing was acknowledged, numbers start again. Echoes of older terms
  /// never get here, since their term is checked first.
  void reset();

  [[nodiscard]] bool empty() const { return waiting_.empty(); }

 private:
  std::deque<WaitingRead> waiting_;               // waiting_[i] has number confirmed_ + 1 + i
  std::uint64_t confirmed_ = 0;                   // the last number taken
  std::vector<std::pair<MemberId, Index>> acks_;  // the highest number each member echoed
};

}  // namespace etcd::raft
