#include "mvcc/limbo.h"

#include <utility>

namespace etcd::mvcc {

Limbo::~Limbo() {
  seal(0);
  collect(~std::uint64_t{0});
}

void Limbo::seal(std::uint64_t number) {
  if (pending_.empty()) return;
  sealed_bytes_ += pending_bytes_;
  sealed_.push_back({number, std::exchange(pending_bytes_, 0), std::exchange(pending_, {})});
}

void Limbo::collect(std::uint64_t oldest) {
  while (!sealed_.empty() && sealed_.front().number <= oldest) {
    for (const Item& item : sealed_.front().items) item.free(item.object, nodes_);
    sealed_bytes_ -= sealed_.front().bytes;
    sealed_.pop_front();
  }
}

}  // namespace etcd::mvcc
