#include "config/feature_gates.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/check.h"
#include "config/values.h"

namespace etcd::config {
namespace {

constexpr std::string_view kAllAlpha = "AllAlpha";
constexpr std::string_view kAllBeta = "AllBeta";

struct Gate {
  std::string_view name;
  std::string_view group;
  bool by_default;
};

constexpr std::array<Gate, 9> kGates = {{
    {"StopGRPCServiceOnDefrag", kAllAlpha, false},
    {"InitialCorruptCheck", kAllAlpha, false},
    {"CompactHashCheck", kAllAlpha, false},
    {"LeaseCheckpoint", kAllAlpha, false},
    {"LeaseCheckpointPersist", kAllAlpha, false},
    {"SetMemberLocalAddr", kAllAlpha, false},
    {"PriorityRequest", kAllAlpha, false},
    {"TxnModeWriteWithSharedBuffer", kAllBeta, true},
    {"FastLeaseKeepAlive", kAllBeta, true},
}};

const Gate* find_gate(std::string_view name) {
  const auto* found = std::ranges::find(kGates, name, &Gate::name);
  return found == kGates.end() ? nullptr : found;
}

}  // namespace

Result<void> FeatureGates::set(std::string_view text) {
  std::vector<std::pair<std::string, bool>> wanted;
  for (const std::string& part : split(text, ',')) {
    const std::string_view pair = trimmed(part);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const std::string_view name = trimmed(pair.substr(0, equals));
    if (equals == std::string_view::npos) {
      return failure(ErrorCode::kInvalidArgument, fmt::format("missing bool value for {}", name));
    }
    const std::string_view value = trimmed(pair.substr(equals + 1));
    const Result<bool> on = parse_bool(value);
    if (!on) {
      return failure(ErrorCode::kInvalidArgument,
                     fmt::format("invalid value of {}={}, err: strconv.ParseBool: parsing {}: invalid syntax", name,
                                 value, quoted(value)));
    }
    wanted.emplace_back(std::string(name), *on);
  }
  for (const auto& [name, on] : wanted) {
    if (name != kAllAlpha && name != kAllBeta && find_gate(name) == nullptr) {
      return failure(ErrorCode::kInvalidArgument, fmt::format("unrecognized feature gate: {}", name));
    }
  }
  for (const auto& [name, on] : wanted) given_.insert_or_assign(name, on);
  return {};
}

bool FeatureGates::enabled(std::string_view gate) const {
  const Gate* known = find_gate(gate);
  CHECK(known != nullptr, "no feature gate {}", gate);
  if (const auto own = given_.find(gate); own != given_.end()) return own->second;
  if (const auto group = given_.find(known->group); group != given_.end()) return group->second;
  return known->by_default;
}

std::vector<FeatureGates::State> FeatureGates::states() const {
  const auto stage_of = [](std::string_view group) { return group == kAllAlpha ? "ALPHA" : "BETA"; };
  std::vector<State> states;
  for (const std::string_view group : {kAllAlpha, kAllBeta}) {
    const auto given = given_.find(group);
    states.push_back({group, stage_of(group), given != given_.end() && given->second});
  }
  for (const Gate& gate : kGates) states.push_back({gate.name, stage_of(gate.group), enabled(gate.name)});
  return states;
}

}  // namespace etcd::config
