#include "server/member.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <future>
#include <random>
#include <thread>
#include <utility>

#include "api/admin/debug_vars.h"
#include "api/admin/metrics.h"
#include "api/v2/cluster_admin.h"
#include "api/v2/etcd_views.h"
#include "api/v2/machines.h"
#include "api/v2/members.h"
#include "api/v2/stats.h"
#include "apply/tables.h"
#include "base/version.h"
#include "config/check.h"
#include "engine/lmdb_engine.h"
#include "io/real_file.h"
#include "members/id.h"
#include "server/process.h"

namespace etcd::server {
namespace {

constexpr std::uint64_t kDescriptorReserve = 150;  // for files and peers; clients get the rest (upstream's number)
constexpr Duration kStopGrace = 5s;                // for answers that are under way when the member stops

std::vector<std::string> texts_of(const config::UrlList& urls) {
  std::vector<std::string> texts;
  for (const config::Url& url : urls) texts.push_back(url.text);
  return texts;
}

/// Raises the limit of open files as far as the system lets us, and returns it.
std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

std::uint64_t random_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

std::size_t net_loop_count() {
  // Reads run to completion on these; the other half of the machine is for consensus and the disk.
  return std::clamp<std::size_t>(std::thread::hardware_concurrency() / 2, 1, 8);
}

}  // namespace

Member::Member(const config::Options& options, const telemetry::Logger& logger, std::function<void()> on_failure)
    : options_(options), logger_(logger), on_failure_(std::move(on_failure)) {}

Result<std::unique_ptr<Member>> Member::start(const config::Options& options, const telemetry::Logger& logger,
                                              std::function<void()> on_failure) {
  std::unique_ptr<Member> member(new Member(options, logger, std::move(on_failure)));
  if (auto opened = member->open(); !opened) {
    member->stop();
    return std::unexpected(std::move(opened).error());
  }
  return member;
}

Member::~Member() {
  stop();
}

Result<void> Member::open() {
  ETCD_TRY(data_directory_, io::open_real_directory(options_.data_dir));
  ETCD_TRY_VOID(lock_data_directory());
  ETCD_TRY(const auto member_directory, data_directory_->subdirectory("member"));
  ETCD_TRY(store_directory_, member_directory->subdirectory("store"));
  if (options_.wal_dir.empty()) {
    ETCD_TRY(wal_directory_, member_directory->subdirectory("wal"));
  } else {
    ETCD_TRY(wal_directory_, io::open_real_directory(options_.wal_dir));
  }

  for (std::size_t index = 0; index < net_loop_count(); ++index) {
    net_loops_.push_back(std::make_unique<net::Loop>(fmt::format("net-{}", index)));
  }
  client_front_ = std::make_unique<net::Front>(net::FrontOptions{options_.cors, options_.host_whitelist});
  peer_front_ = std::make_unique<net::Front>(net::FrontOptions{});
  metrics_front_ = std::make_unique<net::Front>(net::FrontOptions{});
  ETCD_TRY_VOID(bind());

  workers_loop_ = std::make_unique<io::ThreadExecutor>("workers");
  store_loop_ = std::make_unique<io::ThreadExecutor>("store");
  apply_loop_ = std::make_unique<io::ThreadExecutor>("apply");
  disk_loop_ = std::make_unique<io::ThreadExecutor>("disk");
  replica_loop_ = std::make_unique<io::ThreadExecutor>("replica");
  const std::vector<std::string> tables = apply::table_names();
  ETCD_TRY(engine_, engine::open_lmdb(*store_directory_, tables));
  ETCD_TRY_VOID(open_replica());

  const Duration election = std::chrono::milliseconds(options_.election_timeout_ms);
  service_ = std::make_unique<service::Service>(
      *replica_, replica_->store(), replica_->members(), store_stats_, clock_, *workers_loop_,
      service::ServiceOptions{.cluster = replica_->cluster(),
                              .member = replica_->member(),
                              .request_bytes_max = options_.max_request_bytes,
                              .timeout = 5s + 2 * election,
                              .full = [this] { return space_monitor_->full(); },
                              .metrics = &metrics_.service_metrics});
  ETCD_TRY_VOID(build_duties());
  metrics_.show(options_, *engine_, *replica_, *service_, store_stats_, *store_directory_);
  build_handlers();
  service_->start();
  replica_->start();
  space_monitor_->start();
  compactor_->start();
  ETCD_TRY_VOID(publish());
  client_server_->start();
  peer_server_->start();
  metrics_server_->start();
  return {};
}

Result<void> Member::build_duties() {
  // Nobody waits for these; what comes to nothing is proposed again.
  expirer_ = std::make_unique<duties::Expirer>(replica_->expiry(), clock_, *apply_loop_,
                                               [this](std::vector<SharedBytes> commands) {
                                                 std::vector<replica::Proposal> proposals;
                                                 proposals.reserve(commands.size());
                                                 for (SharedBytes& command : commands)
                                                   proposals.push_back({std::move(command), [](const Error&) {}});
                                                 replica_->propose(std::move(proposals));
                                               });

  ETCD_TRY(const config::Retention retention, config::compaction_retention(options_));
  duties::CompactorOptions compactor;
  compactor.mode = options_.auto_compaction_mode == "revision" ? duties::CompactorOptions::Mode::kRevision
                                                               : duties::CompactorOptions::Mode::kPeriodic;
  compactor.period = retention.period;
  compactor.revisions = retention.revisions;
  compactor_ = std::make_unique<duties::Compactor>(
      compactor, clock_, *workers_loop_,
      duties::Compactor::Ports{.revision = [this] { return replica_->store().published_revision(); },
                               .compact =
                                   [this](std::int64_t revision) {
                                     logger_.info("starting auto compaction",
                                                  {telemetry::field("revision", revision),
                                                   telemetry::field("mode", options_.auto_compaction_mode)});
                                     service_->propose_compaction(revision);
                                   }});

  duties::SpaceMonitorOptions space;
  if (options_.quota_backend_bytes > 0) space.quota_bytes = static_cast<std::uint64_t>(options_.quota_backend_bytes);
  space_monitor_ = std::make_unique<duties::SpaceMonitor>(
      space, clock_, *workers_loop_,
      duties::SpaceMonitor::Ports{
          .space = [this] { return store_directory_->space(); },
          .use =
              [this] {
                const engine::Usage usage = engine_->usage();
                return duties::SpaceMonitor::Use{
                    .bytes = usage.bytes_in_use,
                    .free_bytes = usage.bytes_file - std::min(usage.bytes_file, usage.bytes_in_use),
                    .pending_bytes = replica_->store().tail_bytes()};
              },
          .raised = [this] { return replica_->alarms().raised({replica_->member(), members::AlarmType::kNoSpace}); },
          .alarm = [this](bool raise) { service_->propose_alarm(members::AlarmType::kNoSpace, raise); }});
  return {};
}

Result<void> Member::lock_data_directory() {
  auto made = data_directory_->create("lock");
  if (!made && made.error().code == ErrorCode::kAlreadyExists) made = data_directory_->open("lock");
  if (!made) return std::unexpected(made.error());
  lock_ = *std::move(made);
  const auto locked = lock_->lock();
  if (!locked && locked.error().code == ErrorCode::kLocked) {
    return failure(ErrorCode::kLocked,
                   fmt::format("data directory {} is in use by another process", options_.data_dir));
  }
  return locked;
}

Result<void> Member::open_replica() {
  replica::ReplicaOptions options;
  options.heartbeat = std::chrono::milliseconds(options_.heartbeat_interval_ms);
  options.election_ticks = static_cast<int>(options_.election_timeout_ms / options_.heartbeat_interval_ms);
  options.pre_vote = options_.pre_vote;
  options.request_timeout = 5s + 2 * std::chrono::milliseconds(options_.election_timeout_ms);
  options.snapshot_count = options_.snapshot_count;
  options.catchup_entries = options_.snapshot_catchup_entries;
  options.wal_files_max = options_.max_wals;
  options.wal.unsafe_no_fsync = options_.unsafe_no_fsync;
  options.metrics = &metrics_.replica_metrics;
  options.applier.load_threads = std::clamp(std::thread::hardware_concurrency(), 1U, 4U);
  options.applier.stats = &store_stats_;
  options.applier.slow_apply = options_.warning_apply_duration;
  options.applier.metrics = &metrics_.apply_metrics;
  options.applier.mvcc_metrics = &metrics_.mvcc_metrics;
  options.applier.lease_metrics = &metrics_.lease_metrics;
  replica::Parts parts{*wal_directory_, *engine_,
                       clock_,          {*replica_loop_, *disk_loop_, *apply_loop_, *store_loop_, workers_loop_.get()},
                       transport_,      *this,
                       logger_,         Rng(random_seed())};

  ETCD_TRY(const bool restarts, wal::Log::exists(*wal_directory_));
  if (restarts) {
    ETCD_TRY(replica_, replica::Replica::restart(std::move(parts), options));
    logger_.info("restarting local member", {telemetry::field("cluster-id", telemetry::hex(replica_->cluster())),
                                             telemetry::field("local-member-id", telemetry::hex(replica_->member()))});
    return {};
  }
  ETCD_TRY(const auto cluster, config::parse_initial_cluster(options_.initial_cluster));
  const auto own = cluster.find(options_.name);
  if (own == cluster.end()) {
    return failure(ErrorCode::kInvalidArgument, fmt::format("couldn't find local name \"{}\" in the initial cluster "
                                                            "configuration",
                                                            options_.name));
  }
  if (cluster.size() > 1 || options_.joins_existing_cluster()) {
    return failure(ErrorCode::kUnimplemented,
                   "this version runs a member alone; clusters of several come with a later one");
  }
  new_cluster_ = true;
  members::Member self;
  self.name = options_.name;
  self.peer_urls = texts_of(own->second);
  self.id = members::bootstrap_member_id(self.peer_urls, options_.initial_cluster_token);
  const replica::Metadata who{self.id, members::cluster_id({self.id})};
  ETCD_TRY(replica_, replica::Replica::bootstrap(std::move(parts), options, who, {self}));
  logger_.info("starting local member", {telemetry::field("cluster-id", telemetry::hex(who.cluster)),
                                         telemetry::field("local-member-id", telemetry::hex(who.member))});
  return {};
}

Result<void> Member::bind() {
  const std::uint64_t descriptors = raise_descriptor_limit();
  if (descriptors <= kDescriptorReserve) {
    return failure(ErrorCode::kInvalidArgument, "file descriptor limit of etcd process is too low; please set higher");
  }
  net::ServerOptions server;
  server.connections_max = descriptors - kDescriptorReserve;
  server.log = [logger = logger_](std::string_view message) { logger.warn(message); };
  std::vector<net::Loop*> loops;
  for (const auto& loop : net_loops_) loops.push_back(loop.get());
  client_server_ = std::make_unique<net::Server>(loops, *client_front_, server);
  peer_server_ = std::make_unique<net::Server>(loops, *peer_front_, server);
  metrics_server_ = std::make_unique<net::Server>(loops, *metrics_front_, server);
  ETCD_TRY_VOID(bind(*client_server_, options_.listen_client_urls));
  ETCD_TRY_VOID(bind(*peer_server_, options_.listen_peer_urls));
  return bind(*metrics_server_, options_.listen_metrics_urls);
}

Result<void> Member::bind(net::Server& server, const config::UrlList& urls) {
  for (const config::Url& url : urls) {
    if (url.scheme != "http") {
      return failure(ErrorCode::kUnimplemented,
                     fmt::format("cannot listen on {}: this version serves http only", url.text));
    }
    std::uint16_t port = 0;
    const char* const end = url.port.data() + url.port.size();
    if (std::from_chars(url.port.data(), end, port) != std::from_chars_result{end, std::errc{}}) {
      return failure(ErrorCode::kInvalidArgument, fmt::format("cannot listen on {}: no such port", url.text));
    }
    const auto bound = server.listen(url.host, port);
    if (!bound && url.optional && bound.error().code == ErrorCode::kAlreadyExists) {
      logger_.warn("a port of etcd 0.4 is taken by another program; going on without it",
                   {telemetry::field("url", url.text)});
      continue;
    }
    if (!bound) return std::unexpected(bound.error());
  }
  return {};
}

void Member::build_handlers() {
  std::vector<io::Executor*> loops;
  for (const auto& loop : net_loops_) loops.push_back(loop.get());
  keys_ = std::make_unique<api::v2::KeysHandler>(*service_, loops, *workers_loop_);
  version_ = std::make_unique<api::admin::VersionHandler>(*service_);
  health_ = std::make_unique<api::admin::HealthHandler>(*service_, metrics_.admin_metrics);
  client_front_->route("/v2/keys", *keys_);
  client_front_->route("/v2/keys/", *keys_);
  client_front_->route("/version", *version_);
  peer_front_->route("/version", *version_);
  build_views();
  build_monitoring();
}

void Member::build_views() {
  const auto add = [this]<class Handler, class... More>(std::in_place_type_t<Handler>, More&&... more) -> Handler& {
    auto handler = std::make_unique<Handler>(*service_, std::forward<More>(more)...);
    Handler& added = *handler;
    views_.push_back(std::move(handler));
    return added;
  };
  auto& stats = add(std::in_place_type<api::v2::StatsHandler>);
  for (const char* path : {"/v2/stats/store", "/v2/stats/self", "/v2/stats/leader"}) client_front_->route(path, stats);
  auto& member_list = add(std::in_place_type<api::v2::MembersHandler>);
  for (const char* path : {"/v2/members", "/v2/members/"}) client_front_->route(path, member_list);
  client_front_->route("/v2/machines", add(std::in_place_type<api::v2::MachinesHandler>));

  // Of 0.4 alone, which sends no CORS fields.
  auto& leader = add(std::in_place_type<api::v2::LeaderHandler>);
  for (const char* path : {"/v2/leader", "/v2/leader/"}) client_front_->route(path, leader, {.cors = false});
  // 0.4 had these paths on the peer port only.
  client_front_->route("/v2/admin/", not_found_, {.cors = false});
  auto& etcd_views = add(std::in_place_type<api::v2::EtcdViews>, *keys_);
  client_front_->route("/v2/keys/_etcd/", etcd_views);
  for (const char* path : {"/v2/keys/_etcd", "/v2/keys/_etcd/config", "/v2/keys/_etcd/config/",
                           "/v2/keys/_etcd/machines", "/v2/keys/_etcd/machines/"}) {
    client_front_->route(path, etcd_views, {.cors = false});
  }

  peer_front_->route("/members", add(std::in_place_type<api::admin::PeerMembersHandler>));
  peer_front_->route("/v2/admin/config", add(std::in_place_type<api::v2::ClusterConfigHandler>));
  auto& machines = add(std::in_place_type<api::v2::ClusterMachinesHandler>);
  for (const char* path : {"/v2/admin/machines", "/v2/admin/machines/"}) peer_front_->route(path, machines);
}

void Member::build_monitoring() {
  using api::admin::Check;
  auto livez = std::make_unique<api::admin::ProbeHandler>(*service_, metrics_.admin_metrics, "/livez",
                                                          std::vector{Check::kSerializableRead});
  auto readyz = std::make_unique<api::admin::ProbeHandler>(
      *service_, metrics_.admin_metrics, "/readyz",
      std::vector{Check::kDataCorruption, Check::kSerializableRead, Check::kLinearizableRead, Check::kNonLearner});
  auto metrics =
      std::make_unique<api::admin::MetricsHandler>(metrics_.registry, metrics_.admin_metrics, *workers_loop_);
  auto variables = std::make_unique<api::admin::DebugVarsHandler>(*service_, [] {
    const HeapFigures heap = read_heap_figures();
    return api::admin::ProcessVars{.command_line = read_command_line(),
                                   .descriptor_limit = descriptor_limit(),
                                   .heap_bytes = heap.bytes,
                                   .heap_bytes_used = heap.bytes_used};
  });
  for (net::Front* front : {client_front_.get(), metrics_front_.get()}) {
    for (const char* path : {"/livez", "/livez/"}) front->route(path, *livez);
    for (const char* path : {"/readyz", "/readyz/"}) front->route(path, *readyz);
    front->route("/health", *health_);
    front->route("/metrics", *metrics);
  }
  client_front_->route("/debug/vars", *variables);
  views_.push_back(std::move(livez));
  views_.push_back(std::move(readyz));
  views_.push_back(std::move(metrics));
  views_.push_back(std::move(variables));
}

Result<void> Member::wait_for(const std::function<void(std::move_only_function<void(Result<void>)>)>& call) {
  // A time-out says nothing but that a replay, or an election, takes long.
  for (;;) {
    std::promise<Result<void>> promise;
    call([&promise](Result<void> result) { promise.set_value(std::move(result)); });
    Result<void> result = promise.get_future().get();
    if (result || result.error().code != ErrorCode::kTimeout || fault()) return result;
  }
}

Result<void> Member::publish() {
  // Once a linearizable read has gone through, the log has been replayed and there is a leader.
  ETCD_TRY_VOID(wait_for([&](auto done) { service_->confirm_read(*workers_loop_, std::move(done)); }));
  ETCD_TRY_VOID(wait_for([&](auto done) {
    service_->publish(options_.name, texts_of(options_.advertise_client_urls), *workers_loop_, std::move(done));
  }));
  if (const auto change = first_cluster_config(); new_cluster_ && change != members::ClusterConfigChange{}) {
    ETCD_TRY_VOID(
        wait_for([&](auto done) { service_->change_cluster_config(change, *workers_loop_, std::move(done)); }));
  }
  if (replica_->members().current()->cluster_version == kClusterVersion) return {};
  return wait_for([&](auto done) { service_->set_cluster_version(kClusterVersion, *workers_loop_, std::move(done)); });
}

members::ClusterConfigChange Member::first_cluster_config() const {
  const auto seconds = [](const std::optional<Duration>& duration) -> std::optional<double> {
    if (!duration) return std::nullopt;
    return std::chrono::duration<double>(*duration).count();
  };
  members::ClusterConfigChange change;
  if (options_.cluster_active_size) {
    change.active_size = static_cast<std::int64_t>(std::min<std::uint64_t>(*options_.cluster_active_size, INT64_MAX));
  }
  change.remove_delay_s = seconds(options_.cluster_remove_delay);
  change.sync_interval_s = seconds(options_.cluster_sync_interval);
  return change;
}

void Member::stop() {
  if (std::exchange(stopped_, true)) return;
  if (client_server_) client_server_->stop(kStopGrace);
  if (peer_server_) peer_server_->stop(kStopGrace);
  if (metrics_server_) metrics_server_->stop(kStopGrace);
  if (expirer_) expirer_->stop();
  if (compactor_) compactor_->stop();
  if (space_monitor_) space_monitor_->stop();
  if (replica_ && !fault()) {
    std::promise<void> promise;
    std::future<void> done = promise.get_future();
    replica_->stop([&promise] { promise.set_value(); });
    done.wait();
  }
  if (service_) service_->close();
  stop_loops();
}

void Member::stop_loops() {
  for (const auto& loop : net_loops_) loop->stop();
  for (auto* loop : {&replica_loop_, &disk_loop_, &apply_loop_, &store_loop_, &workers_loop_}) {
    if (*loop) (*loop)->stop();
  }
}

void Member::applied(std::vector<apply::Outcome> outcomes) {
  // The service is there before anything is proposed; what a restart replays has nobody waiting.
  if (service_) service_->applied(std::move(outcomes));
}

void Member::leader_changed(MemberId leader) {
  logger_.info("leader changed", {telemetry::field("leader-id", telemetry::hex(leader))});
  expirer_->leader_changed(leader == replica_->member());
  compactor_->leader_changed(leader == replica_->member());
  service_->leader_changed(leader);
}

void Member::no_space() {
  if (space_monitor_) space_monitor_->look_soon();
}

void Member::failed(const Error& error) {
  {
    const std::scoped_lock lock(mu_);
    if (fault_) return;
    fault_ = error;
  }
  logger_.error("the member cannot go on", {telemetry::field("error", error.message)});
  if (service_) service_->close();
  on_failure_();
}

std::optional<Error> Member::fault() const {
  const std::scoped_lock lock(mu_);
  return fault_;
}

}  // namespace etcd::server
