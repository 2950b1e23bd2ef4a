#include "tree/walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tree/path.h"
#include "tree/read.h"

namespace etcd::tree {
namespace {

constexpr char kPastSlash = '/' + 1;  // in place of a prefix's last slash: the smallest key past that subtree
constexpr char kPastHidden = '_' + 1;

/// A v3 client may write any key; one with such a component has no v2 path.
bool is_component(BytesView name) {
  return !name.empty() && name != "." && name != "..";
}

/// True when a directory named as the first `length` bytes of `name` has its keys behind those of `name`.
bool is_out_of_order(BytesView name, std::size_t length) {
  return static_cast<unsigned char>(name[length]) < '/' && is_component(name.substr(0, length));
}

std::size_t shared_prefix(BytesView left, BytesView right) {
  const auto ends = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  return static_cast<std::size_t>(ends.first - left.begin());
}

std::uint32_t narrow(std::size_t size) {
  return static_cast<std::uint32_t>(size);  // a key's length, or a depth, which is less than that
}

}  // namespace

Outcome<Walk> Walk::open(const mvcc::Reader& reader, BytesView path, const ReadOptions& options, std::int64_t index) {
  Walk walk(index, options.recursive);
  walk.reader_ = &reader;
  if (const mvcc::Entry* file = is_root(path) ? nullptr : reader.get(path)) {
    walk.stage_ = Stage::kFile;
    walk.asked_ = file;
    return walk;
  }
  walk.stage_ = Stage::kDirectory;
  walk.inside_ = marker_of(path);
  walk.cursor_ = reader.cursor(walk.inside_);
  const mvcc::Cursor& cursor = *walk.cursor_;
  if (!is_root(path)) {
    // A directory exists when it has a marker or when anything lies below it, shown or not.
    if (!cursor.valid() || !cursor.key().starts_with(walk.inside_)) {
      return std::unexpected(missing(reader, path, index));
    }
    if (cursor.key() == walk.inside_) walk.asked_ = &cursor.entry();
  }
  walk.levels_.push_back({narrow(walk.inside_.size()), 0, 0, kInOrder});
  return walk;
}

Result<WalkStep> Walk::step() {
  switch (stage_) {
    case Stage::kFile:
      stage_ = Stage::kEnded;
      node_ = {asked_->key(), asked_, false, 0};
      return WalkStep::kNode;
    case Stage::kDirectory: {
      stage_ = Stage::kInside;
      const BytesView prefix = inside_;
      node_ = {prefix.size() == 1 ? prefix : prefix.substr(0, prefix.size() - 1), asked_, true, 0};
      return WalkStep::kNode;
    }
    case Stage::kInside: return step_inside();
    case Stage::kEnded: break;
  }
  return WalkStep::kEnd;
}

Result<WalkStep> Walk::step_inside() {
  CHECK(reader_ != nullptr, "a step of a walk at revision {} that has no view", revision_);
  looks_left_ = kLooksPerStep;
  for (;;) {
    if (!recursive_ && levels_.size() > 1) {
      // Its nodes are not asked for. On the way back from an early one the cursor is set anyway.
      if (levels_.back().rest == kInOrder) {
        target_.assign(inside_).back() = kPastSlash;
        seek(target_);
      }
      return leave();
    }
    if (has_early()) {
      if (!std::exchange(goes_early_, true)) {
        target_.assign(inside_).append(last_, 0, early_.back()).push_back('/');
        seek(target_);
      }
      ETCD_TRY(const Found found, find(target_));
      if (found == Found::kLater) return WalkStep::kAgain;
      goes_early_ = false;
      const std::uint32_t size = early_.back();
      early_.pop_back();
      done_.push_back(size);
      if (found == Found::kYes) return enter(size, false);
      if (!has_early()) come_back();  // there are keys, but they were not alive
      continue;
    }
    ETCD_TRY(const Found found, find(inside_));
    if (found == Found::kLater) return WalkStep::kAgain;
    if (found == Found::kNo) return leave();
    // Take the key apart from the innermost directory on.
    const BytesView key = entry_->key();
    const BytesView rest = key.substr(inside_.size());
    if (rest.empty()) {  // the directory's own marker
      moves_on_ = true;
      continue;
    }
    const std::size_t slash = rest.find('/');
    const bool dir = slash != BytesView::npos;
    const BytesView name = rest.substr(0, slash);
    if (!is_component(name) || is_hidden_name(name)) {
      go_past(name, dir);
      continue;
    }
    note(name);
    look_ahead(name);
    if (has_early()) continue;
    if (!dir) {
      done_.push_back(narrow(name.size()));  // where a v3 client made both "/a" and "/a/x", the path "/a" is the file
      moves_on_ = true;
      node_ = {key, entry_, false, narrow(levels_.size())};
      return WalkStep::kNode;
    }
    if (done_.size() > levels_.back().done && done_.back() == name.size()) {
      go_past(name, true);
      continue;
    }
    return enter(name.size(), true);
  }
}

Result<Walk::Found> Walk::find(BytesView prefix) {
  if (std::exchange(moves_on_, false)) {
    cursor_->next();
    entry_ = nullptr;
  }
  for (; cursor_->valid(); cursor_->next()) {
    const mvcc::Entry& newest = cursor_->entry();
    if (!newest.key().starts_with(prefix)) return Found::kNo;
    if (entry_ != nullptr) return Found::kYes;
    if (!older_) {
      entry_ = &newest;
      return Found::kYes;
    }
    if (looks_left_ == 0) return Found::kLater;
    --looks_left_;
    ETCD_TRY(held_, reader_->as_of(newest, revision_));
    entry_ = held_.get();
    if (entry_ != nullptr) return Found::kYes;
  }
  return Found::kNo;
}

void Walk::seek(BytesView key) {
  cursor_->seek(key);
  entry_ = nullptr;
  moves_on_ = false;
}

/// Goes past a name in the innermost directory and, if it is a directory, past all below it.
void Walk::go_past(BytesView name, bool dir) {
  if (is_hidden_name(name)) {
    target_.assign(inside_).push_back(kPastHidden);  // and all others, which are its neighbours
  } else if (dir) {
    target_.assign(inside_).append(name).push_back(kPastSlash);
  } else {
    moves_on_ = true;
    return;
  }
  seek(target_);
}

/// Makes `name` the last one. What was found out about its beginning stays known.
void Walk::note(BytesView name) {
  if (std::exchange(came_back_, false)) return;
  const std::size_t shared = shared_prefix(last_, name);
  while (done_.size() > levels_.back().done && done_.back() > shared) done_.pop_back();
  last_.assign(name);
  looked_ = shared;
}

/// How many bytes of `name` the cursor's key begins with, in the innermost directory.
std::size_t Walk::shared_with(const mvcc::Cursor& cursor, BytesView name) const {
  if (!cursor.valid() || !cursor.key().starts_with(inside_)) return 0;
  return shared_prefix(cursor.key().substr(inside_.size()), name);
}

/// Fills early_ for `name`, which the cursor is at. All keys that begin with the same bytes are neighbours: what the
/// next key does not share with `name`, no later one does.
void Walk::look_ahead(BytesView name) {
  std::size_t length = name.size() - 1;
  const auto shorten = [&] {
    while (length > looked_ && !is_out_of_order(name, length)) --length;
    return length > looked_;
  };
  if (shorten()) {
    mvcc::Cursor ahead = *cursor_;
    ahead.next();
    length = std::min(length, shared_with(ahead, name));
    while (shorten()) {
      target_.assign(inside_).append(name, 0, length).push_back('/');
      ahead.seek(target_);
      if (ahead.valid() && ahead.key().starts_with(target_)) {
        early_.push_back(narrow(length));
        target_.back() = kPastSlash;
        ahead.seek(target_);
      }
      length = std::min(length - 1, shared_with(ahead, name));
    }
  }
  looked_ = name.size();
}

/// The early directories are done with: back to the name from which they were found.
void Walk::come_back() {
  target_.assign(inside_).append(last_);
  seek(target_);
  came_back_ = true;
}

/// Shows the directory with the next `name_size` bytes of the cursor's key as its name, and goes inside.
WalkStep Walk::enter(std::size_t name_size, bool in_order) {
  const BytesView key = entry_->key();
  const std::size_t path_size = inside_.size() + name_size;
  node_ = {key.substr(0, path_size), key.size() == path_size + 1 ? entry_ : nullptr, true, narrow(levels_.size())};
  levels_.push_back(
      {narrow(path_size + 1), narrow(done_.size()), narrow(early_.size()), in_order ? kInOrder : narrow(rest_.size())});
  if (!in_order) rest_.append(last_, name_size);
  inside_.append(key.substr(inside_.size(), name_size + 1));
  last_.clear();
  looked_ = 0;
  return WalkStep::kNode;
}

WalkStep Walk::leave() {
  const Level level = levels_.back();
  levels_.pop_back();
  if (levels_.empty()) {
    stage_ = Stage::kEnded;
    return WalkStep::kLeave;
  }
  const std::uint32_t prefix = levels_.back().prefix;
  last_.assign(inside_, prefix, level.prefix - 1 - prefix);
  inside_.resize(prefix);
  done_.resize(level.done);
  if (level.rest != kInOrder) {
    last_.append(rest_, level.rest);
    rest_.resize(level.rest);
    looked_ = last_.size();
    if (!has_early()) come_back();
  }
  return WalkStep::kLeave;
}

void Walk::detach() {
  if (reader_ == nullptr) return;
  CHECK(stage_ == Stage::kInside || stage_ == Stage::kEnded, "a walk lets go of its view before its first step");
  if (stage_ == Stage::kInside) {
    if (cursor_->valid()) {
      at_.assign(cursor_->key());
      if (moves_on_) at_.push_back('\0');
    } else {
      at_.assign(inside_).back() = kPastSlash;  // there were no further keys at revision_, here or anywhere
    }
  }
  cursor_.reset();
  entry_ = nullptr;
  held_ = nullptr;
  moves_on_ = false;
  node_ = {};
  reader_ = nullptr;
}

Result<void> Walk::attach(const mvcc::View& view) {
  CHECK(reader_ == nullptr && view.revision() >= revision_, "a walk at revision {} is given {}", revision_,
        view.revision());
  if (revision_ < view.compacted()) {
    return failure(ErrorCode::kCompacted, fmt::format("revision {} is compacted, at {}", revision_, view.compacted()));
  }
  reader_ = &view;
  older_ = view.revision() > revision_;
  cursor_ = older_ ? view.cursor_all(at_) : view.cursor(at_);
  return {};
}

}  // namespace etcd::tree
