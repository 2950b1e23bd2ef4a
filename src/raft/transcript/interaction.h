// raft/transcript/interaction.h - whole members on one network that does nothing by itself.
//
// Each verb of a script drives one part of the world: a member's clock, its Ready, a storage thread, the delivery of
// messages. What happens is written to the output in the words of the core, so that a script reads as a story.
//
// Thread:  one.
// Source:  etcd-io/raft main rafttest/interaction_env*.go (verbs and their output).
#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/core.h"
#include "raft/memory_log.h"
#include "raft/transcript/script.h"

namespace etcd::raft::transcript {

class Interaction {
 public:
  /// What the command prints.
  std::string handle(const Command& command);

 private:
  /// A log whose snapshot is always of the newest state.
  class HistoryLog : public MemoryLog {
   public:
    [[nodiscard]] Result<Snapshot> snapshot() const override { return history.back(); }
    std::vector<Snapshot> history;  // the state after each applied entry; the state machine appends what it is told
  };

  struct Node {
    Options options;
    HistoryLog log;
    std::unique_ptr<Core> core;
    std::deque<Message> append_work;
    std::deque<Message> apply_work;
  };

  struct Recipient {
    MemberId id = 0;
    bool drop = false;
  };

  // Text, unless the level silences everything.
  void write(std::string_view text);
  void write_line(std::string_view text);
  [[nodiscard]] bool quiet() const;
  void drain_notes(Node& node);
  template <class Action>
  Result<void> indented(Action action);

  Result<void> dispatch(const Command& command);
  Result<Node*> node(std::string_view id);
  Result<std::vector<Node*>> nodes(const Command& command);
  Result<void> set_level(std::string_view name);

  Result<void> add_nodes(const Command& command);
  Result<void> deliver(const Command& command);
  std::size_t deliver_to(const std::vector<Recipient>& recipients, std::optional<MessageType> type);
  Result<void> propose_conf_change(const Command& command);
  Result<void> stabilize(const Command& command);
  Result<void> stabilize_nodes(const std::vector<Node*>& nodes);
  Result<void> process_ready(Node& node);
  Result<void> process_append_thread(Node& node);
  Result<void> process_apply_thread(Node& node);
  Result<void> save(Node& node, const HardState& state, const std::vector<Entry>& entries,
                    const std::optional<Snapshot>& snapshot);
  Result<void> apply(Node& node, const std::vector<Entry>& entries);
  Result<void> print_log(Node& node);
  void print_states();
  void tick(Node& node, int ticks);
  void send_snapshot(Node& from, const Node& to);

  std::vector<std::unique_ptr<Node>> nodes_;  // ids are places, from 1
  std::vector<Message> messages_;             // on their way
  std::string output_;
  std::size_t level_ = 0;  // a place in the list of level names
};

/// "v1 l2 r3 u4". Errors: kInvalidArgument.
Result<std::vector<ConfChangeSingle>> parse_changes(std::string_view text);

}  // namespace etcd::raft::transcript
