// api/v2/keys.h - /v2/keys: a request becomes a read or a command, and its outcome an answer.
//
// Thread:  any net loop; one request stays on its connection's.
// Source:  etcd v2.3.8 etcdserver/etcdhttp/client.go (parseKeyRequest, writeKeyEvent) and etcdserver/apply_v2.go.
#pragma once
#include <memory>

#include "net/http.h"
#include "service/service.h"

namespace etcd::api::v2 {

class KeysHandler final : public net::Handler {
 public:
  /// `service` must outlive this.
  explicit KeysHandler(service::Service& service) : service_(service) {}

  /// `request.path` is "/v2/keys" or begins with "/v2/keys/" and is clean but for a slash at its end.
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
};

}  // namespace etcd::api::v2
