// net/output_queue.h - bytes on their way to the client, in pieces, so that a large value is never copied, nor held once
// for each of the clients that it is on its way to.
//
// Life:    append()* -> gather() -> send what it shows -> consume() ...
// Thread:  the connection's net loop only.
// Memory:  what it holds; nothing when it is empty.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"

namespace etcd::net {

class OutputQueue {
 public:
  /// Small pieces are copied together; a large one is kept as it is.
  void append(Bytes bytes) {
    if (bytes.empty()) return;
    size_ += bytes.size();
    if (!pieces_.empty() && pieces_.back().shared.empty() &&
        pieces_.back().own.size() + bytes.size() <= merged_bytes_max) {
      pieces_.back().own += bytes;
    } else {
      pieces_.push_back({.own = std::move(bytes), .shared = {}});
    }
  }
  /// As append(), for bytes that other clients get, too.
  void append_shared(SharedBytes bytes) {
    if (bytes.empty()) return;
    size_ += bytes.size();
    pieces_.push_back({.own = {}, .shared = std::move(bytes)});
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  /// Shows the oldest bytes and returns how many views were filled.
  /// Shape: the views are borrowed until the next append(), consume() or clear().
  std::size_t gather(std::span<BytesView> views) const {
    std::size_t count = 0;
    for (std::size_t index = first_; index < pieces_.size() && count < views.size(); ++index) {
      BytesView piece = pieces_[index].view();
      if (index == first_) piece.remove_prefix(offset_);
      views[count++] = piece;
    }
    return count;
  }

  /// The oldest `count` bytes have left.
  void consume(std::size_t count) {
    CHECK(count <= size_, "{} bytes of {} left", count, size_);
    size_ -= count;
    offset_ += count;
    while (first_ < pieces_.size() && offset_ >= pieces_[first_].view().size()) {
      offset_ -= pieces_[first_].view().size();
      pieces_[first_] = Piece();
      ++first_;
    }
    if (first_ == pieces_.size()) {
      clear();
    } else if (first_ >= sent_pieces_max) {
      pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
  }

  void clear() {
    pieces_.clear();
    first_ = 0;
    offset_ = 0;
    size_ = 0;
  }

 private:
  struct Piece {
    Bytes own;  // empty when shared is not
    SharedBytes shared;

    [[nodiscard]] BytesView view() const { return shared.empty() ? BytesView(own) : shared.view(); }
  };

  static constexpr std::size_t merged_bytes_max = 16 * 1024;
  static constexpr std::size_t sent_pieces_max = 32;  // so many emptied pieces may lie at the front

  std::vector<Piece> pieces_;
  std::size_t first_ = 0;   // the first piece with unsent bytes; invariant: first_ < pieces_.size() unless both are 0
  std::size_t offset_ = 0;  // bytes of it that have left
  std::size_t size_ = 0;    // unsent bytes in all
};

}  // namespace etcd::net
