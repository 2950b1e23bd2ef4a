#include "duties/expirer.h"

#include <utility>

#include "codec/proto/raft_internal.pb.h"

namespace etcd::duties {
namespace {

SharedBytes expire_command(const lease::Due& due) {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header();  // without an id: nobody waits for the outcome
  auto& command = *request.mutable_v2_command();
  command.set_verb(etcdv2pb::Command::EXPIRE);
  command.set_path(due.path);
  command.set_deadline(due.deadline.ns);
  return SharedBytes(request.SerializeAsString());
}

}  // namespace

Expirer::Expirer(lease::ExpiryIndex& index, const io::Clock& clock, io::Executor& apply_loop,
                 std::function<void(std::vector<SharedBytes> commands)> propose, ExpirerOptions options)
    : index_(index), clock_(clock), apply_loop_(apply_loop), propose_(std::move(propose)), options_(options) {}

void Expirer::leader_changed(bool leads) {
  apply_loop_.post([this, leads] {
    if (leads && !leads_) index_.restart(clock_.now(), clock_.wall());
    leads_ = leads;
    if (leads_ && !looking_) look();
  });
}

void Expirer::stop() {
  apply_loop_.post([this] { stopped_ = true; });
}

void Expirer::look() {
  looking_ = false;
  if (!leads_ || stopped_) return;
  std::vector<SharedBytes> commands;
  for (const lease::Due& due : index_.take_due(clock_.now(), options_.slice, options_.retry)) {
    commands.push_back(expire_command(due));
  }
  const bool more = commands.size() == options_.slice;
  if (!commands.empty()) propose_(std::move(commands));
  looking_ = true;
  const Duration pause = more                 ? options_.busy_interval
                         : index_.size() == 0 ? options_.idle_interval
                                              : options_.look_interval;
  apply_loop_.post_at(clock_.now() + pause, [this] { look(); });
}

}  // namespace etcd::duties
