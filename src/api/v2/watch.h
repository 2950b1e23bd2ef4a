// api/v2/watch.h - long polls and streams of one net loop: GET with wait=true.
//
// Life:    constructor -> watch()* ... -> destructor, once the loop has stopped or on it
// Thread:  the loop only.
// Owns:    what each watch needs to answer. Borrows service, loop and workers, which must outlive it.
//
// An event is found and encoded once for all that watch the same path, and its bytes are held once.
// The head leaves at once, with the index of that moment. A long poll answers one event and ends; a stream goes on. A
// stream whose client does not read is a cursor on the revision log (mvcc/watch.h), never a queue.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <memory>
#include <vector>

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

  /// The newest revision's lines as watchers of one path see them.
  struct Encoded {
    Bytes path;
    bool recursive;
    std::size_t records;  // of the revision, in this watcher's keys
    std::vector<SharedBytes> lines;
  };

  bool deliver(mvcc::WatcherId watcher, const mvcc::WatchDelivery& delivery) override;
  /// The lines of `delivery` for a watcher, each an event.
  /// Errors: a value that they show cannot be read.
  Result<std::vector<SharedBytes>> lines_of(const tree::Watched& watched, const mvcc::WatchDelivery& delivery);
  Result<std::vector<SharedBytes>> encode(const tree::Watched& watched, const mvcc::WatchDelivery& delivery);
  void compacted(mvcc::WatcherId watcher, std::int64_t compacted_revision) override;
  void failed(mvcc::WatcherId watcher, const Error& error) override;
  void end(mvcc::WatcherId watcher);

  service::Service& service_;
  io::Executor& loop_;
  mvcc::WatchGroup group_;
  absl::flat_hash_map<mvcc::WatcherId, std::unique_ptr<Watch>> watches_;
  std::int64_t encoded_revision_ = 0;  // what encoded_ is of
  std::vector<Encoded> encoded_;       // for the tasks of this turn of the loop; a few, so a list does
  bool sweep_posted_ = false;          // encoded_ will be emptied, so that no value stays longer than it is needed
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // tells the sweep whether there still is a hub
};

}  // namespace etcd::api::v2
