// raft/note.h - what the core has to say for a log, collected for the driver to print.
//
// A note is made only when its level is wanted, so that the hot path formats nothing. Notes nobody takes are dropped,
// oldest first, past a bound.
//
// Thread:  the core's loop only.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace etcd::raft {

enum class NoteLevel : std::uint8_t { kDebug, kInfo, kWarning, kError, kNone };

struct Note {
  NoteLevel level = NoteLevel::kInfo;
  std::string text;  // one line, without its end
};

class Notes {
 public:
  explicit Notes(NoteLevel least) : least_(least) {}

  [[nodiscard]] bool wants(NoteLevel level) const { return level >= least_; }

  template <class... Args>
  void add(NoteLevel level, fmt::format_string<Args...> format, Args&&... args) {
    if (wants(level)) [[unlikely]]
      keep(level, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) {
    add(NoteLevel::kDebug, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    add(NoteLevel::kInfo, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) {
    add(NoteLevel::kWarning, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    add(NoteLevel::kError, format, std::forward<Args>(args)...);
  }

  [[nodiscard]] bool empty() const { return kept_.empty(); }
  std::vector<Note> take() { return std::exchange(kept_, {}); }

 private:
  static constexpr std::size_t kKeptMax = 4096;

  void keep(NoteLevel level, std::string text) {
    if (kept_.size() >= kKeptMax) kept_.erase(kept_.begin(), kept_.begin() + kKeptMax / 2);
    kept_.push_back({level, std::move(text)});
  }

  NoteLevel least_;
  std::vector<Note> kept_;
};

}  // namespace etcd::raft
