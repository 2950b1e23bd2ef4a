// api/admin/admin.h - /version and /health.
//
// Thread:  any net loop.
// Source:  etcd v3.7.1 server/etcdserver/api/etcdhttp/{version,health}.go.
#pragma once
#include <memory>

#include "net/http.h"
#include "service/service.h"

namespace etcd::api::admin {

/// GET: `{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}`.
class VersionHandler final : public net::Handler {
 public:
  explicit VersionHandler(service::Service& service) : service_(service) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
};

/// GET: 200 `{"health":"true","reason":""}` once a linearizable read has gone through, else 503 with the reason.
/// `serializable=true` asks for neither leader nor quorum.
class HealthHandler final : public net::Handler {
 public:
  explicit HealthHandler(service::Service& service) : service_(service) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
};

}  // namespace etcd::api::admin
