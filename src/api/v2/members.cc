#include "api/v2/members.h"

#include <fmt/format.h>

#include <charconv>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/v2/answers.h"
#include "api/v2/json.h"
#include "api/v2/json_body.h"
#include "codec/json.h"
#include "net/front.h"

namespace etcd::api::v2 {
namespace {

constexpr BytesView kPath = "/v2/members";

/// What stands behind the path, without the slash between.
BytesView name_in(const net::Request& request) {
  BytesView name = BytesView(request.path).substr(kPath.size());
  if (name.starts_with('/')) name.remove_prefix(1);
  return name;
}

template <class Member>
void append_member(Bytes& out, const Member& member) {
  out += "{\"id\":";
  codec::append_json_string(out, fmt::format("{:x}", member.id));
  out += ",\"name\":";
  codec::append_json_string(out, member.name);
  out += ",\"peerURLs\":";
  codec::append_json_strings(out, member.peer_urls);
  out += ",\"clientURLs\":";
  codec::append_json_strings(out, member.client_urls);
  out.push_back('}');
}

net::Response json(Bytes body) {
  net::Response response;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

std::optional<MemberId> id_of(BytesView name) {
  MemberId id = 0;
  const char* const end = name.data() + name.size();
  if (name.empty() || std::from_chars(name.data(), end, id, 16) != std::from_chars_result{end, std::errc{}}) return {};
  return id;
}

net::Response no_such_member(BytesView name) {
  return message_response(404, fmt::format("No such member: {}", name));
}

/// An id is in the path; without one the path does not have the method.
net::Response no_id() {
  return net::text_error(405, "Method Not Allowed");
}

/// The peer URLs in the body, or the answer that the client gets instead.
std::expected<std::vector<std::string>, net::Response> peer_urls_in(const net::Request& request) {
  const std::string* const field = request.headers.find("Content-Type");
  const BytesView type = field != nullptr ? BytesView(*field) : BytesView();
  if (type != "application/json") {
    return std::unexpected(message_response(415, fmt::format("Bad Content-Type {}, accept application/json", type)));
  }
  auto urls = peer_urls_of(request.body);
  if (!urls) return std::unexpected(message_response(400, urls.error().message));
  return *std::move(urls);
}

net::Response failed(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument: return message_response(400, error.message);
    case ErrorCode::kAlreadyExists: return message_response(409, error.message);
    case ErrorCode::kUnimplemented: return message_response(501, error.message);
    default: return message_response(500, "Internal Server Error");
  }
}

}  // namespace

net::Response MembersHandler::read(BytesView name) const {
  const auto membership = service_.membership();
  Bytes body;
  if (name.empty()) {
    body = "{\"members\":[";
    for (const auto& [id, member] : membership->members) {
      if (body.back() != '[') body.push_back(',');
      append_member(body, member);
    }
    body += "]}\n";
    return json(std::move(body));
  }
  if (name != "leader") return message_response(404, "Not found");
  const auto leader = membership->members.find(service_.leadership().leader);
  if (leader == membership->members.end()) return message_response(503, "During election");
  append_member(body, leader->second);
  body.push_back('\n');
  return json(std::move(body));
}

net::Response MembersHandler::add(const net::Request& request) const {
  auto urls = peer_urls_in(request);
  if (!urls) return std::move(urls).error();
  const auto added = service_.add_member(*std::move(urls));
  if (!added) return failed(added.error());
  Bytes body;
  append_member(body, *added);
  net::Response response = json(body + "\n");
  response.status = 201;
  return response;
}

net::Response MembersHandler::update(const net::Request& request, BytesView name) const {
  if (name.empty()) return no_id();
  const std::optional<MemberId> id = id_of(name);
  if (!id) return no_such_member(name);
  auto urls = peer_urls_in(request);
  if (!urls) return std::move(urls).error();
  const Result<void> updated = service_.update_member(*id, *std::move(urls));
  if (!updated && updated.error().code == ErrorCode::kNotFound) return no_such_member(fmt::format("{:x}", *id));
  if (!updated) return failed(updated.error());
  net::Response response;
  response.status = 204;
  return response;
}

net::Response MembersHandler::remove(BytesView name) const {
  if (name.empty()) return no_id();
  const std::optional<MemberId> id = id_of(name);
  if (!id) return no_such_member(name);
  if (service_.membership()->removed.contains(*id)) {
    return message_response(410, fmt::format("Member permanently removed: {:x}", *id));
  }
  const Result<void> removed = service_.remove_member(*id);
  if (!removed && removed.error().code == ErrorCode::kNotFound) return no_such_member(fmt::format("{:x}", *id));
  if (!removed) return failed(removed.error());
  net::Response response;
  response.status = 204;
  return response;
}

net::Response MembersHandler::answer(const net::Request& request) const {
  if (request.method == "GET") return read(name_in(request));
  if (request.method == "POST") return add(request);
  if (request.method == "PUT") return update(request, name_in(request));
  return remove(name_in(request));
}

void MembersHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  bool has_method = false;
  for (const BytesView method : {"GET", "POST", "PUT", "DELETE"}) has_method = has_method || request.method == method;
  if (!has_method) {
    exchange->send(net::method_not_allowed("DELETE, GET, POST, PUT"));
    return;
  }
  net::Response response = answer(request);
  response.headers.add("X-Etcd-Cluster-Id", service_.cluster_hex());
  exchange->send(std::move(response));
}

}  // namespace etcd::api::v2
