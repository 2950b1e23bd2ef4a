// members/member.h - one member as the cluster knows it, and its JSON form in conf changes and in the store.
//
// Thread:  any (values).
// Source:  etcd v3.7.1 server/etcdserver/api/membership/member.go (field names and order).
#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace etcd::members {

struct Member {
  MemberId id = 0;
  std::string name;  // empty until the member has started
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;  // empty until the member has started
  bool learner = false;
  bool promote = false;  // only in a conf change: make a voter of a learner

  friend bool operator==(const Member&, const Member&) = default;
};

/// As Go writes the struct: id, peerURLs, isLearner, name, clientURLs, isPromote; empty ones left out but for peerURLs.
Bytes to_json(const Member& member);

/// Errors: kInvalidArgument when it is not such a document; unknown fields are ignored.
Result<Member> member_from_json(BytesView json);

}  // namespace etcd::members
