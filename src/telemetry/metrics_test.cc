#include "telemetry/metrics.h"

#include <gtest/gtest.h>

#include <thread>

namespace etcd::telemetry {
namespace {

TEST(Metrics, TextInTheOrderOfNames) {
  Registry registry;
  registry.gauge("b_size", "How large it is.").set(-2.5);
  registry.counter("a_total", "What was counted.").add(3);
  EXPECT_EQ(registry.text(),
            "# HELP a_total What was counted.\n"
            "# TYPE a_total counter\n"
            "a_total 3\n"
            "# HELP b_size How large it is.\n"
            "# TYPE b_size gauge\n"
            "b_size -2.5\n");
}

TEST(Metrics, LargeNumbersKeepTheirDigits) {
  Registry registry;
  registry.counter("a_total", "A").add(1'234'567'890'123);
  registry.collect(Kind::kGauge, "b_bytes", "B", [] { return 18446744073709551615.0; });
  const Bytes text = registry.text();
  EXPECT_TRUE(text.contains("\na_total 1234567890123\n")) << text;
  EXPECT_TRUE(text.contains("\nb_bytes 1.844674407370955e+19\n")) << text;
}

TEST(Metrics, ABucketHoldsItsUpperBound) {
  Registry registry;
  Histogram& histogram = registry.histogram("a_seconds", "A", {.start = 0.001, .factor = 2, .count = 3});
  EXPECT_EQ(histogram.bounds(), (std::vector<double>{0.001, 0.002, 0.004}));
  histogram.observe(0.0005);
  histogram.observe(0.001);
  histogram.observe(1500us);
  histogram.observe(0.0041);
  histogram.observe(9.0);
  EXPECT_EQ(histogram.count(), 5u);
  EXPECT_DOUBLE_EQ(histogram.sum(), 9.0071);
  const Bytes text = registry.text();
  for (const char* line :
       {"# TYPE a_seconds histogram", "a_seconds_count 5", "a_seconds_bucket{le=\"0.001\"} 2",
        "a_seconds_bucket{le=\"0.002\"} 3", "a_seconds_bucket{le=\"0.004\"} 3", "a_seconds_bucket{le=\"+Inf\"} 5"}) {
    EXPECT_TRUE(text.contains(std::string(line) + "\n")) << line << " in\n" << text;
  }
}

TEST(Metrics, AHistogramWithoutValuesIsShown) {
  Registry registry;
  registry.histogram("a_seconds", "A", {.start = 1, .factor = 2, .count = 1});
  EXPECT_EQ(registry.text(),
            "# HELP a_seconds A\n# TYPE a_seconds histogram\na_seconds_count 0\na_seconds_sum 0\n"
            "a_seconds_bucket{le=\"1\"} 0\na_seconds_bucket{le=\"+Inf\"} 0\n");
}

TEST(Metrics, LabelsAreSortedAndEscapedAndAnEmptyFamilyIsLeftOut) {
  Registry registry;
  Family<Counter>& counters = registry.counters("a_total", "A", {"type", "name"});
  registry.gauges("b_now", "B", {"name"});
  EXPECT_EQ(registry.text(), "");
  Counter& first = counters.with({"x", "one \"quoted\"\\\n"});
  first.add();
  EXPECT_EQ(&counters.with({"x", "one \"quoted\"\\\n"}), &first) << "one metric for the same values";
  counters.with({"w", "two"});
  EXPECT_EQ(registry.text(),
            "# HELP a_total A\n"
            "# TYPE a_total counter\n"
            "a_total{name=\"two\",type=\"w\"} 0\n"
            "a_total{name=\"one \\\"quoted\\\"\\\\\\n\",type=\"x\"} 1\n");
}

TEST(Metrics, HistogramsWithLabels) {
  Registry registry;
  registry.histograms("a_seconds", "A", {"op"}, {.start = 1, .factor = 2, .count = 1}).with({"put"}).observe(0.5);
  EXPECT_TRUE(registry.text().contains("a_seconds_bucket{op=\"put\",le=\"1\"} 1\n")) << registry.text();
}

TEST(Metrics, WhatOthersKnowIsAskedEachTime) {
  Registry registry;
  int looks = 0;
  registry.before_text([&looks] { ++looks; });
  registry.collect(Kind::kGauge, "a_looks", "A", [&looks] { return looks; });
  registry.collect(Kind::kCounter, "b_total", "B", {"action"}, [&looks](const Registry::Emit& emit) {
    if (looks > 1) emit({"get"}, 7);
  });
  EXPECT_EQ(registry.text(), "# HELP a_looks A\n# TYPE a_looks gauge\na_looks 1\n");
  EXPECT_TRUE(
      registry.text().ends_with("a_looks 2\n# HELP b_total B\n# TYPE b_total counter\n"
                                "b_total{action=\"get\"} 7\n"));
}

TEST(Metrics, ThreadsCountWithoutLosingAnything) {
  constexpr int kThreads = 20;  // more than there are cells
  constexpr int kRounds = 10'000;
  Registry registry;
  Counter& counter = registry.counter("a_total", "A");
  Gauge& gauge = registry.gauge("b_now", "B");
  Histogram& histogram = registry.histogram("c_seconds", "C", {.start = 1, .factor = 2, .count = 2});
  Family<Counter>& family = registry.counters("d_total", "D", {"parity"});
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int round = 0; round < kRounds; ++round) {
          counter.add();
          gauge.add(round % 2 == 0 ? 1 : -1);
          histogram.observe(2.0);
          family.with({thread % 2 == 0 ? "even" : "odd"}).add(2);
          if (round % 1000 == 0) {
            EXPECT_FALSE(registry.text().empty());
          }
        }
      });
    }
  }
  EXPECT_EQ(counter.value(), std::uint64_t{kThreads} * kRounds);
  EXPECT_EQ(gauge.value(), 0);
  EXPECT_EQ(histogram.count(1), std::uint64_t{kThreads} * kRounds);
  EXPECT_EQ(histogram.sum(), 2.0 * kThreads * kRounds);
  EXPECT_EQ(family.with({"odd"}).value(), std::uint64_t{kThreads} * kRounds);
}

TEST(MetricsDeathTest, TwoOfOneName) {
  Registry registry;
  registry.counter("a_total", "A");
  EXPECT_DEATH(registry.gauge("a_total", "B"), "two metrics are called a_total");
  EXPECT_DEATH(registry.gauge("1st", "B"), "cannot be called");
}

}  // namespace
}  // namespace etcd::telemetry
