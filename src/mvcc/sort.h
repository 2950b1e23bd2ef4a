// mvcc/sort.h - puts freshly loaded entries into the order of their keys.
//
// Thread:  any (pure function, on threads of its own when told so).
#pragma once
#include <vector>

#include "mvcc/entry.h"

namespace etcd::mvcc {

/// Sorts by key, bytewise; returns whether some keys are equal. Keys are compared eight bytes at a time and what a
/// group has in common is skipped, since keys mostly share long beginnings and each look at one is a cache miss.
/// Source: multikey quicksort with cached characters (Bentley and Sedgewick 1997; Ng and Kakehi 2007).
bool sort_by_key(std::vector<const Entry*>& entries, unsigned threads = 1);

}  // namespace etcd::mvcc
