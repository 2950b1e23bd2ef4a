// Why no spdlog here: of what it offers we would use the write alone. Its patterns know no typed fields, so the line
// would be ours anyway; its file sinks take a mutex and buffer in stdio, where one write(2) keeps lines whole without
// either; and its registry is global. Its headers would cost this file seconds of compile time.
#include "telemetry/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <system_error>

#include "base/check.h"
#include "base/duration_text.h"

namespace etcd::telemetry {
namespace {

constexpr std::array<std::string_view, 6> kLevelNames = {"debug", "info", "warn", "error", "panic", "fatal"};

class DescriptorSink final : public Sink {
 public:
  DescriptorSink(int descriptor, bool owned) : descriptor_(descriptor), owned_(owned) {}
  DescriptorSink(const DescriptorSink&) = delete;
  DescriptorSink& operator=(const DescriptorSink&) = delete;
  ~DescriptorSink() override {
    if (owned_) ::close(descriptor_);
  }

  void write(std::string_view line) override {
    // The kernel takes a short line whole. Only a full pipe or disk splits it, and then a mixed line beats a lost one.
    while (!line.empty()) {
      const ssize_t count = ::write(descriptor_, line.data(), line.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      line.remove_prefix(static_cast<std::size_t>(count));
    }
  }

 private:
  int descriptor_;
  bool owned_;
};

/// The bytes of the well-formed UTF-8 sequence that `text` starts with, or 0. Source: RFC 3629 section 4.
std::size_t sequence_bytes(std::string_view text) {
  const auto at = [text](std::size_t place) { return static_cast<unsigned char>(text[place]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return 0;
  for (std::size_t place = 1; place < bytes; ++place) {
    if ((at(place) & 0xC0) != 0x80) return 0;
  }
  if (first == 0xE0 && at(1) < 0xA0) return 0;  // could have been shorter
  if (first == 0xED && at(1) > 0x9F) return 0;  // half of a surrogate pair
  if (first == 0xF0 && at(1) < 0x90) return 0;  // could have been shorter
  if (first == 0xF4 && at(1) > 0x8F) return 0;  // beyond U+10FFFF
  return bytes;
}

void append_text(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const std::size_t bytes = sequence_bytes(text);
    const char first = text.front();
    if (bytes == 0) {
      out += "\\ufffd";
    } else if (bytes > 1) {
      out += text.substr(0, bytes);
    } else if (first == '"' || first == '\\') {
      out += '\\';
      out += first;
    } else if (first == '\n') {
      out += "\\n";
    } else if (first == '\r') {
      out += "\\r";
    } else if (first == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(first) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(first));
    } else {
      out += first;
    }
    text.remove_prefix(bytes == 0 ? 1 : bytes);
  }
  out += '"';
}

void append_time(std::string& out, WallTime time) {
  const std::chrono::sys_time<std::chrono::nanoseconds> instant{std::chrono::nanoseconds(time.ns)};
  const auto midnight = std::chrono::floor<std::chrono::days>(instant);
  const std::chrono::year_month_day date(midnight);
  const std::int64_t us = std::chrono::floor<std::chrono::microseconds>(instant - midnight).count();
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), us / 3'600'000'000,
                 us / 60'000'000 % 60, us / 1'000'000 % 60, us % 1'000'000);
}

/// The folder and the file alone: "server/member.cc:42".
void append_caller(std::string& out, const std::source_location& at) {
  std::string_view path = at.file_name();
  const std::size_t file = path.rfind('/');
  if (file != std::string_view::npos && file > 0) {
    const std::size_t folder = path.rfind('/', file - 1);
    if (folder != std::string_view::npos) path.remove_prefix(folder + 1);
  }
  out += path;
  fmt::format_to(std::back_inserter(out), ":{}", at.line());
}

struct AppendValue {
  std::string& out;

  void operator()(std::string_view value) const { append_text(out, value); }
  void operator()(std::int64_t value) const { fmt::format_to(std::back_inserter(out), "{}", value); }
  void operator()(std::uint64_t value) const { fmt::format_to(std::back_inserter(out), "{}", value); }
  void operator()(bool value) const { out += value ? "true" : "false"; }
  void operator()(Duration value) const { append_text(out, duration_text(value)); }
  void operator()(HexId value) const { fmt::format_to(std::back_inserter(out), "\"{:x}\"", value.value); }
  void operator()(std::span<const std::string> values) const {
    out += '[';
    for (std::size_t place = 0; place < values.size(); ++place) {
      if (place > 0) out += ',';
      append_text(out, values[place]);
    }
    out += ']';
  }
};

void append_fields(std::string& out, std::span<const Field> fields, std::string_view separator,
                   std::string_view colon) {
  bool first = true;
  for (const Field& one : fields) {
    if (!first) out += separator;
    first = false;
    append_text(out, one.key);
    out += colon;
    std::visit(AppendValue{out}, one.value);
  }
}

}  // namespace

std::string_view name_of(Level level) {
  const auto place = static_cast<std::size_t>(level);
  return place < kLevelNames.size() ? kLevelNames[place] : "off";
}

std::optional<Level> level_named(std::string_view name) {
  for (std::size_t place = 0; place < kLevelNames.size(); ++place) {
    if (kLevelNames[place] == name) return static_cast<Level>(place);
  }
  return std::nullopt;
}

std::shared_ptr<Sink> stderr_sink() {
  return std::make_shared<DescriptorSink>(STDERR_FILENO, false);
}
std::shared_ptr<Sink> stdout_sink() {
  return std::make_shared<DescriptorSink>(STDOUT_FILENO, false);
}

Result<std::shared_ptr<Sink>> file_sink(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    return failure(ErrorCode::kIo, fmt::format("cannot open log file {}: {}", path,
                                               std::error_code(errno, std::generic_category()).message()));
  }
  std::shared_ptr<Sink> sink = std::make_shared<DescriptorSink>(descriptor, true);
  return sink;
}

Logger::Logger(LogOptions options, std::vector<std::shared_ptr<Sink>> sinks, std::function<WallTime()> wall)
    : level_(options.level) {
  CHECK(static_cast<bool>(wall), "a logger needs a wall clock");
  core_ = std::make_shared<const Core>(Core{options.format, std::move(sinks), std::move(wall)});
}

void Logger::write(Level level, std::string_view message, std::span<const Field> fields,
                   const std::source_location& at) const {
  if (core_ == nullptr || level == Level::kOff) return;
  std::string line;
  line.reserve(256);
  if (core_->format == Format::kJson) {
    line += "{\"level\":\"";
    line += name_of(level);
    line += "\",\"ts\":\"";
    append_time(line, core_->wall());
    line += "\",\"caller\":\"";
    append_caller(line, at);
    line += "\",\"msg\":";
    append_text(line, message);
    if (!fields.empty()) line += ',';
    append_fields(line, fields, ",", ":");
    line += "}\n";
  } else {
    append_time(line, core_->wall());
    line += '\t';
    line += name_of(level);
    line += '\t';
    append_caller(line, at);
    line += '\t';
    // A person reads this form, so a quote stays a quote; but a message must not be able to fake a second line.
    for (const char one : message) line += static_cast<unsigned char>(one) < 0x20 ? ' ' : one;
    if (!fields.empty()) {
      line += "\t{";
      append_fields(line, fields, ", ", ": ");
      line += '}';
    }
    line += '\n';
  }
  for (const std::shared_ptr<Sink>& sink : core_->sinks) sink->write(line);
}

}  // namespace etcd::telemetry
