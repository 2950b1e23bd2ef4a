#include "raft/read_queue.h"

#include <algorithm>
#include <optional>

namespace etcd::raft {
namespace {

constexpr std::size_t kContextBytes = 8;

}  // namespace

Bytes ReadQueue::heartbeat_context() const {
  if (waiting_.empty()) return {};
  std::uint64_t number = confirmed_ + waiting_.size();
  Bytes context(kContextBytes, '\0');
  for (char& byte : context) {
    byte = static_cast<char>(number & 0xff);
    number >>= 8;
  }
  return context;
}

void ReadQueue::acknowledge(MemberId from, BytesView context) {
  if (context.size() != kContextBytes) return;
  std::uint64_t number = 0;
  for (std::size_t place = kContextBytes; place-- > 0;) {
    number = number << 8 | static_cast<unsigned char>(context[place]);
  }
  if (number > confirmed_ + waiting_.size()) return;
  const auto known = std::find_if(acks_.begin(), acks_.end(), [&](const auto& ack) { return ack.first == from; });
  if (known == acks_.end()) {
    acks_.emplace_back(from, Index{number});
  } else {
    known->second = std::max(known->second, Index{number});
  }
}

std::vector<WaitingRead> ReadQueue::take_confirmed(const JointVoters& voters) {
  // Counting acknowledged reads is the same arithmetic as counting acknowledged entries.
  const Index acked = committed_index(voters, [this](MemberId id) -> std::optional<Index> {
    for (const auto& [member, number] : acks_) {
      if (member == id) return number;
    }
    return std::nullopt;
  });
  std::vector<WaitingRead> taken;
  while (confirmed_ < acked.value && !waiting_.empty()) {
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    ++confirmed_;
  }
  return taken;
}

void ReadQueue::reset() {
  *this = ReadQueue();
}

}  // namespace etcd::raft
