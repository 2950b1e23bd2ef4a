// peer/handler.h - what a member answers to other members on the peer port: messages, streams and probes.
//
// Life:    constructor -> handle()*; routed at kRaftPath, kStreamPath and kProbingPath (peer/headers.h).
// Thread:  any net loop, several at the same time; host and sink are called on the request's loop.
// Owns:    nothing. Borrows host and sink, which must outlive it.
// Source:  etcd v3.7.1 server/etcdserver/api/rafthttp/{http,probing_status}.go; xiang90/probing server.go.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "net/http.h"
#include "peer/headers.h"
#include "raft/message.h"

namespace etcd::peer {

/// What the handler has to know of the member that it answers for.
class PeerHost {
 public:
  virtual ~PeerHost() = default;
  [[nodiscard]] virtual MemberId id() const = 0;
  [[nodiscard]] virtual RequestRules rules() const = 0;
  /// Was a member, and may not come back.
  [[nodiscard]] virtual bool is_removed(MemberId member) const = 0;
  /// Is a peer of ours: a member as far as we have applied the log.
  [[nodiscard]] virtual bool is_peer(MemberId member) const = 0;
  /// Somebody introduced itself; whoever is unknown and not removed can be sent messages from then on.
  virtual void add_remote(const Introduction& introduction) = 0;
  /// Gives a message to raft. `done` is called once, on any loop, and not copied: with an error when raft refused it,
  /// when `from` is removed, or when `to` is not us.
  virtual void receive(raft::Message message, std::function<void(Result<void>)> done) = 0;
  [[nodiscard]] virtual WallTime wall() const = 0;
  virtual void log(std::string_view message) = 0;
};

/// Takes streams that peers have opened, to write messages into them.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  /// `exchange` has been started; its head has left. It belongs to its loop. A stream that the peer opened before, of
  /// this type, is to be let go of, which closes it. Told by on_close when the peer has left.
  virtual void attach(StreamType type, MemberId peer, std::shared_ptr<net::Exchange> exchange) = 0;
};

class PeerHandler final : public net::Handler {
 public:
  PeerHandler(PeerHost& host, StreamSink& sink) : host_(host), sink_(sink) {}

  void handle(net::Request request, std::shared_ptr<net::Exchange> exchange) override;

 private:
  void answer_message(const net::Request& request, std::shared_ptr<net::Exchange> exchange);
  void answer_stream(const net::Request& request, std::shared_ptr<net::Exchange> exchange);
  void answer_probe(net::Exchange& exchange);
  /// True when the request was answered, since it is not from a fitting member.
  bool refuse_stranger(const net::Request& request, const RequestRules& rules, const net::Headers& headers,
                       net::Exchange& exchange);

  PeerHost& host_;
  StreamSink& sink_;
};

}  // namespace etcd::peer
