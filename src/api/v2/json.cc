#include "api/v2/json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "codec/json.h"

namespace etcd::api::v2 {
namespace {

using codec::append_json_number;
using codec::append_json_string;

/// What follows the key and the value, up to the nodes of a directory. `left` is what remains of the TTL.
void append_deadline(Bytes& out, WallTime deadline, Duration left) {
  if (deadline.ns == 0) return;
  out += ",\"expiration\":\"";
  out += rfc3339(deadline);
  out += '"';
  // Whole seconds, rounded up; zero is left out. What has run out and still is there shows less than that.
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t seconds = left.count() / kSecond + (left.count() % kSecond > 0 ? 1 : 0);
  if (seconds == 0) return;
  out += ",\"ttl\":";
  append_json_number(out, seconds);
}

void append_indices(Bytes& out, std::int64_t modified, std::int64_t created) {
  if (modified != 0) {
    out += ",\"modifiedIndex\":";
    append_json_number(out, modified);
  }
  if (created != 0) {
    out += ",\"createdIndex\":";
    append_json_number(out, created);
  }
}

/// Objects are written with a comma before each field; the first one's is taken back.
void close_object(Bytes& out, std::size_t opened) {
  if (out.size() > opened && out[opened] == ',') out.erase(opened, 1);
  out.push_back('}');
}

void append_node(Bytes& out, const tree::Node& node, WallTime now) {
  out.push_back('{');
  const std::size_t opened = out.size();
  out += ",\"key\":";
  append_json_string(out, node.path);
  if (node.value) {
    out += ",\"value\":";
    append_json_string(out, *node.value);
  }
  if (node.dir) out += ",\"dir\":true";
  append_deadline(out, node.deadline, node.ttl_left.value_or(node.deadline - now));
  append_indices(out, node.modified_index, node.created_index);
  close_object(out, opened);
}

BytesView message_of(tree::Code code) {
  switch (code) {
    case tree::Code::kKeyNotFound: return "Key not found";
    case tree::Code::kCompareFailed: return "Compare failed";
    case tree::Code::kNotAFile: return "Not a file";
    case tree::Code::kNotADirectory: return "Not a directory";
    case tree::Code::kKeyExists: return "Key already exists";
    case tree::Code::kRootReadOnly: return "Root is read only";
    case tree::Code::kDirectoryNotEmpty: return "Directory not empty";
    case tree::Code::kUnauthorized: return "The request requires user authentication";
    case tree::Code::kPrevValueRequired: return "PrevValue is Required in POST form";
    case tree::Code::kTtlNotANumber: return "The given TTL in POST form is not a number";
    case tree::Code::kIndexNotANumber: return "The given index in POST form is not a number";
    case tree::Code::kInvalidField: return "Invalid field";
    case tree::Code::kInvalidForm: return "Invalid POST form";
    case tree::Code::kValueOnRefresh: return "Value provided on refresh";
    case tree::Code::kNoTtlOnRefresh: return "A TTL must be provided on refresh";
    case tree::Code::kRaftInternal: return "Raft Internal Error";
    case tree::Code::kLeaderElection: return "During Leader Election";
    case tree::Code::kWatcherCleared: return "watcher is cleared due to etcd recovery";
    case tree::Code::kEventIndexCleared: return "The event in requested index is outdated and cleared";
  }
  return "";
}

}  // namespace

BytesView name_of(mvcc::Action action) {
  switch (action) {
    case mvcc::Action::kPut:
    case mvcc::Action::kSet: return "set";
    case mvcc::Action::kCreate: return "create";
    case mvcc::Action::kUpdate: return "update";
    case mvcc::Action::kCompareAndSwap: return "compareAndSwap";
    case mvcc::Action::kCompareAndDelete: return "compareAndDelete";
    case mvcc::Action::kDelete: return "delete";
    case mvcc::Action::kExpire: return "expire";
    case mvcc::Action::kRefresh: return "update";
  }
  return "";
}

int status_of(tree::Code code) {
  switch (code) {
    case tree::Code::kKeyNotFound: return 404;
    case tree::Code::kNotAFile:
    case tree::Code::kDirectoryNotEmpty: return 403;
    case tree::Code::kCompareFailed:
    case tree::Code::kKeyExists: return 412;
    case tree::Code::kUnauthorized: return 401;
    case tree::Code::kRaftInternal:
    case tree::Code::kLeaderElection: return 500;
    default: return 400;
  }
}

Bytes rfc3339(WallTime time) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t seconds = time.ns / kSecond;
  std::int64_t fraction = time.ns % kSecond;
  if (fraction < 0) {
    --seconds;
    fraction += kSecond;
  }
  Bytes out = fmt::format("{:%Y-%m-%dT%H:%M:%S}", fmt::gmtime(static_cast<std::time_t>(seconds)));
  if (fraction != 0) {
    out += fmt::format(".{:09}", fraction);
    out.resize(out.find_last_not_of('0') + 1);
  }
  out.push_back('Z');
  return out;
}

void append_action(Bytes& out, mvcc::Action action) {
  out += "{\"action\":";
  append_json_string(out, name_of(action));
  out.push_back('}');
}

void append_event(Bytes& out, const tree::Event& event, WallTime now) {
  append_action(out, event.action);
  out.pop_back();
  out += ",\"node\":";
  append_node(out, event.node, now);
  if (event.previous) {
    out += ",\"prevNode\":";
    append_node(out, *event.previous, now);
  }
  out.push_back('}');
}

void ListingWriter::begin(Bytes& out) {
  out += "{\"action\":\"get\",\"node\":";
}

Result<void> ListingWriter::add(Bytes& out, const mvcc::Reader& reader, const tree::ListedNode& node) {
  if (!open_.empty()) out += std::exchange(open_.back().has_nodes, true) ? "," : ",\"nodes\":[";
  // The root has no key, so its first field is `dir`; every other one begins with its key.
  if (node.path == "/") {
    out += "{\"dir\":true";
    open_.push_back({0, false});
    return {};
  }
  out += "{\"key\":";
  append_json_string(out, node.path);
  if (node.dir) {
    out += ",\"dir\":true";
  } else {
    out += ",\"value\":";
    if (node.entry->has_value()) {
      append_json_string(out, node.entry->value());
    } else {
      ETCD_TRY(const mvcc::EntryRef whole, reader.load(*node.entry));
      append_json_string(out, whole->value());
    }
  }
  std::int64_t created = 0;
  if (node.entry != nullptr) {
    const WallTime deadline = node.entry->attributes().deadline;
    append_deadline(out, deadline, deadline - now_);
    created = node.entry->created_index();
  }
  if (node.dir) {
    open_.push_back({created, false});
  } else {
    append_indices(out, node.entry->mod_revision(), created);
    out.push_back('}');
  }
  return {};
}

void ListingWriter::leave(Bytes& out) {
  const Open left = open_.back();
  open_.pop_back();
  if (left.has_nodes) out.push_back(']');
  append_indices(out, left.index, left.index);  // a directory's modifiedIndex stays at its createdIndex
  out.push_back('}');
}

void ListingWriter::end(Bytes& out) {
  CHECK(open_.empty(), "{} directories of a listing were not left", open_.size());
  out.push_back('}');
}

Result<void> append_listing(Bytes& out, const mvcc::Reader& reader, const tree::Listing& listing, WallTime now) {
  ListingWriter writer(now);
  writer.begin(out);
  for (const tree::ListedNode& node : listing) {
    while (writer.depth() > node.depth) writer.leave(out);
    ETCD_TRY_VOID(writer.add(out, reader, node));
  }
  while (writer.depth() > 0) writer.leave(out);
  writer.end(out);
  return {};
}

void append_refusal(Bytes& out, const tree::Refusal& refusal) {
  out += "{\"errorCode\":";
  append_json_number(out, static_cast<std::int64_t>(refusal.code));
  out += ",\"message\":";
  append_json_string(out, message_of(refusal.code));
  if (!refusal.cause.empty()) {
    out += ",\"cause\":";
    append_json_string(out, refusal.cause);
  }
  out += ",\"index\":";
  append_json_number(out, refusal.index);
  out.push_back('}');
}

}  // namespace etcd::api::v2
