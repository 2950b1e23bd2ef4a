// Members under a seed: messages are lost, doubled and reordered, members crash and forget what was not saved, logs are
// compacted, the configuration changes. After every step the safety properties of the Raft paper (figure 3) are checked
// from outside:
//
//     election safety        at most one leader per term
//     log matching           an entry is known by index and term, and so is the one before it
//     leader completeness    a leader's log holds everything committed before its term
//     state machine safety   every member applies the same entry at an index
//     linearizable reads     a read's index is at least what was committed, by anybody, when it was asked for
//
// Once faults stop, everybody must catch up within a bounded number of ticks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "raft/core.h"
#include "raft/describe.h"
#include "raft/memory_log.h"

namespace etcd::raft {
namespace {

/// What has been seen anywhere, over all members and restarts.
class Judge {
 public:
  void saw_leader(Term term, MemberId id) {
    const auto [place, first] = leaders_.emplace(term, id);
    CHECK(first || place->second == id, "term {} has leaders {} and {}", term.value, place->second, id);
  }

  /// True when this leadership is news.
  [[nodiscard]] bool is_new(Term term) const { return !leaders_.contains(term); }

  void saw_entry(const Entry& entry, Term previous) {
    const auto key = std::pair(entry.index, entry.term);
    const auto [place, first] = entries_.emplace(key, std::pair(previous, std::string(entry.data.view())));
    CHECK(first || place->second == std::pair(previous, std::string(entry.data.view())), "two entries {}/{}",
          entry.term.value, entry.index.value);
  }

  void saw_applied(const Entry& entry, MemberId by) {
    const auto [place, first] = applied_.emplace(entry.index, std::pair(entry.term, std::string(entry.data.view())));
    CHECK(first || place->second == std::pair(entry.term, std::string(entry.data.view())), "member {} applies {} at {}",
          by, describe(entry), entry.index.value);
  }

  [[nodiscard]] Index last_applied() const { return applied_.empty() ? Index{} : applied_.rbegin()->first; }

  /// Checks: the log of a leader in `term` holds everything applied so far.
  void check_complete(const Core& leader, const LogView& stored) const {
    for (const auto& [index, entry] : applied_) {
      if (index < leader.first_index()) continue;
      CHECK(index <= leader.last_index(), "leader {} of term {} ends with {} before committed {}", leader.id(),
            leader.term().value, leader.last_index().value, index.value);
      if (index > stored.last_index()) continue;  // not saved by it, so it cannot be one of an older term
      CHECK(*stored.term(index) == entry.first, "leader {} of term {} has term {} at committed {}", leader.id(),
            leader.term().value, stored.term(index)->value, index.value);
    }
  }

 private:
  std::map<Term, MemberId> leaders_;
  std::map<std::pair<Index, Term>, std::pair<Term, std::string>> entries_;
  std::map<Index, std::pair<Term, std::string>> applied_;
};

struct Faults {
  std::uint64_t lost_percent = 0;
  std::uint64_t doubled_percent = 0;
  bool reorder = false;
  bool crash = false;
  std::uint64_t campaign_percent = 0;  // besides those by time-out
  std::uint64_t change_percent = 1;    // of the configuration
  std::uint64_t slow_disk = 1;         // one of so many chances to write is taken
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed) : rng_(seed) {
    const std::size_t size = 3 + rng_.below(3);
    options_.election_ticks = 10;
    options_.async_storage_writes = rng_.chance(1, 2);
    options_.pre_vote = rng_.chance(1, 2);
    options_.check_quorum = rng_.chance(1, 2);
    options_.step_down_on_removal = rng_.chance(1, 2);
    options_.message_bytes_max = rng_.chance(1, 3) ? 0 : rng_.chance(1, 2) ? 40 : kNoLimit;
    options_.inflight_messages_max = rng_.chance(1, 2) ? 2 : 256;
    options_.applying_bytes_max = rng_.chance(1, 3) ? 30 : 0;
    options_.uncommitted_bytes_max = rng_.chance(1, 3) ? 50 : 0;
    options_.note_level = NoteLevel::kNone;
    ConfState start;
    for (MemberId id = 1; id <= size; ++id) start.voters.push_back(id);
    for (MemberId id = 1; id <= size + 1; ++id) {  // the last one may be added later
      Member& one = members_[id];
      one.log.set_conf_state(start);
      one.log.conf_state = start;
      boot(id);
    }
  }

  void run(int steps) {
    faults_ = {.lost_percent = rng_.below(30),
               .doubled_percent = rng_.below(10),
               .reorder = rng_.chance(2, 3),
               .crash = rng_.chance(2, 3),
               .campaign_percent = rng_.chance(1, 2) ? 0 : rng_.below(8),
               .change_percent = rng_.chance(1, 2) ? 1 : rng_.below(6),
               .slow_disk = 1 + rng_.below(4)};
    for (int step = 0; step < steps; ++step) {
      random_step();
      check();
    }
  }

  /// Without faults: everybody in the configuration applies everything.
  void recover() {
    faults_ = {};
    partition_ = 0;
    (void)rng_.next();
    for (int round = 0; round < 400; ++round) {
      for (auto& [id, one] : members_) one.core->tick();
      quiesce();
      check();
      if (round % 50 == 10) propose();
      if (round > 50 && all_alike()) return;
    }
    for (auto& [id, one] : members_) {
      ADD_FAILURE() << describe(one.core->status()) << " " << describe(one.core->config());
    }
  }

  [[nodiscard]] Index committed() const { return judge_.last_applied(); }
  [[nodiscard]] std::uint64_t reads_answered() const { return reads_answered_; }

 private:
  /// Its snapshot is of what the state machine holds now.
  class SavedLog : public MemoryLog {
   public:
    [[nodiscard]] Result<Snapshot> snapshot() const override {
      return Snapshot{.metadata = {.conf_state = conf_state, .index = applied, .term = *term(applied)}};
    }
    ConfState conf_state;  // as of applied
    Index applied;
  };

  struct Member {
    SavedLog log;  // what is saved, and the state machine, which is saved at once
    std::unique_ptr<Core> core;
    std::deque<Message> append_work;
    std::deque<Message> apply_work;
    std::optional<Ready> ready;  // synchronous form: taken, and not yet done
  };

  void boot(MemberId id) {
    Member& one = members_.at(id);
    one.append_work.clear();
    one.apply_work.clear();
    one.ready.reset();
    one.log.set_conf_state(one.log.conf_state);
    Options options = options_;
    options.id = id;
    options.applied = one.log.applied;
    one.core = std::make_unique<Core>(options, one.log, rng_.fork());
  }

  MemberId anybody() { return 1 + rng_.below(members_.size()); }

  void random_step() {
    if (rng_.chance(faults_.campaign_percent, 100)) members_.at(anybody()).core->campaign();
    if (rng_.chance(faults_.change_percent, 100)) change_members();
    const std::uint64_t what = rng_.below(100);
    if (what < 25) {
      members_.at(anybody()).core->tick();
    } else if (what < 60) {
      deliver();
    } else if (what < 85) {
      work(anybody());
    } else if (what < 91) {
      propose();
    } else if (what < 93) {
      read();
    } else if (what < 95) {
      compact();
    } else if (what < 96) {
      members_.at(anybody()).core->transfer_leader(anybody());
    } else if (what < 97) {
      partition_ = rng_.chance(1, 2) ? 0 : rng_.below(1u << (members_.size() + 1));
    } else if (what < 98 && faults_.crash) {
      const MemberId id = anybody();
      boot(id);
      std::erase_if(messages_, [&](const Message& message) { return message.to == id && message.from == id; });
    } else {
      const MemberId id = anybody();
      members_.at(id).core->report_unreachable(anybody());
    }
  }

  [[nodiscard]] bool cut(const Message& message) const {
    return ((partition_ >> message.from) & 1) != ((partition_ >> message.to) & 1);
  }

  void deliver() {
    if (messages_.empty()) return;
    const std::size_t place = faults_.reorder ? rng_.below(messages_.size()) : 0;
    Message message = messages_[place];
    if (!rng_.chance(faults_.doubled_percent, 100))
      messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(place));
    const bool lost = cut(message) || rng_.chance(faults_.lost_percent, 100);
    if (message.type == MessageType::kSnap) {  // whoever sends snapshots reports how that ended
      members_.at(message.from)
          .core->report_snapshot(message.to, lost ? SnapshotStatus::kFailed : SnapshotStatus::kFinished);
    }
    if (lost) return;
    (void)members_.at(message.to).core->step(std::move(message));
  }

  /// One of the duties of a member, in an order that the life of a Core allows.
  bool work(MemberId id) {
    Member& one = members_.at(id);
    if (options_.async_storage_writes) {
      const std::uint64_t what = rng_.below(3);
      if (what == 0 && !one.append_work.empty() && rng_.chance(1, faults_.slow_disk)) {
        Message work = std::move(one.append_work.front());
        one.append_work.pop_front();
        save(one, {work.term, work.vote, work.commit}, work.entries, work.snapshot);
        respond(id, work);
        return true;
      }
      if (what == 1 && !one.apply_work.empty()) {
        Message work = std::move(one.apply_work.front());
        one.apply_work.pop_front();
        apply(id, work.entries);
        respond(id, work);
        return true;
      }
    } else if (one.ready.has_value()) {
      Ready ready = *std::exchange(one.ready, std::nullopt);
      save(one, ready.hard_state, ready.entries, ready.snapshot);
      send(id, ready.messages);
      apply(id, ready.committed_entries);
      one.core->advance();
      return true;
    }
    if (!one.core->has_ready()) return false;
    Ready ready = one.core->take_ready();
    answer_reads(ready);
    if (options_.async_storage_writes) {
      send(id, ready.messages);
    } else {
      one.ready = std::move(ready);
    }
    return true;
  }

  void respond(MemberId id, Message& work) {
    for (Message& response : work.responses) {
      if (response.to == id) {
        (void)members_.at(id).core->step(std::move(response));
      } else {
        messages_.push_back(std::move(response));
      }
    }
  }

  void send(MemberId id, std::vector<Message>& messages) {
    Member& one = members_.at(id);
    for (Message& message : messages) {
      if (message.type == MessageType::kStorageAppend) {
        one.append_work.push_back(std::move(message));
      } else if (message.type == MessageType::kStorageApply) {
        one.apply_work.push_back(std::move(message));
      } else {
        messages_.push_back(std::move(message));
      }
    }
  }

  void save(Member& one, const HardState& state, const std::vector<Entry>& entries,
            const std::optional<Snapshot>& snapshot) {
    if (!state.empty()) {
      const HardState before = one.log.initial_state().hard_state;
      CHECK(state.term >= before.term, "term goes back from {} to {}", before.term.value, state.term.value);
      CHECK(state.term > before.term || before.vote == kNobody || state.vote == before.vote, "second vote in term {}",
            state.term.value);
      one.log.set_hard_state(state);
    }
    if (snapshot.has_value()) {
      if (one.log.apply_snapshot(*snapshot).has_value()) {
        one.log.applied = snapshot->metadata.index;
        one.log.conf_state = snapshot->metadata.conf_state;
      }
    }
    one.log.append(entries);
    for (const Entry& entry : entries) {
      if (const auto previous = one.log.term(entry.index - 1); previous.has_value()) judge_.saw_entry(entry, *previous);
    }
    one.log.check_invariants();
  }

  void apply(MemberId id, const std::vector<Entry>& entries) {
    Member& one = members_.at(id);
    for (const Entry& entry : entries) {
      if (entry.index <= one.log.applied) continue;  // a snapshot came in between
      CHECK(entry.index == one.log.applied + 1, "member {} applies {} behind {}", id, entry.index.value,
            one.log.applied.value);
      CHECK(entry.index <= one.log.last_index(), "member {} applies {} before it is saved", id, entry.index.value);
      judge_.saw_applied(entry, id);
      if (const auto change = decode_conf_change(entry); change.has_value()) {
        one.log.conf_state = one.core->apply_conf_change(*change);
      }
      one.log.applied = entry.index;
    }
  }

  void propose() { (void)members_.at(anybody()).core->propose(SharedBytes(std::to_string(++proposed_))); }

  void read() {
    const std::string name = std::to_string(reads_.size());
    reads_.push_back(judge_.last_applied());
    members_.at(anybody()).core->read_index(SharedBytes(name));
  }

  void answer_reads(const Ready& ready) {
    for (const ReadState& read : ready.read_states) {
      const Index asked = reads_.at(std::stoul(std::string(read.context.view())));
      CHECK(read.index >= asked, "read at {}, {} was committed before it was asked for", read.index.value, asked.value);
      ++reads_answered_;
    }
  }

  void change_members() {
    ConfChangeV2 change;
    for (std::uint64_t count = rng_.below(3); count > 0; --count) {
      change.changes.push_back({static_cast<ConfChangeType>(rng_.below(4)), anybody()});
    }
    change.transition = static_cast<ConfChangeTransition>(change.changes.empty() ? 0 : rng_.below(2));
    // The newest configuration must keep a voter; the driver (here: we) sees to that.
    for (auto& [id, one] : members_) {
      if (!one.core->is_leader() || one.core->applied() != one.core->last_index()) continue;
      IdSet voters = one.core->config().voters.incoming;
      for (const ConfChangeSingle& single : change.changes) {
        if (single.type == ConfChangeType::kAddNode) voters.insert(single.node_id);
        if (single.type == ConfChangeType::kRemoveNode || single.type == ConfChangeType::kAddLearnerNode) {
          voters.erase(single.node_id);
        }
      }
      if (voters.size() >= 2) (void)one.core->propose_conf_change(change);
    }
  }

  void compact() {
    Member& one = members_.at(anybody());
    if (one.log.applied < one.log.first_index() || one.log.applied > one.log.last_index()) return;
    if (one.core->applied() < one.log.applied) return;  // the core may still read them
    (void)one.log.compact(one.log.applied);
  }

  void check() {
    for (auto& [id, one] : members_) {
      one.core->check_invariants();
      if (!one.core->is_leader()) continue;
      if (judge_.is_new(one.core->term())) judge_.check_complete(*one.core, one.log);
      judge_.saw_leader(one.core->term(), id);
    }
  }

  void quiesce() {
    for (int turn = 0; turn < 5000; ++turn) {
      bool any = !messages_.empty();
      for (auto& [id, one] : members_) {
        any |= work(id) || !one.append_work.empty() || !one.apply_work.empty();
      }
      while (!messages_.empty()) deliver();
      if (!any) return;
    }
    ADD_FAILURE() << "members never come to rest";
  }

  [[nodiscard]] bool all_alike() const {
    const Core* leader = nullptr;
    for (const auto& [id, one] : members_) {
      if (one.core->is_leader() && (leader == nullptr || one.core->term() > leader->term())) leader = one.core.get();
    }
    if (leader == nullptr || leader->config().voters.joint()) return false;
    for (const auto& [id, progress] : leader->progress()) {
      if (members_.at(id).log.applied != leader->last_index()) return false;
    }
    return true;
  }

  Rng rng_;
  Options options_;
  Faults faults_;
  std::uint64_t partition_ = 0;  // bit i: the side that member i is on
  std::map<MemberId, Member> members_;
  std::vector<Message> messages_;
  Judge judge_;
  std::vector<Index> reads_;  // by name: what was committed when it was asked for
  std::uint64_t proposed_ = 0;
  std::uint64_t reads_answered_ = 0;
};

TEST(Simulation, KeepsItsPromisesUnderFaults) {
  // ETCD_RAFT_SEEDS=5000 plays more of them; a seed that fails is printed and replays exactly.
  const char* const wanted = std::getenv("ETCD_RAFT_SEEDS");
  const std::uint64_t seeds = wanted == nullptr ? 60 : std::strtoull(wanted, nullptr, 10);
  std::uint64_t committed = 0;
  std::uint64_t reads = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation simulation(seed);
    simulation.run(4000);
    simulation.recover();
    committed += simulation.committed().value;
    reads += simulation.reads_answered();
    if (HasFailure()) break;
  }
  EXPECT_GT(committed, seeds * 5) << "faults so bad that nothing is tested";
  EXPECT_GT(reads, seeds);
}

}  // namespace
}  // namespace etcd::raft
