// api/v2/json.h - nodes, events and errors as the v2 API writes them.
//
// Thread:  any (functions on values; a ListingWriter is its owner's).
// Source:  etcd v2.3.8 store/node_extern.go and event.go (field names, order, which are left out), error/error.go.
#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "mvcc/view.h"
#include "tree/event.h"
#include "tree/read.h"
#include "tree/refusal.h"

namespace etcd::api::v2 {

/// `{"action":"set","node":{...},"prevNode":{...}}`. `now` tells how much of a TTL is left.
void append_event(Bytes& out, const tree::Event& event, WallTime now);
/// The action alone: the answer to a write with noValueOnSuccess.
void append_action(Bytes& out, mvcc::Action action);
/// Writes `{"action":"get","node":{...}}` node by node, in the order in which a walk shows them.
///
/// Memory: 16 bytes for each directory that is open.
class ListingWriter {
 public:
  /// `now` tells how much of a TTL is left, in the whole listing.
  explicit ListingWriter(WallTime now) : now_(now) {}

  void begin(Bytes& out);
  /// Writes a file, or what comes before a directory's nodes; those are the calls from now on up to its leave().
  /// `reader` has shown the node. A large value is brought from the engine here.
  /// Errors: Reader::load()'s; then `out` has part of the node.
  Result<void> add(Bytes& out, const mvcc::Reader& reader, const tree::ListedNode& node);
  void leave(Bytes& out);
  /// Every directory has been left.
  void end(Bytes& out);

  /// Directories that are open.
  [[nodiscard]] std::size_t depth() const { return open_.size(); }

 private:
  struct Open {
    std::int64_t index;  // created and modified; 0: the directory has no marker
    bool has_nodes;
  };

  WallTime now_;
  std::vector<Open> open_;  // a list, not calls within calls: paths may be as deep as they are long
};

/// `{"action":"get","node":{...}}` of nodes that `reader` has shown. Errors: as ListingWriter::add().
Result<void> append_listing(Bytes& out, const mvcc::Reader& reader, const tree::Listing& listing, WallTime now);
/// `{"errorCode":100,"message":"Key not found","cause":"/a","index":3}`.
void append_refusal(Bytes& out, const tree::Refusal& refusal);

/// RFC 3339 in UTC with as many digits of the second's fraction as it needs, as Go's RFC3339Nano.
Bytes rfc3339(WallTime time);

/// The HTTP status of an error.
int status_of(tree::Code code);

/// "set", "compareAndSwap", ...; a v3 put reads as a set.
BytesView name_of(mvcc::Action action);

}  // namespace etcd::api::v2
