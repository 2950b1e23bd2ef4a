// duties/expirer.h - the leader's duty to end nodes whose TTL has run out.
//
// Life:    constructor -> leader_changed() ... -> stop()
// Thread:  any for leader_changed() and stop(); the work is on the apply loop, where the index of deadlines lives.
// Owns:    a timer. Borrows replica, index, clock and loop, which must outlive it.
// Source:  DESIGN "Time". One command and so one revision for each node, in the order of (deadline, path), proposed in
//          slices, so that a hundred thousand nodes that run out together do not hold up the writes between them.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "io/clock.h"
#include "io/executor.h"
#include "lease/expiry_index.h"

namespace etcd::duties {

struct ExpirerOptions {
  Duration look_interval = 50ms;   // how late a node may be found to have run out
  Duration idle_interval = 200ms;  // likewise, for the first one after a time without any
  Duration busy_interval = 3ms;    // likewise, while a look finds more than its slice
  std::size_t slice = 250;         // nodes proposed at one look, so that writes between two looks hardly wait
  Duration retry = 3s;             // after which a proposal that came to nothing is made again
};

class Expirer {
 public:
  /// `propose` puts encoded commands into the log, in order, and need not tell what became of them.
  Expirer(lease::ExpiryIndex& index, const io::Clock& clock, io::Executor& apply_loop,
          std::function<void(std::vector<SharedBytes> commands)> propose, ExpirerOptions options = {});

  /// Only a leader expires; a new one works out anew when everything is due.
  void leader_changed(bool leads);
  void stop();

 private:
  void look();

  lease::ExpiryIndex& index_;
  const io::Clock& clock_;
  io::Executor& apply_loop_;
  const std::function<void(std::vector<SharedBytes>)> propose_;
  const ExpirerOptions options_;
  // Apply loop.
  bool leads_ = false;
  bool stopped_ = false;
  bool looking_ = false;  // a look is scheduled
};

}  // namespace etcd::duties
