// base/bytes.h - how bytes are held: owned, borrowed, or shared and immutable.
//
// Thread:  any (values; SharedBytes is immutable and its count is atomic).
//
// Bytes are std::string because protobuf, LMDB, HTTP and JSON all speak it; a vector<byte> would mean a copy at each of
// those doors.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace etcd {

using Bytes = std::string;
using BytesView = std::string_view;

/// Bytes that several owners hold and nobody changes: a log entry's command lies in the raft log, in the WAL's queue
/// and in apply's queue at the same time, and a 1 MB value must not be copied for each.
class SharedBytes {
 public:
  SharedBytes() = default;
  explicit SharedBytes(Bytes bytes)
      : bytes_(bytes.empty() ? nullptr : std::make_shared<const Bytes>(std::move(bytes))) {}

  [[nodiscard]] BytesView view() const { return bytes_ ? BytesView(*bytes_) : BytesView(); }
  [[nodiscard]] std::size_t size() const { return bytes_ ? bytes_->size() : 0; }
  [[nodiscard]] bool empty() const { return size() == 0; }

  friend bool operator==(const SharedBytes& left, const SharedBytes& right) { return left.view() == right.view(); }

 private:
  std::shared_ptr<const Bytes> bytes_;  // shared by the raft log, the WAL queue and the apply queue; null when empty
};

}  // namespace etcd
