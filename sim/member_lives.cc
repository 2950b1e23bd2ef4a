#include "sim/member_lives.h"

namespace etcd::sim {

std::optional<std::string> live(std::uint64_t seed, const WorldOptions& options, int* acknowledged) {
  Rng rng(seed * 7919);
  World world(seed, options);
  for (int life = 0; life < 5 && !world.verdict(); ++life) {
    switch (rng.below(4)) {
      case 0: break;                                         // power goes between two tasks
      case 1: world.lose_power_after(rng.below(20)); break;  // perhaps while it starts
      default: world.lose_power_after(rng.below(300)); break;
    }
    if (rng.chance(1, 5)) world.fill_disk(rng.below(40'000));
    if (rng.chance(1, 5)) world.fill_engine(static_cast<int>(rng.below(4)));
    if (rng.chance(1, 5)) world.scheduler().jump_wall(std::chrono::hours(rng.below(2000)) - 1000h);
    if (world.start()) {
      world.run(static_cast<int>(rng.below(120)));
      if (rng.chance(1, 4)) {
        world.stop();
        continue;
      }
    }
    world.crash();
    world.widen_disk();
  }
  world.widen_disk();
  if (!world.verdict() && world.start()) world.crash();
  if (acknowledged != nullptr) *acknowledged += world.acknowledged();
  return world.verdict();
}

}  // namespace etcd::sim
