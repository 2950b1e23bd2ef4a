// sim/member_lives.h - the story that a seed tells: one member over and over, ended by power cuts and orderly stops.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "sim/world.h"

namespace etcd::sim {

/// Plays five lives and looks once more. Returns what the judge has to say, and adds the acknowledged writes to
/// `acknowledged` unless it is null. A seed replays exactly.
std::optional<std::string> live(std::uint64_t seed, const WorldOptions& options, int* acknowledged = nullptr);

}  // namespace etcd::sim
