// api/v2/machines.h - 0.4's plain texts about the cluster: /v2/machines and /v2/leader.
//
// Thread:  any net loop.
// Source:  etcd v0.4.6 server/v2 and server/server.go; v2.3.8 etcdserver/etcdhttp/client.go
//          (deprecatedMachinesHandler).
#pragma once
#include <memory>

#include "net/http.h"
#include "service/service.h"

namespace etcd::api::v2 {

/// "http://a:2379, http://b:2379": all client URLs, the leader's first.
class MachinesHandler final : public net::Handler {
 public:
  explicit MachinesHandler(service::Service& service) : service_(service) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
};

/// The leader's peer URL, or error 301 without one. Only 0.4 has this path, and it knows neither 405 nor CORS.
class LeaderHandler final : public net::Handler {
 public:
  explicit LeaderHandler(service::Service& service) : service_(service) {}
  /// `request.path` is "/v2/leader" or begins with "/v2/leader/", where there is nothing.
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
};

}  // namespace etcd::api::v2
