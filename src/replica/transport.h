// replica/transport.h - how messages leave for other members; implemented by peer.
//
// Thread:  replica loop only; must not block.
#pragma once
#include <vector>

#include "raft/message.h"

namespace etcd::replica {

class Transport {
 public:
  virtual ~Transport() = default;
  /// Sends each message to its `to`, or loses it: raft assumes loss. A message to somebody unknown is dropped.
  virtual void send(std::vector<raft::Message> messages) = 0;
};

/// A member alone has nobody to talk to.
class NoTransport final : public Transport {
 public:
  void send(std::vector<raft::Message>) override {}
};

}  // namespace etcd::replica
