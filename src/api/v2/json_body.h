// api/v2/json_body.h - the JSON bodies that clients send; everything else of v2 is a form.
//
// Thread:  any (functions on values).
// Errors:  kInvalidArgument, in Go's words where scripts may look for them.
#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "members/cluster_config.h"

namespace etcd::api::v2 {

/// The list in `{"peerURLs":["http://a:1"]}`; empty when there is none. The name's case does not matter, and other
/// fields are passed over.
/// Source: Go's encoding/json on etcd v2.3.8 etcdserver/etcdhttp/httptypes/member.go.
Result<std::vector<std::string>> peer_urls_of(BytesView body);

/// The change that `body` asks for. Fields that are no numbers, and unknown ones, are passed over.
/// Source: etcd v0.4.6 server/peer_server_handlers.go (setClusterConfigHttpHandler).
Result<members::ClusterConfigChange> config_change_of(BytesView body);

}  // namespace etcd::api::v2
