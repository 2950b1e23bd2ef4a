// service/request_ids.h - ids for commands: unique among members and restarts without being agreed upon.
//
// Thread:  any (atomic).
// Source:  etcd v3.7.1 pkg/idutil/id.go: 2 bytes of the member's id, 5 of the wall clock in milliseconds, 1 of counter.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/ids.h"
#include "base/time.h"

namespace etcd::service {

class RequestIds {
 public:
  RequestIds(MemberId member, WallTime start)
      : prefix_(member << 48), suffix_((static_cast<std::uint64_t>(start.ns / 1'000'000) & 0xFF'FFFF'FFFF) << 8) {}

  /// Never the same twice, as long as the clock does not go back over a restart by more than it went on before.
  std::uint64_t next() {
    return prefix_ | (suffix_.fetch_add(1, std::memory_order_relaxed) + 1) % (std::uint64_t{1} << 48);
  }

 private:
  const std::uint64_t prefix_;
  std::atomic<std::uint64_t> suffix_;
};

}  // namespace etcd::service
