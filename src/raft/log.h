// raft/log.h - the whole log as the state machine sees it: storage first, then what storage does not hold yet.
//
//     first_index()                                            last_index()
//     |  applied   applying   committed                        |
//     v     v         v           v                            v
//     [ - - - - - - - - - - - - - - - - - - - - - - - - - - - - ]
//     '------ storage (LogView) ------------'--- unstable ------'
//
// Thread:  the core's loop only.
// Owns:    the unstable part and the four marks. Borrows the LogView and the notes.
// Source:  etcd-io/raft main log.go; Raft paper 5.3, 5.4.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "raft/log_view.h"
#include "raft/unstable.h"

namespace etcd::raft {

class Log {
 public:
  /// Starts with everything up to the storage's first entry committed and applied.
  Log(const LogView& view, Notes& notes, std::uint64_t applying_bytes_max);

  [[nodiscard]] Index first_index() const;
  [[nodiscard]] Index last_index() const;
  [[nodiscard]] EntryId last_entry_id() const;
  [[nodiscard]] Index committed() const { return committed_; }
  [[nodiscard]] Index applying() const { return applying_; }
  [[nodiscard]] Index applied() const { return applied_; }
  [[nodiscard]] const LogView& view() const { return view_; }

  /// Errors: as LogView::term().
  [[nodiscard]] Result<Term> term(Index index) const;
  /// As term(), 0 where there is none.
  [[nodiscard]] Term term_or_zero(Index index) const;
  [[nodiscard]] bool matches(EntryId id) const;
  /// True when a log that ends with `theirs` is at least as up-to-date as this one. Source: Raft paper 5.4.1.
  [[nodiscard]] bool is_up_to_date(EntryId theirs) const;

  /// Entries from `begin` to the end of the log, cut as LogView::entries(). Errors: likewise.
  [[nodiscard]] Result<std::vector<Entry>> entries(Index begin, std::uint64_t bytes_max) const;
  /// Entries of [begin, end), cut likewise. Errors: likewise.
  [[nodiscard]] Result<std::vector<Entry>> slice(Index begin, Index end, std::uint64_t bytes_max) const;
  /// The snapshot to send. Errors: as LogView::snapshot().
  [[nodiscard]] Result<Snapshot> snapshot() const;

  /// The greatest index up to `index` whose term is not above `term`, and its term: the best guess at where this log
  /// and one with that entry still agree. An unknown term (compacted) ends the search and reads as 0.
  [[nodiscard]] EntryId find_conflict_by_term(Index index, Term term) const;

  // ---- growing ----

  /// A follower's part of replication: if the log holds `previous`, takes over the entries behind it, dropping its own
  /// where they conflict, and commits up to `committed` or their end. Gives the index of the last new entry, or nothing
  /// when `previous` is not here.
  /// Checks: no committed entry conflicts.
  std::optional<Index> maybe_append(EntryId previous, std::vector<Entry>&& entries, Index committed);

  /// Adds entries, replacing those from the first one's index on. Gives the last index.
  /// Checks: none of those is committed.
  Index append(std::vector<Entry>&& entries);

  void restore(Snapshot snapshot);

  // ---- committing ----

  /// Checks: `index` is not behind the log's end. Going back is ignored.
  void commit_to(Index index);
  /// Commits up to `at` if that is progress and of the given term, so that an older leader's entries are committed only
  /// by those of this term behind them. Source: Raft paper 5.4.2.
  bool maybe_commit(EntryId at);
  /// On start: the commit index that was saved. Checks: it is within the log.
  void load_committed(Index index);

  // ---- handing out ----

  [[nodiscard]] std::span<const Entry> next_unstable_entries() const { return unstable_.next_entries(); }
  /// True when entries wait to be written, or are being written.
  [[nodiscard]] bool has_unstable_entries() const { return !unstable_.entries().empty(); }
  [[nodiscard]] const Snapshot* next_unstable_snapshot() const { return unstable_.next_snapshot(); }
  /// True when a snapshot waits to be written, or is being written.
  [[nodiscard]] bool has_unstable_snapshot() const { return unstable_.snapshot().has_value(); }
  void accept_unstable() { unstable_.accept_in_progress(); }
  void stable_to(EntryId last) { unstable_.stable_to(last); }
  void stable_snapshot_to(Index index) { unstable_.stable_snapshot_to(index); }

  /// Committed entries to apply next, within the bytes that may be on their way. With `allow_unstable`, also those that
  /// are not in storage yet.
  [[nodiscard]] std::vector<Entry> next_committed_entries(bool allow_unstable) const;
  [[nodiscard]] bool has_next_committed_entries(bool allow_unstable) const;
  /// Entries up to `index`, `bytes` in all, were handed out.
  void accept_applying(Index index, std::uint64_t bytes, bool allow_unstable);
  /// They were applied. Checks: applied() <= index <= committed().
  void applied_to(Index index, std::uint64_t bytes);

  /// One line for notes.
  [[nodiscard]] std::string describe() const;

  void check_invariants() const;

 private:
  [[nodiscard]] Index find_conflict(std::span<const Entry> entries) const;
  [[nodiscard]] Index appliable_end(bool allow_unstable) const;

  const LogView& view_;
  Notes& notes_;
  Unstable unstable_;
  Index committed_;  // invariant: applied_ <= applying_ <= committed_ <= last_index()
  Index applying_;   // handed out to be applied
  Index applied_;
  std::uint64_t applying_bytes_max_;
  std::uint64_t applying_bytes_ = 0;  // handed out and not yet applied
  bool applying_paused_ = false;      // until something is applied
};

}  // namespace etcd::raft
