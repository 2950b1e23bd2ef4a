// raft/entries.h - cutting a run of entries to a number of bytes.
//
// Thread:  any.
// Source:  etcd-io/raft main util.go (limitSize).
#pragma once
#include <cstdint>
#include <span>

#include "raft/message.h"

namespace etcd::raft {

/// The longest prefix of `entries` that fits into `bytes_max` encoded bytes, but at least one entry if there is any.
inline std::span<const Entry> limit_bytes(std::span<const Entry> entries, std::uint64_t bytes_max) {
  if (bytes_max == ~std::uint64_t{0}) return entries;
  std::uint64_t bytes = 0;
  for (std::size_t count = 0; count < entries.size(); ++count) {
    bytes += encoded_bytes(entries[count]);
    if (count > 0 && bytes > bytes_max) return entries.first(count);
  }
  return entries;
}

}  // namespace etcd::raft
