// raft/unstable.h - the end of the log that storage does not hold yet, and the part of it that is being written.
//
//     storage            entries
//     ... 5 6 7    |  8  9  10 11 | 12 13
//                  offset         offset_in_progress
//                  '- being written -' '- not handed out yet
//
// Storage may hold entries at and behind `offset` too, of an older term; what is here wins, and replaces them once
// written. A snapshot here stands before all entries, and before everything in storage.
//
// Thread:  the core's loop only.
// Source:  etcd-io/raft main log_unstable.go.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "raft/message.h"
#include "raft/note.h"

namespace etcd::raft {

/// One entry's place in the history that all logs share. Source: Raft paper 5.3, log matching.
struct EntryId {
  Term term;
  Index index;

  friend bool operator==(const EntryId&, const EntryId&) = default;
};

class Unstable {
 public:
  /// `offset` is the first index behind the storage's.
  Unstable(Index offset, Notes& notes) : notes_(notes), offset_(offset), offset_in_progress_(offset) {}

  [[nodiscard]] Index offset() const { return offset_; }
  [[nodiscard]] Index offset_in_progress() const { return offset_in_progress_; }
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] const std::optional<Snapshot>& snapshot() const { return snapshot_; }

  [[nodiscard]] std::optional<Index> first_index() const;  // known only with a snapshot
  [[nodiscard]] std::optional<Index> last_index() const;
  [[nodiscard]] std::optional<Term> term(Index index) const;

  /// Entries not handed out yet.
  [[nodiscard]] std::span<const Entry> next_entries() const;
  /// The snapshot, unless there is none or it was handed out.
  [[nodiscard]] const Snapshot* next_snapshot() const;
  /// Everything here has been handed out.
  void accept_in_progress();

  /// Storage holds everything up to `last`, and no write under way will replace it. Ignored when `last` is not here.
  void stable_to(EntryId last);
  void stable_snapshot_to(Index index);

  void restore(Snapshot snapshot);
  /// Adds entries; those from the first one's index on are replaced. Not empty, and not behind a gap.
  void truncate_and_append(std::vector<Entry>&& entries);

  /// Entries of [begin, end), all of which must be here.
  [[nodiscard]] std::span<const Entry> slice(Index begin, Index end) const;

  void check_invariants() const;

 private:
  Notes& notes_;
  std::optional<Snapshot> snapshot_;
  bool snapshot_in_progress_ = false;
  std::vector<Entry> entries_;  // entries_[i] is at offset_ + i
  Index offset_;
  Index offset_in_progress_;  // invariant: offset_ <= offset_in_progress_ <= offset_ + entries_.size()
};

}  // namespace etcd::raft
