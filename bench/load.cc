// bench/load.cc - a small load generator for the v2 keys API.
//
//   load --endpoint 127.0.0.1:2379 --pid $(pidof etcd) --mode put --connections 10 --seconds 5
//
// Each connection keeps `--pipeline` requests under way and sends the next one when an answer has come. Before the
// measurement every key is written once, so that a GET finds it and a PUT replaces it. The result is one line of JSON.
// What the server spends is read from /proc around the measurement: the CPU time and the voluntary context switches of
// all its threads. Only loopback addresses are accepted. A server that shares its processors with the load generator
// shows a lower rate than it would elsewhere; its CPU time per request is the figure to compare.
//
// Exit code: 0; 1 when a request failed (the line is printed all the same); 2 when nothing was measured.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "latencies.h"
#include "requests.h"
#include "usage.h"
#include "waiters.h"
#include "wire.h"

namespace etcd::bench {
namespace {

constexpr std::chrono::seconds kPrefillMax{120};
constexpr std::chrono::seconds kExpiryMax{120};

constexpr std::string_view kUsage =
    "usage: load --endpoint HOST:PORT [--pid PID] [--mode MODE] [--connections C] [--pipeline D]\n"
    "            [--seconds S] [--requests N] [--value-bytes B] [--keys K] [--waiters W] [--rounds R]\n"
    "  --endpoint     a loopback address and port\n"
    "  --pid          the server's process, to tell what a request costs it\n"
    "  --mode         put (default), get,\n"
    "                 cas     compare-and-swap by prevValue\n"
    "                 ttl     PUT with a TTL that does not run out\n"
    "                 list    recursive GET of the directory of all keys\n"
    "                 wait    long polls on one key, answered by one PUT; takes --waiters and --rounds\n"
    "                 expire  PUT while the TTLs of --keys other keys end within one second\n"
    "  --connections  1 by default, at most 1000\n"
    "  --pipeline     requests under way on each connection, 1 by default\n"
    "  --seconds      how long to send; 5 by default, 300 beside --requests\n"
    "  --requests     how many to send, unless the time ends before\n"
    "  --value-bytes  256 by default\n"
    "  --keys         1000 by default, below /bench\n"
    "  --waiters      1000 by default\n"
    "  --rounds       how often they wait and are answered; 10 by default\n";

// ---- what to do ----

enum class Mode { kPut, kGet, kCas, kTtl, kList, kWait, kExpire };

constexpr std::array<std::string_view, 7> kModeNames = {"put", "get", "cas", "ttl", "list", "wait", "expire"};

std::string_view name_of(Mode mode) {
  return kModeNames[static_cast<std::size_t>(mode)];
}

Mode mode_named(std::string_view name) {
  const auto* const found = std::ranges::find(kModeNames, name);
  if (found == kModeNames.end()) refuse(fmt::format("there is no --mode {}; --help tells more", name));
  return static_cast<Mode>(found - kModeNames.begin());
}

Kind kind_of(Mode mode) {
  switch (mode) {
    case Mode::kGet: return Kind::kGet;
    case Mode::kCas: return Kind::kCas;
    case Mode::kTtl: return Kind::kTtl;
    case Mode::kList: return Kind::kList;
    case Mode::kPut:
    case Mode::kWait:
    case Mode::kExpire: return Kind::kPut;
  }
  return Kind::kPut;
}

struct Options {
  std::string endpoint;
  Address address;
  std::uint64_t pid = 0;  // 0: none was named
  Mode mode = Mode::kPut;
  std::uint64_t connections = 1;
  std::uint64_t pipeline = 1;
  double seconds = 0;          // 0: not named
  std::uint64_t requests = 0;  // 0: no limit
  std::uint64_t value_bytes = 256;
  std::uint64_t keys = 1000;
  std::uint64_t waiters = 1000;
  std::uint64_t rounds = 10;
};

Options parse_flags(int count, char** arguments) {
  Options options;
  for (int place = 1; place < count; ++place) {
    const std::string_view flag = arguments[place];
    if (flag == "--help" || flag == "-h") {
      fmt::print("{}", kUsage);
      std::exit(0);
    }
    if (place + 1 == count) refuse(fmt::format("{} needs a value; --help tells more", flag));
    const std::string_view value = arguments[++place];
    if (flag == "--endpoint") {
      options.endpoint = value;
    } else if (flag == "--pid") {
      options.pid = whole_number(flag, value, 1, 1 << 22);
    } else if (flag == "--mode") {
      options.mode = mode_named(value);
    } else if (flag == "--connections") {
      options.connections = whole_number(flag, value, 1, 1000);
    } else if (flag == "--pipeline") {
      options.pipeline = whole_number(flag, value, 1, 1000);
    } else if (flag == "--seconds") {
      options.seconds = seconds_number(value);
    } else if (flag == "--requests") {
      options.requests = whole_number(flag, value, 1, 50'000'000);
    } else if (flag == "--value-bytes") {
      options.value_bytes = whole_number(flag, value, 0, 1'000'000);
    } else if (flag == "--keys") {
      options.keys = whole_number(flag, value, 1, 1'000'000);
    } else if (flag == "--waiters") {
      options.waiters = whole_number(flag, value, 1, 25'000);
    } else if (flag == "--rounds") {
      options.rounds = whole_number(flag, value, 1, 10'000);
    } else {
      refuse(fmt::format("unknown flag {}; --help tells more", flag));
    }
  }
  if (options.endpoint.empty()) refuse("--endpoint is missing; --help tells more");
  options.address = loopback_address(options.endpoint);
  if (options.seconds == 0) options.seconds = options.requests == 0 ? 5 : 300;
  return options;
}

RequestsOptions requests_of(const Options& options, Kind kind) {
  RequestsOptions requests;
  requests.endpoint = options.endpoint;
  requests.address = options.address;
  requests.kind = kind;
  requests.connections = options.connections;
  requests.pipeline = options.pipeline;
  requests.requests_max = options.requests;
  requests.time_max = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
  requests.value_bytes = options.value_bytes;
  requests.keys = options.keys;
  return requests;
}

// ---- measurements ----

std::optional<Usage> look(const Options& options) {
  return options.pid == 0 ? std::nullopt : usage_of(options.pid);
}

std::optional<Spent> difference(const std::optional<Usage>& before, const std::optional<Usage>& after) {
  if (!before || !after) return std::nullopt;
  return spent_between(*before, *after);
}

std::string number_or_null(std::optional<double> number) {
  return number ? fmt::format("{:.3f}", *number) : "null";
}

double us_each(const Spent& spent, std::uint64_t count) {
  return static_cast<double>(spent.cpu_ns) / 1000 / static_cast<double>(count);
}

/// The fields of the JSON line that tell what one request cost the server; null where that is not known.
std::string cost_fields(const std::optional<Spent>& spent, std::uint64_t requests) {
  if (!spent || requests == 0) {
    return R"("server_cpu_us_per_request":null,"cpu_source":null,"server_switches_per_request":null)";
  }
  return fmt::format(R"("server_cpu_us_per_request":{:.2f},"cpu_source":"{}","server_switches_per_request":{:.3f})",
                     us_each(*spent, requests), spent->fine ? "schedstat" : "stat",
                     static_cast<double>(spent->switches) / static_cast<double>(requests));
}

double rate(std::uint64_t answered, double seconds) {
  return seconds > 0 ? static_cast<double>(answered) / seconds : 0.0;
}

std::string latency_fields(Latencies& latencies, std::string_view prefix = "") {
  return fmt::format(R"("{0}p50_us":{1:.1f},"{0}p99_us":{2:.1f},"{0}max_us":{3:.1f})", prefix,
                     latencies.percentile_us(50), latencies.percentile_us(99), latencies.percentile_us(100));
}

/// Writes every key of /bench once.
Outcome prefill(const Options& options, Kind kind, std::uint64_t keys, Clock::duration time_max,
                std::int64_t expire_at_s = 0) {
  RequestsOptions requests = requests_of(options, kind);
  requests.connections = std::min<std::uint64_t>(keys, 10);
  requests.pipeline = 1;
  requests.requests_max = keys;
  requests.keys = keys;
  requests.time_max = time_max;
  requests.expire_at_s = expire_at_s;
  Outcome outcome = Requests(requests).run();
  if (outcome.answered != keys) {
    refuse(
        fmt::format("only {} of {} keys could be written, {} requests failed", outcome.answered, keys, outcome.errors));
  }
  return outcome;
}

int run_requests(const Options& options) {
  prefill(options, Kind::kPut, options.keys, kPrefillMax);
  const std::optional<Usage> before = look(options);
  Outcome outcome = Requests(requests_of(options, kind_of(options.mode))).run();
  const std::optional<Usage> after = look(options);
  if (outcome.answered == 0) refuse(fmt::format("no request was answered, {} failed", outcome.errors));
  fmt::print(R"({{"mode":"{}","connections":{},"pipeline":{},"value_bytes":{},"keys":{},"requests":{},"errors":{},)"
             R"("seconds":{:.3f},"requests_per_s":{:.1f},{},{}}})"
             "\n",
             name_of(options.mode), options.connections, options.pipeline, options.value_bytes, options.keys,
             outcome.answered, outcome.errors, outcome.seconds, rate(outcome.answered, outcome.seconds),
             latency_fields(outcome.latencies), cost_fields(difference(before, after), outcome.answered));
  return outcome.errors == 0 ? 0 : 1;
}

int run_waiters(const Options& options) {
  // So that the server has warmed up before its memory is looked at.
  prefill(options, Kind::kPut, options.keys, kPrefillMax);
  WaitersOptions waiters;
  waiters.endpoint = options.endpoint;
  waiters.address = options.address;
  waiters.pid = options.pid;
  waiters.waiters = options.waiters;
  waiters.rounds = options.rounds;
  WaitersOutcome outcome = Waiters(waiters).run();
  if (outcome.answered == 0) refuse(fmt::format("no waiter was answered, {} failed", outcome.errors));
  std::optional<double> answering_us;
  if (outcome.answering) answering_us = us_each(*outcome.answering, outcome.answered);
  fmt::print(R"({{"mode":"wait","waiters":{},"rounds":{},"requests":{},"errors":{},"seconds":{:.3f},)"
             R"("requests_per_s":{:.1f},{},{},"server_cpu_us_per_answer":{},"bytes_per_waiter":{}}})"
             "\n",
             options.waiters, options.rounds, outcome.answered, outcome.errors, outcome.seconds,
             rate(outcome.answered, outcome.seconds), latency_fields(outcome.latencies),
             cost_fields(outcome.whole, outcome.answered), number_or_null(answering_us),
             number_or_null(outcome.bytes_per_waiter));
  return outcome.errors == 0 ? 0 : 1;
}

/// Puts to a few keys: first for a while when nothing expires, then while the TTLs of many others end together.
///
/// Each expiry uses one index, and so does each put; what the index has moved beyond our own puts has expired.
int run_expiry(const Options& options) {
  constexpr std::uint64_t kPutKeys = 1000;
  RequestsOptions puts = requests_of(options, Kind::kPut);
  puts.keys = kPutKeys;
  puts.requests_max = 0;

  const Outcome warm = prefill(options, Kind::kPut, kPutKeys, kPrefillMax);
  // Twice the time that writing them should take, and the quiet time.
  const double writing_s = 2 * static_cast<double>(options.keys) / std::max(rate(warm.answered, warm.seconds), 1.0);
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const std::chrono::seconds lead(static_cast<std::int64_t>(std::ceil(writing_s + options.seconds)) + 2);
  const std::chrono::sys_seconds expire_at = now + lead;
  const auto writing_max = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(writing_s + 1));
  prefill(options, Kind::kExpiring, options.keys, writing_max, expire_at.time_since_epoch().count());

  const std::optional<Usage> before_quiet = look(options);
  Outcome quiet = Requests(puts).run();
  const std::optional<Usage> after_quiet = look(options);
  if (quiet.answered == 0) refuse(fmt::format("no request was answered, {} failed", quiet.errors));
  if (std::chrono::system_clock::now() >= expire_at) refuse("writing the keys took too long; use fewer");

  std::this_thread::sleep_until(expire_at);
  puts.time_max = kExpiryMax;
  puts.base_index = quiet.etcd_index;
  puts.foreign_indices = options.keys;
  const std::optional<Usage> before = look(options);
  Outcome during = Requests(puts).run();
  const std::optional<Usage> after = look(options);
  // Other puts that are under way may have moved the index, too: with one connection there are none.
  const std::uint64_t expired = during.etcd_index - std::min(during.etcd_index, quiet.etcd_index + during.answered);
  if (expired + options.connections * options.pipeline < options.keys) {
    refuse(fmt::format("only {} of {} keys expired within {} s", expired, options.keys, kExpiryMax.count()));
  }

  std::optional<double> us_per_expiry;
  const std::optional<Spent> spent_quiet = difference(before_quiet, after_quiet);
  const std::optional<Spent> spent_during = difference(before, after);
  if (spent_quiet && spent_during) {
    const double for_puts_us = us_each(*spent_quiet, quiet.answered) * static_cast<double>(during.answered);
    us_per_expiry = (static_cast<double>(spent_during->cpu_ns) / 1000 - for_puts_us) / static_cast<double>(expired);
  }
  fmt::print(R"({{"mode":"expire","connections":{},"pipeline":{},"value_bytes":{},"keys":{},"requests":{},"errors":{},)"
             R"("seconds":{:.3f},"requests_per_s":{:.1f},{},{},"server_cpu_us_per_expiry":{}}})"
             "\n",
             options.connections, options.pipeline, options.value_bytes, options.keys, during.answered,
             quiet.errors + during.errors, during.seconds, rate(during.answered, during.seconds),
             latency_fields(quiet.latencies, "quiet_"), latency_fields(during.latencies),
             number_or_null(us_per_expiry));
  return quiet.errors + during.errors == 0 ? 0 : 1;
}

int run(const Options& options) {
  switch (options.mode) {
    case Mode::kWait: return run_waiters(options);
    case Mode::kExpire: return run_expiry(options);
    case Mode::kPut:
    case Mode::kGet:
    case Mode::kCas:
    case Mode::kTtl:
    case Mode::kList: return run_requests(options);
  }
  return 2;
}

}  // namespace
}  // namespace etcd::bench

int main(int count, char** arguments) {
  return etcd::bench::run(etcd::bench::parse_flags(count, arguments));
}
