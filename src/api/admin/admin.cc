#include "api/admin/admin.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/version.h"
#include "codec/json.h"
#include "net/front.h"
#include "net/url.h"

namespace etcd::api::admin {
namespace {

net::Response json(int status, Bytes body) {
  net::Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

net::Response health(const std::string& reason) {
  if (reason.empty()) {
    net::Response response;
    response.headers.add("Content-Type", "text/plain; charset=utf-8");  // upstream names none, and Go guesses this
    response.body = R"({"health":"true","reason":""})";
    return response;
  }
  Bytes body = R"({"health":"false","reason":)";
  codec::append_json_string(body, reason);
  body += '}';
  return net::text_error(503, body);
}

BytesView name_of(Check check) {
  switch (check) {
    case Check::kDataCorruption: return "data_corruption";
    case Check::kSerializableRead: return "serializable_read";
    case Check::kLinearizableRead: return "linearizable_read";
    case Check::kNonLearner: return "non_learner";
  }
  return "";
}

std::string_view name_of(members::AlarmType type) {
  return type == members::AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT";
}

/// Why an alarm makes the member unhealthy: the first one that the request does not pass over; empty for none.
std::string alarm_reason(const service::Service& service, const net::Form& form) {
  for (const members::Alarm& alarm : service.alarms().all()) {
    const auto passed_over = [&](const auto& pair) {
      return pair.first == "exclude" && pair.second == name_of(alarm.type);
    };
    if (std::ranges::any_of(form.pairs, passed_over)) continue;
    return alarm.type == members::AlarmType::kNoSpace ? "ALARM NOSPACE" : "ALARM CORRUPT";
  }
  return {};
}

bool is_learner(const service::Service& service) {
  const auto membership = service.membership();
  const auto own = membership->members.find(service.member());
  return own != membership->members.end() && own->second.learner;
}

}  // namespace

void VersionHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  const std::string cluster = service_.membership()->cluster_version;
  Bytes body = "{\"etcdserver\":";
  codec::append_json_string(body, kServerVersion);
  body += ",\"etcdcluster\":";
  codec::append_json_string(body, cluster.empty() ? "not_decided" : cluster);
  body += ",\"storage\":";
  codec::append_json_string(body, cluster.empty() ? "unknown" : kClusterVersion);
  body += '}';
  exchange->send(json(200, std::move(body)));
}

void HealthHandler::answer(net::Exchange& exchange, const std::string& reason) {
  (reason.empty() ? metrics_.health_successes : metrics_.health_failures).add();
  exchange.send(health(reason));
}

void HealthHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  const net::Form form = net::parse_form(request.query);
  const std::string* const serializable = form.find("serializable");
  if (const std::string alarm = alarm_reason(service_, form); !alarm.empty()) {
    answer(*exchange, alarm);
    return;
  }
  if (serializable != nullptr && *serializable == "true") {
    answer(*exchange, "");
    return;
  }
  if (!service_.has_leader()) {
    answer(*exchange, "RAFT NO LEADER");
    return;
  }
  service_.confirm_read(exchange->executor(), [this, exchange](Result<void> confirmed) {
    answer(*exchange, confirmed ? "" : "RANGE ERROR:" + confirmed.error().message);
  });
}

std::optional<std::vector<Check>> ProbeHandler::asked(const net::Request& request) const {
  const BytesView below = BytesView(request.path).substr(path_.size());
  std::vector<Check> found;
  if (below.empty()) {
    const net::Form form = net::parse_form(request.query);
    const auto excluded = [&](Check check) {
      return std::any_of(form.pairs.begin(), form.pairs.end(),
                         [&](const auto& pair) { return pair.first == "exclude" && pair.second == name_of(check); });
    };
    for (const Check check : checks_) {
      if (!excluded(check)) found.push_back(check);
    }
    return found;
  }
  for (const Check check : checks_) {
    if (below.substr(1) == name_of(check)) found.push_back(check);
  }
  if (found.empty()) return std::nullopt;
  return found;
}

void ProbeHandler::count(Check check, bool passed) {
  const std::string type = path_.substr(1);
  const std::string name(name_of(check));
  metrics_.checks.with({type, name}).set(passed ? 1 : 0);
  metrics_.checks_total.with({type, name, passed ? "success" : "error"}).add();
}

net::Response ProbeHandler::answer(const std::vector<Check>& checks, const Result<void>& read, bool verbose) {
  Bytes lines;
  bool passed = true;
  for (const Check check : checks) {
    Bytes fault;
    if (check == Check::kDataCorruption && service_.alarms().active(members::AlarmType::kCorrupt)) {
      fault = "alarm activated: CORRUPT";
    }
    if (check == Check::kLinearizableRead && !read) fault = read.error().message;
    if (check == Check::kNonLearner && is_learner(service_)) fault = "not supported for learner";
    count(check, fault.empty());
    lines += fault.empty() ? "[+]" : "[-]";
    lines += name_of(check);
    lines += fault.empty() ? " ok" : " failed: ";
    lines += fault;
    lines += '\n';
    passed = passed && fault.empty();
  }
  if (!passed) return net::text_error(503, lines);
  net::Response response = net::text_error(200, "ok");
  if (verbose) response.body.insert(0, lines);
  return response;
}

void ProbeHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  auto checks = asked(request);
  if (!checks) {
    exchange->send(net::text_error(404, "404 page not found"));
    return;
  }
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  const bool verbose = net::parse_form(request.query).find("verbose") != nullptr;
  if (std::find(checks->begin(), checks->end(), Check::kLinearizableRead) == checks->end()) {
    exchange->send(answer(*checks, {}, verbose));
    return;
  }
  service_.confirm_read(exchange->executor(),
                        [this, exchange, checks = *std::move(checks), verbose](Result<void> confirmed) {
                          exchange->send(answer(checks, confirmed, verbose));
                        });
}

void PeerMembersHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  net::Response response = json(200, service_.members_json() + "\n");
  response.headers.add("X-Etcd-Cluster-Id", service_.cluster_hex());
  exchange->send(std::move(response));
}

}  // namespace etcd::api::admin
