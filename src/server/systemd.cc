#define SD_JOURNAL_SUPPRESS_LOCATION  // the line says where it comes from; this file is not it

#include "server/systemd.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace etcd::server {
namespace {

// libsystemd has the same path built in.
constexpr std::string_view kJournalSocket = "/run/systemd/journal/socket";

std::string error_text(int number) {
  return std::error_code(number, std::generic_category()).message();
}

void notify(const telemetry::Logger& logger, const char* state, std::string_view done) {
  const int sent = ::sd_notify(0, state);
  if (sent > 0) logger.info(done, {telemetry::field("state", state)});
  if (sent < 0) {
    logger.error("failed to notify systemd",
                 {telemetry::field("state", state), telemetry::field("error", error_text(-sent))});
  }
}

/// The level's name in a finished line of either form (telemetry/log.h).
std::string_view level_in(std::string_view line) {
  constexpr std::string_view kJsonBegin = "{\"level\":\"";
  const bool json = line.starts_with(kJsonBegin);
  const std::size_t begin = json ? kJsonBegin.size() : line.find('\t') + 1;
  return line.substr(begin, line.find(json ? '"' : '\t', begin) - begin);
}

/// Source: zap_journal.go; upstream's panics and fatal lines are critical, too.
int priority_of(telemetry::Level level) {
  switch (level) {
    case telemetry::Level::kDebug: return LOG_DEBUG;
    case telemetry::Level::kInfo: return LOG_INFO;
    case telemetry::Level::kWarn: return LOG_WARNING;
    case telemetry::Level::kError: return LOG_ERR;
    case telemetry::Level::kPanic:
    case telemetry::Level::kFatal:
    case telemetry::Level::kOff: return LOG_CRIT;
  }
  return LOG_CRIT;
}

class JournalSink final : public telemetry::Sink {
 public:
  void write(std::string_view line) override {
    std::string_view text = line;
    if (text.ends_with('\n')) text.remove_suffix(1);
    const telemetry::Level level = telemetry::level_named(level_in(text)).value_or(telemetry::Level::kInfo);
    std::string message = "MESSAGE=";
    message += text;
    std::string priority = fmt::format("PRIORITY={}", priority_of(level));
    const std::array<iovec, 2> fields = {iovec{message.data(), message.size()},
                                         iovec{priority.data(), priority.size()}};
    if (::sd_journal_sendv(fields.data(), static_cast<int>(fields.size())) < 0) fallback_->write(line);
  }

 private:
  std::shared_ptr<telemetry::Sink> fallback_ = telemetry::stderr_sink();  // shared with nobody
};

}  // namespace

void notify_ready(const telemetry::Logger& logger) {
  notify(logger, "READY=1", "successfully notified init daemon");
}

void notify_stopping(const telemetry::Logger& logger) {
  notify(logger, "STOPPING=1", "notified init daemon of the stop");
}

Result<std::shared_ptr<telemetry::Sink>> journal_sink() {
  // sd_journal_sendv() says nothing when there is no journal; lines would just be gone.
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  static_assert(kJournalSocket.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, kJournalSocket.data(), kJournalSocket.size());
  const bool there =
      descriptor >= 0 && ::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int why = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!there) {
    return failure(ErrorCode::kIo, fmt::format("can't find journal ({}: {})", kJournalSocket, error_text(why)));
  }
  std::shared_ptr<telemetry::Sink> sink = std::make_shared<JournalSink>();
  return sink;
}

}  // namespace etcd::server
