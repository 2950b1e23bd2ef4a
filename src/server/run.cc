#include "server/run.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <variant>

#include "base/version.h"
#include "config/check.h"
#include "io/clock.h"
#include "server/member.h"
#include "server/systemd.h"
#include "telemetry/log.h"
#include "telemetry/rotating_file.h"

namespace etcd::server {
namespace {

void write_notice(const telemetry::Logger& logger, const config::Notice& notice) {
  std::vector<telemetry::Field> fields;
  for (const auto& [key, value] : notice.fields) fields.push_back(telemetry::field(key, value));
  const telemetry::Level level = notice.level == config::Notice::Level::kInfo   ? telemetry::Level::kInfo
                                 : notice.level == config::Notice::Level::kWarn ? telemetry::Level::kWarn
                                                                                : telemetry::Level::kFatal;
  logger.log_span(level, notice.message, fields);
}

WallTime wall_now() {
  return io::RealClock().wall();
}

telemetry::Logger plain_logger() {
  return telemetry::Logger({}, {telemetry::stderr_sink()}, wall_now);
}

/// Source: natefinch/lumberjack v2.2: what is 0 or below sets no limit, but for the size, where it stands for 100.
telemetry::RotationOptions rotation_of(const config::LogRotation& configured) {
  constexpr std::int64_t kDaysMax = 100'000;  // what a Duration holds
  constexpr std::int64_t kMegabytesMax = std::int64_t{1} << 40;
  const std::int64_t megabytes = configured.max_megabytes <= 0 ? 100 : configured.max_megabytes;
  telemetry::RotationOptions rotation;
  rotation.bytes_max = static_cast<std::uint64_t>(std::min(megabytes, kMegabytesMax)) << 20;
  rotation.age_max = std::clamp<std::int64_t>(configured.max_days, 0, kDaysMax) * Duration(24h);
  rotation.backups_max = static_cast<std::size_t>(std::max<std::int64_t>(configured.max_backups, 0));
  rotation.local_time = configured.local_time;
  rotation.compress = configured.compress;
  return rotation;
}

Result<telemetry::Logger> make_logger(const config::Options& options) {
  std::vector<std::shared_ptr<telemetry::Sink>> sinks;
  for (const std::string& output : options.log_outputs) {
    if (output == "default" || output == "stderr") {
      sinks.push_back(telemetry::stderr_sink());
    } else if (output == "stdout") {
      sinks.push_back(telemetry::stdout_sink());
    } else if (output == "systemd/journal") {
      ETCD_TRY(auto sink, journal_sink());
      sinks.push_back(std::move(sink));
    } else if (options.enable_log_rotation) {
      ETCD_TRY(auto sink, telemetry::RotatingFile::open(output, rotation_of(options.log_rotation), wall_now));
      sinks.push_back(std::move(sink));
    } else {
      ETCD_TRY(auto sink, telemetry::file_sink(output));
      sinks.push_back(std::move(sink));
    }
  }
  telemetry::LogOptions log;
  log.level = telemetry::level_named(options.log_level).value_or(telemetry::Level::kInfo);
  log.format = options.log_format == "console" ? telemetry::Format::kConsole : telemetry::Format::kJson;
  return telemetry::Logger(log, std::move(sinks), wall_now);
}

int refuse(const telemetry::Logger& logger, const Error& error) {
  logger.fatal("etcd cannot start", {telemetry::field("error", error.message)});
  return 1;
}

/// Blocks the signals that end us in this thread and all that it will start, so that wait_for_end() gets them.
sigset_t hold_signals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return ends;
}

int run_member(const config::Run& configured) {
  const config::Options& options = configured.options;
  const sigset_t ends = hold_signals();
  Result<telemetry::Logger> made = make_logger(options);
  if (!made) return refuse(plain_logger(), made.error());
  const telemetry::Logger& logger = *made;
  for (const config::Notice& notice : configured.notices) write_notice(logger, notice);
  if (const auto good = config::check_start(options); !good) return refuse(logger, good.error());
  logger.info("starting etcd",
              {telemetry::field("etcd-version", kServerVersion), telemetry::field("name", options.name),
               telemetry::field("data-dir", options.data_dir)});

  // A failure later on ends the wait below just as a signal does.
  auto member = Member::start(options, logger, [] { ::kill(::getpid(), SIGTERM); });
  if (!member) return refuse(logger, member.error());
  notify_ready(logger);
  logger.info("ready to serve client requests",
              {telemetry::field("listen-client-urls", config::join_urls(options.listen_client_urls))});

  int signal = 0;
  sigwait(&ends, &signal);
  if (const auto fault = (*member)->fault()) {
    // What the disk holds is what a restart will find; nothing in memory is worth saving any more.
    logger.fatal("etcd stops", {telemetry::field("error", fault->message)});
    std::_Exit(1);
  }
  notify_stopping(logger);
  logger.info("received signal; shutting down",
              {telemetry::field("signal", signal == SIGINT ? "interrupt" : "terminated")});
  (*member)->stop();
  logger.info("stopped", {});
  return 0;
}

}  // namespace

int run(const config::LoadResult& loaded) {
  if (const auto* print = std::get_if<config::Print>(&loaded)) {
    std::fputs(print->out.c_str(), stdout);
    std::fputs(print->err.c_str(), stderr);
    std::fflush(stdout);
    const telemetry::Logger logger = plain_logger();
    for (const config::Notice& notice : print->notices) write_notice(logger, notice);
    return print->exit_code;
  }
  const config::Run& configured = std::get<config::Run>(loaded);
  std::fputs(configured.err.c_str(), stderr);
  return run_member(configured);
}

}  // namespace etcd::server
