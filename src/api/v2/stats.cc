#include "api/v2/stats.h"

#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "api/v2/answers.h"
#include "api/v2/json.h"
#include "base/duration_text.h"
#include "codec/json.h"
#include "net/front.h"

namespace etcd::api::v2 {
namespace {

std::uint64_t value_of(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

/// Writes an object field by field; it has at least one.
class FlatObject {
 public:
  void add(BytesView name, BytesView text) {
    add_name(name);
    codec::append_json_string(out_, text);
  }
  void add(BytesView name, std::uint64_t number) {
    add_name(name);
    codec::append_json_number(out_, number);
  }
  void add_raw(BytesView name, BytesView json) {
    add_name(name);
    out_ += json;
  }
  /// Nothing is added afterwards.
  [[nodiscard]] Bytes close() && {
    out_.push_back('}');
    return std::move(out_);
  }

 private:
  void add_name(BytesView name) {
    out_.push_back(out_.empty() ? '{' : ',');
    codec::append_json_string(out_, name);
    out_.push_back(':');
  }

  Bytes out_;
};

}  // namespace

Bytes store_stats_json(const apply::StoreStats& stats) {
  FlatObject object;
  const auto add_pair = [&object](const Bytes& name, const apply::StoreStats::Pair& pair) {
    object.add(name + "Success", value_of(pair.success));
    object.add(name + "Fail", value_of(pair.fail));
  };
  add_pair("gets", stats.gets);
  add_pair("sets", stats.sets);
  add_pair("delete", stats.deletes);
  add_pair("update", stats.updates);
  add_pair("create", stats.creates);
  add_pair("compareAndSwap", stats.compare_and_swaps);
  add_pair("compareAndDelete", stats.compare_and_deletes);
  object.add("expireCount", value_of(stats.expirations));
  object.add("watchers", value_of(stats.watchers));
  return std::move(object).close();
}

Bytes StatsHandler::self() const {
  const service::Leadership leadership = service_.leadership();
  const bool leads = leadership.leader == service_.member();
  const auto membership = service_.membership();
  const auto own = membership->members.find(service_.member());

  FlatObject leader_info;
  leader_info.add("leader", leadership.leader == 0 ? Bytes() : fmt::format("{:x}", leadership.leader));
  leader_info.add("uptime", duration_text(leadership.lasts));
  leader_info.add("startTime", rfc3339(leadership.since));

  FlatObject object;
  object.add("name", own == membership->members.end() ? Bytes() : own->second.name);
  object.add("id", fmt::format("{:x}", service_.member()));
  object.add("state", leads ? "StateLeader" : leadership.leader != 0 ? "StateFollower" : "StateCandidate");
  object.add("startTime", rfc3339(service_.started()));
  object.add_raw("leaderInfo", std::move(leader_info).close());
  // A member alone has nobody to exchange append requests with; the transport between members will count them.
  object.add("recvAppendRequestCnt", std::uint64_t{0});
  object.add("sendAppendRequestCnt", std::uint64_t{0});
  return std::move(object).close();
}

Bytes StatsHandler::leader() const {
  FlatObject object;
  object.add("leader", fmt::format("{:x}", service_.member()));
  object.add_raw("followers", "{}");  // likewise
  return std::move(object).close();
}

net::Response StatsHandler::answer(const net::Request& request) const {
  if (request.method != "GET") return net::method_not_allowed("GET");
  const bool of_leader = request.path.ends_with("/leader");
  if (of_leader && service_.leadership().leader != service_.member()) {
    return message_response(403, "not current leader");
  }
  net::Response response;
  response.headers.add("Content-Type", "application/json");
  if (of_leader) {
    response.body = leader();
  } else {
    response.body = request.path.ends_with("/self") ? self() : store_stats_json(service_.stats());
  }
  return response;
}

void StatsHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  exchange->send(answer(request));
}

}  // namespace etcd::api::v2
