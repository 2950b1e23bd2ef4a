// tree/refusal.h - why a v2 request was not done, in the words and numbers of the API.
//
// Thread:  any (values).
// Source:  etcd v2.3.8 error/error.go; 0.4.6's and 2.x's codes are one list.
#pragma once
#include <cstdint>
#include <expected>

#include "base/bytes.h"

namespace etcd::tree {

enum class Code : std::uint16_t {
  kKeyNotFound = 100,
  kCompareFailed = 101,
  kNotAFile = 102,
  kNotADirectory = 104,
  kKeyExists = 105,
  kRootReadOnly = 107,
  kDirectoryNotEmpty = 108,
  kUnauthorized = 110,
  kPrevValueRequired = 201,
  kTtlNotANumber = 202,
  kIndexNotANumber = 203,
  kInvalidField = 209,
  kInvalidForm = 210,
  kValueOnRefresh = 211,
  kNoTtlOnRefresh = 212,
  kRaftInternal = 300,
  kLeaderElection = 301,
  kWatcherCleared = 400,
  kEventIndexCleared = 401,
};

struct Refusal {
  Code code = Code::kKeyNotFound;
  Bytes cause;             // a path, or a sentence; may be empty
  std::int64_t index = 0;  // the store's revision, or 0 when the store was not asked

  friend bool operator==(const Refusal&, const Refusal&) = default;
};

template <class T>
using Outcome = std::expected<T, Refusal>;

}  // namespace etcd::tree
