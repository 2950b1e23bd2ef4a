#include "mvcc/metrics.h"

namespace etcd::mvcc {

Metrics::Metrics(telemetry::Registry& registry)
    : puts(registry.counter("etcd_mvcc_put_total", "Versions of keys that were written.")),
      deletes(registry.counter("etcd_mvcc_delete_total", "Keys that were deleted.")),
      transactions(registry.counter("etcd_mvcc_txn_total", "Commands that changed several keys at once.")),
      put_bytes(registry.gauge("etcd_debugging_mvcc_total_put_size_in_bytes",
                               "Bytes of all keys and values written since the member started.")),
      watchers(registry.gauge("etcd_debugging_mvcc_watcher_total", "Watchers that there are.")),
      slow_watchers(registry.gauge("etcd_debugging_mvcc_slow_watcher_total",
                                   "Watchers that have not been offered all events yet.")),
      events(registry.counter("etcd_debugging_mvcc_events_total", "Events that were handed to watchers.")),
      compacted_records(
          registry.counter("etcd_debugging_mvcc_db_compaction_keys_total", "Records that compaction has removed.")),
      last_compaction(registry.gauge("etcd_debugging_mvcc_db_compaction_last",
                                     "When the last compaction ended, in seconds since 1970; 0 when there was none.")),
      compaction_slice_ms(registry.histogram("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                                             "How long one step of a compaction kept writers waiting.",
                                             {.start = 1, .factor = 2, .count = 13})),
      compaction_total_ms(registry.histogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                                             "How long a compaction took from its first step to its last.",
                                             {.start = 100, .factor = 2, .count = 14})) {}

}  // namespace etcd::mvcc
