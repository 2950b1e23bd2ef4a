// raft/memory_log.h - a log in memory, readable by the core: tests use it, and replica keeps recent entries in one.
//
// Life:    a fresh one is empty and starts at index 1; apply_snapshot() moves it. append()*, compact()* follow.
// Thread:  one owner at a time.
// Owns:    its entries (handles to shared bytes).
// Source:  etcd-io/raft main storage.go (MemoryStorage).
#pragma once
#include <deque>
#include <span>

#include "raft/log_view.h"

namespace etcd::raft {

class MemoryLog : public LogView {
 public:
  MemoryLog() = default;

  /// A log whose configuration is known from elsewhere, without a snapshot.
  explicit MemoryLog(ConfState conf_state) { snapshot_.metadata.conf_state = std::move(conf_state); }

  [[nodiscard]] InitialState initial_state() const override;
  [[nodiscard]] Result<std::vector<Entry>> entries(Index begin, Index end, std::uint64_t bytes_max) const override;
  [[nodiscard]] Result<Term> term(Index index) const override;
  [[nodiscard]] Index first_index() const override { return before_first_.index + 1; }
  [[nodiscard]] Index last_index() const override { return before_first_.index + log_.size(); }
  [[nodiscard]] Result<Snapshot> snapshot() const override;

  void set_hard_state(const HardState& state) { hard_state_ = state; }
  /// The configuration that initial_state() and later snapshots tell.
  void set_conf_state(ConfState conf_state) { snapshot_.metadata.conf_state = std::move(conf_state); }

  /// Adds entries; those from the first one's index on are replaced, those already compacted are skipped.
  /// Checks: no gap behind last_index().
  void append(std::span<const Entry> entries);

  /// Replaces the whole log by a snapshot. Errors: kOutOfRange when ours is as new; nothing changed.
  Result<void> apply_snapshot(Snapshot snapshot);

  /// Remembers a snapshot of the state at `index`, for members that fall behind; the log stays.
  /// Errors: kOutOfRange when the one we have is as new; kUnavailable behind last_index().
  Result<Snapshot> create_snapshot(Index index, ConfState conf_state, SharedBytes data);

  /// Drops entries up to and including `index`. Errors: kCompacted when they are gone already; kUnavailable behind
  /// last_index().
  Result<void> compact(Index index);

  void check_invariants() const;

 private:
  struct Place {
    Term term;
    Index index;
  };

  HardState hard_state_;
  Snapshot snapshot_;
  Place before_first_;     // the entry just before the first one; (0, 0) in a fresh log
  std::deque<Entry> log_;  // log_[i] is at before_first_.index + 1 + i
};

}  // namespace etcd::raft
