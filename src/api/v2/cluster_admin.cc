#include "api/v2/cluster_admin.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "api/v2/answers.h"
#include "api/v2/json_body.h"
#include "codec/json.h"
#include "net/front.h"

namespace etcd::api::v2 {
namespace {

constexpr BytesView kMachinesPath = "/v2/admin/machines";

net::Response json_line(Bytes body) {
  net::Response response;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(body);
  response.body.push_back('\n');
  return response;
}

net::Response not_found() {
  return net::text_error(404, "404 page not found");
}

/// 0.4 knows one URL of each kind.
BytesView first_of(const std::vector<std::string>& urls) {
  return urls.empty() ? BytesView() : BytesView(urls.front());
}

template <class Member>
Bytes machine_json(const Member& member, bool leads) {
  Bytes out = "{\"name\":";
  codec::append_json_string(out, member.name);
  out += ",\"state\":";
  codec::append_json_string(out, leads ? "leader" : "follower");
  out += ",\"clientURL\":";
  codec::append_json_string(out, first_of(member.client_urls));
  out += ",\"peerURL\":";
  codec::append_json_string(out, first_of(member.peer_urls));
  out.push_back('}');
  return out;
}

}  // namespace

void ClusterConfigHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method == "GET") {
    exchange->send(json_line(members::to_json(service_.cluster_config())));
  } else if (request.method == "PUT") {
    change(request, std::move(exchange));
  } else {
    exchange->send(not_found());
  }
}

void ClusterConfigHandler::change(const net::Request& request, std::shared_ptr<net::Exchange> exchange) {
  const auto wanted = config_change_of(request.body);
  if (!wanted) {
    exchange->send(net::text_error(500, wanted.error().message));
    return;
  }
  const members::ClusterConfig now = service_.cluster_config();
  if (members::changed(now, *wanted) == now) {
    exchange->send(json_line(members::to_json(now)));
    return;
  }
  service_.change_cluster_config(*wanted, exchange->executor(), [this, exchange](const Result<void>& done) {
    exchange->send(done ? json_line(members::to_json(service_.cluster_config()))
                        : net::text_error(500, done.error().message));
  });
}

net::Response ClusterMachinesHandler::answer(const net::Request& request) const {
  const auto membership = service_.membership();
  const MemberId leader = service_.leadership().leader;
  std::multimap<BytesView, Bytes> machines;  // the JSON of each by its name
  for (const auto& [id, member] : membership->members) {
    machines.emplace(member.name, machine_json(member, id == leader));
  }

  BytesView name = BytesView(request.path).substr(kMachinesPath.size());
  if (name.empty()) {
    if (request.method != "GET") return not_found();
    Bytes body = "[";
    for (const auto& [key, machine] : machines) {
      if (body.size() > 1) body.push_back(',');
      body += machine;
    }
    return json_line(body + "]");
  }
  name.remove_prefix(1);
  if (name.empty() || name.find('/') != BytesView::npos) return not_found();
  const auto found = machines.find(name);
  if (request.method == "GET") return json_line(found == machines.end() ? "null" : found->second);
  if (request.method != "DELETE") return not_found();
  if (found == machines.end()) return {};
  return message_response(501, "membership changes come with a later version");
}

void ClusterMachinesHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  exchange->send(answer(request));
}

}  // namespace etcd::api::v2
