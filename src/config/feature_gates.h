// config/feature_gates.h - which of upstream's feature gates are open.
//
// Thread:  any (values).
// Source:  etcd v3.7.1 server/features/etcd_features.go; the group switches are Kubernetes' component-base.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace etcd::config {

class FeatureGates {
 public:
  /// Takes "Name=true,Other=false"; later calls add to earlier ones.
  /// Errors: kInvalidArgument naming the first text that is no bool, else a gate that does not exist; nothing changes.
  Result<void> set(std::string_view text);

  /// What was said of this gate, else of its group (AllAlpha, AllBeta), else its default. The gate must exist.
  [[nodiscard]] bool enabled(std::string_view gate) const;

  /// Every gate, and the two groups, for the metrics.
  struct State {
    std::string_view name;
    std::string_view stage;  // "ALPHA" or "BETA"
    bool on;
  };
  [[nodiscard]] std::vector<State> states() const;

  friend bool operator==(const FeatureGates&, const FeatureGates&) = default;

 private:
  std::map<std::string, bool, std::less<>> given_;
};

}  // namespace etcd::config
