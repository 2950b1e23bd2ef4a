// sim/world.h - one simulated member with its clients, on hardware that fails: lives, crashes, and is judged.
//
// Life:    World(seed) -> { start() -> run() -> crash() }* -> verdict()
// Thread:  one; all of it happens on the caller's stack.
// Owns:    everything: virtual time, loops, disk, the engine's disk, the member, its clients and what they remember.
//
// Each client owns one key and writes a growing number to it, one request after another. It remembers which numbers
// were acknowledged, and with which index. After each restart the judge looks from outside, through the service's
// reads. Meanwhile the history is compacted now and then, and the alarm that forbids writes comes and goes.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/memory_engine.h"
#include "io/sim_disk.h"
#include "io/sim_scheduler.h"
#include "replica/replica.h"
#include "service/service.h"

namespace etcd::sim {

struct WorldOptions {
  int clients = 4;
  bool no_fsync = false;  // a planted bug: acknowledges before the disk has it
};

class World final : private replica::Observer {
 public:
  World(std::uint64_t seed, WorldOptions options);
  ~World() override;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Starts the member on what the disks hold and waits, in virtual time, until it serves. Power may go meanwhile.
  /// Returns false when it has.
  bool start();
  /// Lets the clients work until `writes` more are acknowledged or power goes.
  void run(int writes);
  /// Power goes after so many further changes of the disk, in the middle of whatever happens then.
  void lose_power_after(std::uint64_t changes) { disk_.fail_after(changes); }
  /// The engine's disk refuses the next commits.
  void fill_engine(int commits) { engine_disk_.fail_no_space(commits); }
  /// The disk under the log takes so many further bytes and no more, until it is made wide again.
  void fill_disk(std::uint64_t bytes) {
    disk_.set_capacity(disk_.used() + bytes);
    disk_is_small_ = true;
  }
  void widen_disk() {
    disk_.set_capacity(UINT64_MAX);
    disk_is_small_ = false;
  }
  /// Power goes now; unsynced data is lost or torn.
  void crash();
  /// An orderly end.
  void stop();

  /// What is wrong, the first thing found; nothing when all is well.
  [[nodiscard]] const std::optional<std::string>& verdict() const { return verdict_; }
  [[nodiscard]] int acknowledged() const { return acknowledged_; }
  [[nodiscard]] io::SimScheduler& scheduler() { return scheduler_; }

 private:
  struct Client {
    std::uint64_t attempted = 0;     // the newest number sent
    std::uint64_t acknowledged = 0;  // the newest number whose write was acknowledged
    std::int64_t index = 0;          // and its index
  };
  struct Member;

  void judge();
  void accuse(std::string what);
  void next_write(std::size_t client);
  /// What others do meanwhile: compactions, and an alarm that is raised and cleared again.
  void disturb();

  void applied(std::vector<apply::Outcome> outcomes) override;
  void leader_changed(MemberId) override {}
  void no_space() override {}
  void failed(const Error& error) override;

  const WorldOptions options_;
  Rng rng_;
  io::SimScheduler scheduler_;
  io::SimDisk disk_;
  engine::MemoryDisk engine_disk_;
  std::vector<Client> clients_;
  std::int64_t highest_index_ = 0;  // of any acknowledged write
  int acknowledged_ = 0;
  bool broken_ = false;         // the member has said that it cannot go on
  bool disk_is_small_ = false;  // so that it may say so
  std::unique_ptr<Member> member_;
  std::optional<std::string> verdict_;
};

}  // namespace etcd::sim
