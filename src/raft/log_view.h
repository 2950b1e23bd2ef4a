// raft/log_view.h - how the core reads the part of the log that is already in storage.
//
// Implemented by whoever stores the log (replica; memory_log.h for tests). The core never writes through it: it hands
// out what is to be saved (core.h, Ready) and reads it back here.
//
// Thread:  the core's loop only.
// Source:  etcd-io/raft main storage.go (Storage).
//
//   indices   1 2 3 | 4 5 6 7 8 |
//             compacted           ^ last_index() + 1
//                   ^ first_index() = 4; term(3) must still be known
//
// A view shows what was saved so far: with asynchronous writes an entry must be visible here before the
// kStorageAppendResp that acknowledges it is stepped into the core, and a snapshot likewise.
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "raft/message.h"

namespace etcd::raft {

class LogView {
 public:
  virtual ~LogView() = default;

  struct InitialState {
    HardState hard_state;  // empty when nothing was saved yet
    ConfState conf_state;  // as of the applied index
  };

  /// What was saved before; asked once, when a core is made.
  [[nodiscard]] virtual InitialState initial_state() const = 0;

  /// Entries of [begin, end), cut behind the last one that fits into `bytes_max` (encoded_bytes), but at least one.
  ///
  /// Shape:  contiguous from `begin`; begin < end <= last_index() + 1.
  /// Errors: kCompacted or kSnapshotNeeded when `begin` is before first_index(): the peer then gets a snapshot.
  ///         kUnavailable, or any other code: not now. The core goes on without these entries and asks again later; an
  ///         implementer whose disk failed remembers that itself and stops the member.
  [[nodiscard]] virtual Result<std::vector<Entry>> entries(Index begin, Index end, std::uint64_t bytes_max) const = 0;

  /// The term of the entry at `index`, known for [first_index() - 1, last_index()].
  /// Errors: kCompacted or kSnapshotNeeded before that range, kUnavailable behind it.
  [[nodiscard]] virtual Result<Term> term(Index index) const = 0;

  /// The first index that entries() can give; one behind the last compacted, at least 1.
  [[nodiscard]] virtual Index first_index() const = 0;

  /// The last index saved; first_index() - 1 when there are no entries.
  [[nodiscard]] virtual Index last_index() const = 0;

  /// A snapshot to send to a member that fell behind. It should be of the newest applied state: one from before that
  /// member was added does not name it, and the member then ignores it.
  /// Errors: kUnavailable while none is ready; the core asks again later.
  [[nodiscard]] virtual Result<Snapshot> snapshot() const = 0;
};

}  // namespace etcd::raft
