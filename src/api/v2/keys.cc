#include "api/v2/keys.h"

#include <utility>

#include "api/v2/answers.h"
#include "api/v2/json.h"
#include "api/v2/key_request.h"
#include "api/v2/listing_stream.h"
#include "base/check.h"
#include "net/front.h"
#include "tree/walk.h"

namespace etcd::api::v2 {
namespace {

bool reads(const net::Request& request) {
  return request.method == "GET" || request.method == "HEAD";
}

bool writes(const net::Request& request) {
  return request.method == "PUT" || request.method == "POST" || request.method == "DELETE";
}

void answer_get(service::Service& service, const KeyRequest& request, bool head_only,
                const std::shared_ptr<net::Exchange>& exchange) {
  mvcc::View view = service.view();
  auto walk = tree::Walk::open(view, request.path, {.recursive = request.recursive}, view.revision());
  service.stats().gets.count(walk.has_value());
  if (request.recursive) service.stats().recursive_gets.count(walk.has_value());
  if (!walk) {
    exchange->send(refusal_response(service, walk.error()));
    return;
  }
  net::Response head = json_response(service, 200, view.revision());
  add_place(head, service.place());
  const Result<void> sent = send_listing(service.store(), service.clock(), std::move(view), *std::move(walk),
                                         std::move(head), head_only, exchange);
  if (!sent) exchange->send(failure_response(service, sent.error()));
}

net::Response write_response(const service::Service& service, const service::Written& written, bool no_value) {
  if (!written.event) return refusal_response(service, written.event.error());
  const tree::Event& event = *written.event;
  net::Response response = json_response(service, event.created ? 201 : 200, event.index);
  add_place(response, written.place);
  const bool is_delete = event.action == mvcc::Action::kDelete || event.action == mvcc::Action::kCompareAndDelete;
  if (no_value && !is_delete) {
    append_action(response.body, event.action);
  } else {
    append_event(response.body, event, service.clock().wall());
  }
  response.body.push_back('\n');
  return response;
}

}  // namespace

KeysHandler::KeysHandler(service::Service& service, const std::vector<io::Executor*>& loops, io::Executor& workers)
    : service_(service) {
  for (io::Executor* loop : loops) hubs_.push_back(std::make_unique<WatchHub>(service, *loop, workers));
}

WatchHub& KeysHandler::hub_of(const io::Executor& loop) {
  for (const auto& hub : hubs_) {
    if (hub->loop() == &loop) return *hub;
  }
  CHECK(false, "a request from a loop without a hub");
}

void KeysHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (!reads(request) && !writes(request)) {
    exchange->send(net::method_not_allowed("DELETE, GET, HEAD, POST, PUT"));
    return;
  }
  tree::Outcome<KeyRequest> parsed = parse_key_request(request, service_.clock().wall());
  if (!parsed) {
    exchange->send(refusal_response(service_, parsed.error()));
    return;
  }
  if (writes(request)) {
    service_.write(parsed->command, exchange->executor(),
                   [this, exchange, no_value = parsed->no_value_on_success](Result<service::Written> written) {
                     exchange->send(written ? write_response(service_, *written, no_value)
                                            : failure_response(service_, written.error()));
                   });
    return;
  }
  // A quorum read answers at once, whatever else is asked for.
  if (parsed->wait && !parsed->quorum) {
    service_.stats().watch_requests.fetch_add(1, std::memory_order_relaxed);
    hub_of(exchange->executor()).watch(*parsed, exchange);
    return;
  }
  const bool quorum = parsed->quorum;
  const bool head_only = request.method == "HEAD";
  answer_read(service_, std::move(exchange), quorum,
              [this, head_only, asked = *std::move(parsed)](const std::shared_ptr<net::Exchange>& answered) {
                answer_get(service_, asked, head_only, answered);
              });
}

}  // namespace etcd::api::v2
