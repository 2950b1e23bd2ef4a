// mvcc/key_range.h - which keys a read or a watch is about: one key, an interval, or everything from a key on.
//
// Thread:  any (values; the views are borrowed).
// Source:  etcd v3.7.1 api/etcdserverpb/rpc.proto, the comment of RangeRequest.range_end.
#pragma once
#include "base/bytes.h"

namespace etcd::mvcc {

/// The smallest key past every key that starts with `prefix`; empty when there is none (the range is open).
Bytes prefix_end(BytesView prefix);

class KeyRange {
 public:
  /// Exactly `key`.
  static KeyRange one(BytesView key) { return {Kind::kOne, key, {}}; }
  /// [begin, end) in byte order; empty when end <= begin.
  static KeyRange between(BytesView begin, BytesView end) { return {Kind::kBetween, begin, end}; }
  /// Every key >= begin. `from("")` is the whole keyspace.
  static KeyRange from(BytesView begin) { return {Kind::kFrom, begin, {}}; }
  /// [begin, prefix_end]: `end` is what prefix_end() gave; empty means open.
  static KeyRange until(BytesView begin, BytesView end) { return end.empty() ? from(begin) : between(begin, end); }
  /// The v3 convention: no `range_end` is one key, a single zero byte is open, anything else an interval.
  static KeyRange of_request(BytesView key, BytesView range_end) {
    if (range_end.empty()) return one(key);
    if (range_end == BytesView("\0", 1)) return from(key);
    return between(key, range_end);
  }

  [[nodiscard]] BytesView begin() const { return begin_; }
  /// Meaningless unless is_between().
  [[nodiscard]] BytesView end() const { return end_; }
  [[nodiscard]] bool is_one() const { return kind_ == Kind::kOne; }
  [[nodiscard]] bool is_between() const { return kind_ == Kind::kBetween; }
  [[nodiscard]] bool is_open() const { return kind_ == Kind::kFrom; }
  [[nodiscard]] bool is_empty() const { return kind_ == Kind::kBetween && end_ <= begin_; }

  /// True when `key` lies behind the last key of the range; for a walk that started at begin().
  [[nodiscard]] bool is_past(BytesView key) const {
    switch (kind_) {
      case Kind::kOne: return key > begin_;
      case Kind::kBetween: return key >= end_;
      case Kind::kFrom: return false;
    }
    return true;
  }
  [[nodiscard]] bool contains(BytesView key) const { return key >= begin_ && !is_past(key); }

 private:
  enum class Kind : unsigned char { kOne, kBetween, kFrom };
  KeyRange(Kind kind, BytesView begin, BytesView end) : kind_(kind), begin_(begin), end_(end) {}

  Kind kind_;
  BytesView begin_;
  BytesView end_;
};

}  // namespace etcd::mvcc
