// base/error.h - what went wrong: one code list for the whole server, and a message that names the object.
//
// Thread:  any (values).
// Source:  house style section 5. api/v2 and api/v3 each map the codes to their numbers in one table.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace etcd {

enum class ErrorCode : std::uint8_t {
  kInvalidArgument,  // the caller's input makes no sense
  kNotFound,
  kAlreadyExists,
  kOutOfRange,
  kCompacted,       // the revision or log index asked for has been compacted away
  kFutureRevision,  // the revision asked for does not exist yet
  kUnavailable,     // not now: the log index is not there yet, the peer is not connected
  kSnapshotNeeded,  // the log no longer reaches back that far
  kNotLeader,
  kNoLeader,
  kProposalDropped,  // raft did not take it: no leader, or leadership is being handed over
  kTimeout,
  kStopped,          // the member, or the object called, has stopped
  kTooManyRequests,  // a queue is full
  kTooLarge,         // the request is over a limit
  kPermissionDenied,
  kUnauthenticated,
  kUnimplemented,
  kLocked,   // another process has it
  kIo,       // the operating system refused
  kNoSpace,  // the disk or a quota is full
  kCorrupt,  // stored bytes fail their checksum or make no sense
};

/// The code's name in lower case with dashes, such as "invalid-argument", for logs and tests.
std::string_view name_of(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;  // names the object: "segment 3, offset 4096: crc mismatch"

  friend bool operator==(const Error&, const Error&) = default;
};

}  // namespace etcd
