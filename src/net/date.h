// net/date.h - the Date header's text.
//
// Thread:  the cache has one owner; the function is pure.
// Source:  RFC 9110 5.6.7 (IMF-fixdate).
#pragma once
#include <limits>
#include <string>

#include "base/time.h"

namespace etcd::net {

/// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string imf_fixdate(WallTime time);

/// Makes the text once a second, whatever the direction in which the calendar moves.
class DateCache {
 public:
  const std::string& at(WallTime time) {
    const std::int64_t second = time.ns / 1'000'000'000;
    if (second != second_) {
      second_ = second;
      text_ = imf_fixdate(time);
    }
    return text_;
  }

 private:
  std::int64_t second_ = std::numeric_limits<std::int64_t>::min();
  std::string text_;
};

}  // namespace etcd::net
