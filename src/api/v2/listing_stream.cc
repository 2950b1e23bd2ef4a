#include "api/v2/listing_stream.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "api/v2/json.h"

namespace etcd::api::v2 {
namespace {

/// One step of the walk, written down.
Result<tree::WalkStep> write_step(Bytes& out, tree::Walk& walk, ListingWriter& writer, const mvcc::Reader& reader) {
  ETCD_TRY(const tree::WalkStep step, walk.step());
  switch (step) {
    case tree::WalkStep::kNode: ETCD_TRY_VOID(writer.add(out, reader, walk.node())); break;
    case tree::WalkStep::kLeave: writer.leave(out); break;
    case tree::WalkStep::kEnd:
      writer.end(out);
      out.push_back('\n');
      break;
    case tree::WalkStep::kAgain: break;
  }
  return step;
}

/// A large listing on its way. Shared by the exchange's callbacks and the turns that are posted, and by nobody once it
/// has let go of the exchange.
class ListingStream : public std::enable_shared_from_this<ListingStream> {
 public:
  ListingStream(mvcc::Store& store, const io::Clock& clock, mvcc::View&& view, tree::Walk&& walk,
                ListingWriter&& writer, std::shared_ptr<net::Exchange> exchange, const ListingLimits& limits)
      : store_(store),
        clock_(clock),
        limits_(limits),
        exchange_(std::move(exchange)),
        view_(std::move(view)),
        walk_(std::move(walk)),
        writer_(std::move(writer)) {}
  ListingStream(const ListingStream&) = delete;
  ListingStream& operator=(const ListingStream&) = delete;

  /// `walk_` has let go of `view_` for the move into this object.
  void start(net::Response head) {
    exchange_->start(std::move(head));
    exchange_->on_drained([self = shared_from_this()] { self->post_turn(); });
    exchange_->on_close([self = shared_from_this()] { self->end(); });
    if (!walk_.attach(*view_).has_value()) {
      end();
      return;
    }
    note_pin();
    post_turn();
  }

 private:
  void post_turn() {
    if (posted_ || exchange_ == nullptr) return;
    posted_ = true;
    exchange_->executor().post([self = shared_from_this()] {
      self->posted_ = false;
      self->turn();
    });
  }

  void turn() {
    if (exchange_ == nullptr) return;
    if (exchange_->unsent_bytes() > limits_.unsent_bytes_max) return;  // on_drained goes on
    const Result<bool> complete = fill();
    if (!complete.has_value()) {
      end();  // without finish()
      return;
    }
    if (*complete || piece_.size() >= limits_.piece_bytes) exchange_->write(SharedBytes(std::exchange(piece_, {})));
    if (*complete) {
      exchange_->finish();
      end();
      return;
    }
    const std::uint64_t held_back = store_.held_back_bytes();
    least_held_back_ = std::min(least_held_back_, held_back);
    if (held_back - least_held_back_ > limits_.held_back_bytes_max) unpin();
    post_turn();
  }

  /// One turn's work on the piece. Returns true when the listing is complete.
  Result<bool> fill() {
    if (!view_) {
      view_.emplace(store_.view());
      ETCD_TRY_VOID(walk_.attach(*view_));
      note_pin();
    }
    constexpr int kStepsPerLook = 16;  // at the clock
    const MonotonicTime until = clock_.now() + limits_.turn;
    piece_.reserve(limits_.piece_bytes + limits_.piece_bytes / 4);
    for (int steps = 1; steps <= limits_.turn_steps && piece_.size() < limits_.piece_bytes; ++steps) {
      ETCD_TRY(const tree::WalkStep step, write_step(piece_, walk_, writer_, *view_));
      if (step == tree::WalkStep::kEnd) return true;
      const bool looks = steps % kStepsPerLook == 0 || step == tree::WalkStep::kAgain;
      if (looks && clock_.now() >= until) break;
    }
    return false;
  }

  /// The view has just been taken: gives it its time.
  void note_pin() {
    least_held_back_ = store_.held_back_bytes();
    io::Executor& loop = exchange_->executor();
    timer_ = loop.post_at(clock_.now() + limits_.pin, [weak = weak_from_this(), pin = ++pins_] {
      const std::shared_ptr<ListingStream> self = weak.lock();
      if (self == nullptr || self->pins_ != pin) return;
      self->timer_ = 0;
      self->unpin();
    });
  }

  void unpin() {
    walk_.detach();
    view_.reset();
    if (timer_ != 0 && exchange_ != nullptr) exchange_->executor().cancel(std::exchange(timer_, 0));
  }

  /// Lets go of everything. The exchange is closed here, unless it is finished or its client has gone.
  void end() {
    if (exchange_ == nullptr) return;
    unpin();
    const std::shared_ptr<net::Exchange> last = std::move(exchange_);  // its callbacks hold this object
  }

  mvcc::Store& store_;
  const io::Clock& clock_;
  const ListingLimits limits_;
  std::shared_ptr<net::Exchange> exchange_;  // shared with nobody once the request is handled; null at the end
  std::optional<mvcc::View> view_;           // what walk_ reads, or nothing, and then walk_ is detached
  tree::Walk walk_;
  ListingWriter writer_;
  Bytes piece_;  // what is written down and not yet sent
  bool posted_ = false;
  std::uint64_t pins_ = 0;             // views so far
  io::TimerId timer_ = 0;              // ends the view's time; 0: none
  std::uint64_t least_held_back_ = 0;  // of what was seen since the view was taken
};

}  // namespace

Result<void> send_listing(mvcc::Store& store, const io::Clock& clock, mvcc::View&& view, tree::Walk&& walk,
                          net::Response head, bool head_only, const std::shared_ptr<net::Exchange>& exchange,
                          const ListingLimits& limits) {
  ListingWriter writer(clock.wall());
  writer.begin(head.body);
  std::size_t nodes = 0;
  // The first node alone is never too much: a file is answered whole, however large.
  while (nodes <= 1 || (nodes <= limits.whole_nodes_max && head.body.size() <= limits.whole_bytes_max)) {
    ETCD_TRY(const tree::WalkStep step, write_step(head.body, walk, writer, view));
    if (step == tree::WalkStep::kEnd) {
      exchange->send(std::move(head));
      return {};
    }
    if (step == tree::WalkStep::kNode) ++nodes;
  }
  head.has_end = true;
  if (head_only) {
    head.body.clear();
    exchange->start(std::move(head));
    exchange->finish();
    return {};
  }
  walk.detach();
  std::make_shared<ListingStream>(store, clock, std::move(view), std::move(walk), std::move(writer), exchange, limits)
      ->start(std::move(head));
  return {};
}

}  // namespace etcd::api::v2
