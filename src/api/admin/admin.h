// api/admin/admin.h - /version, /health, /livez and /readyz; and /members, which members ask each other.
//
// Thread:  any net loop.
// Source:  etcd v3.7.1 server/etcdserver/api/etcdhttp/{version,health,peer}.go.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/admin/metrics.h"
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
/// `serializable=true` asks for neither leader nor quorum. An alarm is a reason, too, unless an
/// `exclude=NAME` passes over its kind.
class HealthHandler final : public net::Handler {
 public:
  HealthHandler(service::Service& service, Metrics& metrics) : service_(service), metrics_(metrics) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  /// `reason` is empty when all is well.
  void answer(net::Exchange& exchange, const std::string& reason);

  service::Service& service_;
  Metrics& metrics_;
};

enum class Check : std::uint8_t {
  kDataCorruption,    // no alarm says that members' data differ
  kSerializableRead,  // this member can read what it has
  kLinearizableRead,  // a quorum stands behind what it reads
  kNonLearner,        // it votes
};

/// Probes for whoever restarts processes and sends them traffic: GET runs all checks of a path, or the one that the
/// path's last component names. 200 "ok", 503 with a line for each check; `verbose` shows the lines in any case, and
/// `exclude=NAME` leaves a check out.
class ProbeHandler final : public net::Handler {
 public:
  /// `path` is "/livez" or "/readyz".
  ProbeHandler(service::Service& service, Metrics& metrics, std::string path, std::vector<Check> checks)
      : service_(service), metrics_(metrics), path_(std::move(path)), checks_(std::move(checks)) {}

  /// `request.path` is the path, or begins with it and a slash.
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  /// The checks that a request asks for; nothing when its path names none of ours.
  [[nodiscard]] std::optional<std::vector<Check>> asked(const net::Request& request) const;
  /// `read` is what came of the linearizable read, if there was one.
  net::Response answer(const std::vector<Check>& checks, const Result<void>& read, bool verbose);
  /// Counts one check that was made.
  void count(Check check, bool passed);

  service::Service& service_;
  Metrics& metrics_;
  const std::string path_;
  const std::vector<Check> checks_;
};

/// GET on the peer port: `[{"id":1,"peerURLs":["http://a:2380"],"name":"a","clientURLs":["http://a:2379"]}]`.
class PeerMembersHandler final : public net::Handler {
 public:
  explicit PeerMembersHandler(service::Service& service) : service_(service) {}
  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  service::Service& service_;
};

}  // namespace etcd::api::admin
