#include "peer/handler.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "net/front.h"
#include "peer/message_codec.h"

namespace etcd::peer {
namespace {

/// An error as Go's http.Error gives it, with the fields of `headers` before its own.
net::Response error_answer(int status, std::string_view text, const net::Headers& headers) {
  net::Response response;
  response.headers = headers;
  net::Response error = net::text_error(status, text);
  for (const auto& [name, value] : error.headers.fields()) response.headers.add(name, value);
  response.status = error.status;
  response.body = std::move(error.body);
  return response;
}

/// "2026-01-02T03:04:05.6Z": as Go's RFC3339Nano, without zeros at the end of the fraction.
std::string rfc3339_nano(WallTime time) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t seconds = time.ns / kSecond;
  std::int64_t fraction = time.ns % kSecond;
  if (fraction < 0) {
    fraction += kSecond;
    --seconds;
  }
  std::string text = fmt::format("{:%Y-%m-%dT%H:%M:%S}", fmt::gmtime(static_cast<std::time_t>(seconds)));
  if (fraction > 0) {
    std::string digits = fmt::format("{:09}", fraction);
    digits.erase(digits.find_last_not_of('0') + 1);
    text += '.' + digits;
  }
  return text + 'Z';
}

}  // namespace

void PeerHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (request.path == kProbingPath) {
    answer_probe(*exchange);
  } else if (request.path == kRaftPath) {
    answer_message(request, std::move(exchange));
  } else if (request.path.starts_with(kStreamPath)) {
    answer_stream(request, std::move(exchange));
  } else {
    exchange->send(net::text_error(404, "404 page not found"));
  }
}

bool PeerHandler::refuse_stranger(const net::Request& request, const RequestRules& rules, const net::Headers& headers,
                                  net::Exchange& exchange) {
  const std::optional<Refusal> refusal = check_request(request.headers, rules);
  if (!refusal.has_value()) return false;
  host_.log(fmt::format("refused {} {} from {}: {}", request.method, request.path, request.remote, refusal->detail));
  exchange.send(error_answer(refusal->status, refusal->text, headers));
  return true;
}

void PeerHandler::answer_message(const net::Request& request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "POST") {
    exchange->send(net::method_not_allowed("POST"));
    return;
  }
  const RequestRules rules = host_.rules();
  net::Headers headers;
  add_answer_headers(headers, rules.cluster);
  if (refuse_stranger(request, rules, headers, *exchange)) return;
  if (const std::optional<Introduction> introduction = introduction_of(request.headers)) {
    host_.add_remote(*introduction);
  }
  Result<raft::Message> message = decode_message(request.body);
  if (!message.has_value()) {
    host_.log(fmt::format("message from {}: {}", request.remote, message.error().message));
    exchange->send(error_answer(400, "error unmarshalling raft message", headers));
    return;
  }
  io::Executor& loop = exchange->executor();
  const auto answer = [](net::Exchange& to, const net::Headers& fields, bool accepted) {
    if (accepted) {
      to.send({.status = 204, .headers = fields, .body = {}});
      return;
    }
    // Upstream gives up in the middle of its answer: the text comes, the body's end does not. Senders rely on neither,
    // but a connection on which a message was refused is not used again.
    net::Response refused = error_answer(500, "error processing raft message", fields);
    refused.has_end = true;
    to.start(std::move(refused));
  };
  auto done = [exchange = std::move(exchange), headers = std::move(headers), &loop,
               answer](Result<void> result) mutable {
    // Moved: the exchange must die on its loop.
    loop.dispatch([exchange = std::move(exchange), headers = std::move(headers), answer,
                   accepted = result.has_value()] { answer(*exchange, headers, accepted); });
  };
  host_.receive(std::move(*message), std::move(done));
}

void PeerHandler::answer_stream(const net::Request& request, std::shared_ptr<net::Exchange> exchange) {
  if (request.method != "GET") {
    exchange->send(net::method_not_allowed("GET"));
    return;
  }
  const RequestRules rules = host_.rules();
  net::Headers headers;
  add_stream_answer_headers(headers, rules.cluster);
  if (refuse_stranger(request, rules, headers, *exchange)) return;

  const std::string_view rest = std::string_view(request.path).substr(kStreamPath.size());
  const std::size_t slash = rest.rfind('/');
  const std::string_view kind = rest.substr(0, slash);
  StreamType type = StreamType::kMsgAppV2;
  if (slash != std::string_view::npos && kind == path_of(StreamType::kMessage)) {
    type = StreamType::kMessage;
  } else if (slash == std::string_view::npos || kind != path_of(StreamType::kMsgAppV2)) {
    exchange->send(error_answer(404, "invalid path", headers));
    return;
  }
  const std::optional<MemberId> from = parse_hex_id(rest.substr(slash + 1));
  if (!from.has_value()) {
    exchange->send(error_answer(404, "invalid from", headers));
    return;
  }
  if (host_.is_removed(*from)) {
    host_.log(fmt::format("refused {} from {}: member {:x} was removed", name_of(type), request.remote, *from));
    exchange->send(error_answer(410, "removed member", headers));
    return;
  }
  if (!host_.is_peer(*from)) {
    // Perhaps a member that joined behind what we have applied. The path names it, not X-Server-From.
    if (std::vector<std::string> urls = peer_urls_of(request.headers); !urls.empty()) {
      host_.add_remote({.id = *from, .peer_urls = std::move(urls)});
    }
    host_.log(fmt::format("refused {} from {}: no member {:x}", name_of(type), request.remote, *from));
    exchange->send(error_answer(404, "error sender not found", headers));
    return;
  }
  if (const std::string* const to = request.headers.find("X-Raft-To"); to == nullptr || *to != hex_id(host_.id())) {
    host_.log(fmt::format("refused {} from {:x} at {}: it is for {}, this is {:x}", name_of(type), *from,
                          request.remote, to != nullptr ? *to : std::string("nobody"), host_.id()));
    exchange->send(error_answer(412, "to field mismatch", headers));
    return;
  }
  exchange->start({.status = 200, .headers = headers, .body = {}});
  sink_.attach(type, *from, std::move(exchange));
}

void PeerHandler::answer_probe(net::Exchange& exchange) {
  net::Response response;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = fmt::format("{{\"OK\":true,\"Now\":\"{}\"}}\n", rfc3339_nano(host_.wall()));
  exchange.send(std::move(response));
}

}  // namespace etcd::peer
