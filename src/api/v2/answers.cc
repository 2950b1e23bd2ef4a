#include "api/v2/answers.h"

#include <string>
#include <utility>

#include "api/v2/json.h"
#include "codec/json.h"

namespace etcd::api::v2 {

net::Response json_response(const service::Service& service, int status, std::int64_t index) {
  net::Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.headers.add("X-Etcd-Cluster-Id", service.cluster_hex());
  response.headers.add("X-Etcd-Index", std::to_string(index));
  return response;
}

void add_place(net::Response& response, service::LogPlace place) {
  response.headers.add("X-Raft-Index", std::to_string(place.index.value));
  response.headers.add("X-Raft-Term", std::to_string(place.term.value));
}

net::Response refusal_response(const service::Service& service, const tree::Refusal& refusal) {
  net::Response response = json_response(service, status_of(refusal.code), refusal.index);
  append_refusal(response.body, refusal);
  response.body.push_back('\n');
  return response;
}

net::Response failure_response(const service::Service& service, const Error& error) {
  return refusal_response(service, {tree::Code::kRaftInternal, error.message, 0});
}

net::Response message_response(int status, BytesView message) {
  net::Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.body = "{\"message\":";
  codec::append_json_string(response.body, message);
  response.body.push_back('}');
  return response;
}

net::Response text_response(Bytes text) {
  net::Response response;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = std::move(text);
  return response;
}

void answer_read(service::Service& service, std::shared_ptr<net::Exchange> exchange, bool quorum,
                 std::move_only_function<void(const std::shared_ptr<net::Exchange>&)> answer) {
  if (!quorum) {
    answer(exchange);
    return;
  }
  io::Executor& loop = exchange->executor();
  service.confirm_read(
      loop, [&service, exchange = std::move(exchange), answer = std::move(answer)](Result<void> confirmed) mutable {
        if (confirmed) {
          answer(exchange);
        } else {
          exchange->send(failure_response(service, confirmed.error()));
        }
      });
}

}  // namespace etcd::api::v2
