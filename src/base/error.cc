#include "base/error.h"

namespace etcd {

std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid-argument";
    case ErrorCode::kNotFound: return "not-found";
    case ErrorCode::kAlreadyExists: return "already-exists";
    case ErrorCode::kOutOfRange: return "out-of-range";
    case ErrorCode::kCompacted: return "compacted";
    case ErrorCode::kFutureRevision: return "future-revision";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kSnapshotNeeded: return "snapshot-needed";
    case ErrorCode::kNotLeader: return "not-leader";
    case ErrorCode::kNoLeader: return "no-leader";
    case ErrorCode::kProposalDropped: return "proposal-dropped";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kStopped: return "stopped";
    case ErrorCode::kTooManyRequests: return "too-many-requests";
    case ErrorCode::kTooLarge: return "too-large";
    case ErrorCode::kPermissionDenied: return "permission-denied";
    case ErrorCode::kUnauthenticated: return "unauthenticated";
    case ErrorCode::kUnimplemented: return "unimplemented";
    case ErrorCode::kLocked: return "locked";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kNoSpace: return "no-space";
    case ErrorCode::kCorrupt: return "corrupt";
  }
  return "unknown";
}

}  // namespace etcd
