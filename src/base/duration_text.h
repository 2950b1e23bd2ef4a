// base/duration_text.h - durations as Go writes them: "1h2m3.5s", "250ms", "0s".
//
// Thread:  any (pure function).
// Source:  the text form of Go's time.Duration, which upstream's flags, log lines and statistics carry.
#pragma once
#include <string>

#include "base/time.h"

namespace etcd {

std::string duration_text(Duration duration);

}  // namespace etcd
