// api/v2/cluster_admin.h - what 0.4 had on its peer port for operators: /v2/admin/config and /v2/admin/machines.
//
// Thread:  any net loop.
// Source:  etcd v0.4.6 server/peer_server_handlers.go. Methods that a path does not have are 404, never 405.
#pragma once
#include <memory>

#include "base/bytes.h"
#include "net/http.h"
#include "service/service.h"

namespace etcd::api::v2 {

/// GET shows the cluster's size control. PUT changes the numbers that it names, through the log, and answers with all.
class ClusterConfigHandler final : public net::Handler {
 public:
  explicit ClusterConfigHandler(service::Service& service) : service_(service) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  void change(const net::Request& request, std::shared_ptr<net::Exchange> exchange);

  service::Service& service_;
};

/// GET shows all members by name, or the one that the path names, or null. DELETE of nobody is done; of a member it is
/// 501 until members can be removed.
class ClusterMachinesHandler final : public net::Handler {
 public:
  explicit ClusterMachinesHandler(service::Service& service) : service_(service) {}
  /// `request.path` is "/v2/admin/machines" or begins with "/v2/admin/machines/".
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  [[nodiscard]] net::Response answer(const net::Request& request) const;

  service::Service& service_;
};

}  // namespace etcd::api::v2
