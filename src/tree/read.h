// tree/read.h - reads a node of the tree at once: a file, or a directory with what is in it.
//
// Thread:  any, on a View of one's own.
// Memory:  a listing takes some bytes for each node. Where it may be large, a Walk (walk.h) shows the same nodes.
// Source:  etcd v2.3.8 store/store.go (Get, loadInternalNode) and node.go (Repr).
#pragma once
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "mvcc/view.h"
#include "tree/refusal.h"
#include "tree/walk.h"

namespace etcd::tree {

/// Nodes in the order of a document: each directory is followed by all that is in it, siblings sorted by name.
/// A flat list, since paths may be as deep as they are long. Borrowed from the reader, but the first path from the
/// caller where that is a directory.
using Listing = std::vector<ListedNode>;

/// Reads the node at the clean path `path`. Hidden nodes below it are left out. Refusals carry `index`.
Outcome<Listing> read(const mvcc::Reader& reader, BytesView path, const ReadOptions& options, std::int64_t index);

/// Finds out what stands in the way of `path`, which is neither a file nor a directory.
Refusal missing(const mvcc::Reader& reader, BytesView path, std::int64_t index);

/// How many components of `path` lead through directories that exist. O(log depth) look-ups, since a directory below
/// another proves the upper one: a path may have half a million components.
std::size_t existing_depth(const mvcc::Reader& reader, BytesView path);

/// True when `path` is the root, has a marker, or has any key below it.
bool is_directory(const mvcc::Reader& reader, BytesView path);

}  // namespace etcd::tree
