// api/v2/etcd_views.h - /_etcd/machines and /_etcd/config, as 0.4 kept them among the keys: read-only views here.
//
// Thread:  any net loop.
// Source:  etcd v0.4.6 server/registry.go (names and values below /_etcd/machines) and server/peer_server.go
//          (/_etcd/config).
//
// What they show is the membership, which is no part of the keyspace: it has no revision, so every index is 1. Whatever
// else lies below /_etcd (0.4's discovery lived in /_etcd/registry) are ordinary keys, and /_etcd lists both.
#pragma once
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "members/cluster_config.h"
#include "members/table.h"
#include "mvcc/entry.h"
#include "mvcc/view.h"
#include "net/http.h"
#include "service/service.h"
#include "tree/read.h"
#include "tree/refusal.h"

namespace etcd::api::v2 {

/// The nodes of the views, at one moment.
class EtcdNodes {
 public:
  EtcdNodes(const members::Membership& membership, const members::ClusterConfig& config);

  /// Whether a clean path is one of the views, or below one: nothing of the keyspace is shown there.
  static bool own(BytesView path);

  /// As tree::read() for an own path. The listing borrows from this object, too.
  [[nodiscard]] tree::Outcome<tree::Listing> read(const mvcc::Reader& reader, BytesView path, bool recursive,
                                                  std::int64_t index) const;

 private:
  struct Node {
    mvcc::EntryRef entry;  // a directory's marker, or the file
    BytesView path;        // into the entry
    bool dir = false;
  };

  void add(BytesView path, BytesView value, bool dir);
  [[nodiscard]] const Node* find(BytesView path) const;

  std::vector<Node> nodes_;
};

/// Stands before the keys' handler and takes the requests for own paths out.
class EtcdViews final : public net::Handler {
 public:
  EtcdViews(service::Service& service, net::Handler& keys) : service_(service), keys_(keys) {}

  /// `request.path` is "/v2/keys/_etcd" or begins with "/v2/keys/_etcd/". Writes are refused with 403. A watch sees
  /// what is stored there, which is nothing.
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
  net::Handler& keys_;
};

}  // namespace etcd::api::v2
