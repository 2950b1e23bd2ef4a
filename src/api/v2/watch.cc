#include "api/v2/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/v2/answers.h"
#include "api/v2/json.h"
#include "tree/path.h"

namespace etcd::api::v2 {
namespace {

constexpr std::size_t kUnsentBytesMax = 256 * 1024;  // a stream with more than this on its way gets nothing further

}  // namespace

WatchHub::WatchHub(service::Service& service, io::Executor& loop, io::Executor& workers)
    : service_(service), loop_(loop), group_(service.store(), loop, workers) {}

WatchHub::~WatchHub() = default;

void WatchHub::watch(const KeyRequest& request, std::shared_ptr<net::Exchange> exchange) {
  std::int64_t index = 0;
  std::int64_t compacted = 0;
  {
    const mvcc::View view = service_.view();
    index = view.revision();
    compacted = view.compacted();
  }
  // No revision is larger than this; what lies beyond is waited for just as long.
  const auto start = static_cast<std::int64_t>(std::min<std::uint64_t>(request.wait_index, INT64_MAX));
  if (start != 0 && start < compacted) {
    exchange->send(refusal_response(
        service_, {tree::Code::kEventIndexCleared,
                   fmt::format("the requested history has been cleared [{}/{}]", compacted, start), index}));
    return;
  }
  net::Response head = json_response(service_, 200, index);
  add_place(head, service_.place());
  exchange->start(std::move(head));

  auto watch = std::make_unique<Watch>(Watch{{request.path, request.recursive, index}, request.stream, exchange});
  const tree::WatchedKeys keys(watch->watched);
  const mvcc::WatcherId id = group_.watch(keys.ranges(), {.start_revision = start, .previous = true}, *this);
  watches_.emplace(id, std::move(watch));
  service_.stats().watchers.fetch_add(1, std::memory_order_relaxed);
  exchange->on_drained([this, id] { group_.resume(id); });
  exchange->on_close([this, id] { end(id); });
}

bool WatchHub::deliver(mvcc::WatcherId watcher, const mvcc::WatchDelivery& delivery) {
  const auto at = watches_.find(watcher);
  if (at == watches_.end()) return true;
  Watch& watch = *at->second;
  if (watch.exchange->unsent_bytes() > kUnsentBytesMax) return false;
  const auto marker_before = [&](BytesView directory, std::int64_t revision) -> mvcc::EntryRef {
    // Compacted, or not readable: the event then shows the directory without its indices.
    auto marker = service_.view().get(tree::marker_of(directory), revision - 1);
    return marker ? *std::move(marker) : mvcc::EntryRef();
  };
  const std::vector<tree::Event> events = tree::watch_events(watch.watched, delivery.events, marker_before);
  const WallTime now = service_.clock().wall();
  for (const tree::Event& event : events) {
    Bytes line;
    append_event(line, event, now);
    line.push_back('\n');
    watch.exchange->write(std::move(line));
    if (!watch.stream) {
      watch.exchange->finish();
      end(watcher);
      break;
    }
  }
  return true;
}

void WatchHub::compacted(mvcc::WatcherId watcher, std::int64_t) {
  // Only a stream that has not been read for the whole retention gets here. Its client comes again, and then sees 401.
  const auto at = watches_.find(watcher);
  if (at == watches_.end()) return;
  at->second->exchange->finish();
  watches_.erase(at);
  service_.stats().watchers.fetch_sub(1, std::memory_order_relaxed);
}

void WatchHub::failed(mvcc::WatcherId watcher, const Error&) {
  compacted(watcher, 0);
}

void WatchHub::end(mvcc::WatcherId watcher) {
  group_.cancel(watcher);
  service_.stats().watchers.fetch_sub(watches_.erase(watcher), std::memory_order_relaxed);
}

}  // namespace etcd::api::v2
