#include "members/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "members/id.h"

namespace etcd::members {
namespace {

constexpr BytesView kVersionKey = "clusterVersion";
constexpr BytesView kRemovedValue = "removed";  // as upstream's bucket has it
constexpr BytesView kConfigKey = "sizeControl";

}  // namespace

Table::Table(const TableOptions& options) : options_(options), current_(std::make_shared<const Membership>()) {}

Result<std::unique_ptr<Table>> Table::load(const engine::Engine& engine, const TableOptions& options) {
  std::unique_ptr<Table> table(new Table(options));
  auto loaded = std::make_shared<Membership>();
  ETCD_TRY(const auto snapshot, engine.snapshot());
  Result<void> good;
  ETCD_TRY_VOID(snapshot->scan(options.members, "", [&](BytesView key, BytesView value) {
    auto member = member_from_json(value);
    if (!member) {
      good = failure(ErrorCode::kCorrupt, fmt::format("table members, key {}: {}", key, member.error().message));
      return false;
    }
    const MemberId id = member->id;
    loaded->members.emplace(id, *std::move(member));
    return true;
  }));
  ETCD_TRY_VOID(std::move(good));
  ETCD_TRY_VOID(snapshot->scan(options.removed, "", [&](BytesView key, BytesView) {
    MemberId id = 0;
    std::from_chars(key.data(), key.data() + key.size(), id, 16);
    loaded->removed.insert(id);
    return true;
  }));
  ETCD_TRY(const auto version, snapshot->get(options.cluster, kVersionKey));
  if (version) loaded->cluster_version = Bytes(*version);
  ETCD_TRY(const auto config, snapshot->get(options.cluster, kConfigKey));
  if (config) {
    auto decoded = cluster_config_from_json(*config);
    if (!decoded) {
      return failure(ErrorCode::kCorrupt,
                     fmt::format("table cluster, key {}: {}", kConfigKey, decoded.error().message));
    }
    loaded->config = *decoded;
  }
  table->current_ = std::move(loaded);
  return table;
}

template <class Change>
void Table::change(Change&& how) {
  auto next = std::make_shared<Membership>(*current_);
  how(*next);
  const std::scoped_lock lock(mu_);
  current_ = std::move(next);
}

bool Table::in_use(MemberId id, const std::vector<std::string>& peer_urls) const {
  return std::ranges::any_of(current_->members, [&](const auto& one) {
    const std::vector<std::string>& taken = one.second.peer_urls;
    return one.first != id && std::ranges::find_first_of(taken, peer_urls) != taken.end();
  });
}

Result<void> Table::add(Member member) {
  const Membership& now = *current_;
  if (now.removed.contains(member.id)) return failure(ErrorCode::kNotFound, "membership: ID removed");
  const auto there = now.members.find(member.id);
  if (member.promote) {
    if (there == now.members.end()) return failure(ErrorCode::kNotFound, "membership: ID not found");
    if (!there->second.learner) {
      return failure(ErrorCode::kInvalidArgument, "membership: can only promote a learner member");
    }
    change([&](Membership& next) { next.members.at(member.id).learner = false; });
    dirty_.insert(member.id);
    return {};
  }
  if (there != now.members.end()) return failure(ErrorCode::kAlreadyExists, "membership: ID exists");
  if (in_use(member.id, member.peer_urls)) {
    return failure(ErrorCode::kAlreadyExists, "membership: peerURL exists");
  }
  dirty_.insert(member.id);
  change([&](Membership& next) {
    const MemberId id = member.id;
    next.members.emplace(id, std::move(member));
  });
  return {};
}

Result<void> Table::remove(MemberId id) {
  if (current_->removed.contains(id)) return failure(ErrorCode::kNotFound, "membership: ID removed");
  if (!current_->members.contains(id)) return failure(ErrorCode::kNotFound, "membership: ID not found");
  dirty_.insert(id);
  change([&](Membership& next) {
    next.members.erase(id);
    next.removed.insert(id);
  });
  return {};
}

Result<void> Table::update(MemberId id, std::vector<std::string> peer_urls) {
  if (current_->removed.contains(id)) return failure(ErrorCode::kNotFound, "membership: ID removed");
  if (!current_->members.contains(id)) return failure(ErrorCode::kNotFound, "membership: ID not found");
  if (in_use(id, peer_urls)) return failure(ErrorCode::kAlreadyExists, "membership: peerURL exists");
  dirty_.insert(id);
  change([&](Membership& next) { next.members.at(id).peer_urls = std::move(peer_urls); });
  return {};
}

void Table::set_attributes(MemberId id, std::string name, std::vector<std::string> client_urls) {
  if (!current_->members.contains(id)) return;
  dirty_.insert(id);
  change([&](Membership& next) {
    Member& member = next.members.at(id);
    member.name = std::move(name);
    member.client_urls = std::move(client_urls);
  });
}

void Table::set_cluster_version(std::string version) {
  version_dirty_ = true;
  change([&](Membership& next) { next.cluster_version = std::move(version); });
}

void Table::change_config(const ClusterConfigChange& wanted) {
  config_dirty_ = true;
  change([&](Membership& next) { next.config = changed(next.config, wanted); });
}

std::shared_ptr<const Membership> Table::current() const {
  const std::scoped_lock lock(mu_);
  return current_;
}

void Table::take_changes(engine::Batch& batch) {
  for (const MemberId id : dirty_) {
    const auto member = current_->members.find(id);
    if (member != current_->members.end()) {
      batch.put(options_.members, hex_id(id), SharedBytes(to_json(member->second)));
    } else {
      batch.erase(options_.members, hex_id(id));
      batch.put(options_.removed, hex_id(id), SharedBytes(Bytes(kRemovedValue)));
    }
  }
  dirty_.clear();
  if (std::exchange(version_dirty_, false)) {
    batch.put(options_.cluster, Bytes(kVersionKey), SharedBytes(current_->cluster_version));
  }
  if (std::exchange(config_dirty_, false)) {
    batch.put(options_.cluster, Bytes(kConfigKey), SharedBytes(to_json(current_->config)));
  }
}

}  // namespace etcd::members
