#include "tree/write.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "base/check.h"
#include "tree/path.h"
#include "tree/read.h"

namespace etcd::tree {
namespace {

using etcdv2pb::Command;
using mvcc::Action;

/// What a command comes to; an Error is none (see write.h).
template <class T>
using Attempt = std::expected<T, std::variant<Refusal, Error>>;

/// A node as the rules see it before a write.
struct Found {
  const mvcc::Entry* entry = nullptr;  // the file, or the directory's marker
  bool dir = false;
};

/// One command on one transaction.
class Writer {
 public:
  Writer(mvcc::WriteTxn& txn, const Command& command) : txn_(txn), command_(command), path_(command.path()) {}

  Attempt<Event> run() {
    if (command_.verb() == Command::CREATE_IN_ORDER) {
      // Twenty digits hold every index, so that the byte order of the names is the order of their making.
      path_ = fmt::format("{}/{:020}", is_root(path_) ? "" : path_, txn_.revision());
    }
    if (is_root(path_)) return refuse(Code::kRootReadOnly, "/");
    switch (command_.verb()) {
      case Command::SET: return set();
      case Command::UPDATE: return update();
      case Command::CREATE:
      case Command::CREATE_IN_ORDER: return create();
      case Command::COMPARE_AND_SWAP: return compare_and_swap();
      case Command::DELETE: return remove();
      case Command::COMPARE_AND_DELETE: return compare_and_delete();
      case Command::EXPIRE: return expire();
      default: break;
    }
    CHECK(false, "v2 command with verb {}", static_cast<int>(command_.verb()));
  }

 private:
  std::unexpected<Refusal> refuse(Code code, BytesView cause) const {
    return std::unexpected(Refusal{code, Bytes(cause), txn_.base_revision()});
  }

  Outcome<Found> find() const {
    if (const mvcc::Entry* file = txn_.get(path_)) return Found{file, false};
    if (is_directory(txn_, path_)) return Found{txn_.get(marker_of(path_)), true};
    return std::unexpected(missing(txn_, path_, txn_.base_revision()));
  }

  /// Whole seconds in the command; longer than the clock counts is as long as it counts.
  [[nodiscard]] Duration ttl() const {
    constexpr std::int64_t kSecondsMax = std::numeric_limits<std::int64_t>::max() / 1'000'000'000;
    return std::chrono::seconds(std::min<std::int64_t>(command_.ttl(), kSecondsMax));
  }

  /// `file` with its value. Lives as long as this writer, or until the next call.
  Result<const mvcc::Entry*> whole(const mvcc::Entry* file) {
    if (!file->has_value() && (!whole_ || whole_->revision() != file->revision())) {
      ETCD_TRY(whole_, txn_.load(*file));
    }
    return file->has_value() ? file : whole_.get();
  }

  Result<Node> node_of(const Found& found) {
    if (found.dir) return directory_of(path_, found.entry);
    ETCD_TRY(const mvcc::Entry* const file, whole(found.entry));
    return file_of(*file);
  }

  [[nodiscard]] Event event_of(Action action) const {
    Event event;
    event.action = action;
    event.index = txn_.revision();
    event.ttl = ttl();
    event.node.path = path_;
    event.node.modified_index = txn_.revision();
    event.node.created_index = txn_.revision();
    return event;
  }

  /// Kept beside the revision for whoever watches. The path is told for directories; a file's first record has it as
  /// key.
  void set_cause(Action action, bool dir) {
    // A refresh of what is there wakes nobody; what it makes is news all the same.
    const bool silent = command_.refresh() && action != Action::kCreate;
    txn_.set_cause({silent ? Action::kRefresh : action, dir ? path_ : Bytes()});
  }

  /// Makes the directories above `path_` that are not there. They come after the node itself: sub 0 is the node's.
  void put_parents(const std::vector<Bytes>& markers) {
    for (const Bytes& marker : markers) txn_.put(marker, "", {});
  }

  /// The markers to be made for the directories above, the nearest first; refused when a file stands in the way.
  Outcome<std::vector<Bytes>> missing_parents() const {
    std::vector<Bytes> markers;
    const BytesView parent = parent_of(path_);
    const std::size_t depth = depth_of(parent);
    const std::size_t exists = existing_depth(txn_, parent);
    // A v3 client may have made a file of a directory's path; nothing is written below it.
    for (std::size_t level = 1; level <= exists; ++level) {
      if (txn_.get(ancestor_at(parent, level)) != nullptr)
        return refuse(Code::kNotADirectory, ancestor_at(parent, level));
    }
    if (exists == depth) return markers;
    const BytesView first = ancestor_at(parent, exists + 1);
    if (txn_.get(first) != nullptr) return refuse(Code::kNotADirectory, first);
    BytesView missing_parent = parent;
    for (std::size_t left = depth - exists; left > 0; --left) {
      markers.push_back(marker_of(missing_parent));
      missing_parent = parent_of(missing_parent);
    }
    return markers;
  }

  /// Writes the node and what is missing above it, whatever was there; `replaced` is a file that gives way.
  Attempt<Event> place(Action action, const mvcc::Entry* replaced, BytesView value) {
    Event event = event_of(action);
    event.node.deadline = {command_.deadline()};
    event.created = replaced == nullptr;
    if (replaced != nullptr) {
      ETCD_TRY(event.previous, node_of({replaced, false}));
    }
    std::vector<Bytes> parents;
    if (replaced == nullptr) {
      Outcome<std::vector<Bytes>> markers = missing_parents();
      if (!markers) return std::unexpected(markers.error());
      parents = *std::move(markers);
    }
    if (command_.dir()) {
      event.node.dir = true;
      if (replaced != nullptr) txn_.erase(path_);
      txn_.put(marker_of(path_), "", {.attributes = {.deadline = {command_.deadline()}, .ttl = ttl()}});
    } else {
      event.node.value = Bytes(value);
      // An ordinary put keeps create_revision, so the node remembers that it counts as new.
      txn_.put(path_, value,
               {.attributes = {.created_index = replaced == nullptr ? 0 : txn_.revision(),
                               .deadline = {command_.deadline()},
                               .ttl = ttl()}});
    }
    put_parents(parents);
    set_cause(action, command_.dir());
    return event;
  }

  Attempt<Event> set() {
    const Outcome<Found> found = find();
    if (!found && found.error().code != Code::kKeyNotFound) return std::unexpected(found.error());
    if (found && found->dir) return refuse(Code::kNotAFile, path_);
    if (!command_.refresh()) return place(Action::kSet, found ? found->entry : nullptr, command_.value());
    if (!found) return std::unexpected(found.error());
    ETCD_TRY(const mvcc::Entry* const file, whole(found->entry));
    const Bytes value(file->value());
    return place(Action::kSet, found->entry, value);
  }

  Attempt<Event> create() {
    const Outcome<Found> found = find();
    if (found) return refuse(Code::kKeyExists, path_);
    return place(Action::kCreate, nullptr, command_.value());
  }

  /// Gives an existing node a new value or deadline; its createdIndex stays.
  Attempt<Event> rewrite(Action action, const Found& found) {
    Event event = event_of(action);
    ETCD_TRY(event.previous, node_of(found));
    event.node.dir = found.dir;
    event.node.created_index = event.previous->created_index;
    event.node.deadline = {command_.deadline()};
    // Its own createdIndex, where it has one, moves along; without one it is the key's create_revision.
    const mvcc::Attributes attributes{
        .created_index = found.entry != nullptr ? found.entry->attributes().created_index : 0,
        .deadline = {command_.deadline()},
        .ttl = ttl()};
    if (found.dir) {
      txn_.put(marker_of(path_), "", {.attributes = attributes});
      set_cause(action, true);
      return event;
    }
    event.node.value = command_.refresh() ? *event.previous->value : command_.value();
    txn_.put(path_, *event.node.value, {.attributes = attributes});
    set_cause(action, false);
    return event;
  }

  Attempt<Event> update() {
    const Outcome<Found> found = find();
    if (!found) return std::unexpected(found.error());
    if (found->dir && !command_.value().empty()) return refuse(Code::kNotAFile, path_);
    return rewrite(Action::kUpdate, *found);
  }

  /// Nothing when the file is as the command expects it.
  Attempt<Found> compare() {
    const Outcome<Found> found = find();
    if (!found) return std::unexpected(found.error());
    if (found->dir) return refuse(Code::kNotAFile, path_);
    const auto modified = static_cast<std::uint64_t>(found->entry->mod_revision());
    const bool index_differs = command_.prev_index() != 0 && command_.prev_index() != modified;
    const Bytes index = index_differs ? fmt::format("[{} != {}]", command_.prev_index(), modified) : Bytes();
    if (!command_.prev_value().empty()) {
      ETCD_TRY(const mvcc::Entry* const file, whole(found->entry));
      if (command_.prev_value() != file->value()) {
        const Bytes value = fmt::format("[{} != {}]", command_.prev_value(), file->value());
        return refuse(Code::kCompareFailed, index_differs ? value + " " + index : value);
      }
    }
    if (index_differs) return refuse(Code::kCompareFailed, index);
    return *found;
  }

  Attempt<Event> compare_and_swap() {
    const Attempt<Found> found = compare();
    if (!found) return std::unexpected(found.error());
    return rewrite(Action::kCompareAndSwap, *found);
  }

  /// Deletes a file, or a directory with all that is in it.
  Attempt<Event> erase(Action action, const Found& found) {
    Event event = event_of(action);
    if (action == Action::kExpire && !found.dir) {
      event.previous = file_without_value(*found.entry);  // nobody asked for it
    } else {
      ETCD_TRY(event.previous, node_of(found));
    }
    event.node.dir = found.dir;
    event.node.created_index = event.previous->created_index;
    if (!found.dir) {
      txn_.erase(path_);
      set_cause(action, false);
      return event;
    }
    const Bytes prefix = marker_of(path_);
    std::vector<Bytes> keys;
    for (mvcc::Cursor cursor = txn_.cursor(prefix); cursor.valid() && cursor.key().starts_with(prefix); cursor.next()) {
      keys.emplace_back(cursor.key());
    }
    for (const Bytes& key : keys) txn_.erase(key);
    set_cause(action, true);
    return event;
  }

  Attempt<Event> remove() {
    const Outcome<Found> found = find();
    if (!found) return std::unexpected(found.error());
    if (found->dir && !command_.recursive()) {
      if (!command_.dir()) return refuse(Code::kNotAFile, path_);
      const Bytes prefix = marker_of(path_);
      const std::uint64_t below = txn_.count(mvcc::KeyRange::until(prefix, mvcc::prefix_end(prefix)));
      if (below > (found->entry != nullptr ? 1u : 0u)) return refuse(Code::kDirectoryNotEmpty, path_);
    }
    return erase(Action::kDelete, *found);
  }

  Attempt<Event> compare_and_delete() {
    const Attempt<Found> found = compare();
    if (!found) return std::unexpected(found.error());
    return erase(Action::kCompareAndDelete, *found);
  }

  /// The leader's clock has run out for this node; a write since then has given it another deadline, and it stays.
  Attempt<Event> expire() {
    const Outcome<Found> found = find();
    if (!found) return std::unexpected(found.error());
    if (found->entry == nullptr || found->entry->attributes().deadline.ns != command_.deadline()) {
      return refuse(Code::kCompareFailed, path_);
    }
    return erase(Action::kExpire, *found);
  }

  mvcc::WriteTxn& txn_;
  const Command& command_;
  Bytes path_;
  mvcc::EntryRef whole_;  // the file's stub, made whole
};

}  // namespace

Node file_of(const mvcc::Entry& entry) {
  Node node = file_without_value(entry);
  node.value = Bytes(entry.value());
  return node;
}

Node file_without_value(const mvcc::Entry& entry) {
  return {.path = Bytes(entry.key()),
          .dir = false,
          .value = {},
          .deadline = entry.attributes().deadline,
          .modified_index = entry.mod_revision(),
          .created_index = entry.created_index()};
}

Node directory_of(BytesView path, const mvcc::Entry* marker) {
  Node node{.path = Bytes(path), .dir = true, .value = {}, .deadline = {}, .modified_index = 0, .created_index = 0};
  if (marker != nullptr) {
    // A directory's modifiedIndex stays at its createdIndex, even when its TTL is changed (etcd v2.3.8 node.go).
    node.deadline = marker->attributes().deadline;
    node.created_index = node.modified_index = marker->created_index();
  }
  return node;
}

Result<Outcome<Event>> write(mvcc::WriteTxn& txn, const Command& command) {
  Attempt<Event> attempt = Writer(txn, command).run();
  if (attempt) return Outcome<Event>(*std::move(attempt));
  if (auto* error = std::get_if<Error>(&attempt.error())) return std::unexpected(std::move(*error));
  return Outcome<Event>(std::unexpected(std::get<Refusal>(std::move(attempt).error())));
}

}  // namespace etcd::tree
