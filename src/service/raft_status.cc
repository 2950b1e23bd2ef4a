#include "service/raft_status.h"

#include <fmt/format.h>

#include <iterator>

#include "raft/describe.h"

namespace etcd::service {

Bytes raft_status_json(const raft::Status& status) {
  const raft::HardState& hard = status.hard_state;
  Bytes out = fmt::format(
      R"({{"id":"{:x}","term":{},"vote":"{:x}","commit":{},"lead":"{:x}","raftState":"{}","applied":{},"progress":{{)",
      status.id, hard.term.value, hard.vote, hard.commit.value, status.soft_state.leader,
      raft::name_of(status.soft_state.role), status.applied.value);
  bool first = true;
  for (const auto& [id, member] : status.progress) {
    fmt::format_to(std::back_inserter(out), R"({}"{:x}":{{"match":{},"next":{},"state":"{}"}})", first ? "" : ",", id,
                   member.match.value, member.next.value, raft::name_of(member.state));
    first = false;
  }
  fmt::format_to(std::back_inserter(out), R"(}},"leadtransferee":"{:x}"}})", status.transferee);
  return out;
}

}  // namespace etcd::service
