// apply/store_stats.h - what /v2/stats/store counts: v2 requests by kind and outcome, since this member started.
//
// Thread:  any (atomics, each for itself); count_command() on the apply loop only.
// Source:  etcd v3.4.23 etcdserver/api/v2store/stats.go and store.go.
//
// Writes are counted where they are applied, so each member counts all of the cluster's, those included that a restart
// replays. Reads and watchers are the member's own.
#pragma once
#include <atomic>
#include <cstdint>

#include "tree/event.h"
#include "tree/refusal.h"

namespace etcdv2pb {
class Command;
}

namespace etcd::apply {

struct StoreStats {
  struct Pair {
    std::atomic<std::uint64_t> success = 0;
    std::atomic<std::uint64_t> fail = 0;

    void count(bool succeeded) { (succeeded ? success : fail).fetch_add(1, std::memory_order_relaxed); }
  };

  Pair gets;
  Pair recursive_gets;  // of the above
  Pair sets;
  Pair deletes;
  Pair updates;
  Pair creates;
  Pair compare_and_swaps;
  Pair compare_and_deletes;
  std::atomic<std::uint64_t> expirations = 0;
  std::atomic<std::uint64_t> watchers = 0;  // there are now
  std::atomic<std::uint64_t> watch_requests = 0;

  /// Counts one command that has been applied, as upstream does: some of its refusals count as successes.
  void count_command(const etcdv2pb::Command& command, const tree::Outcome<tree::Event>& outcome);
};

}  // namespace etcd::apply
