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
constexpr std::size_t kEncodedMax = 16;              // paths whose watchers share lines; past that each has its own

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
  Result<std::vector<SharedBytes>> lines = lines_of(watch.watched, delivery);
  if (!lines) {
    // As when the log cannot be read. The client comes again.
    watch.exchange->finish();
    end(watcher);
    return true;
  }
  for (SharedBytes& line : *lines) {
    watch.exchange->write(std::move(line));
    if (!watch.stream) {
      watch.exchange->finish();
      end(watcher);
      break;
    }
  }
  return true;
}

Result<std::vector<SharedBytes>> WatchHub::lines_of(const tree::Watched& watched, const mvcc::WatchDelivery& delivery) {
  const std::int64_t revision = delivery.events.front()->revision();
  // What is read from history goes to one watcher, and hidden nodes are shown in what is older than the watcher.
  const bool live = delivery.events.back()->revision() == revision && revision > watched.registered;
  if (!live) return encode(watched, delivery);
  if (revision != encoded_revision_) {
    encoded_.clear();
    encoded_revision_ = revision;
  }
  const auto known = std::ranges::find_if(encoded_, [&](const Encoded& one) {
    return one.path == watched.path && one.recursive == watched.recursive && one.records == delivery.events.size();
  });
  if (known != encoded_.end()) return known->lines;
  ETCD_TRY(std::vector<SharedBytes> lines, encode(watched, delivery));
  if (encoded_.size() < kEncodedMax) {
    encoded_.push_back({watched.path, watched.recursive, delivery.events.size(), lines});
    if (!sweep_posted_) {
      sweep_posted_ = true;
      loop_.post([this, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        sweep_posted_ = false;
        encoded_.clear();
      });
    }
  }
  return lines;
}

Result<std::vector<SharedBytes>> WatchHub::encode(const tree::Watched& watched, const mvcc::WatchDelivery& delivery) {
  const auto marker_before = [&](BytesView directory, std::int64_t revision) -> mvcc::EntryRef {
    // Compacted, or not readable: the event then shows the directory without its indices.
    auto marker = service_.view().get(tree::marker_of(directory), revision - 1);
    return marker ? *std::move(marker) : mvcc::EntryRef();
  };
  const auto load = [&](const mvcc::Entry& entry) { return service_.view().load(entry); };
  ETCD_TRY(const std::vector<tree::Event> events, tree::watch_events(watched, delivery.events, marker_before, load));
  const WallTime now = service_.clock().wall();
  std::vector<SharedBytes> lines;
  for (const tree::Event& event : events) {
    Bytes line;
    append_event(line, event, now);
    line.push_back('\n');
    lines.emplace_back(std::move(line));
  }
  return lines;
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
