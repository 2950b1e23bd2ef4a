// mvcc/parallel.h - one task on several threads at once, for opening a store.
//
// Thread:  any; returns when all of them have ended.
#pragma once
#include <cstddef>
#include <thread>
#include <vector>

namespace etcd::mvcc {

/// Runs task(0) here and task(1) ... task(threads - 1) on threads of their own.
template <class Task>
void run_on_threads(unsigned threads, const Task& task) {
  std::vector<std::jthread> others;
  for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back([&task, thread] { task(thread); });
  task(0U);
}

/// The part of [0, count) that is the one of `thread`: parts are of nearly equal size and follow each other.
struct Part {
  Part(std::size_t count, unsigned thread, unsigned threads)
      : begin(count * thread / threads), end(count * (thread + 1) / threads) {}
  std::size_t begin;
  std::size_t end;
};

}  // namespace etcd::mvcc
