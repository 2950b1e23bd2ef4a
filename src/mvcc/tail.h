// mvcc/tail.h - the versions that the store loop has not committed yet, in the order of their revisions.
//
// Thread:  the Tail is the writer's; a TailView may be read on any thread while what it shows is pinned (epochs.h).
//
//                 begin                       published end      end
//                   v                               v             v
//   ... dropped ... |  chunk  |  chunk  |  chunk  | .  chunk      |
//                   `-- directory: an array of chunk pointers, replaced (never changed) when a chunk comes or goes
//
// A slot is written once, before a state whose end lies behind it is published, so readers and writer never meet on
// one.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "mvcc/cause.h"
#include "mvcc/entry.h"

namespace etcd::mvcc {

class Limbo;

struct TailSlot {
  const Entry* entry = nullptr;  // one count of it, given back through Limbo when the slot is dropped
  SharedCause cause;             // of the revision, on its first record only
};

struct TailChunk {
  static constexpr std::size_t kSlots = 128;
  std::array<TailSlot, kSlots> slots;
};

/// `chunks[i]` holds the slots [(first + i) * kSlots, (first + i + 1) * kSlots).
struct TailDirectory {
  std::uint64_t first = 0;
  std::vector<TailChunk*> chunks;
};

struct TailView {
  const TailDirectory* directory = nullptr;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  [[nodiscard]] const TailSlot& at(std::uint64_t place) const {
    return directory->chunks[place / TailChunk::kSlots - directory->first]->slots[place % TailChunk::kSlots];
  }
  /// The first place whose revision is >= `revision`; `end` when there is none.
  [[nodiscard]] std::uint64_t lower_bound(Revision revision) const;
  /// The version with exactly this revision, or null.
  [[nodiscard]] const TailSlot* find(Revision revision) const;
};

class Tail {
 public:
  explicit Tail(Limbo& limbo);
  ~Tail();
  Tail(const Tail&) = delete;
  Tail& operator=(const Tail&) = delete;

  [[nodiscard]] TailView view() const { return {directory_, begin_, end_}; }
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  void append(EntryRef entry);
  /// Puts `cause` on the slot at `place`, which is not published yet.
  void set_cause(std::uint64_t place, SharedCause cause);
  /// Takes back the slots from `end` on, which were never published.
  void truncate(std::uint64_t end);
  /// Lets go of the slots with main <= `revision`. Readers of older states still see them.
  void drop(std::int64_t revision);

 private:
  [[nodiscard]] TailSlot& slot(std::uint64_t place);
  void replace_directory(TailDirectory* next);

  Limbo& limbo_;
  TailDirectory* directory_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t bytes_ = 0;  // footprint of the entries in [begin, end)
};

}  // namespace etcd::mvcc
