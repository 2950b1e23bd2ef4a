// server/run.h - what the etcd program does once its configuration has been read.
//
// Thread:  the main one, before any other has been started: signals are blocked here for all of them.
#pragma once
#include "config/load.h"

namespace etcd::server {

/// Prints what is to be printed, or runs one member until SIGTERM, SIGINT or a failure. Returns the exit code: 0 after
/// a clean stop, --help or --version; 2 for a malformed command line; 1 for anything else.
int run(const config::LoadResult& loaded);

}  // namespace etcd::server
