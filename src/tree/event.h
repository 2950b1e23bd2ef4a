// tree/event.h - what a v2 write did: the action, the node after it and the node before it.
//
// Thread:  any (values).
// Source:  etcd v2.3.8 store/event.go and node_extern.go.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/time.h"
#include "mvcc/cause.h"
#include "mvcc/entry.h"

namespace etcd::tree {

struct Node {
  Bytes path;
  bool dir = false;
  std::optional<Bytes> value;  // a file's; absent for directories, for what was deleted, and where it is not known
  WallTime deadline;           // 0: it has no TTL
  std::optional<Duration> ttl_left{};  // as of the event, where that is not now
  std::int64_t modified_index = 0;
  std::int64_t created_index = 0;

  friend bool operator==(const Node&, const Node&) = default;
};

struct Event {
  mvcc::Action action = mvcc::Action::kSet;
  Node node;
  std::optional<Node> previous;
  bool created = false;    // the answer is 201, not 200
  std::int64_t index = 0;  // the revision that did it
  Duration ttl{};          // what the write set; meaningless without a deadline on the node

  friend bool operator==(const Event&, const Event&) = default;
};

/// The file that `entry`, which has its value, holds.
Node file_of(const mvcc::Entry& entry);
/// As above without the value, which `entry` need not have.
Node file_without_value(const mvcc::Entry& entry);
/// The directory at `path`, whose marker is `marker`; null for one that only keys below it make.
Node directory_of(BytesView path, const mvcc::Entry* marker);

}  // namespace etcd::tree
