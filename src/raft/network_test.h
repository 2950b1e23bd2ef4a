// raft/network_test.h - members, a driver for each, and a network that delivers in order unless told otherwise.
//
// Thread:  one. Only the tests of this room include it.
#pragma once
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "raft/core.h"
#include "raft/memory_log.h"

namespace etcd::raft {

inline std::vector<MemberId> ids_up_to(std::size_t count) {
  std::vector<MemberId> ids;
  for (MemberId id = 1; id <= count; ++id) ids.push_back(id);
  return ids;
}

inline SharedBytes bytes(std::string text) {
  return SharedBytes(std::move(text));
}

/// Entries behind `before`, one for each term.
inline std::vector<Entry> entries_of(Index before, const std::vector<std::uint64_t>& terms) {
  std::vector<Entry> entries;
  for (const std::uint64_t term : terms) {
    ++before;
    entries.push_back({.term = Term{term}, .index = before, .type = EntryType::kNormal});
  }
  return entries;
}

struct TestMember {
  Options options;
  MemoryLog log;
  std::unique_ptr<Core> core;
  std::vector<Entry> applied;  // since it was started
  std::vector<ReadState> reads;
};

class Network {
 public:
  /// Voters 1 to `count`, all with the same options.
  explicit Network(std::size_t count, Options options = {}) : Network(ConfState{.voters = ids_up_to(count)}, options) {}

  explicit Network(const ConfState& members, Options options = {}) : members_at_start_(members), options_(options) {
    for (const auto* const ids : {&members.voters, &members.learners, &members.voters_outgoing}) {
      for (const MemberId id : *ids) add(id);
    }
  }

  /// A member that knows the configuration of the start, with a log of these terms from index 1, last seen in `term`.
  void add(MemberId id, const std::vector<std::uint64_t>& terms = {}, std::uint64_t term = 0, MemberId vote = kNobody) {
    TestMember& one = members_[id];
    one = TestMember();
    one.options = options_;
    one.options.id = id;
    one.log.set_conf_state(members_at_start_);
    one.log.append(entries_of(Index{}, terms));
    if (term != 0) one.log.set_hard_state({.term = Term{term}, .vote = vote, .commit = {}});
    start(one);
  }

  /// What was saved is kept, all else is lost; its unsent messages too.
  void restart(MemberId id) {
    TestMember& one = members_.at(id);
    std::erase_if(sent, [&](const Message& message) { return message.to == id || message.from == id; });
    start(one);
  }

  [[nodiscard]] TestMember& member(MemberId id) { return members_.at(id); }
  [[nodiscard]] Core& core(MemberId id) { return *members_.at(id).core; }

  /// Does the duties of one member: saves, applies, queues what it sends.
  void work(MemberId id) {
    TestMember& one = members_.at(id);
    while (one.core->has_ready()) {
      Ready ready = one.core->take_ready();
      for (ReadState& read : ready.read_states) one.reads.push_back(std::move(read));
      if (!one.options.async_storage_writes) {
        save(one, ready.hard_state, ready.entries, ready.snapshot);
        apply(one, ready.committed_entries);
      }
      std::vector<Message> answers;
      for (Message& message : ready.messages) {
        if (message.type == MessageType::kStorageAppend) {
          save(one, {message.term, message.vote, message.commit}, message.entries, message.snapshot);
        } else if (message.type == MessageType::kStorageApply) {
          apply(one, message.entries);
        } else {
          sent.push_back(std::move(message));
          continue;
        }
        for (Message& answer : message.responses) (answer.to == id ? answers : outgoing_).push_back(std::move(answer));
      }
      for (Message& message : outgoing_) sent.push_back(std::move(message));
      outgoing_.clear();
      for (Message& answer : answers) (void)one.core->step(std::move(answer));
      if (!one.options.async_storage_writes) one.core->advance();
      one.core->check_invariants();
    }
    one.core->take_notes();
  }

  /// Everybody works and everything is delivered until nothing happens any more.
  void settle() {
    for (auto& [id, one] : members_) work(id);
    while (!sent.empty()) deliver();
  }

  /// Delivers the oldest message, unless it is dropped.
  void deliver() {
    Message message = std::move(sent.front());
    sent.pop_front();
    const MemberId to = message.to;
    if (lost(message)) return;
    (void)members_.at(to).core->step(std::move(message));
    work(to);
  }

  void isolate(MemberId id) { isolated_.insert(id); }
  void heal() {
    isolated_.clear();
    drop = nullptr;
  }

  void campaign(MemberId id) {
    core(id).campaign();
    settle();
  }

  void tick(MemberId id, int ticks) {
    for (int done = 0; done < ticks; ++done) core(id).tick();
    work(id);
  }

  [[nodiscard]] std::vector<std::uint64_t> terms_of(MemberId id) {
    std::vector<std::uint64_t> terms;
    const MemoryLog& log = members_.at(id).log;
    for (Index index = log.first_index(); index <= log.last_index(); ++index) terms.push_back(log.term(index)->value);
    return terms;
  }

  /// Commands that were applied, without empty ones.
  [[nodiscard]] std::vector<std::string> commands_of(MemberId id) {
    std::vector<std::string> commands;
    for (const Entry& entry : members_.at(id).applied) {
      if (entry.type == EntryType::kNormal && !entry.data.empty()) commands.emplace_back(entry.data.view());
    }
    return commands;
  }

  std::deque<Message> sent;                  // on their way
  std::function<bool(const Message&)> drop;  // true: this one gets lost

 private:
  [[nodiscard]] bool lost(const Message& message) const {
    return isolated_.contains(message.from) || isolated_.contains(message.to) || !members_.contains(message.to) ||
           (drop && drop(message));
  }

  void start(TestMember& one) {
    one.applied.clear();
    one.reads.clear();
    one.core = std::make_unique<Core>(one.options, one.log, Rng(one.options.id));
  }

  static void save(TestMember& one, const HardState& state, std::span<const Entry> entries,
                   const std::optional<Snapshot>& snapshot) {
    if (!state.empty()) one.log.set_hard_state(state);
    if (snapshot.has_value()) (void)one.log.apply_snapshot(*snapshot);
    one.log.append(entries);
    one.log.check_invariants();
  }

  static void apply(TestMember& one, std::span<const Entry> entries) {
    for (const Entry& entry : entries) {
      if (const auto change = decode_conf_change(entry); change.has_value()) one.core->apply_conf_change(*change);
      one.applied.push_back(entry);
    }
  }

  ConfState members_at_start_;
  Options options_;
  std::map<MemberId, TestMember> members_;
  std::vector<Message> outgoing_;
  std::set<MemberId> isolated_;
};

}  // namespace etcd::raft
