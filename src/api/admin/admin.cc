#include "api/admin/admin.h"

#include <string>
#include <utility>

#include "base/version.h"
#include "codec/json.h"
#include "net/front.h"
#include "net/url.h"

namespace etcd::api::admin {
namespace {

net::Response json(int status, Bytes body) {
  net::Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

net::Response health(const std::string& reason) {
  if (reason.empty()) {
    net::Response response;
    response.headers.add("Content-Type", "text/plain; charset=utf-8");  // upstream names none, and Go guesses this
    response.body = R"({"health":"true","reason":""})";
    return response;
  }
  Bytes body = R"({"health":"false","reason":)";
  codec::append_json_string(body, reason);
  body += '}';
  return net::text_error(503, body);
}

}  // namespace

void VersionHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  const std::string cluster = service_.membership()->cluster_version;
  Bytes body = "{\"etcdserver\":";
  codec::append_json_string(body, kServerVersion);
  body += ",\"etcdcluster\":";
  codec::append_json_string(body, cluster.empty() ? "not_decided" : cluster);
  body += ",\"storage\":";
  codec::append_json_string(body, cluster.empty() ? "unknown" : kClusterVersion);
  body += '}';
  exchange->send(json(200, std::move(body)));
}

void HealthHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  const net::Form form = net::parse_form(request.query);
  const std::string* const serializable = form.find("serializable");
  if (serializable != nullptr && *serializable == "true") {
    exchange->send(health(""));
    return;
  }
  if (!service_.has_leader()) {
    exchange->send(health("RAFT NO LEADER"));
    return;
  }
  service_.confirm_read(exchange->executor(), [exchange](Result<void> confirmed) {
    exchange->send(health(confirmed ? "" : "RANGE ERROR:" + confirmed.error().message));
  });
}

}  // namespace etcd::api::admin
