// api/v2/stats.h - /v2/stats/store, /v2/stats/self and /v2/stats/leader.
//
// Thread:  any net loop.
// Source:  etcd v2.3.8 etcdserver/etcdhttp/client.go (statsHandler), store/stats.go, etcdserver/stats/*.go (field names
//          and order).
#pragma once
#include <memory>

#include "base/bytes.h"
#include "net/http.h"
#include "service/service.h"

namespace etcd::api::v2 {

class StatsHandler final : public net::Handler {
 public:
  explicit StatsHandler(service::Service& service) : service_(service) {}

  /// `request.path` is one of the three.
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  [[nodiscard]] net::Response answer(const net::Request& request) const;
  [[nodiscard]] Bytes self() const;
  [[nodiscard]] Bytes leader() const;

  service::Service& service_;
};

/// `{"getsSuccess":1,"getsFail":0,...,"watchers":0}`.
Bytes store_stats_json(const apply::StoreStats& stats);

}  // namespace etcd::api::v2
