#include "service/waiters.h"

namespace etcd::service {

void Waiters::answer(Waiter waiter, Result<apply::Outcome> result) {
  waiter.loop->post(
      [answer = std::move(waiter.answer), result = std::move(result)]() mutable { answer(std::move(result)); });
}

std::optional<Waiters::Waiter> Waiters::take(std::uint64_t id) {
  const std::scoped_lock lock(mu_);
  const auto at = waiting_.find(id);
  if (at == waiting_.end()) return std::nullopt;
  Waiter waiter = std::move(at->second);
  waiting_.erase(at);
  return waiter;
}

void Waiters::add(std::uint64_t id, MonotonicTime deadline, io::Executor& loop, Answer answer_to) {
  Waiter waiter{&loop, std::move(answer_to)};
  std::optional<Error> closed;
  {
    const std::scoped_lock lock(mu_);
    if (!closed_) {
      waiting_.emplace(id, std::move(waiter));
      deadlines_.emplace_back(deadline, id);
      return;
    }
    closed = closed_;
  }
  answer(std::move(waiter), std::unexpected(*std::move(closed)));
}

void Waiters::deliver(std::vector<apply::Outcome> outcomes) {
  std::vector<std::pair<Waiter, apply::Outcome>> ready;
  ready.reserve(outcomes.size());
  {
    const std::scoped_lock lock(mu_);
    for (apply::Outcome& outcome : outcomes) {
      const auto at = waiting_.find(outcome.request_id);
      if (at == waiting_.end()) continue;
      ready.emplace_back(std::move(at->second), std::move(outcome));
      waiting_.erase(at);
    }
  }
  for (auto& [waiter, outcome] : ready) answer(std::move(waiter), std::move(outcome));
}

void Waiters::fail(std::uint64_t id, Error error) {
  auto waiter = take(id);
  if (!waiter) return;
  if (error.code != ErrorCode::kStopped) count_failures(1);
  answer(*std::move(waiter), std::unexpected(std::move(error)));
}

void Waiters::expire(MonotonicTime now, const Error& error) {
  std::vector<Waiter> late;
  {
    const std::scoped_lock lock(mu_);
    while (!deadlines_.empty() && deadlines_.front().first <= now) {
      const auto at = waiting_.find(deadlines_.front().second);
      if (at != waiting_.end()) {
        late.push_back(std::move(at->second));
        waiting_.erase(at);
      }
      deadlines_.pop_front();
    }
  }
  count_failures(late.size());
  for (Waiter& waiter : late) answer(std::move(waiter), std::unexpected(error));
}

void Waiters::close(const Error& error) {
  absl::flat_hash_map<std::uint64_t, Waiter> left;
  {
    const std::scoped_lock lock(mu_);
    closed_ = error;
    left.swap(waiting_);
    deadlines_.clear();
  }
  for (auto& [id, waiter] : left) answer(std::move(waiter), std::unexpected(error));
}

std::size_t Waiters::count() const {
  const std::scoped_lock lock(mu_);
  return waiting_.size();
}

}  // namespace etcd::service
