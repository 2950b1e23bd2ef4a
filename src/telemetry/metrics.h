// telemetry/metrics.h - counters, gauges and histograms of one member, and their text for Prometheus.
//
//   Registry registry;
//   Counter& puts = registry.counter("etcd_mvcc_put_total", "Keys written.");
//   puts.add(batch.size());
//
// Life:    Registry -> metrics are made -> text()* -> destructor, when nobody measures any more. There is no global one:
//          server/ builds it, and a room gets references (its own metrics.h).
// Thread:  making metrics: one thread, before the first text(). add(), set() and observe(): any, without a lock or an
//          allocation. Family::with() and text(): any (guarded by a mutex each).
// Owns:    the metrics, each at one place for life. What collect() is given must live as long as text() is called.
// Cost:    some nanoseconds for an add(): a Counter has a cache line for each of several threads, summed by text(). A
//          Gauge and a Histogram have one place: meant for one loop each, or for what is rare.
// Format:  Prometheus text, version 0.0.4. Names, labels and buckets are upstream's (docs/metrics.md).
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/time.h"

namespace etcd::telemetry {

/// Which of a counter's cells the calling thread adds to.
class ThreadCell {
 public:
  static constexpr std::size_t kCount = 8;

  static std::size_t index() noexcept {
    if (number_ == 0) [[unlikely]]
      number_ = next();
    return number_ % kCount;
  }

 private:
  static std::size_t next() noexcept;

  static inline constinit thread_local std::size_t number_ = 0;  // 0: this thread has none yet
};

/// A number that only grows.
class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept {
    cells_[ThreadCell::index()].value.fetch_add(count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const noexcept;

 private:
  struct alignas(64) Cell {
    std::atomic<std::uint64_t> value{0};
  };
  std::array<Cell, ThreadCell::kCount> cells_;
};

/// A number that goes up and down.
class Gauge {
 public:
  void set(double value) noexcept { value_.store(value, std::memory_order_relaxed); }
  void add(double step) noexcept { value_.fetch_add(step, std::memory_order_relaxed); }
  [[nodiscard]] double value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

/// Upper bounds: start, start * factor, start * factor^2, ...; `count` of them, and infinity behind the last.
struct Buckets {
  double start = 1;
  double factor = 2;
  std::size_t count = 1;
};

/// How often values fell into which bucket, and their sum.
class Histogram {
 public:
  explicit Histogram(const Buckets& buckets);

  void observe(double value) noexcept {
    std::size_t bucket = 0;
    while (bucket < bounds_.size() && value > bounds_[bucket]) ++bucket;
    counts_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }
  /// Units: seconds.
  void observe(Duration duration) noexcept { observe(std::chrono::duration<double>(duration).count()); }

  [[nodiscard]] const std::vector<double>& bounds() const noexcept { return bounds_; }
  /// Of one bucket alone; the one behind the last bound is at bounds().size().
  [[nodiscard]] std::uint64_t count(std::size_t bucket) const noexcept {
    return counts_[bucket].load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t count() const noexcept;
  [[nodiscard]] double sum() const noexcept { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;  // ascending
  std::unique_ptr<std::atomic<std::uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

/// Metrics of one name that labels tell apart. One with no metric yet is not shown at all.
template <class Metric>
class Family {
 public:
  explicit Family(std::size_t label_count, const Buckets& buckets = {})
      : label_count_(label_count), buckets_(buckets) {}

  /// The metric with these values, in the order of the label names; made, at 0, when it is asked for first. Takes a
  /// lock and allocates, so whoever measures often keeps the reference.
  Metric& with(std::vector<std::string> values) {
    CHECK(values.size() == label_count_, "{} values for {} labels", values.size(), label_count_);
    const std::scoped_lock lock(mu_);
    std::unique_ptr<Metric>& metric = metrics_[std::move(values)];
    if (metric == nullptr) {
      if constexpr (std::is_same_v<Metric, Histogram>) {
        metric = std::make_unique<Histogram>(buckets_);
      } else {
        metric = std::make_unique<Metric>();
      }
    }
    return *metric;
  }

  /// Calls `visit(values, metric)` for each, in the order of their values.
  template <class Visit>
  void each(Visit&& visit) const {
    const std::scoped_lock lock(mu_);
    for (const auto& [values, metric] : metrics_) visit(values, *metric);
  }

 private:
  const std::size_t label_count_;
  const Buckets buckets_;
  mutable std::mutex mu_;  // guards the map, not what its metrics count
  std::map<std::vector<std::string>, std::unique_ptr<Metric>> metrics_;
};

enum class Kind : std::uint8_t { kCounter, kGauge };

class Registry {
 public:
  /// Gives one value; `values` are those of the labels.
  using Emit = std::function<void(std::vector<std::string> values, double value)>;

  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Each makes a metric that starts at 0. Checks: the name is well formed and new.
  Counter& counter(std::string name, std::string help);
  Gauge& gauge(std::string name, std::string help);
  Histogram& histogram(std::string name, std::string help, const Buckets& buckets);
  Family<Counter>& counters(std::string name, std::string help, std::vector<std::string> labels);
  Family<Gauge>& gauges(std::string name, std::string help, std::vector<std::string> labels);
  Family<Histogram>& histograms(std::string name, std::string help, std::vector<std::string> labels,
                                const Buckets& buckets);

  /// Shows what somebody else knows: `read` is asked by each text(), on its thread.
  void collect(Kind kind, std::string name, std::string help, std::function<double()> read);
  void collect(Kind kind, std::string name, std::string help, std::vector<std::string> labels,
               std::function<void(const Emit& emit)> read);
  /// `hook` runs at the beginning of each text(), so that several of the above can show one look at the system.
  void before_text(std::function<void()> hook);

  /// Everything, in the order of the names.
  [[nodiscard]] Bytes text();

 private:
  struct State;
  std::unique_ptr<State> state_;  // apart, since the library behind text() stays in the .cc file
};

}  // namespace etcd::telemetry
