// base/version.h - what this program calls itself towards clients, peers and files.
//
// Thread:  any (constants).
#pragma once

namespace etcd {

/// The upstream version whose surface this one has; clients and peers choose their ways by it.
inline constexpr const char* kServerVersion = "3.7.1";
/// The cluster version that a cluster of such members agrees on, and the version of what they store.
inline constexpr const char* kClusterVersion = "3.7.0";

}  // namespace etcd
