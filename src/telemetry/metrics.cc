#include "telemetry/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cctype>

namespace etcd::telemetry {
namespace {

using Labels = std::vector<std::string>;

prometheus::ClientMetric labelled(const Labels& names, const Labels& values) {
  CHECK(names.size() == values.size(), "{} values for {} labels", values.size(), names.size());
  prometheus::ClientMetric out;
  for (std::size_t place = 0; place < names.size(); ++place) out.label.push_back({names[place], values[place]});
  std::sort(out.label.begin(), out.label.end());  // as Go's client writes them
  return out;
}

void fill(prometheus::ClientMetric& out, const Counter& counter) {
  out.counter.value = static_cast<double>(counter.value());
}

void fill(prometheus::ClientMetric& out, const Gauge& gauge) {
  out.gauge.value = gauge.value();
}

void fill(prometheus::ClientMetric& out, const Histogram& histogram) {
  std::uint64_t count = 0;
  for (std::size_t bucket = 0; bucket < histogram.bounds().size(); ++bucket) {
    count += histogram.count(bucket);
    out.histogram.bucket.push_back({count, histogram.bounds()[bucket]});
  }
  // Added up from the same looks, so that the last bucket never says more than the count.
  out.histogram.sample_count = count + histogram.count(histogram.bounds().size());
  out.histogram.sample_sum = histogram.sum();
}

prometheus::MetricType type_of(Kind kind) {
  return kind == Kind::kCounter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
bool is_name(const std::string& text) {
  const auto fits = [](char byte) {
    return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '_' || byte == ':';
  };
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front())) == 0 &&
         std::all_of(text.begin(), text.end(), fits);
}

}  // namespace

std::size_t ThreadCell::next() noexcept {
  static std::atomic<std::size_t> given{0};
  return given.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::uint64_t Counter::value() const noexcept {
  std::uint64_t sum = 0;
  for (const Cell& cell : cells_) sum += cell.value.load(std::memory_order_relaxed);
  return sum;
}

Histogram::Histogram(const Buckets& buckets) {
  CHECK(buckets.start > 0 && buckets.factor > 1 && buckets.count > 0, "buckets from {} by {}, {} of them",
        buckets.start, buckets.factor, buckets.count);
  double bound = buckets.start;
  for (std::size_t count = 0; count < buckets.count; ++count, bound *= buckets.factor) bounds_.push_back(bound);
  counts_ = std::make_unique<std::atomic<std::uint64_t>[]>(bounds_.size() + 1);
}

std::uint64_t Histogram::count() const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t bucket = 0; bucket <= bounds_.size(); ++bucket) sum += count(bucket);
  return sum;
}

struct Registry::State {
  using Fill = std::function<void(prometheus::MetricFamily& family)>;
  struct Entry {
    std::string help;
    prometheus::MetricType type;
    Fill fill;
  };

  void add(std::string name, std::string help, prometheus::MetricType type, Fill fill_family) {
    CHECK(is_name(name), "a metric cannot be called \"{}\"", name);
    const bool is_new = entries.try_emplace(name, Entry{std::move(help), type, std::move(fill_family)}).second;
    CHECK(is_new, "two metrics are called {}", name);
  }

  /// Owns the metric through the function that shows it.
  template <class Metric>
  Metric& add_one(std::string name, std::string help, prometheus::MetricType type, std::shared_ptr<Metric> metric) {
    Metric& made = *metric;
    add(std::move(name), std::move(help), type, [metric = std::move(metric)](prometheus::MetricFamily& family) {
      fill(family.metric.emplace_back(), *metric);
    });
    return made;
  }

  template <class Metric>
  Family<Metric>& add_family(std::string name, std::string help, prometheus::MetricType type, Labels labels,
                             std::shared_ptr<Family<Metric>> metrics) {
    Family<Metric>& made = *metrics;
    add(std::move(name), std::move(help), type,
        [metrics = std::move(metrics), labels = std::move(labels)](prometheus::MetricFamily& family) {
          metrics->each([&](const Labels& values, const Metric& metric) {
            fill(family.metric.emplace_back(labelled(labels, values)), metric);
          });
        });
    return made;
  }

  std::mutex mu;                         // held by text(), so that hooks and readers run once at a time
  std::map<std::string, Entry> entries;  // unchanged once text() is called
  std::vector<std::function<void()>> hooks;
};

Registry::Registry() : state_(std::make_unique<State>()) {}
Registry::~Registry() = default;

// Shared pointers below, though there is one owner: std::function wants to be copied.

Counter& Registry::counter(std::string name, std::string help) {
  return state_->add_one(std::move(name), std::move(help), prometheus::MetricType::Counter,
                         std::make_shared<Counter>());
}

Gauge& Registry::gauge(std::string name, std::string help) {
  return state_->add_one(std::move(name), std::move(help), prometheus::MetricType::Gauge, std::make_shared<Gauge>());
}

Histogram& Registry::histogram(std::string name, std::string help, const Buckets& buckets) {
  return state_->add_one(std::move(name), std::move(help), prometheus::MetricType::Histogram,
                         std::make_shared<Histogram>(buckets));
}

Family<Counter>& Registry::counters(std::string name, std::string help, std::vector<std::string> labels) {
  auto family = std::make_shared<Family<Counter>>(labels.size());
  return state_->add_family(std::move(name), std::move(help), prometheus::MetricType::Counter, std::move(labels),
                            std::move(family));
}

Family<Gauge>& Registry::gauges(std::string name, std::string help, std::vector<std::string> labels) {
  auto family = std::make_shared<Family<Gauge>>(labels.size());
  return state_->add_family(std::move(name), std::move(help), prometheus::MetricType::Gauge, std::move(labels),
                            std::move(family));
}

Family<Histogram>& Registry::histograms(std::string name, std::string help, std::vector<std::string> labels,
                                        const Buckets& buckets) {
  auto family = std::make_shared<Family<Histogram>>(labels.size(), buckets);
  return state_->add_family(std::move(name), std::move(help), prometheus::MetricType::Histogram, std::move(labels),
                            std::move(family));
}

void Registry::collect(Kind kind, std::string name, std::string help, std::function<double()> read) {
  collect(kind, std::move(name), std::move(help), {}, [read = std::move(read)](const Emit& emit) { emit({}, read()); });
}

void Registry::collect(Kind kind, std::string name, std::string help, std::vector<std::string> labels,
                       std::function<void(const Emit& emit)> read) {
  state_->add(std::move(name), std::move(help), type_of(kind),
              [kind, labels = std::move(labels), read = std::move(read)](prometheus::MetricFamily& family) {
                read([&](const Labels& values, double value) {
                  prometheus::ClientMetric& metric = family.metric.emplace_back(labelled(labels, values));
                  (kind == Kind::kCounter ? metric.counter.value : metric.gauge.value) = value;
                });
              });
}

void Registry::before_text(std::function<void()> hook) {
  state_->hooks.push_back(std::move(hook));
}

Bytes Registry::text() {
  const std::scoped_lock lock(state_->mu);
  for (const auto& hook : state_->hooks) hook();
  std::vector<prometheus::MetricFamily> families;
  families.reserve(state_->entries.size());
  for (const auto& [name, entry] : state_->entries) {
    prometheus::MetricFamily family;
    family.name = name;
    family.help = entry.help;
    family.type = entry.type;
    entry.fill(family);
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace etcd::telemetry
