// bench/latencies.h - the times that single operations took, all of them kept, and the percentiles of them.
//
// Thread:  one owner at a time.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace etcd::bench {

class Latencies {
 public:
  void reserve(std::size_t count) { ns_.reserve(count); }
  void add(std::chrono::nanoseconds latency) { ns_.push_back(latency.count()); }
  [[nodiscard]] std::size_t count() const { return ns_.size(); }

  /// The smallest latency, in microseconds, that `percent` of all do not exceed; 0 when there is none. 100: the
  /// largest.
  double percentile_us(double percent) {
    if (ns_.empty()) return 0;
    const double rank = std::ceil(percent / 100 * static_cast<double>(ns_.size()));
    const std::size_t place = std::min(static_cast<std::size_t>(std::max(rank, 1.0)), ns_.size()) - 1;
    const auto at = ns_.begin() + static_cast<std::ptrdiff_t>(place);
    std::nth_element(ns_.begin(), at, ns_.end());
    return static_cast<double>(*at) / 1000;
  }

 private:
  std::vector<std::int64_t> ns_;  // in no order
};

}  // namespace etcd::bench
