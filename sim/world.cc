#include "sim/world.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "apply/tables.h"
#include "members/id.h"
#include "tree/read.h"

namespace etcd::sim {
namespace {

std::string key_of(std::size_t client) {
  return fmt::format("/clients/c{}", client);
}

}  // namespace

/// What a crash takes away: loops and everything in memory. Declared in the order of who borrows whom.
struct World::Member {
  explicit Member(io::SimScheduler& scheduler)
      : replica_loop(scheduler.new_executor("replica")),
        disk_loop(scheduler.new_executor("disk")),
        apply_loop(scheduler.new_executor("apply")),
        store_loop(scheduler.new_executor("store")),
        net_loop(scheduler.new_executor("net")) {}

  void kill(io::SimScheduler& scheduler) {
    for (io::Executor* loop : {&replica_loop, &disk_loop, &apply_loop, &store_loop, &net_loop}) scheduler.kill(*loop);
  }

  io::Executor& replica_loop;
  io::Executor& disk_loop;
  io::Executor& apply_loop;
  io::Executor& store_loop;
  io::Executor& net_loop;
  std::unique_ptr<io::Directory> wal_directory;
  std::unique_ptr<engine::Engine> engine;
  replica::NoTransport transport;
  apply::StoreStats stats;
  std::unique_ptr<replica::Replica> replica;
  std::unique_ptr<service::Service> service;
};

World::World(std::uint64_t seed, WorldOptions options)
    : options_(options), rng_(seed), scheduler_(rng_.next()), disk_(rng_.next()), clients_(options.clients) {}

World::~World() {
  if (member_) member_->kill(scheduler_);
}

bool World::start() {
  broken_ = false;
  member_ = std::make_unique<Member>(scheduler_);
  Member& member = *member_;
  member.wal_directory = disk_.open_directory("/data/wal");
  const std::vector<std::string> tables = apply::table_names();
  member.engine = engine::open_memory(engine_disk_, tables);
  replica::ReplicaOptions options;
  options.snapshot_count = 40;  // small, so that segments come and go within a short life
  options.catchup_entries = 10;
  options.wal = {.segment_bytes = 16'384, .prewrite_bytes = 4096, .unsafe_no_fsync = options_.no_fsync};
  options.applier = {.batch_bytes = 2000, .batch_interval = 200ms, .retry = 100ms, .stats = &member.stats};
  replica::Parts parts{
      *member.wal_directory, *member.engine,
      scheduler_.clock(),    {member.replica_loop, member.disk_loop, member.apply_loop, member.store_loop, nullptr},
      member.transport,      *this,
      telemetry::Logger(),   rng_.fork()};
  const auto exists = wal::Log::exists(*member.wal_directory);
  if (!exists) return false;
  members::Member self{.id = 0x1234, .name = "sim", .peer_urls = {"http://sim:2380"}, .client_urls = {}};
  auto made = *exists ? replica::Replica::restart(std::move(parts), options)
                      : replica::Replica::bootstrap(std::move(parts), options,
                                                    {self.id, members::cluster_id({self.id})}, {self});
  if (!made) {
    const bool for_room = disk_is_small_ && made.error().code == ErrorCode::kNoSpace;
    if (disk_.powered() && !for_room) accuse("the member does not start: " + made.error().message);
    return false;
  }
  member.replica = *std::move(made);
  member.service = std::make_unique<service::Service>(
      *member.replica, member.replica->store(), member.replica->members(), member.stats, scheduler_.clock(),
      member.net_loop, service::ServiceOptions{.cluster = member.replica->cluster(), .member = self.id});
  member.service->start();
  member.replica->start();
  std::optional<Result<void>> ready;
  member.service->confirm_read(member.net_loop, [&ready](Result<void> result) { ready = std::move(result); });
  scheduler_.run_until([&] { return ready.has_value() || broken_; }, 30s);
  const bool serves = ready && ready->has_value();
  if (!serves && disk_.powered() && !broken_) accuse("the member does not serve within 30 s");
  if (!serves) {
    member.kill(scheduler_);  // `ready` goes with this stack
    return false;
  }
  judge();
  member.service->propose_alarm(members::AlarmType::kNoSpace, false);
  return true;
}

void World::judge() {
  const mvcc::View view = member_->service->view();
  if (view.revision() < highest_index_) {
    accuse(fmt::format("the index went back from {} to {}", highest_index_, view.revision()));
  }
  for (std::size_t client = 0; client < clients_.size(); ++client) {
    Client& remembers = clients_[client];
    const auto listing = tree::read(view, key_of(client), {}, view.revision());
    if (!listing) {
      if (remembers.acknowledged > 0) accuse(fmt::format("client {}: its key is gone", client));
      continue;
    }
    const mvcc::Entry& entry = *listing->front().entry;
    std::uint64_t number = 0;
    const BytesView value = entry.value();
    std::from_chars(value.data(), value.data() + value.size(), number);
    if (number < remembers.acknowledged || number > remembers.attempted) {
      accuse(fmt::format("client {}: reads {}, but {} was acknowledged and {} the last one sent", client, number,
                         remembers.acknowledged, remembers.attempted));
    }
    if (number == remembers.acknowledged && entry.mod_revision() != remembers.index) {
      accuse(fmt::format("client {}: {} has index {}, acknowledged with {}", client, number, entry.mod_revision(),
                         remembers.index));
    }
    // An unacknowledged write that is there after all is the state from now on.
    remembers.acknowledged = number;
    remembers.index = entry.mod_revision();
  }
  member_->replica->store().check_invariants();
}

void World::run(int writes) {
  const int goal = acknowledged_ + writes;
  for (std::size_t client = 0; client < clients_.size(); ++client) next_write(client);
  scheduler_.run_until([&] { return acknowledged_ >= goal || broken_; }, 600s);
  if (!broken_ && disk_.powered() && acknowledged_ < goal) accuse("the member takes no more writes");
}

void World::disturb() {
  service::Service& service = *member_->service;
  if (rng_.chance(1, 20)) {
    const auto back = static_cast<std::int64_t>(rng_.below(60));
    service.propose_compaction(std::max<std::int64_t>(service.view().revision() - back, 1));
  }
  if (rng_.chance(1, 100)) {
    service.propose_alarm(members::AlarmType::kNoSpace, true);
    // Sooner or later, and also when a crash has come between: start() clears what it finds.
    member_->net_loop.post_at(scheduler_.clock().now() + 300ms,
                              [&service] { service.propose_alarm(members::AlarmType::kNoSpace, false); });
  }
}

void World::next_write(std::size_t client) {
  disturb();
  Client& state = clients_[client];
  etcdv2pb::Command command;
  command.set_verb(etcdv2pb::Command::SET);
  command.set_path(key_of(client));
  const std::uint64_t number = ++state.attempted;
  command.set_value(fmt::format("{} {}", number, Bytes(rng_.below(600), 'v')));
  member_->service->write(command, member_->net_loop, [this, client, number](Result<service::Written> written) {
    if (!written && written.error().code == ErrorCode::kNoSpace) {
      member_->net_loop.post_at(scheduler_.clock().now() + 50ms, [this, client] { next_write(client); });
      return;
    }
    if (!written || !written->event) return;  // unknown: it may or may not be there after a crash
    Client& writer = clients_[client];
    // One client's writes follow each other, so their indices grow.
    if (written->event->index <= writer.index) {
      accuse(fmt::format("client {}: index {} after {}", client, written->event->index, writer.index));
    }
    writer.acknowledged = number;
    writer.index = written->event->index;
    highest_index_ = std::max(highest_index_, written->event->index);
    ++acknowledged_;
    next_write(client);
  });
}

void World::crash() {
  if (member_) member_->kill(scheduler_);
  member_.reset();
  disk_.crash();
}

void World::stop() {
  bool stopped = false;
  member_->replica->stop([&stopped] { stopped = true; });
  if (!scheduler_.run_until([&] { return stopped || broken_; }, 60s)) {
    if (disk_.powered() && !broken_) accuse("the member does not stop");
  }
  crash();
}

void World::accuse(std::string what) {
  if (!verdict_) verdict_ = std::move(what);
}

void World::applied(std::vector<apply::Outcome> outcomes) {
  if (member_->service) member_->service->applied(std::move(outcomes));
}

void World::failed(const Error& error) {
  broken_ = true;
  if (disk_is_small_ && error.code == ErrorCode::kNoSpace) return;
  if (disk_.powered()) accuse("the member failed on a disk that did not: " + error.message);
}

}  // namespace etcd::sim
