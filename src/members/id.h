// members/id.h - how member and cluster ids are computed: as upstream does, so that both can form one cluster.
//
// Thread:  any (functions on values).
// Source:  etcd v3.7.1 server/etcdserver/api/membership/member.go (computeMemberID) and cluster.go (genID).
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace etcd::members {

/// The id of a member of the initial cluster: SHA-1 over its sorted peer URLs and the cluster's token, first 8 bytes.
MemberId bootstrap_member_id(std::vector<std::string> peer_urls, std::string_view cluster_token);

/// The id of a cluster: SHA-1 over its initial members' ids in ascending order, first 8 bytes.
ClusterId cluster_id(std::vector<MemberId> members);

/// Lower-case hex without padding, as ids are written everywhere.
std::string hex_id(std::uint64_t id);

}  // namespace etcd::members
