// api/v2/members.h - /v2/members: who is in the cluster.
//
// Thread:  any net loop.
// Source:  etcd v2.3.8 etcdserver/etcdhttp/client.go (membersHandler): which check comes first, statuses, texts.
#pragma once
#include <memory>

#include "base/bytes.h"
#include "net/http.h"
#include "service/service.h"

namespace etcd::api::v2 {

class MembersHandler final : public net::Handler {
 public:
  explicit MembersHandler(service::Service& service) : service_(service) {}

  /// `request.path` is "/v2/members" or begins with "/v2/members/".
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  [[nodiscard]] net::Response answer(const net::Request& request) const;
  [[nodiscard]] net::Response read(BytesView name) const;
  [[nodiscard]] net::Response add(const net::Request& request) const;
  [[nodiscard]] net::Response update(const net::Request& request, BytesView name) const;
  [[nodiscard]] net::Response remove(BytesView name) const;

  service::Service& service_;
};

}  // namespace etcd::api::v2
