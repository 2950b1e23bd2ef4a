#include "apply/store_stats.h"

#include "codec/proto/v2.pb.h"

namespace etcd::apply {

void StoreStats::count_command(const etcdv2pb::Command& command, const tree::Outcome<tree::Event>& outcome) {
  using etcdv2pb::Command;
  const bool done = outcome.has_value();
  const auto refused_with = [&](tree::Code code) { return !done && outcome.error().code == code; };
  // Upstream's functions count a failure when their variable `err` is set, and some returns pass it by.
  const bool root = refused_with(tree::Code::kRootReadOnly);
  switch (command.verb()) {
    case Command::SET: sets.count(done); break;
    case Command::UPDATE: updates.count(done || root || refused_with(tree::Code::kNotAFile)); break;
    case Command::CREATE:
    case Command::CREATE_IN_ORDER:
      creates.count(done);
      // A file on the way is found by a function that set and create share, and that counts for set.
      if (refused_with(tree::Code::kNotADirectory)) sets.count(false);
      break;
    case Command::COMPARE_AND_SWAP: compare_and_swaps.count(done || root); break;
    case Command::DELETE: deletes.count(done || root); break;
    case Command::COMPARE_AND_DELETE:
      compare_and_deletes.count(done || root || refused_with(tree::Code::kNotAFile) ||
                                refused_with(tree::Code::kCompareFailed));
      break;
    case Command::EXPIRE:
      if (done) expirations.fetch_add(1, std::memory_order_relaxed);
      break;
    default: break;  // the generated enumeration has two more, which stand for no verb
  }
}

}  // namespace etcd::apply
