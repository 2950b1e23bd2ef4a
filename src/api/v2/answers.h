// api/v2/answers.h - the responses that every path of the v2 API shares.
//
// Thread:  any.
#pragma once
#include <functional>
#include <memory>

#include "base/bytes.h"
#include "net/http.h"
#include "service/service.h"
#include "tree/refusal.h"

namespace etcd::api::v2 {

/// A JSON answer with the cluster's id and `index`, without a body.
net::Response json_response(const service::Service& service, int status, std::int64_t index);
/// X-Raft-Index and X-Raft-Term, which answers that come from the store have.
void add_place(net::Response& response, service::LogPlace place);
net::Response refusal_response(const service::Service& service, const tree::Refusal& refusal);
/// What the store was never asked about: no leader, no time, no room.
net::Response failure_response(const service::Service& service, const Error& error);

/// `{"message":"..."}`, as all paths but those of the keys give errors.
net::Response message_response(int status, BytesView message);
/// Plain text, without a newline of its own.
net::Response text_response(Bytes text);

/// Has a read answered: at once, or with `quorum` once this member has applied all that is committed. `answer` is
/// called then, on the exchange's loop; where that cannot be confirmed, the error is the answer.
void answer_read(service::Service& service, std::shared_ptr<net::Exchange> exchange, bool quorum,
                 std::move_only_function<void(const std::shared_ptr<net::Exchange>&)> answer);

}  // namespace etcd::api::v2
