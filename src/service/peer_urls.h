// service/peer_urls.h - the rules for the peer URLs of a member that is to be added or changed.
//
// Thread:  any (functions on values).
// Source:  etcd v3.7.1 client/pkg/types/urls.go (NewURLs): rules and messages.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace etcd::service {

/// The URLs without white space around them, sorted.
/// Errors: kInvalidArgument for none at all, another scheme than http, https, unix and unixs, and for http and https
/// without a port or with a path.
Result<std::vector<std::string>> checked_peer_urls(std::vector<std::string> urls);

}  // namespace etcd::service
