#include "raft/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "raft/entries.h"

namespace etcd::raft {

Log::Log(const LogView& view, Notes& notes, std::uint64_t applying_bytes_max)
    : view_(view),
      notes_(notes),
      unstable_(view.last_index() + 1, notes),
      committed_(view.first_index() - 1),
      applying_(committed_),
      applied_(committed_),
      applying_bytes_max_(applying_bytes_max) {}

Index Log::first_index() const {
  const std::optional<Index> first = unstable_.first_index();
  return first.has_value() ? *first : view_.first_index();
}

Index Log::last_index() const {
  const std::optional<Index> last = unstable_.last_index();
  return last.has_value() ? *last : view_.last_index();
}

EntryId Log::last_entry_id() const {
  const Index last = last_index();
  const auto at = term(last);
  CHECK(at.has_value(), "no term for the last entry {}: {}", last.value, at.error().message);
  return {*at, last};
}

Result<Term> Log::term(Index index) const {
  // The unstable part first: it answers for the entries that are asked for most, without a look at storage.
  if (const std::optional<Term> found = unstable_.term(index); found.has_value()) return *found;
  if (index + 1 < first_index()) return failure(ErrorCode::kCompacted, "");
  if (index > last_index()) return failure(ErrorCode::kUnavailable, "");
  return view_.term(index);
}

Term Log::term_or_zero(Index index) const {
  return term(index).value_or(Term{});
}

bool Log::matches(EntryId id) const {
  const auto ours = term(id.index);
  return ours.has_value() && *ours == id.term;
}

bool Log::is_up_to_date(EntryId theirs) const {
  const EntryId ours = last_entry_id();
  return theirs.term > ours.term || (theirs.term == ours.term && theirs.index >= ours.index);
}

Result<std::vector<Entry>> Log::entries(Index begin, std::uint64_t bytes_max) const {
  const Index end = last_index() + 1;
  if (begin >= end) return std::vector<Entry>{};
  return slice(begin, end, bytes_max);
}

Result<std::vector<Entry>> Log::slice(Index begin, Index end, std::uint64_t bytes_max) const {
  CHECK(begin <= end, "slice [{}, {})", begin.value, end.value);
  if (begin < first_index()) return failure(ErrorCode::kCompacted, "");
  CHECK(end <= last_index() + 1, "slice [{}, {}) of a log that ends with {}", begin.value, end.value,
        last_index().value);
  if (begin == end) return std::vector<Entry>{};

  const Index offset = unstable_.offset();
  if (begin >= offset) {
    const std::span<const Entry> found = limit_bytes(unstable_.slice(begin, end), bytes_max);
    return std::vector<Entry>(found.begin(), found.end());
  }
  const Index stored_end = std::min(end, offset);
  ETCD_TRY(std::vector<Entry> found, view_.entries(begin, stored_end, bytes_max));
  if (end <= offset || found.size() < stored_end - begin) return found;

  // All of the stored part fits; see how much of the unstable part fits behind it.
  const std::uint64_t bytes = bytes_max == ~std::uint64_t{0} ? 0 : encoded_bytes(found);
  if (bytes >= bytes_max) return found;
  const std::span<const Entry> more = limit_bytes(unstable_.slice(offset, end), bytes_max - bytes);
  // limit_bytes() gives one entry even if it is too large, which is right only when nothing stands before it.
  if (more.size() == 1 && encoded_bytes(more.front()) > bytes_max - bytes) return found;
  found.insert(found.end(), more.begin(), more.end());
  return found;
}

Result<Snapshot> Log::snapshot() const {
  if (unstable_.snapshot().has_value()) return *unstable_.snapshot();
  return view_.snapshot();
}

EntryId Log::find_conflict_by_term(Index index, Term term_max) const {
  for (; index > Index{}; index = index - 1) {
    const auto ours = term(index);
    if (!ours.has_value()) return {Term{}, index};
    if (*ours <= term_max) return {*ours, index};
  }
  return {};
}

Index Log::find_conflict(std::span<const Entry> entries) const {
  for (const Entry& entry : entries) {
    if (matches({entry.term, entry.index})) continue;
    if (entry.index <= last_index()) {
      notes_.info("found conflict at index {} [existing term: {}, conflicting term: {}]", entry.index.value,
                  term_or_zero(entry.index).value, entry.term.value);
    }
    return entry.index;
  }
  return {};
}

std::optional<Index> Log::maybe_append(EntryId previous, std::vector<Entry>&& entries, Index committed) {
  if (!matches(previous)) return std::nullopt;
  const Index last_new = previous.index + entries.size();
  const Index conflict = find_conflict(entries);
  if (conflict != Index{}) {
    CHECK(conflict > committed_, "entry {} conflict with committed entry [committed({})]", conflict.value,
          committed_.value);
    const auto known = static_cast<std::ptrdiff_t>(conflict - previous.index - 1);
    entries.erase(entries.begin(), entries.begin() + known);
    append(std::move(entries));
  }
  commit_to(std::min(committed, last_new));
  return last_new;
}

Index Log::append(std::vector<Entry>&& entries) {
  if (entries.empty()) return last_index();
  CHECK(entries.front().index > committed_, "entry {} would replace a committed one [committed({})]",
        entries.front().index.value, committed_.value);
  unstable_.truncate_and_append(std::move(entries));
  return last_index();
}

void Log::restore(Snapshot snapshot) {
  if (notes_.wants(NoteLevel::kInfo)) {
    notes_.info("log [{}] starts to restore snapshot [index: {}, term: {}]", describe(), snapshot.metadata.index.value,
                snapshot.metadata.term.value);
  }
  committed_ = snapshot.metadata.index;
  unstable_.restore(std::move(snapshot));
}

void Log::commit_to(Index index) {
  if (index <= committed_) return;
  CHECK(index <= last_index(),
        "tocommit({}) is out of range [lastIndex({})]. Was the raft log corrupted, truncated, or lost?", index.value,
        last_index().value);
  committed_ = index;
}

bool Log::maybe_commit(EntryId at) {
  if (at.term == Term{} || at.index <= committed_ || !matches(at)) return false;
  commit_to(at.index);
  return true;
}

void Log::load_committed(Index index) {
  CHECK(committed_ <= index && index <= last_index(), "state.commit {} is out of range [{}, {}]", index.value,
        committed_.value, last_index().value);
  committed_ = index;
}

Index Log::appliable_end(bool allow_unstable) const {
  return (allow_unstable ? committed_ : std::min(committed_, unstable_.offset() - 1)) + 1;
}

bool Log::has_next_committed_entries(bool allow_unstable) const {
  // A snapshot goes first, and alone: what is committed may lie before or behind it.
  return !applying_paused_ && !has_unstable_snapshot() && applying_ + 1 < appliable_end(allow_unstable);
}

std::vector<Entry> Log::next_committed_entries(bool allow_unstable) const {
  if (!has_next_committed_entries(allow_unstable)) return {};
  CHECK(applying_bytes_ < applying_bytes_max_, "{} of {} bytes being applied, not paused", applying_bytes_,
        applying_bytes_max_);
  auto found = slice(applying_ + 1, appliable_end(allow_unstable), applying_bytes_max_ - applying_bytes_);
  if (found.has_value()) return *std::move(found);
  CHECK(found.error().code != ErrorCode::kCompacted, "entry {} is compacted before it was applied",
        (applying_ + 1).value);
  return {};  // storage cannot read just now
}

void Log::accept_applying(Index index, std::uint64_t bytes, bool allow_unstable) {
  CHECK(applying_ <= index && index <= committed_, "applying({}) is out of range [prevApplying({}), committed({})]",
        index.value, applying_.value, committed_.value);
  applying_ = index;
  applying_bytes_ += bytes;
  // Paused also when the next entry alone would go over the limit, which shows by what was left behind.
  applying_paused_ = applying_bytes_ >= applying_bytes_max_ || index + 1 < appliable_end(allow_unstable);
}

void Log::applied_to(Index index, std::uint64_t bytes) {
  CHECK(applied_ <= index && index <= committed_, "applied({}) is out of range [prevApplied({}), committed({})]",
        index.value, applied_.value, committed_.value);
  applied_ = index;
  applying_ = std::max(applying_, index);
  applying_bytes_ -= std::min(applying_bytes_, bytes);
  applying_paused_ = applying_bytes_ >= applying_bytes_max_;
}

std::string Log::describe() const {
  return fmt::format(
      "committed={}, applied={}, applying={}, unstable.offset={}, unstable.offsetInProgress={}, "
      "len(unstable.Entries)={}",
      committed_.value, applied_.value, applying_.value, unstable_.offset().value, unstable_.offset_in_progress().value,
      unstable_.entries().size());
}

void Log::check_invariants() const {
  unstable_.check_invariants();
  CHECK(applied_ <= applying_, "applied {} applying {}", applied_.value, applying_.value);
  CHECK(applying_ <= committed_, "applying {} committed {}", applying_.value, committed_.value);
  CHECK(committed_ <= last_index(), "committed {} last {}", committed_.value, last_index().value);
}

}  // namespace etcd::raft
