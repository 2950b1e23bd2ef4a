// api/v2/watch.h - long polls and streams of one net loop: GET with wait=true.
//
// Life:    constructor -> watch()* ... -> destructor, once the loop has stopped or on it
// Thread:  the loop only.
// Owns:    what each watch needs to answer. Borrows service, loop and workers, which must outlive it.
//
// The head leaves at once, with the index of that moment. A long poll answers one event and ends; a stream goes on. A
// stream whose client does not read is a cursor on the revision log (mvcc/watch.h), never a queue.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <memory>

#include "api/v2/key_request.h"
#include "mvcc/watch.h"
#include "net/http.h"
#include "service/service.h"
#include "tree/watch.h"

namespace etcd::api::v2 {

class WatchHub final : private mvcc::WatchReceiver {
 public:
  WatchHub(service::Service& service, io::Executor& loop, io::Executor& workers);
  ~WatchHub() override;
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  /// The loop whose connections this hub serves.
  [[nodiscard]] const io::Executor* loop() const { return &loop_; }
  [[nodiscard]] std::size_t watchers() const { return watches_.size(); }

  /// Answers with events from `request.wait_index` on (0: from now on), or with error 401 where that is compacted.
  void watch(const KeyRequest& request, std::shared_ptr<net::Exchange> exchange);

 private:
  struct Watch {
    tree::Watched watched;
    bool stream;
    std::shared_ptr<net::Exchange> exchange;
  };

  bool deliver(mvcc::WatcherId watcher, const mvcc::WatchDelivery& delivery) override;
  void compacted(mvcc::WatcherId watcher, std::int64_t compacted_revision) override;
  void failed(mvcc::WatcherId watcher, const Error& error) override;
  void end(mvcc::WatcherId watcher);

  service::Service& service_;
  io::Executor& loop_;
  mvcc::WatchGroup group_;
  absl::flat_hash_map<mvcc::WatcherId, std::unique_ptr<Watch>> watches_;
};

}  // namespace etcd::api::v2
