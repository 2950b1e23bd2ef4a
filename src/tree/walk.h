// tree/walk.h - goes through a directory node by node, at one revision, however long that takes.
//
// Life:    open() -> { step()* -> detach() -> attach() }* until kEnd, an error, or the caller has enough
// Thread:  one at a time, on a View of one's own.
// Owns:    the names on the way to where it is. Borrows the reader from open() or attach() to detach() or the end.
// Memory:  as much as the deepest path and a few bytes for each directory on it; nothing that grows with the listing.
//
// Steps come in the order of a document, siblings sorted by name:
//
//     /a        /a/b      /a/b/y    (of /a/b)  /a/x      (of /a)
//     kNode     kNode     kNode     kLeave     kNode     kLeave     kEnd
//
// A walk that lasts would make the store hold back memory. So it may let go of its view at any step and take a newer
// one: it goes on at the revision of the first, with the same nodes, and asks the history about what was written since.
//
// The keyspace has nearly this order. Only a name that goes on with a byte below the slash comes too early: "/a-b" lies
// before "/a/x", and the directory "/a" is listed first. At a key such as "/a-b" the walk therefore looks ahead for
// directories named as its beginnings, visits those and comes back; when it gets to their keys it goes past them:
//
//     keys     /a!   /a-b   /a/x   /a/y   /c
//              |1           |2     |3               "/a/" is found from "/a!", visited, and the walk comes back
//              |4    |5     |------------>|6
//
// One look at the next key tells how much of the name any later key can begin with, so most names cost no seek.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "mvcc/view.h"
#include "tree/refusal.h"

namespace etcd::tree {

struct ReadOptions {
  bool recursive = false;  // the whole subtree, not one level of it
};

/// One node of a directory. All of it is borrowed from the walk's reader, but the path of the first from the walk.
struct ListedNode {
  BytesView path;
  const mvcc::Entry* entry = nullptr;  // the file, or the directory's marker; null for a directory without one
  bool dir = false;
  std::uint32_t depth = 0;  // 0: the node that was asked for, 1: what is in it, and so on
};

enum class WalkStep : std::uint8_t {
  kNode,   // node() is a file, or a directory whose nodes follow, down to its kLeave
  kLeave,  // of the innermost directory that was not left yet
  kEnd,    // of the walk; every directory has been left
  kAgain,  // nothing yet: call again. Comes only while the reader is newer than the walk's revision
};

class Walk {
 public:
  /// Finds the node at the clean path `path`, in `reader` as it is now; `index` is its revision. Hidden nodes below it
  /// will be left out. Refusals carry `index`. A reader that is no View serves a walk without detach().
  static Outcome<Walk> open(const mvcc::Reader& reader, BytesView path, const ReadOptions& options, std::int64_t index);

  /// Goes on to the next node. Touches memory only, and never fails, while the reader is the one of open().
  /// Shape:   what the step before has shown is not valid any more. Bounded work: at most one node, and 16 looks into
  ///          the history.
  /// Errors:  kCompacted, kCorrupt, kIo; then the walk is dead, and its caller has part of a listing.
  Result<WalkStep> step();
  /// Of the step that has just returned kNode; lives until the next call.
  [[nodiscard]] const ListedNode& node() const { return node_; }

  [[nodiscard]] std::int64_t revision() const { return revision_; }

  /// Lets go of the reader. Not before the first step.
  void detach();
  /// Goes on with `view`, which is of the same store and not older. Errors: kCompacted; the walk cannot go on.
  Result<void> attach(const mvcc::View& view);

 private:
  enum class Stage : std::uint8_t { kFile, kDirectory, kInside, kEnded };
  enum class Found : std::uint8_t { kYes, kNo, kLater };

  /// A directory that the walk is inside of.
  struct Level {
    std::uint32_t prefix;  // length of inside_ there
    std::uint32_t done;    // where its part of done_ begins
    std::uint32_t early;   // likewise of early_
    std::uint32_t rest;    // likewise of rest_; kInOrder when the walk came here by the order of the keys
  };
  static constexpr std::uint32_t kInOrder = ~std::uint32_t{0};
  static constexpr int kLooksPerStep = 16;

  Walk(std::int64_t revision, bool recursive) : revision_(revision), recursive_(recursive) {}

  Result<WalkStep> step_inside();
  /// Finds the first key at the cursor or behind it that was alive at revision_ and starts with `prefix`: entry_.
  Result<Found> find(BytesView prefix);
  void seek(BytesView key);
  void go_past(BytesView name, bool dir);
  void note(BytesView name);
  void look_ahead(BytesView name);
  [[nodiscard]] std::size_t shared_with(const mvcc::Cursor& cursor, BytesView name) const;
  [[nodiscard]] bool has_early() const { return early_.size() > levels_.back().early; }
  void come_back();
  WalkStep enter(std::size_t name_size, bool in_order);
  WalkStep leave();

  std::int64_t revision_;
  bool recursive_;
  Stage stage_ = Stage::kInside;

  const mvcc::Reader* reader_ = nullptr;  // null while detached
  bool older_ = false;                    // the reader is newer than revision_
  std::optional<mvcc::Cursor> cursor_;    // shows deleted keys, too, when older_
  const mvcc::Entry* entry_ = nullptr;    // what the cursor's key was at revision_; null: not looked at
  mvcc::EntryRef held_;                   // keeps it, when it came from the history
  bool moves_on_ = false;                 // the cursor's key is done with
  int looks_left_ = 0;                    // into the history, in this step
  Bytes at_;                              // while detached: where the cursor will be

  const mvcc::Entry* asked_ = nullptr;  // before the first step: the file, or the directory's marker if there is one
  ListedNode node_;

  Bytes inside_;                      // the innermost directory's key prefix
  std::vector<Level> levels_;         // from the directory asked for down to the innermost; empty for a file
  Bytes last_;                        // the last name looked at in the innermost directory
  std::size_t looked_ = 0;            // bytes of it that were looked at for early directories
  bool came_back_ = false;            // the next name is last_ again
  bool goes_early_ = false;           // the cursor is on the way to the next early directory
  Bytes target_;                      // whose key prefix this is then; else a buffer for keys to seek
  std::vector<std::uint32_t> early_;  // per level: lengths of last_ that name directories to visit first, longest first
  std::vector<std::uint32_t> done_;   // per level: lengths of last_, ascending, that name nodes that are done with
  Bytes rest_;  // per level: the rest of the name that the directory above comes back to; the beginning is in inside_
};

}  // namespace etcd::tree
