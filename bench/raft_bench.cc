// bench/raft_bench.cc - what the protocol itself costs: no disk, no network, no thread, only the core's arithmetic.
//
// one_voter      propose -> ready -> the storage threads' answers -> committed and applied, for 1, 10, 100 proposals
// three_voters   the same with two followers: every message of all three is delivered in one thread
//
// Storage writes are asynchronous, as in the server; options are the server's. A command has 256 bytes, shared by all.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "raft/core.h"
#include "raft/memory_log.h"

namespace etcd::bench {
namespace {

constexpr std::size_t kCommandBytes = 256;
constexpr std::uint64_t kKeptEntries = 10'000;  // behind the applied one, for a follower that asks

raft::Options options_of(MemberId id) {
  raft::Options options;
  options.id = id;
  options.async_storage_writes = true;
  options.message_bytes_max = 1 << 20;
  options.applying_bytes_max = 64 << 20;
  options.uncommitted_bytes_max = 256 << 20;
  options.inflight_messages_max = 512;
  options.check_quorum = true;
  options.pre_vote = true;
  options.note_level = raft::NoteLevel::kNone;
  return options;
}

raft::ConfState voters_up_to(MemberId last) {
  raft::ConfState state;
  for (MemberId id = 1; id <= last; ++id) state.voters.push_back(id);
  return state;
}

/// A member whose disk and state machine answer at once.
class Voter {
 public:
  Voter(MemberId id, MemberId last) : id_(id), log_(voters_up_to(last)), core_(options_of(id), log_, Rng(id)) {}
  Voter(const Voter&) = delete;
  Voter& operator=(const Voter&) = delete;

  [[nodiscard]] raft::Core& core() { return core_; }
  [[nodiscard]] std::uint64_t commands_applied() const { return commands_applied_; }

  void step(raft::Message message) {
    const Result<void> stepped = core_.step(std::move(message));
    CHECK(stepped.has_value(), "voter {}: {}", id_, stepped.error().message);
  }

  /// Does what the core asks for until it asks no more; what is for others goes to `network`.
  void work(std::vector<raft::Message>& network) {
    while (core_.has_ready()) {
      raft::Ready ready = core_.take_ready();
      for (raft::Message& message : ready.messages) {
        if (message.to == raft::kAppendThread) {
          save(message);
        } else if (message.to == raft::kApplyThread) {
          for (const raft::Entry& entry : message.entries) commands_applied_ += entry.data.empty() ? 0 : 1;
        } else {
          network.push_back(std::move(message));
          continue;
        }
        for (raft::Message& response : message.responses) {
          if (response.to == id_) {
            step(std::move(response));
          } else {
            network.push_back(std::move(response));
          }
        }
      }
    }
    trim();
  }

 private:
  void save(const raft::Message& message) {
    CHECK(!message.snapshot, "voter {} was sent a snapshot", id_);
    log_.append(message.entries);
    const raft::HardState state{message.term, message.vote, message.commit};
    if (!state.empty()) log_.set_hard_state(state);
  }

  void trim() {
    const Index applied = core_.applied();
    if (applied < log_.first_index() + 2 * kKeptEntries) return;
    const Result<void> compacted = log_.compact(applied - kKeptEntries);
    CHECK(compacted.has_value(), "voter {}: {}", id_, compacted.error().message);
  }

  const MemberId id_;
  raft::MemoryLog log_;
  raft::Core core_;  // borrows log_
  std::uint64_t commands_applied_ = 0;
};

/// Voters 1 to `size` in one thread; the first one leads.
class Cluster {
 public:
  explicit Cluster(MemberId size) {
    for (MemberId id = 1; id <= size; ++id) voters_.emplace_back(id, size);
    leader().campaign();
    settle();
    CHECK(leader().is_leader(), "voter 1 does not lead");
  }

  void propose(const SharedBytes& command) {
    const Result<void> proposed = leader().propose(command);
    CHECK(proposed.has_value(), "{}", proposed.error().message);
  }

  /// Delivers messages until there are none.
  void settle() {
    for (Voter& voter : voters_) voter.work(network_);
    while (!network_.empty()) {
      arriving_.swap(network_);
      for (raft::Message& message : arriving_) voters_[message.to - 1].step(std::move(message));
      arriving_.clear();
      for (Voter& voter : voters_) voter.work(network_);
    }
  }

  [[nodiscard]] std::uint64_t commands_applied() const { return voters_.front().commands_applied(); }
  void check_applied(std::uint64_t commands) const {
    for (const Voter& voter : voters_) {
      CHECK(voter.commands_applied() == commands, "{} of {} commands applied", voter.commands_applied(), commands);
    }
  }

 private:
  [[nodiscard]] raft::Core& leader() { return voters_.front().core(); }

  std::deque<Voter> voters_;  // voter `id` at id - 1
  std::vector<raft::Message> network_;
  std::vector<raft::Message> arriving_;
};

void commit(benchmark::State& state, MemberId size) {
  Cluster cluster(size);
  const SharedBytes command(Bytes(kCommandBytes, 'x'));
  std::uint64_t proposed = 0;
  for (auto _ : state) {
    for (std::int64_t count = 0; count < state.range(0); ++count) cluster.propose(command);
    cluster.settle();
    proposed += static_cast<std::uint64_t>(state.range(0));
    CHECK(cluster.commands_applied() == proposed, "{} of {} commands applied", cluster.commands_applied(), proposed);
  }
  cluster.check_applied(proposed);
  state.SetItemsProcessed(static_cast<std::int64_t>(proposed));
}

void one_voter(benchmark::State& state) {
  commit(state, 1);
}
BENCHMARK(one_voter)->ArgName("proposals")->Arg(1)->Arg(10)->Arg(100);

void three_voters(benchmark::State& state) {
  commit(state, 3);
}
BENCHMARK(three_voters)->ArgName("proposals")->Arg(1)->Arg(10)->Arg(100);

}  // namespace
}  // namespace etcd::bench
