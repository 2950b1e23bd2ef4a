#include "api/v2/machines.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "api/v2/answers.h"
#include "net/front.h"

namespace etcd::api::v2 {
namespace {

bool reads(const net::Request& request) {
  return request.method == "GET" || request.method == "HEAD";
}

}  // namespace

void MachinesHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (!reads(request)) {
    exchange->send(net::method_not_allowed("GET, HEAD"));
    return;
  }
  const auto membership = service_.membership();
  const MemberId leader = service_.leadership().leader;
  std::vector<std::string> first;
  std::vector<std::string> others;
  for (const auto& [id, member] : membership->members) {
    std::vector<std::string>& urls = id == leader ? first : others;
    urls.insert(urls.end(), member.client_urls.begin(), member.client_urls.end());
  }
  std::sort(first.begin(), first.end());
  std::sort(others.begin(), others.end());
  Bytes text;
  for (const std::vector<std::string>* urls : {&first, &others}) {
    for (const std::string& url : *urls) {
      if (!text.empty()) text += ", ";
      text += url;
    }
  }
  exchange->send(text_response(std::move(text)));
}

void LeaderHandler::handle(net::Request request, std::shared_ptr<net::Exchange> exchange) {
  if (!reads(request) || request.path != "/v2/leader") {
    exchange->send(net::text_error(404, "404 page not found"));
    return;
  }
  const auto membership = service_.membership();
  const auto leader = membership->members.find(service_.leadership().leader);
  if (leader == membership->members.end() || leader->second.peer_urls.empty()) {
    exchange->send(refusal_response(service_, {tree::Code::kLeaderElection, "", service_.view().revision()}));
    return;
  }
  exchange->send(text_response(leader->second.peer_urls.front()));
}

}  // namespace etcd::api::v2
