// api/v2/listing_stream.h - answers a read with the nodes that a walk shows: few of them whole, many piece by piece.
//
// Thread:  the exchange's loop.
// Memory:  of a large listing a few pieces, however long it is, and what its view holds back for a moment.
//
// The head leaves with the first piece. Further ones are written as the client takes them, one a turn, and between
// turns other connections are served. All of it is one revision: a view is held for a short time only, and then a newer
// one shows that revision (tree/walk.h).
//
//     walk ---- small: end ----> send()
//      |
//      |  large                      +-- piece, more to come --> the loop's next turn ----------+
//      v                             |                                                          |
//     start() --> next turn ---> streaming -- piece, too much on its way --> on_drained --------+
//                                 ^  |  |                                                       |
//                                 |  |  +-- last piece: finish()                                |
//                                 |  +-- the revision is compacted, the history cannot be read: the connection breaks
//                                 +-------------------------------------------------------------+
#pragma once
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "base/time.h"
#include "mvcc/store.h"
#include "net/http.h"
#include "tree/walk.h"

namespace etcd::api::v2 {

struct ListingLimits {
  std::size_t whole_bytes_max = 256 * 1024;         // a listing of more JSON than this, or of more nodes than the next,
  std::size_t whole_nodes_max = 2'000;              // is streamed; a single file never is
  std::size_t piece_bytes = 64 * 1024;              // a piece is this long, and the rest of its last node longer
  std::size_t unsent_bytes_max = 256 * 1024;        // with more on its way than this nothing further is read
  Duration turn = 250us;                            // so much work, then others have their turn; likewise
  int turn_steps = 2'000;                           // so many steps of the walk
  Duration pin = 100ms;                             // a view is held no longer than this,
  std::uint64_t held_back_bytes_max = 16ull << 20;  // and not while the store holds back so much more for its readers
};

/// Answers with `{"action":"get","node":{...}}` and a newline. `head` has all of the response but the body.
///
/// Shape:   `walk` was opened on `view` and has made no step; both are used up. A HEAD request (`head_only`) gets the
///          head alone: with Content-Length where a GET is answered whole, else without a word of the body.
/// Errors:  kCompacted, kCorrupt, kIo for a large value before anything was sent: `exchange` has not been answered.
///          Later ones break the connection.
Result<void> send_listing(mvcc::Store& store, const io::Clock& clock, mvcc::View&& view, tree::Walk&& walk,
                          net::Response head, bool head_only, const std::shared_ptr<net::Exchange>& exchange,
                          const ListingLimits& limits = {});

}  // namespace etcd::api::v2
