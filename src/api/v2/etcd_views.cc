#include "api/v2/etcd_views.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <expected>
#include <iterator>
#include <string>
#include <utility>

#include "api/v2/answers.h"
#include "api/v2/json.h"
#include "api/v2/key_request.h"
#include "codec/json.h"
#include "net/ascii.h"
#include "tree/path.h"

namespace etcd::api::v2 {
namespace {

constexpr BytesView kKeys = "/v2/keys";
constexpr BytesView kRoot = "/_etcd";
constexpr BytesView kConfig = "/_etcd/config";
constexpr BytesView kMachines = "/_etcd/machines";
constexpr std::int64_t kIndex = 1;

bool is_below(BytesView path, BytesView directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

/// Go's url.QueryEscape.
void append_escaped(Bytes& out, BytesView text) {
  for (const char byte : text) {
    if (net::is_alphanumeric(byte) || byte == '-' || byte == '_' || byte == '.' || byte == '~') {
      out.push_back(byte);
    } else if (byte == ' ') {
      out.push_back('+');
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(byte));
    }
  }
}

BytesView first_of(const std::vector<std::string>& urls) {
  return urls.empty() ? BytesView() : BytesView(urls.front());
}

/// A machine's name is its key, so it must be one component of a path.
bool can_be_key(BytesView name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == BytesView::npos;
}

/// 0.4's error 106. That was a 400; what clients can tell from it is that the path is not theirs to write.
net::Response refused(const service::Service& service, BytesView path) {
  const std::int64_t index = service.view().revision();
  net::Response response = json_response(service, 403, index);
  response.body = R"({"errorCode":106,"message":"The prefix of given key is a keyword in etcd","cause":)";
  codec::append_json_string(response.body, path);
  response.body += ",\"index\":";
  codec::append_json_number(response.body, index);
  response.body += "}\n";
  return response;
}

net::Response read_response(const service::Service& service, const KeyRequest& request) {
  const auto membership = service.membership();
  const EtcdNodes nodes(*membership, service.cluster_config());
  const mvcc::View view = service.view();
  const auto listing = nodes.read(view, request.path, request.recursive, view.revision());
  service.stats().gets.count(listing.has_value());
  if (!listing) return refusal_response(service, listing.error());
  net::Response response = json_response(service, 200, view.revision());
  add_place(response, service.place());
  if (const Result<void> written = append_listing(response.body, view, *listing, service.clock().wall()); !written) {
    return failure_response(service, written.error());
  }
  response.body.push_back('\n');
  return response;
}

}  // namespace

EtcdNodes::EtcdNodes(const members::Membership& membership, const members::ClusterConfig& config) {
  add(kRoot, "", true);
  add(kConfig, members::to_json(config), false);
  add(kMachines, "", true);
  for (const auto& [id, member] : membership.members) {
    Bytes path = Bytes(kMachines) + "/" + member.name;
    // Names need not be unique any more, and a member has none before its first start.
    if (!can_be_key(member.name) || find(path) != nullptr) path = fmt::format("{}/{:x}", kMachines, id);
    Bytes value = "etcd=";
    append_escaped(value, first_of(member.client_urls));
    value += "&raft=";
    append_escaped(value, first_of(member.peer_urls));
    add(path, value, false);
  }
}

void EtcdNodes::add(BytesView path, BytesView value, bool dir) {
  const Bytes key = dir ? tree::marker_of(path) : Bytes(path);
  mvcc::Entry::Parts parts;
  parts.kv.key = key;
  parts.kv.create_revision = kIndex;
  parts.kv.mod_revision = kIndex;
  parts.kv.version = 1;
  parts.kv.value = value;
  mvcc::EntryRef entry = mvcc::Entry::make(parts);
  const BytesView own_path = entry->key().substr(0, path.size());
  nodes_.push_back({std::move(entry), own_path, dir});
}

bool EtcdNodes::own(BytesView path) {
  return path == kRoot || path == kConfig || path == kMachines || is_below(path, kConfig) || is_below(path, kMachines);
}

const EtcdNodes::Node* EtcdNodes::find(BytesView path) const {
  const auto at = std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& node) { return node.path == path; });
  return at == nodes_.end() ? nullptr : &*at;
}

tree::Outcome<tree::Listing> EtcdNodes::read(const mvcc::Reader& reader, BytesView path, bool recursive,
                                             std::int64_t index) const {
  const auto refuse = [&](tree::Code code, BytesView cause) {
    return std::unexpected(tree::Refusal{code, Bytes(cause), index});
  };
  const Node* const asked = find(path);
  if (asked == nullptr) {
    // The first component that is not there, or the file that stands in the way of it.
    const std::size_t depth = is_below(path, kMachines) ? 3 : 2;
    const BytesView reached = tree::ancestor_at(path, depth);
    return refuse(find(reached) == nullptr ? tree::Code::kKeyNotFound : tree::Code::kNotADirectory, reached);
  }

  const std::size_t asked_depth = tree::depth_of(path);
  const auto shown = [&](BytesView node) {
    return node == path || (is_below(node, path) && (recursive || tree::depth_of(node) == asked_depth + 1));
  };
  tree::Listing listing;
  for (const Node& node : nodes_) {
    if (!shown(node.path)) continue;
    const auto depth = static_cast<std::uint32_t>(tree::depth_of(node.path) - asked_depth);
    listing.push_back({node.path, node.entry.get(), node.dir, depth});
  }
  if (path == kRoot) {
    const auto stored = tree::read(reader, path, {.recursive = recursive}, index);
    if (stored && stored->front().dir) {
      std::copy_if(stored->begin(), stored->end(), std::back_inserter(listing),
                   [](const tree::ListedNode& node) { return !own(node.path); });
    }
  }
  // The order of paths is that of a document: each directory before what is in it.
  std::sort(listing.begin(), listing.end(), [](const tree::ListedNode& left, const tree::ListedNode& right) {
    return tree::path_less(left.path, right.path);
  });
  return listing;
}

void EtcdViews::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const bool writes = request.method == "PUT" || request.method == "POST" || request.method == "DELETE";
  if ((!reads && !writes) || !EtcdNodes::own(tree::clean_path(BytesView(request.path).substr(kKeys.size())))) {
    keys_.handle(std::move(request), std::move(exchange));
    return;
  }
  tree::Outcome<KeyRequest> parsed = parse_key_request(request, service_.clock().wall());
  if (!parsed) {
    exchange->send(refusal_response(service_, parsed.error()));
    return;
  }
  if (writes) {
    exchange->send(refused(service_, parsed->path));
    return;
  }
  if (parsed->wait && !parsed->quorum) {
    keys_.handle(std::move(request), std::move(exchange));
    return;
  }
  const bool quorum = parsed->quorum;
  answer_read(service_, std::move(exchange), quorum,
              [this, asked = *std::move(parsed)](const std::shared_ptr<net::Exchange>& answered) {
                answered->send(read_response(service_, asked));
              });
}

}  // namespace etcd::api::v2
