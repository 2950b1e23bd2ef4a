// etcd - the server: reads the configuration, runs one member until a signal or a failure, exits with a code.
//
// Exit codes: 0 after a clean stop, --help or --version; 2 for a malformed command line; 1 for anything else.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <variant>

#include "base/version.h"
#include "config/check.h"
#include "config/load.h"
#include "io/clock.h"
#include "server/member.h"
#include "telemetry/log.h"

extern char** environ;

namespace {

using namespace etcd;

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return failure(ErrorCode::kIo, "open " + path + ": no such file, or not readable");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

config::Sources sources_of(int argc, char** argv) {
  config::Sources sources;
  sources.arguments.assign(argv + 1, argv + argc);
  for (char** variable = environ; *variable != nullptr; ++variable) sources.environment.emplace_back(*variable);
  sources.machine.read_file = read_file;
  sources.version = {.version = kServerVersion, .git_sha = ETCD_GIT_SHA, .platform = "linux/amd64"};
  return sources;
}

void write_notice(const telemetry::Logger& logger, const config::Notice& notice) {
  std::vector<telemetry::Field> fields;
  for (const auto& [key, value] : notice.fields) fields.push_back(telemetry::field(key, value));
  const telemetry::Level level = notice.level == config::Notice::Level::kInfo   ? telemetry::Level::kInfo
                                 : notice.level == config::Notice::Level::kWarn ? telemetry::Level::kWarn
                                                                                : telemetry::Level::kFatal;
  logger.log_span(level, notice.message, fields);
}

WallTime wall_now() { return io::RealClock().wall(); }

telemetry::Logger plain_logger() { return telemetry::Logger({}, {telemetry::stderr_sink()}, wall_now); }

Result<telemetry::Logger> make_logger(const config::Options& options) {
  std::vector<std::shared_ptr<telemetry::Sink>> sinks;
  for (const std::string& output : options.log_outputs) {
    if (output == "default" || output == "stderr" || output == "systemd/journal") {
      sinks.push_back(telemetry::stderr_sink());  // the journal takes standard error of a service by itself
    } else if (output == "stdout") {
      sinks.push_back(telemetry::stdout_sink());
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

int run(const config::Run& configured) {
  const config::Options& options = configured.options;
  const sigset_t ends = hold_signals();
  Result<telemetry::Logger> made = make_logger(options);
  if (!made) return refuse(plain_logger(), made.error());
  const telemetry::Logger& logger = *made;
  for (const config::Notice& notice : configured.notices) write_notice(logger, notice);
  if (const auto good = config::check_start(options); !good) return refuse(logger, good.error());
  logger.info("starting etcd", {telemetry::field("etcd-version", kServerVersion), telemetry::field("name", options.name),
                                telemetry::field("data-dir", options.data_dir)});

  // A failure later on ends the wait below just as a signal does.
  auto member = server::Member::start(options, logger, [] { ::kill(::getpid(), SIGTERM); });
  if (!member) return refuse(logger, member.error());
  logger.info("ready to serve client requests",
              {telemetry::field("listen-client-urls", config::join_urls(options.listen_client_urls))});

  int signal = 0;
  sigwait(&ends, &signal);
  if (const auto fault = (*member)->fault()) {
    // What the disk holds is what a restart will find; nothing in memory is worth saving any more.
    logger.fatal("etcd stops", {telemetry::field("error", fault->message)});
    std::_Exit(1);
  }
  logger.info("received signal; shutting down", {telemetry::field("signal", signal == SIGINT ? "interrupt" : "terminated")});
  (*member)->stop();
  logger.info("stopped", {});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const config::LoadResult loaded = config::load(sources_of(argc, argv));
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
  return run(configured);
}
