// api/v2/keys.h - /v2/keys: a request becomes a read or a command, and its outcome an answer.
//
// Thread:  any net loop; one request stays on its connection's.
// Source:  etcd v2.3.8 etcdserver/etcdhttp/client.go (parseKeyRequest, writeKeyEvent) and etcdserver/apply_v2.go.
#pragma once
#include <memory>
#include <vector>

#include "api/v2/watch.h"
#include "net/http.h"
#include "service/service.h"

namespace etcd::api::v2 {

class KeysHandler final : public net::Handler {
 public:
  /// `loops` are all net loops that requests come from; watches catch up on `workers`. All must outlive this.
  KeysHandler(service::Service& service, const std::vector<io::Executor*>& loops, io::Executor& workers);

  /// `request.path` is "/v2/keys" or begins with "/v2/keys/" and is clean but for a slash at its end.
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  WatchHub& hub_of(const io::Executor& loop);

  service::Service& service_;
  std::vector<std::unique_ptr<WatchHub>> hubs_;  // one for each loop, touched on that loop only
};

}  // namespace etcd::api::v2
