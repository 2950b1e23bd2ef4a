// base/crc32c.h - CRC-32C (Castagnoli), the checksum of the WAL, of snapshots and of history records.
//
// Thread:  any.
// Source:  RFC 3720 appendix B.4; running use as etcd v3.7.1 pkg/crc/crc.go.
#pragma once
#include <cstdint>

#include "base/bytes.h"

namespace etcd {

/// The checksum of the bytes that gave `previous`, followed by `bytes`. Start with 0.
std::uint32_t crc32c(std::uint32_t previous, BytesView bytes);

inline std::uint32_t crc32c(BytesView bytes) {
  return crc32c(0, bytes);
}

/// The same by table look-up, whatever the processor has; for machines without SSE 4.2, and to test the fast form.
std::uint32_t crc32c_portable(std::uint32_t previous, BytesView bytes);

}  // namespace etcd
