// wal/log.h - the log on disk: appends records to the newest segment and makes them durable; reads entries by index.
//
// Life:    create() or open() -> append_*()* -> sync() ... After an error the log is dead: each later call repeats it.
// Thread:  append, sync, save and release on the disk loop only; read() and bounds from any thread (guarded by mu_).
// Owns:    the segments' files, locked against other processes. Borrows the directory and the background loop, which
//          must outlive it.
// Format:  docs/formats/wal.md
// Source:  etcd v3.7.1 server/storage/wal/wal.go; the rules are in docs/formats/wal.md.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "io/executor.h"
#include "io/file.h"
#include "wal/frame.h"

namespace etcd::wal {

struct LogOptions {
  std::uint64_t segment_bytes = 64'000'000;  // start a new file once this many bytes are written
  std::uint64_t prewrite_bytes = 1 << 20;    // zeros are written this far ahead of use
  bool unsafe_no_fsync = false;              // --unsafe-no-fsync: a crash may lose acknowledged writes
};

struct EntryRecord {
  Index index;
  Bytes data;  // a raftpb.Entry
};

/// What open() found.
struct Recovered {
  Bytes metadata;
  Bytes state;                       // the last HardState record; empty when there is none
  std::vector<Bytes> snapshots;      // every Snapshot record, in order
  std::vector<EntryRecord> entries;  // those behind `keep_after`, in order, without gaps
  std::optional<std::string> torn;   // what was cut from the last segment and where, for the log
};

class Log {
 public:
  /// True when the directory holds a log, whole or damaged.
  static Result<bool> exists(const io::Directory& directory);

  /// Starts a log in a directory without one, with its first entries and state: after a crash all of it is there or no
  /// log at all. `background` prepares segments ahead of use; null: done when needed.
  /// Durable: once returned. Errors: kAlreadyExists, kNoSpace, kIo.
  static Result<std::unique_ptr<Log>> create(io::Directory& directory, BytesView metadata, LogOptions options,
                                             io::Executor* background, std::span<const EntryRecord> entries = {},
                                             BytesView state = {});

  /// Reads the log from the last segment that begins at or before entry `from` (the oldest one when none does), checks
  /// every record on the way, cuts a torn tail off the last segment, and makes ready to append. Entries up to
  /// `keep_after` are only located.
  /// Errors: kLocked when another process has it; kCorrupt naming file and offset, and nothing is changed; kIo.
  struct Opened;
  static Result<Opened> open(io::Directory& directory, Index from, Index keep_after, LogOptions options,
                             io::Executor* background);

  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Adds an entry. An index that is there already, or one before the last, drops all behind it.
  /// Durable: after sync(). Errors: kInvalidArgument on a gap (nothing is written).
  Result<void> append_entry(Index index, BytesView entry);
  /// Adds a HardState record.
  Result<void> append_state(BytesView state);
  /// Adds a Snapshot record; entries behind `index` may be appended next even when the log ends before it.
  Result<void> append_snapshot(Index index, BytesView snapshot);

  /// Writes what was appended, without waiting for the disk.
  Result<void> flush();
  /// Returns once everything appended is on stable storage, and starts a new segment when this one is full.
  /// Source: Raft thesis 3.8: term, vote and log are stable before a message that relies on them leaves.
  Result<void> sync();

  /// Entries [begin, end) as far as they fit `bytes_max`, but at least one. They must have been flushed.
  /// Errors: kCompacted before first(), kUnavailable at or past end(), kCorrupt, kIo.
  Result<std::vector<EntryRecord>> read(Index begin, Index end, std::uint64_t bytes_max) const;

  /// The first entry that can be read, and one past the last; equal when there is none.
  [[nodiscard]] Index first() const;
  [[nodiscard]] Index end() const;

  /// The first entry of the newest `count` segments; what lies before can go when no more are to be kept.
  [[nodiscard]] Index first_of_newest(std::size_t count) const;

  /// Removes segments that hold only entries before `index`, oldest first. Readers must have let go of them.
  Result<void> release(Index index);

  [[nodiscard]] std::size_t segments() const;
  /// Bytes written and syncs done since open, for metrics and benches.
  [[nodiscard]] std::uint64_t bytes_written() const { return bytes_written_; }
  [[nodiscard]] std::uint64_t syncs() const { return syncs_; }

 private:
  struct Segment {
    std::uint64_t sequence = 0;
    Index first;  // as in the name: the entry expected next when the segment was made
    std::unique_ptr<io::File> file;
  };
  struct Location {
    std::uint32_t segment = 0;     // sequence, low 32 bits
    std::uint32_t crc_before = 0;  // running checksum before the record, so that one record can be verified alone
    std::uint64_t offset = 0;      // of the frame
  };
  class Pipeline;

  Log(io::Directory& directory, Bytes metadata, LogOptions options, io::Executor* background);

  /// Makes a segment that begins with its head records and with `buffer_`, under its final name once it is durable.
  Result<void> start_segment(std::uint64_t sequence, Index first);
  /// Appends the records that every segment begins with.
  void append_head();
  Result<void> cut();
  Result<void> fail(Error error);
  Result<void> scan_segment(Segment& segment, bool last, Index keep_after, Recovered& recovered);
  Result<void> take_record(const Record& record, const std::string& at, const Location& location, Index keep_after,
                           Recovered& recovered);
  Result<void> place_entry(Index index, const Location& location);
  /// A received snapshot lies past our last entry: the log goes on behind it.
  void skip_to(Index snapshot);

  io::Directory& directory_;
  const Bytes metadata_;
  const LogOptions options_;
  std::unique_ptr<Pipeline> pipeline_;
  std::optional<Error> dead_;

  Bytes buffer_;                   // frames appended but not yet written; they belong at written_
  std::uint64_t written_ = 0;      // bytes of the newest segment that hold frames
  std::uint64_t prewritten_ = 0;   // bytes of it that exist; invariant: written_ <= prewritten_ after a flush
  std::uint32_t running_crc_ = 0;  // over every record so far, in all segments
  Bytes state_;                    // the last HardState, repeated at the head of each segment
  bool synced_ = true;             // nothing was written since the last sync
  std::atomic<std::uint64_t> bytes_written_ = 0;
  std::atomic<std::uint64_t> syncs_ = 0;

  mutable std::mutex mu_;           // guards the three below
  std::deque<Segment> segments_;    // oldest first; the last is the one written to
  Index first_{1};                  // the index of locations_.front()
  std::deque<Location> locations_;  // one for each entry
};

struct Log::Opened {
  std::unique_ptr<Log> log;
  Recovered recovered;
};

}  // namespace etcd::wal
