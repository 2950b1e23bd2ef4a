// replica/log_store.h - the log as raft reads it: recent entries in memory, older ones from the WAL by index.
//
// Life:    constructor with what the WAL held -> append(), trim() ...
// Thread:  replica loop only.
// Owns:    the entries in memory. Borrows the WAL, which must outlive it.
//
//      WAL      first_index() ............................ last_index()
//      memory                     memory_first_ .......... last_index()
//                                 at most `memory_bytes_max`, and nothing that is not yet applied is dropped
#pragma once
#include <deque>
#include <optional>
#include <span>

#include "raft/log_view.h"
#include "wal/log.h"

namespace etcd::replica {

class LogStore final : public raft::LogView {
 public:
  /// `applied` is the last entry that the state holds; `entries` follow it without a gap.
  LogStore(const wal::Log& wal, raft::HardState hard_state, raft::ConfState conf_state, Index applied,
           std::vector<raft::Entry> entries);

  [[nodiscard]] InitialState initial_state() const override { return {hard_state_, conf_state_}; }
  [[nodiscard]] Result<std::vector<raft::Entry>> entries(Index begin, Index end,
                                                         std::uint64_t bytes_max) const override;
  [[nodiscard]] Result<Term> term(Index index) const override;
  [[nodiscard]] Index first_index() const override;
  [[nodiscard]] Index last_index() const override { return memory_first_ + memory_.size() - 1; }
  /// State for a follower that has fallen behind. Errors: kUnavailable, until snapshots are sent between members.
  [[nodiscard]] Result<raft::Snapshot> snapshot() const override;

  /// Entries that the WAL has made durable. A later entry at an index that is there drops all behind it.
  void append(std::span<const raft::Entry> entries);

  /// Forgets entries up to `applied` until the rest fits `bytes_max`.
  void trim(Index applied, std::uint64_t bytes_max);
  /// Entries before `index` may no longer be asked for, though the WAL may still hold them.
  void compact(Index index) { compacted_ = std::max(compacted_, index); }

  [[nodiscard]] std::uint64_t memory_bytes() const { return bytes_; }

 private:
  const wal::Log& wal_;
  const raft::HardState hard_state_;
  const raft::ConfState conf_state_;
  Index memory_first_;  // the index of memory_.front(), or of the entry to come
  std::deque<raft::Entry> memory_;
  std::uint64_t bytes_ = 0;                  // of the commands in memory_
  Index compacted_{0};                       // entries up to here are not given out
  mutable std::optional<Term> term_before_;  // of the entry before memory_first_, once it is known
};

}  // namespace etcd::replica
