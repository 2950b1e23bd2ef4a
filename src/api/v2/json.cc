#include "api/v2/json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <utility>

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

/// The fields of a listed node before its own nodes.
void open_listed(Bytes& out, const tree::ListedNode& node, WallTime now) {
  // The root has no key, so its first field is `dir`; every other one begins with its key.
  if (node.path == "/") {
    out += "{\"dir\":true";
    return;
  }
  out += "{\"key\":";
  append_json_string(out, node.path);
  if (node.dir) {
    out += ",\"dir\":true";
  } else {
    out += ",\"value\":";
    append_json_string(out, node.entry->value());
  }
  if (node.entry != nullptr) {
    const WallTime deadline = node.entry->attributes().deadline;
    append_deadline(out, deadline, deadline - now);
  }
}

/// The fields behind them, and the end of the object.
void close_listed(Bytes& out, const tree::ListedNode& node) {
  if (node.entry != nullptr) {
    // A directory's modifiedIndex stays at its createdIndex.
    const std::int64_t created = node.entry->created_index();
    append_indices(out, node.dir ? created : node.entry->mod_revision(), created);
  }
  out.push_back('}');
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

void append_listing(Bytes& out, const tree::Listing& listing, WallTime now) {
  out += "{\"action\":\"get\",\"node\":";
  // Paths may be as deep as they are long, so the directories that are open are a list, not calls within calls.
  std::vector<std::size_t> open;
  const auto has_nodes = [&](std::size_t place) {
    return place + 1 < listing.size() && listing[place + 1].depth > listing[place].depth;
  };
  const auto close = [&] {
    if (has_nodes(open.back())) out.push_back(']');
    close_listed(out, listing[open.back()]);
    open.pop_back();
  };
  for (std::size_t place = 0; place < listing.size(); ++place) {
    const std::uint32_t depth = listing[place].depth;
    const bool is_first = place > 0 && listing[place - 1].depth < depth;
    while (!open.empty() && listing[open.back()].depth >= depth) close();
    if (!open.empty()) out += is_first ? ",\"nodes\":[" : ",";
    open_listed(out, listing[place], now);
    open.push_back(place);
  }
  while (!open.empty()) close();
  out.push_back('}');
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
