// server/systemd.h - what a service tells systemd: that it is ready, that it stops, and its log.
//
// Thread:  any.
// Source:  sd_notify(3), sd_journal_sendv(3); etcd v3.7.1 server/etcdmain/main.go, client/pkg/logutil/zap_journal.go.
#pragma once
#include <memory>

#include "base/result.h"
#include "telemetry/log.h"

namespace etcd::server {

/// Sends READY=1 to $NOTIFY_SOCKET, and logs it. Without that variable nobody waits for it, and nothing happens.
/// A failure is logged, and the member goes on.
void notify_ready(const telemetry::Logger& logger);

/// Sends STOPPING=1 likewise.
void notify_stopping(const telemetry::Logger& logger);

/// Hands each line to the journal, with its level as the priority; to standard error when the journal does not take it.
/// Errors: kIo when there is no journal.
Result<std::shared_ptr<telemetry::Sink>> journal_sink();

}  // namespace etcd::server
