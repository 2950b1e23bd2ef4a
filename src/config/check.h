// config/check.h - refuses options that make no sense, in upstream's order and words.
//
// Thread:  any (pure functions).
// Source:  etcd v3.7.1 server/embed/config.go and server/etcdmain.
#pragma once
#include <cstdint>
#include <expected>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/options.h"
#include "config/outcome.h"

namespace etcd::config {

/// Checks settled options, and reads the two texts in them that are checked anyway (log rotation).
/// Errors: what to print, with its exit code.
std::expected<void, Print> check(Options& options, std::vector<Notice>& notices);

/// What --auto-compaction-retention says. Both are 0 when nothing is to be compacted.
struct Retention {
  Duration period{};           // periodic: how far back history reaches
  std::int64_t revisions = 0;  // revision: how many revisions

  friend bool operator==(const Retention&, const Retention&) = default;
};

/// Errors: kInvalidArgument. Upstream finds this while it starts, not with the flags; see check_start().
Result<Retention> compaction_retention(const Options& options);

/// What upstream refuses only once it starts, as far as the options alone tell. The caller logs it as a failed start.
/// Errors: kInvalidArgument.
Result<void> check_start(const Options& options);

}  // namespace etcd::config
