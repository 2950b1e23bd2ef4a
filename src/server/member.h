// server/member.h - one member: every object of it, built from the options, connected, started and stopped in order.
//
// Life:    start() -> wait until it serves, or until fault() -> stop() -> destructor
// Thread:  start(), stop() and the destructor from one thread that is none of the loops; fault() from any.
// Owns:    loops, files, engine, replica, service, handlers and servers. They are declared, and so go, in an order in
//          which nobody outlives what he borrows.
//
//   net loop(s) --+--> replica loop --> disk loop        threads of this wiring: one for each loop
//                 |        |                             (docs/ARCHITECTURE.md, "Loops")
//                 |        +----------> apply loop --> store loop
//                 +--- reads, on the net loop itself     workers: prepares WAL segments
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/admin/admin.h"
#include "api/v2/keys.h"
#include "apply/store_stats.h"
#include "base/result.h"
#include "config/options.h"
#include "duties/compactor.h"
#include "duties/expirer.h"
#include "duties/space_monitor.h"
#include "engine/engine.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/thread_executor.h"
#include "net/front.h"
#include "net/loop.h"
#include "net/server.h"
#include "replica/replica.h"
#include "server/member_metrics.h"
#include "service/service.h"
#include "telemetry/log.h"

namespace etcd::server {

class Member final : private replica::Observer {
 public:
  /// Opens or makes the data directory, binds the ports, starts the replica, and serves once the member has told the
  /// cluster its name. Returns when it serves. `on_failure` is called once, on some loop, if it cannot go on later.
  /// Errors: what stands in the way, in one sentence that names it.
  static Result<std::unique_ptr<Member>> start(const config::Options& options, const telemetry::Logger& logger,
                                               std::function<void()> on_failure);
  ~Member() override;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  /// Lets running answers finish, saves everything, stops. Returns when that is done.
  void stop();

  /// Why the member cannot go on, once it cannot.
  [[nodiscard]] std::optional<Error> fault() const;

 private:
  Member(const config::Options& options, const telemetry::Logger& logger, std::function<void()> on_failure);

  Result<void> open();
  Result<void> lock_data_directory();
  Result<void> open_replica();
  Result<void> bind();
  Result<void> bind(net::Server& server, const config::UrlList& urls);
  Result<void> build_duties();
  void build_handlers();
  /// Those that only show something.
  void build_views();
  /// Those that watch over the member: metrics, probes, variables.
  void build_monitoring();
  /// Tells the cluster our name, URLs and version, once the log has been replayed.
  Result<void> publish();
  /// 0.4's size control as the flags of a new cluster's first member have it.
  [[nodiscard]] members::ClusterConfigChange first_cluster_config() const;
  Result<void> wait_for(const std::function<void(std::move_only_function<void(Result<void>)>)>& call);
  void stop_loops();

  void applied(std::vector<apply::Outcome> outcomes) override;
  void leader_changed(MemberId leader) override;
  void no_space() override;
  void failed(const Error& error) override;

  const config::Options options_;
  const telemetry::Logger logger_;
  const std::function<void()> on_failure_;
  io::RealClock clock_;
  MemberMetrics metrics_;  // before the rooms that count in it

  mutable std::mutex mu_;  // guards the one below
  std::optional<Error> fault_;

  // Directories and files before what borrows them.
  std::unique_ptr<io::Directory> data_directory_;
  std::unique_ptr<io::File> lock_;
  std::unique_ptr<io::Directory> store_directory_;
  std::unique_ptr<io::Directory> wal_directory_;
  std::unique_ptr<engine::Engine> engine_;

  // Loops outlive the objects whose tasks they run, and are stopped before those go.
  std::unique_ptr<io::ThreadExecutor> workers_loop_;
  std::unique_ptr<io::ThreadExecutor> store_loop_;
  std::unique_ptr<io::ThreadExecutor> apply_loop_;
  std::unique_ptr<io::ThreadExecutor> disk_loop_;
  std::unique_ptr<io::ThreadExecutor> replica_loop_;
  std::vector<std::unique_ptr<net::Loop>> net_loops_;

  replica::NoTransport transport_;
  apply::StoreStats store_stats_;
  std::unique_ptr<replica::Replica> replica_;
  std::unique_ptr<service::Service> service_;
  std::unique_ptr<duties::Expirer> expirer_;
  std::unique_ptr<duties::Compactor> compactor_;
  std::unique_ptr<duties::SpaceMonitor> space_monitor_;
  std::unique_ptr<api::v2::KeysHandler> keys_;
  std::unique_ptr<api::admin::VersionHandler> version_;
  std::unique_ptr<api::admin::HealthHandler> health_;
  std::vector<std::unique_ptr<net::Handler>> views_;
  net::NotFoundHandler not_found_;
  std::unique_ptr<net::Front> client_front_;
  std::unique_ptr<net::Front> peer_front_;
  std::unique_ptr<net::Front> metrics_front_;
  std::unique_ptr<net::Server> client_server_;
  std::unique_ptr<net::Server> peer_server_;
  std::unique_ptr<net::Server> metrics_server_;  // of --listen-metrics-urls, often of none
  bool new_cluster_ = false;                     // this start made it
  bool stopped_ = false;
};

}  // namespace etcd::server
