// tree/read.h - reads a node of the tree: a file, or a directory with what is in it.
//
// Thread:  any, on a View of one's own.
// Source:  etcd v2.3.8 store/store.go (Get, loadInternalNode) and node.go (Repr).
#pragma once
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "mvcc/view.h"
#include "tree/refusal.h"

namespace etcd::tree {

struct ReadOptions {
  bool recursive = false;  // the whole subtree, not one level of it
};

/// One node of a listing. All of it is borrowed from the reader that made the listing.
struct ListedNode {
  BytesView path;
  const mvcc::Entry* entry = nullptr;  // the file, or the directory's marker; null for a directory without one
  bool dir = false;
  std::uint32_t depth = 0;  // 0: the node that was asked for, 1: what is in it, and so on
};

/// Nodes in the order of a document: each directory is followed by all that is in it, siblings sorted by name.
/// A flat list, since paths may be as deep as they are long.
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
