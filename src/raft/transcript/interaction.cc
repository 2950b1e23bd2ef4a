#include "raft/transcript/interaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <limits>
#include <utility>

#include "raft/describe.h"

namespace etcd::raft::transcript {
namespace {

constexpr std::array<std::string_view, 6> kLevels = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};

std::unexpected<Error> wrong(std::string what) {
  return failure(ErrorCode::kInvalidArgument, std::move(what));
}

bool same_word(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](unsigned char a, unsigned char b) { return std::toupper(a) == std::toupper(b); });
}

/// Without limits, and with short time-outs.
Options default_options() {
  Options options;
  options.election_ticks = 3;
  options.heartbeat_ticks = 1;
  options.inflight_messages_max = std::numeric_limits<std::int32_t>::max();
  options.note_level = NoteLevel::kDebug;
  return options;
}

/// Storage threads and a member's messages to itself lose nothing.
bool is_reliable(const Message& message) {
  return message.from == message.to || is_storage_thread(message.from) || is_storage_thread(message.to);
}

Result<std::string> first_word(const Command& command, std::size_t place = 0) {
  std::size_t words = 0;
  for (const Argument& argument : command.arguments) {
    if (!argument.values.empty()) continue;
    if (words++ == place) return argument.key;
  }
  return wrong(fmt::format("{}: argument {} is missing", command.verb, place + 1));
}

Result<std::string> value_of(const Command& command, std::string_view key) {
  const Argument* const argument = command.find(key);
  if (argument == nullptr || argument->values.size() != 1) {
    return wrong(fmt::format("{}: expected one {}=", command.verb, key));
  }
  return argument->values.front();
}

/// One key=value of add-nodes.
Result<void> set_option(Options& options, Snapshot& snapshot, const std::string& key, const std::string& value) {
  ConfState& members = snapshot.metadata.conf_state;
  if (key == "voters" || key == "learners") {
    ETCD_TRY(const std::uint64_t id, to_number(value));
    (key == "voters" ? members.voters : members.learners).push_back(id);
  } else if (key == "index") {
    ETCD_TRY(const std::uint64_t index, to_number(value));
    snapshot.metadata.index = options.applied = Index{index};
  } else if (key == "content") {
    snapshot.data = SharedBytes(value);
  } else if (key == "inflight") {
    ETCD_TRY(const std::uint64_t count, to_number(value));
    options.inflight_messages_max = static_cast<std::uint32_t>(count);
  } else if (key == "max-committed-size-per-ready") {
    ETCD_TRY(options.applying_bytes_max, to_number(value));
  } else if (key == "max-size-per-msg") {  // ours: 0 is one entry per message
    ETCD_TRY(options.message_bytes_max, to_number(value));
  } else if (key == "async-storage-writes") {
    ETCD_TRY(options.async_storage_writes, to_bool(value));
  } else if (key == "prevote") {
    ETCD_TRY(options.pre_vote, to_bool(value));
  } else if (key == "checkquorum") {
    ETCD_TRY(options.check_quorum, to_bool(value));
  } else if (key == "disable-conf-change-validation") {
    ETCD_TRY(options.disable_conf_change_validation, to_bool(value));
  } else if (key == "step-down-on-removal") {
    ETCD_TRY(options.step_down_on_removal, to_bool(value));
  } else if (key == "read-only") {
    if (value != "safe" && value != "lease-based") return wrong(fmt::format("invalid read-only option \"{}\"", value));
    options.read_only = value == "safe" ? ReadOnly::kSafe : ReadOnly::kLeaseBased;
  }
  return {};
}

}  // namespace

Result<std::vector<ConfChangeSingle>> parse_changes(std::string_view text) {
  std::vector<ConfChangeSingle> changes;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    if (word.size() < 2) return wrong(fmt::format("unknown token {}", word));
    constexpr std::string_view kLetters = "vrul";  // by the type's number
    const std::size_t type = kLetters.find(word.front());
    if (type == std::string_view::npos) return wrong(fmt::format("unknown input: {}", word));
    ETCD_TRY(const std::uint64_t id, to_number(word.substr(1)));
    changes.push_back({.type = static_cast<ConfChangeType>(type), .node_id = id});
  }
  return changes;
}

// ---- output ----

bool Interaction::quiet() const {
  return level_ == kLevels.size() - 1;
}

void Interaction::write(std::string_view text) {
  if (!quiet()) output_ += text;
}

void Interaction::write_line(std::string_view text) {
  write(text);
  write("\n");
}

void Interaction::drain_notes(Node& node) {
  for (const Note& note : node.core->take_notes()) {
    if (static_cast<std::size_t>(note.level) >= level_)
      write_line(fmt::format("{} {}", name_of(note.level), note.text));
  }
}

template <class Action>
Result<void> Interaction::indented(Action action) {
  std::string outer = std::exchange(output_, {});
  Result<void> result = action();
  const std::string inner = std::exchange(output_, std::move(outer));
  for (std::size_t begin = 0; begin < inner.size();) {
    const std::size_t end = std::min(inner.find('\n', begin), inner.size());
    write_line(fmt::format("  {}", inner.substr(begin, end - begin)));
    begin = end + 1;
  }
  return result;
}

Result<void> Interaction::set_level(std::string_view name) {
  for (std::size_t level = 0; level < kLevels.size(); ++level) {
    if (same_word(kLevels[level], name)) {
      level_ = level;
      return {};
    }
  }
  return wrong(fmt::format("log levels must be either of [{}]", fmt::join(kLevels, " ")));
}

std::string Interaction::handle(const Command& command) {
  output_.clear();
  if (const auto done = dispatch(command); !done.has_value()) {
    // Errors show at every level.
    if (quiet()) return done.error().message;
    write(done.error().message);
  }
  return output_.empty() ? "ok" : output_;
}

// ---- verbs ----

Result<Interaction::Node*> Interaction::node(std::string_view id) {
  ETCD_TRY(const std::uint64_t number, to_number(id));
  if (number == 0 || number > nodes_.size()) return wrong(fmt::format("no node {}", id));
  return nodes_[number - 1].get();
}

Result<std::vector<Interaction::Node*>> Interaction::nodes(const Command& command) {
  std::vector<Node*> found;
  for (const Argument& argument : command.arguments) {
    if (!argument.values.empty()) continue;
    ETCD_TRY(Node* const one, node(argument.key));
    found.push_back(one);
  }
  return found;
}

Result<void> Interaction::dispatch(const Command& command) {
  const std::string& verb = command.verb;
  if (verb == "_breakpoint") return {};
  if (verb == "add-nodes") return add_nodes(command);
  if (verb == "deliver-msgs") return deliver(command);
  if (verb == "stabilize") return stabilize(command);
  if (verb == "propose-conf-change") return propose_conf_change(command);
  if (verb == "log-level") {
    ETCD_TRY(const std::string name, first_word(command));
    return set_level(name);
  }
  if (verb == "raft-state") {
    print_states();
    return {};
  }
  if (verb == "transfer-leadership") {
    ETCD_TRY(const std::string from, value_of(command, "from"));
    ETCD_TRY(const std::string to, value_of(command, "to"));
    ETCD_TRY(Node* const leader, node(from));
    ETCD_TRY(Node* const next, node(to));
    leader->core->transfer_leader(next->options.id);
    drain_notes(*leader);
    return {};
  }

  // The others begin with nodes; three take several.
  constexpr std::string_view kProcess = "process-";
  if (verb.starts_with(kProcess)) {
    const std::string_view what = std::string_view(verb).substr(kProcess.size());
    ETCD_TRY(const std::vector<Node*> chosen, nodes(command));
    for (Node* const one : chosen) {
      const auto process = [&]() -> Result<void> {
        if (what == "ready") return process_ready(*one);
        if (what == "append-thread") return process_append_thread(*one);
        if (what == "apply-thread") return process_apply_thread(*one);
        return wrong("unknown command");
      };
      if (chosen.size() == 1) return process();
      write_line(fmt::format("> {} {}", one->options.id,
                             what == "ready"           ? "handling Ready"
                             : what == "append-thread" ? "processing append thread"
                                                       : "processing apply thread"));
      ETCD_TRY_VOID(indented(process));
    }
    return {};
  }

  ETCD_TRY(const std::string id, first_word(command));
  ETCD_TRY(Node* const one, node(id));
  Core& core = *one->core;
  Result<void> result;
  if (verb == "campaign") {
    core.campaign();
  } else if (verb == "propose") {
    ETCD_TRY(const std::string data, first_word(command, 1));
    result = core.propose(SharedBytes(data));
  } else if (verb == "tick-election") {
    tick(*one, one->options.election_ticks);
  } else if (verb == "tick-heartbeat") {
    tick(*one, one->options.heartbeat_ticks);
  } else if (verb == "forget-leader") {
    core.forget_leader();
  } else if (verb == "read-index") {  // ours: upstream's transcripts drive no reads
    ETCD_TRY(const std::string context, first_word(command, 1));
    core.read_index(SharedBytes(context));
  } else if (verb == "report-unreachable") {
    ETCD_TRY(const std::string other, first_word(command, 1));
    ETCD_TRY(Node* const lost, node(other));
    core.report_unreachable(lost->options.id);
  } else if (verb == "set-randomized-election-timeout") {
    ETCD_TRY(const std::string text, value_of(command, "timeout"));
    ETCD_TRY(const std::uint64_t ticks, to_number(text));
    core.set_randomized_election_timeout(static_cast<int>(ticks));
  } else if (verb == "send-snapshot") {
    ETCD_TRY(const std::string other, first_word(command, 1));
    ETCD_TRY(Node* const to, node(other));
    send_snapshot(*one, *to);
  } else if (verb == "compact") {
    ETCD_TRY(const std::string text, first_word(command, 1));
    ETCD_TRY(const std::uint64_t index, to_number(text));
    ETCD_TRY_VOID(one->log.compact(Index{index}));
    return print_log(*one);
  } else if (verb == "raft-log") {
    return print_log(*one);
  } else if (verb == "status") {
    write(describe(core.status().progress));
  } else {
    return wrong("unknown command");
  }
  drain_notes(*one);
  core.check_invariants();
  return result;
}

Result<void> Interaction::add_nodes(const Command& command) {
  ETCD_TRY(const std::string text, first_word(command));
  ETCD_TRY(const std::uint64_t count, to_number(text));
  Options options = default_options();
  Snapshot snapshot;
  for (const Argument& argument : command.arguments) {
    for (const std::string& value : argument.values) {
      ETCD_TRY_VOID(set_option(options, snapshot, argument.key, value));
    }
  }
  const bool bootstrapped = snapshot != Snapshot{};
  if (bootstrapped && snapshot.metadata.index <= Index{1}) {
    return wrong("index must be specified as > 1 due to bootstrap");
  }
  if (bootstrapped) snapshot.metadata.term = Term{1};
  for (std::uint64_t made = 0; made < count; ++made) {
    Node& added = *nodes_.emplace_back(std::make_unique<Node>());
    options.id = nodes_.size();
    if (const auto sound = options.check(); !sound.has_value()) {
      nodes_.pop_back();
      return sound;
    }
    added.options = options;
    if (bootstrapped) ETCD_TRY_VOID(added.log.apply_snapshot(snapshot));
    added.log.history.push_back(snapshot);
    added.core = std::make_unique<Core>(options, added.log, Rng(options.id));
    drain_notes(added);
  }
  return {};
}

Result<void> Interaction::deliver(const Command& command) {
  std::optional<MessageType> type;
  std::vector<Recipient> recipients;
  for (const Argument& argument : command.arguments) {
    if (argument.values.empty()) {
      ETCD_TRY(const std::uint64_t id, to_number(argument.key));
      recipients.push_back({.id = id, .drop = false});
    }
    for (const std::string& value : argument.values) {
      if (argument.key == "drop") {
        ETCD_TRY(const std::uint64_t id, to_number(value));
        for (const Recipient& other : recipients) {
          if (other.id == id) return wrong(fmt::format("can't both deliver and drop msgs to {}", id));
        }
        recipients.push_back({.id = id, .drop = true});
      } else if (argument.key == "type") {
        for (int number = 0; number < kMessageTypeCount; ++number) {
          if (name_of(static_cast<MessageType>(number)) == value) type = static_cast<MessageType>(number);
        }
        if (!type.has_value()) return wrong(fmt::format("unknown message type {}", value));
      }
    }
  }
  if (deliver_to(recipients, type) == 0) write_line("no messages");
  return {};
}

std::size_t Interaction::deliver_to(const std::vector<Recipient>& recipients, std::optional<MessageType> type) {
  std::size_t handled = 0;
  for (const Recipient& recipient : recipients) {
    std::vector<Message> theirs;
    std::vector<Message> others;
    for (Message& message : messages_) {
      const bool taken = message.to == recipient.id && !(recipient.drop && is_reliable(message)) &&
                         (!type.has_value() || message.type == *type);
      (taken ? theirs : others).push_back(std::move(message));
    }
    messages_ = std::move(others);
    handled += theirs.size();
    for (Message& message : theirs) {
      write_line((recipient.drop ? "dropped: " : "") + describe(message));
      if (recipient.drop) continue;
      if (recipient.id == 0 || recipient.id > nodes_.size()) {
        write_line(fmt::format("no node {}", recipient.id));
        continue;
      }
      Node& to = *nodes_[recipient.id - 1];
      const auto stepped = to.core->step(std::move(message));
      drain_notes(to);
      to.core->check_invariants();
      if (!stepped.has_value()) write_line(stepped.error().message);
    }
  }
  return handled;
}

Result<void> Interaction::propose_conf_change(const Command& command) {
  ETCD_TRY(const std::string id, first_word(command));
  ETCD_TRY(Node* const one, node(id));
  ConfChangeV2 change;
  for (const Argument& argument : command.arguments) {
    for (const std::string& value : argument.values) {
      if (argument.key == "v1") {
        ETCD_TRY(change.v1, to_bool(value));
      } else if (argument.key != "transition") {
        return wrong(fmt::format("unknown command {}", argument.key));
      } else if (value == "auto") {
        change.transition = ConfChangeTransition::kAuto;
      } else if (value == "implicit") {
        change.transition = ConfChangeTransition::kJointImplicit;
      } else if (value == "explicit") {
        change.transition = ConfChangeTransition::kJointExplicit;
      } else {
        return wrong(fmt::format("unknown transition {}", value));
      }
    }
  }
  ETCD_TRY(change.changes, parse_changes(command.body));
  Result<void> result = one->core->propose_conf_change(change);
  drain_notes(*one);
  return result;
}

Result<void> Interaction::stabilize(const Command& command) {
  ETCD_TRY(std::vector<Node*> chosen, nodes(command));
  if (chosen.empty()) {
    for (const auto& one : nodes_) chosen.push_back(one.get());
  }
  const std::size_t level = level_;
  if (command.find("log-level") != nullptr) {
    ETCD_TRY(const std::string name, value_of(command, "log-level"));
    ETCD_TRY_VOID(set_level(name));
  }
  Result<void> result = stabilize_nodes(chosen);
  level_ = level;
  return result;
}

Result<void> Interaction::stabilize_nodes(const std::vector<Node*>& chosen) {
  for (bool done = false; !done;) {
    done = true;
    const auto header = [&](const Node& one, std::string_view what) {
      write_line(fmt::format("> {} {}", one.options.id, what));
      done = false;
    };
    for (Node* const one : chosen) {
      if (!one->core->has_ready()) continue;
      header(*one, "handling Ready");
      ETCD_TRY_VOID(indented([&] { return process_ready(*one); }));
    }
    for (Node* const one : chosen) {
      const bool any = std::any_of(messages_.begin(), messages_.end(),
                                   [&](const Message& message) { return message.to == one->options.id; });
      if (!any) continue;
      header(*one, "receiving messages");
      ETCD_TRY_VOID(indented([&]() -> Result<void> {
        deliver_to({{.id = one->options.id, .drop = false}}, std::nullopt);
        return {};
      }));
    }
    for (Node* const one : chosen) {
      if (!one->append_work.empty()) header(*one, "processing append thread");
      while (!one->append_work.empty()) ETCD_TRY_VOID(indented([&] { return process_append_thread(*one); }));
    }
    for (Node* const one : chosen) {
      if (!one->apply_work.empty()) header(*one, "processing apply thread");
      while (!one->apply_work.empty()) ETCD_TRY_VOID(indented([&] { return process_apply_thread(*one); }));
    }
  }
  return {};
}

// ---- a member's driver ----

Result<void> Interaction::process_ready(Node& one) {
  const bool async = one.options.async_storage_writes;
  Ready ready = one.core->take_ready();
  drain_notes(one);
  write(describe(ready));
  if (!async) {
    ETCD_TRY_VOID(save(one, ready.hard_state, ready.entries, ready.snapshot));
    ETCD_TRY_VOID(apply(one, ready.committed_entries));
  }
  for (Message& message : ready.messages) {
    if (message.type == MessageType::kStorageAppend) {
      one.append_work.push_back(std::move(message));
    } else if (message.type == MessageType::kStorageApply) {
      one.apply_work.push_back(std::move(message));
    } else {
      messages_.push_back(std::move(message));
    }
  }
  if (!async) one.core->advance();
  drain_notes(one);
  one.core->check_invariants();
  return {};
}

Result<void> Interaction::process_append_thread(Node& one) {
  if (one.append_work.empty()) {
    write("no append work to perform");
    return {};
  }
  Message work = std::move(one.append_work.front());
  one.append_work.pop_front();
  std::vector<Message> responses = std::exchange(work.responses, {});
  write_line("Processing:");
  write_line(describe(work));
  ETCD_TRY_VOID(save(one, {work.term, work.vote, work.commit}, work.entries, work.snapshot));
  write_line("Responses:");
  for (Message& response : responses) {
    write_line(describe(response));
    messages_.push_back(std::move(response));
  }
  return {};
}

Result<void> Interaction::process_apply_thread(Node& one) {
  if (one.apply_work.empty()) {
    write("no apply work to perform");
    return {};
  }
  Message work = std::move(one.apply_work.front());
  one.apply_work.pop_front();
  std::vector<Message> responses = std::exchange(work.responses, {});
  write_line("Processing:");
  write_line(describe(work));
  ETCD_TRY_VOID(apply(one, work.entries));
  write_line("Responses:");
  for (Message& response : responses) {
    write_line(describe(response));
    messages_.push_back(std::move(response));
  }
  return {};
}

Result<void> Interaction::save(Node& one, const HardState& state, const std::vector<Entry>& entries,
                               const std::optional<Snapshot>& snapshot) {
  if (!state.empty()) one.log.set_hard_state(state);
  if (!snapshot.has_value()) {
    one.log.append(entries);
    return {};
  }
  if (!entries.empty()) return wrong("can't apply snapshot and entries at the same time");
  return one.log.apply_snapshot(*snapshot);
}

Result<void> Interaction::apply(Node& one, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    Snapshot state = one.log.history.back();
    BytesView update = entry.data.view();
    ConfChangeV2 change;
    if (entry.type != EntryType::kNormal) {
      ETCD_TRY(change, decode_conf_change(entry));
      update = change.context;
      state.metadata.conf_state = one.core->apply_conf_change(change);
      drain_notes(one);
    }
    state.data = SharedBytes(fmt::format("{}{}", state.data.view(), update));
    state.metadata.index = entry.index;
    state.metadata.term = entry.term;
    one.log.history.push_back(std::move(state));
  }
  return {};
}

Result<void> Interaction::print_log(Node& one) {
  const Index first = one.log.first_index();
  const Index last = one.log.last_index();
  if (last < first) {
    write(fmt::format("log is empty: first index={}, last index={}", first.value, last.value));
    return {};
  }
  ETCD_TRY(const std::vector<Entry> entries, one.log.entries(first, last + 1, kNoLimit));
  write(describe(std::span<const Entry>(entries)));
  return {};
}

void Interaction::print_states() {
  for (const auto& one : nodes_) {
    const Status status = one->core->status();
    write_line(fmt::format("{}: {} {} Term:{} Lead:{}", status.id, name_of(status.soft_state.role),
                           status.config.voters.contains(status.id) ? "(Voter)" : "(Non-Voter)",
                           status.hard_state.term.value, status.soft_state.leader));
  }
}

void Interaction::tick(Node& one, int ticks) {
  for (int done = 0; done < ticks; ++done) one.core->tick();
}

void Interaction::send_snapshot(Node& from, const Node& to) {
  Message message;
  message.type = MessageType::kSnap;
  message.term = from.core->term();
  message.from = from.options.id;
  message.to = to.options.id;
  message.snapshot = from.log.history.back();
  write(describe(message));
  messages_.push_back(std::move(message));
}

}  // namespace etcd::raft::transcript
