#include "tree/read.h"

#include <algorithm>

#include "tree/path.h"

namespace etcd::tree {
namespace {

/// The smallest key past the subtree of directory key prefix `prefix`, which ends in a slash.
Bytes past_subtree(BytesView prefix) {
  Bytes end(prefix);
  end.back() = '/' + 1;
  return end;
}

/// A v3 client may write any key; one with such a component has no v2 path.
bool is_component(BytesView name) {
  return !name.empty() && name != "." && name != "..";
}

/// Sorted order differs from the keyspace's where a name continues with a byte below the slash: "/a-b" lies before
/// "/a/" there and behind it here. A file also comes before a directory of the same path, which only v3 clients make.
bool listed_before(const ListedNode& left, const ListedNode& right) {
  if (path_less(left.path, right.path)) return true;
  if (path_less(right.path, left.path)) return false;
  return !left.dir && right.dir;
}

/// Where a v3 client made both "/a" and "/a/x", the path "/a" is the file: its directory is not listed.
void drop_shadowed(Listing& listing) {
  std::size_t kept = 0;
  for (std::size_t at = 0; at < listing.size();) {
    const ListedNode node = listing[at++];
    listing[kept++] = node;
    if (node.dir || at == listing.size() || listing[at].path != node.path) continue;
    while (at < listing.size() && (listing[at].path == node.path || listing[at].depth > node.depth)) ++at;
  }
  listing.resize(kept);
}

/// Walks the keys below `prefix` and lists the nodes they make.
void list_below(const mvcc::Reader& reader, const Bytes& prefix, bool recursive, Listing& listing) {
  std::vector<std::size_t> open{prefix.size()};  // lengths of the directory prefixes that the walk is inside of
  Bytes inside = prefix;                         // the innermost of them
  mvcc::Cursor cursor = reader.cursor(prefix);
  while (cursor.valid()) {
    const BytesView key = cursor.key();
    while (!key.starts_with(inside)) {
      open.pop_back();
      if (open.empty()) return;
      inside.resize(open.back());
    }
    // Take the key apart from the innermost directory on; each further component with a slash opens one.
    bool skipped = false;
    std::size_t at = inside.size();
    while (at < key.size()) {
      const std::size_t slash = key.find('/', at);
      const BytesView name = key.substr(at, slash == BytesView::npos ? BytesView::npos : slash - at);
      const bool shown = is_component(name) && !is_hidden_name(name);
      if (slash == BytesView::npos) {
        if (shown) {
          listing.push_back({key, &cursor.entry(), false, static_cast<std::uint32_t>(open.size())});
        }
        break;
      }
      const BytesView directory = key.substr(0, slash + 1);
      if (shown) {
        const bool is_marker = directory.size() == key.size();
        listing.push_back({key.substr(0, slash), is_marker ? &cursor.entry() : nullptr, true,
                           static_cast<std::uint32_t>(open.size())});
      }
      if (!shown || !recursive) {
        cursor.seek(past_subtree(directory));
        skipped = true;
        break;
      }
      inside = Bytes(directory);
      open.push_back(inside.size());
      at = slash + 1;
    }
    if (!skipped) cursor.next();
  }
}

}  // namespace

bool is_directory(const mvcc::Reader& reader, BytesView path) {
  if (is_root(path)) return true;
  const Bytes prefix = marker_of(path);
  const Bytes end = past_subtree(prefix);
  return reader.first_in(mvcc::KeyRange::between(prefix, end)) != nullptr;
}

std::size_t existing_depth(const mvcc::Reader& reader, BytesView path) {
  std::size_t exists = 0;                   // invariant: ancestor_at(exists) is a directory,
  std::size_t absent = depth_of(path) + 1;  // and ancestor_at(absent) is none
  while (exists + 1 < absent) {
    const std::size_t middle = exists + (absent - exists) / 2;
    (is_directory(reader, ancestor_at(path, middle)) ? exists : absent) = middle;
  }
  return exists;
}

Refusal missing(const mvcc::Reader& reader, BytesView path, std::int64_t index) {
  const std::size_t depth = existing_depth(reader, path);
  const BytesView first_missing = ancestor_at(path, depth + 1);
  const bool is_file = first_missing.size() < path.size() && reader.get(first_missing) != nullptr;
  return {is_file ? Code::kNotADirectory : Code::kKeyNotFound, Bytes(first_missing), index};
}

Outcome<Listing> read(const mvcc::Reader& reader, BytesView path, const ReadOptions& options, std::int64_t index) {
  Listing listing;
  if (const mvcc::Entry* file = is_root(path) ? nullptr : reader.get(path)) {
    listing.push_back({file->key(), file, false, 0});
    return listing;
  }
  const Bytes prefix = marker_of(path);
  const mvcc::Entry* const marker = is_root(path) ? nullptr : reader.get(prefix);
  listing.push_back({path, marker, true, 0});
  list_below(reader, prefix, options.recursive, listing);
  // Without a marker, a directory exists when anything lies below it, shown here or not.
  if (listing.size() == 1 && marker == nullptr && !is_directory(reader, path)) {
    return std::unexpected(missing(reader, path, index));
  }
  if (!std::is_sorted(listing.begin() + 1, listing.end(), listed_before)) {
    std::sort(listing.begin() + 1, listing.end(), listed_before);
  }
  drop_shadowed(listing);
  return listing;
}

}  // namespace etcd::tree
