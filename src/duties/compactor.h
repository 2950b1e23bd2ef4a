// duties/compactor.h - the leader's duty to compact by itself: what is older than an hour, or than so many revisions.
//
// Life:    constructor -> start() -> leader_changed() ... -> stop()
// Thread:  any for start(), leader_changed() and stop(); the work is on `loop`.
// Owns:    a timer and the revisions that it noted. Borrows clock and loop, which must outlive it.
// Source:  etcd v3.7.1 server/etcdserver/api/v3compactor/{periodic,revision}.go (intervals, which revision, when none).
//
// periodic: a revision is noted ten times in min(retention, 1 h). Once the notes reach back a whole retention, the
//           oldest one is compacted to, and from then on once in min(retention, 1 h).
// revision: every 5 minutes to `retention` revisions before the newest.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>

#include "base/time.h"
#include "io/clock.h"
#include "io/executor.h"

namespace etcd::duties {

struct CompactorOptions {
  enum class Mode : std::uint8_t { kPeriodic, kRevision };
  Mode mode = Mode::kPeriodic;
  Duration period{};           // how long history is kept; 0: for ever. For kPeriodic
  std::int64_t revisions = 0;  // how many revisions are kept; 0: all. For kRevision
};

class Compactor {
 public:
  /// What it works with. `compact` puts a compaction into the log and need not tell what became of it.
  struct Ports {
    std::function<std::int64_t()> revision;  // the newest
    std::function<void(std::int64_t to)> compact;
  };

  Compactor(CompactorOptions options, const io::Clock& clock, io::Executor& loop, Ports ports);

  void start();
  /// Only a leader compacts; the others note revisions, too, so that a new leader need not begin anew.
  void leader_changed(bool leads);
  void stop();

 private:
  [[nodiscard]] Duration interval() const;  // between two compactions
  [[nodiscard]] Duration step() const;      // between two looks
  void arm();
  void look();
  void look_periodic();
  void look_revision();

  const CompactorOptions options_;
  const io::Clock& clock_;
  io::Executor& loop_;
  const Ports ports_;
  // On loop_.
  bool leads_ = false;
  bool stopped_ = false;
  std::deque<std::int64_t> noted_;  // one per look, oldest first; as many as a retention has looks, and one
  MonotonicTime last_;              // when the newest compaction was asked for, at first when we started
  bool compacted_once_ = false;
  std::int64_t last_revision_ = 0;
};

}  // namespace etcd::duties
