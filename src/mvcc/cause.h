// mvcc/cause.h - why a revision was written: kept beside its first record, so that the event log can be read back.
//
// Thread:  any (values; SharedCause is immutable).
#pragma once
#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace etcd::mvcc {

/// The numbers are stored (docs/formats/store.md): append only.
enum class Action : std::uint8_t {
  kPut = 0,  // a v3 write of any kind; the default, which takes no room
  kSet = 1,
  kCreate = 2,
  kUpdate = 3,
  kCompareAndSwap = 4,
  kCompareAndDelete = 5,
  kDelete = 6,
  kExpire = 7,
  kRefresh = 8,
};
inline constexpr Action kLastAction = Action::kRefresh;

struct Cause {
  Action action = Action::kPut;
  Bytes path;  // the v2 path when it is not the key of the first record; opaque to this room

  [[nodiscard]] bool is_default() const { return action == Action::kPut && path.empty(); }
  friend bool operator==(const Cause&, const Cause&) = default;
};

/// Shared by the events of one revision and by the tail; null stands for the default cause.
using SharedCause = std::shared_ptr<const Cause>;

}  // namespace etcd::mvcc
