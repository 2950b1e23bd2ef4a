// tree/path.h - v2 paths and the keys that stand for them.
//
// Thread:  any (functions on values).
// Source:  etcd v2.3.8 store/store.go and node.go (clean paths, hidden nodes); the mapping is docs/formats/tree.md.
//
//   file /a/b        key "/a/b"
//   directory /a     key "/a/", the marker; a path never ends in a slash, so the two cannot meet
//   root /           no key; it always exists
#pragma once
#include "base/bytes.h"

namespace etcd::tree {

/// Go's path.Clean of "/" + `path`: one slash between components, no ".", no "..", no slash at the end.
Bytes clean_path(BytesView path);

/// True for what clean_path() gives back unchanged.
bool is_clean(BytesView path);

inline bool is_root(BytesView path) {
  return path == "/";
}

/// The key prefix that everything below directory `path` starts with, and the directory's marker key.
inline Bytes marker_of(BytesView path) {
  return is_root(path) ? Bytes("/") : Bytes(path) + "/";
}

/// The directory that holds `path`; the root's is the root.
BytesView parent_of(BytesView path);

/// How many components `path` has; the root has none.
std::size_t depth_of(BytesView path);

/// The directory `depth` components down on the way to `path`, itself at the end; depth 0 is the root.
BytesView ancestor_at(BytesView path, std::size_t depth);

/// The last component.
BytesView name_of(BytesView path);

/// A hidden node's name starts with an underscore; listings and watches from above do not show it.
inline bool is_hidden_name(BytesView name) {
  return name.starts_with('_');
}

/// True when some component of `path` below `base` is hidden. `base` is a prefix of `path`.
bool is_hidden_below(BytesView base, BytesView path);

/// The order of a sorted listing: byte order of names, level by level, as if the slash came before every other byte.
bool path_less(BytesView left, BytesView right);

}  // namespace etcd::tree
