#include "members/alarms.h"

#include <fmt/format.h>

#include "codec/wire.h"

namespace etcd::members {
namespace {

constexpr std::uint32_t kMemberField = 1;  // of AlarmMember
constexpr std::uint32_t kAlarmField = 2;

Bytes key_of(const Alarm& alarm) {
  Bytes key;
  if (alarm.member != 0) codec::append_varint_field(key, kMemberField, alarm.member);
  codec::append_varint_field(key, kAlarmField, static_cast<std::uint64_t>(alarm.type));
  return key;
}

}  // namespace

Result<std::unique_ptr<Alarms>> Alarms::load(const engine::Engine& engine, engine::TableId table) {
  std::unique_ptr<Alarms> alarms(new Alarms(table));
  ETCD_TRY(const auto snapshot, engine.snapshot());
  Result<void> good;
  ETCD_TRY_VOID(snapshot->scan(table, "", [&](BytesView key, BytesView) {
    Alarm alarm;
    std::uint64_t type = 0;
    codec::FieldReader reader(key);
    while (reader.next()) {
      if (reader.field() == kMemberField) alarm.member = reader.varint();
      if (reader.field() == kAlarmField) type = reader.varint();
    }
    if (!reader.ok() || (type != 1 && type != 2)) {
      good = failure(ErrorCode::kCorrupt, fmt::format("table alarms: a key of {} bytes is no alarm", key.size()));
      return false;
    }
    alarm.type = static_cast<AlarmType>(type);
    alarms->activate(alarm);
    return true;
  }));
  ETCD_TRY_VOID(std::move(good));
  alarms->dirty_.clear();
  return alarms;
}

bool Alarms::activate(Alarm alarm) {
  {
    const std::scoped_lock lock(mu_);
    if (!alarms_.insert(alarm).second) return false;
  }
  dirty_.insert(alarm);
  counts_[static_cast<std::size_t>(alarm.type)].fetch_add(1, std::memory_order_release);
  return true;
}

bool Alarms::deactivate(Alarm alarm) {
  {
    const std::scoped_lock lock(mu_);
    if (alarms_.erase(alarm) == 0) return false;
  }
  dirty_.insert(alarm);
  counts_[static_cast<std::size_t>(alarm.type)].fetch_sub(1, std::memory_order_release);
  return true;
}

bool Alarms::raised(const Alarm& alarm) const {
  const std::scoped_lock lock(mu_);
  return alarms_.contains(alarm);
}

std::vector<Alarm> Alarms::all() const {
  const std::scoped_lock lock(mu_);
  return {alarms_.begin(), alarms_.end()};
}

void Alarms::take_changes(engine::Batch& batch) {
  for (const Alarm& alarm : dirty_) {
    if (alarms_.contains(alarm)) {
      batch.put(table_, key_of(alarm), SharedBytes());
    } else {
      batch.erase(table_, key_of(alarm));
    }
  }
  dirty_.clear();
}

}  // namespace etcd::members
