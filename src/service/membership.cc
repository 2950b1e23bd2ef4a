// What a member tells about the cluster's members, and the checks before their changes.
#include <algorithm>
#include <utility>

#include "codec/json.h"
#include "members/member.h"
#include "service/peer_urls.h"
#include "service/service.h"

namespace etcd::service {
namespace {

/// Whether another member than `id` has one of these URLs.
bool in_use(const members::Membership& membership, MemberId id, const std::vector<std::string>& peer_urls) {
  return std::any_of(membership.members.begin(), membership.members.end(), [&](const auto& one) {
    const std::vector<std::string>& taken = one.second.peer_urls;
    return one.first != id &&
           std::find_first_of(taken.begin(), taken.end(), peer_urls.begin(), peer_urls.end()) != taken.end();
  });
}

std::unexpected<Error> not_found() {
  return failure(ErrorCode::kNotFound, "membership: ID not found");
}
std::unexpected<Error> url_exists() {
  return failure(ErrorCode::kAlreadyExists, "membership: peerURL exists");
}
std::unexpected<Error> later() {
  return failure(ErrorCode::kUnimplemented, "membership changes come with a later version");
}

}  // namespace

Bytes Service::members_json() const {
  const std::shared_ptr<const members::Membership> now = membership();  // shared with the table
  Bytes out = "[";
  for (const auto& [id, one] : now->members) {
    if (out.size() > 1) out.push_back(',');
    out += members::to_json(one);
  }
  out.push_back(']');
  return out;
}

Result<members::Member> Service::add_member(std::vector<std::string> peer_urls) const {
  ETCD_TRY(const std::vector<std::string> urls, checked_peer_urls(std::move(peer_urls)));
  if (in_use(*membership(), 0, urls)) return url_exists();
  return later();
}

Result<void> Service::update_member(MemberId id, std::vector<std::string> peer_urls) const {
  ETCD_TRY(const std::vector<std::string> urls, checked_peer_urls(std::move(peer_urls)));
  const auto now = membership();
  if (!now->members.contains(id)) return not_found();
  if (in_use(*now, id, urls)) return url_exists();
  return later();
}

Result<void> Service::remove_member(MemberId id) const {
  if (!membership()->members.contains(id)) return not_found();
  return later();
}

}  // namespace etcd::service
