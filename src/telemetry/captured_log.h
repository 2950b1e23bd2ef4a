// telemetry/captured_log.h - a logger for tests, which keeps its lines.
//
//   CapturedLog log;
//   Member member(log.logger());
//   EXPECT_TRUE(log.contains("ready to serve"));
//
// Thread:  any (guarded by the sink's mutex).
#pragma once
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "telemetry/log.h"

namespace etcd::telemetry {

class CapturedLog {
 public:
  /// A logger that writes here. Its clock stands at 1970-01-01T00:00:00Z unless `wall` is given.
  [[nodiscard]] Logger logger(
      LogOptions options = {.level = Level::kDebug, .format = Format::kJson},
      std::function<WallTime()> wall = [] { return WallTime{}; }) const {
    return Logger(options, {kept_}, std::move(wall));
  }

  /// The lines so far, without their newlines.
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::lock_guard lock(kept_->mu);
    return kept_->lines;
  }

  /// How many lines have `part` in them.
  [[nodiscard]] std::size_t count(std::string_view part) const {
    const std::vector<std::string> all = lines();
    return static_cast<std::size_t>(
        std::ranges::count_if(all, [part](const std::string& line) { return line.find(part) != std::string::npos; }));
  }
  [[nodiscard]] bool contains(std::string_view part) const { return count(part) > 0; }

 private:
  struct Kept final : Sink {
    void write(std::string_view line) override {
      if (line.ends_with('\n')) line.remove_suffix(1);
      const std::lock_guard lock(mu);
      lines.emplace_back(line);
    }
    std::mutex mu;
    std::vector<std::string> lines;  // guarded by mu
  };

  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();  // shared with the loggers made here, which may live longer
};

}  // namespace etcd::telemetry
