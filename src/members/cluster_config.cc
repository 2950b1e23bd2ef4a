#include "members/cluster_config.h"

#include <rapidjson/document.h>

#include <algorithm>

#include "codec/json.h"

namespace etcd::members {
namespace {

constexpr std::int64_t kActiveSizeMin = 3;
constexpr double kRemoveDelayMin = 2;
constexpr double kSyncIntervalMin = 1;

}  // namespace

ClusterConfig changed(ClusterConfig config, const ClusterConfigChange& change) {
  config.active_size = std::max(kActiveSizeMin, change.active_size.value_or(config.active_size));
  config.remove_delay_s = std::max(kRemoveDelayMin, change.remove_delay_s.value_or(config.remove_delay_s));
  config.sync_interval_s = std::max(kSyncIntervalMin, change.sync_interval_s.value_or(config.sync_interval_s));
  return config;
}

Bytes to_json(const ClusterConfig& config) {
  Bytes out = "{\"activeSize\":";
  codec::append_json_number(out, config.active_size);
  out += ",\"removeDelay\":";
  codec::append_json_number(out, config.remove_delay_s);
  out += ",\"syncInterval\":";
  codec::append_json_number(out, config.sync_interval_s);
  out.push_back('}');
  return out;
}

Result<ClusterConfig> cluster_config_from_json(BytesView json) {
  const auto bad = [] { return failure(ErrorCode::kInvalidArgument, "not a cluster configuration"); };
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) return bad();
  const auto size = document.FindMember("activeSize");
  const auto delay = document.FindMember("removeDelay");
  const auto interval = document.FindMember("syncInterval");
  const auto end = document.MemberEnd();
  if (size == end || !size->value.IsInt64()) return bad();
  if (delay == end || !delay->value.IsNumber() || interval == end || !interval->value.IsNumber()) return bad();
  return ClusterConfig{size->value.GetInt64(), delay->value.GetDouble(), interval->value.GetDouble()};
}

}  // namespace etcd::members
