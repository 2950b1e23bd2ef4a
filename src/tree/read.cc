#include "tree/read.h"

#include <utility>

#include "base/check.h"
#include "tree/path.h"

namespace etcd::tree {
namespace {

/// The smallest key past the subtree of directory key prefix `prefix`, which ends in a slash.
Bytes past_subtree(BytesView prefix) {
  Bytes end(prefix);
  end.back() = '/' + 1;
  return end;
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
  Outcome<Walk> walk = Walk::open(reader, path, options, index);
  if (!walk) return std::unexpected(std::move(walk).error());
  Listing listing;
  for (;;) {
    const Result<WalkStep> step = walk->step();
    CHECK(step.has_value(), "reading the latest state of {}: {}", path, step.error().message);
    if (*step == WalkStep::kEnd) break;
    if (*step == WalkStep::kNode) listing.push_back(walk->node());
  }
  if (listing.front().dir) listing.front().path = path;  // the walk's own does not outlive it
  return listing;
}

}  // namespace etcd::tree
