// Listings on their way to clients that take them at once, slowly, not at all, or leave.
#include "api/v2/listing_stream.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/v2/json.h"
#include "engine/memory_engine.h"
#include "io/sim_scheduler.h"
#include "mvcc/store.h"
#include "tree/read.h"
#include "tree/walk.h"

namespace etcd::api::v2 {
namespace {

class FakeExchange;

/// What a client has seen of its answer.
struct Client {
  net::Response head;
  Bytes body;
  bool whole = false;
  bool started = false;
  bool finished = false;
  int pieces = 0;
  std::size_t unsent = 0;  // written, and not taken
  std::size_t most_unsent = 0;
  FakeExchange* exchange = nullptr;  // null once it has been let go of
};

/// The session's part, as net/http1_session.cc has it.
class FakeExchange final : public net::Exchange {
 public:
  FakeExchange(Client& client, io::Executor& loop) : client_(client), loop_(loop) { client_.exchange = this; }
  ~FakeExchange() override { client_.exchange = nullptr; }
  FakeExchange(const FakeExchange&) = delete;
  FakeExchange& operator=(const FakeExchange&) = delete;

  void send(net::Response response) override {
    client_.whole = true;
    client_.body = response.body;
    client_.head = std::move(response);
    detach();
  }
  void start(net::Response response) override {
    client_.started = true;
    write(SharedBytes(std::exchange(response.body, {})));
    client_.head = std::move(response);
  }
  void write(SharedBytes piece) override {
    if (detached_ || piece.empty()) return;
    ++client_.pieces;
    client_.body += piece.view();
    client_.unsent += piece.size();
    client_.most_unsent = std::max(client_.most_unsent, client_.unsent);
  }
  void finish() override {
    client_.finished = !detached_;
    detach();
  }
  [[nodiscard]] std::size_t unsent_bytes() const override { return detached_ ? 0 : client_.unsent; }
  void on_drained(std::function<void()> callback) override {
    if (!detached_) drained_ = std::move(callback);
  }
  void on_close(std::function<void()> callback) override {
    if (!detached_) close_ = std::move(callback);
  }
  [[nodiscard]] io::Executor& executor() override { return loop_; }

  /// The client takes all that is there.
  void drain() {
    client_.unsent = 0;
    const std::function<void()> callback = drained_;
    if (callback) callback();
  }
  /// The client goes away.
  void leave() {
    std::function<void()> close = std::exchange(close_, nullptr);
    detach();
    if (close) loop_.post(std::move(close));
  }

 private:
  void detach() {
    detached_ = true;
    const auto drained = std::exchange(drained_, nullptr);
    const auto close = std::exchange(close_, nullptr);
  }

  Client& client_;
  io::Executor& loop_;
  bool detached_ = false;
  std::function<void()> drained_;
  std::function<void()> close_;
};

class Listings : public testing::Test {
 protected:
  Listings()
      : engine_(engine::open_memory(disk_, std::vector<std::string>{"history", "mvcc", "live"})),
        store_(mvcc::Store::open(*engine_, scheduler_.clock()).value()) {}

  void put(const Bytes& key, const Bytes& value) {
    mvcc::WriteTxn txn = store_->begin();
    txn.put(key, value);
    txn.commit();
    store_->publish();
  }
  void erase(const Bytes& key) {
    mvcc::WriteTxn txn = store_->begin();
    txn.erase(key);
    txn.commit();
    store_->publish();
  }
  /// So many files, some of them in directories; "v" is part of every value.
  void put_files(int count) {
    for (int file = 0; file < count; ++file) put(key_of(file), fmt::format("v{}", file));
  }
  static Bytes key_of(int file) { return fmt::format("/d/{}/f-{}", file % 7, file); }

  void flush() {
    engine::Batch batch;
    const std::int64_t revision = store_->take_changes(batch);
    ASSERT_TRUE(engine_->commit(batch).has_value());
    store_->committed(revision);
    store_->publish();
  }
  void compact() {
    flush();
    ASSERT_TRUE(store_->compact(store_->revision()).has_value());
    for (;;) {
      store_->publish();
      engine::Batch batch;
      const Result<mvcc::CompactionState> state = store_->compact_slice(batch);
      ASSERT_TRUE(state.has_value());
      ASSERT_TRUE(engine_->commit(batch).has_value());
      if (*state == mvcc::CompactionState::kIdle) break;
      flush();
    }
  }

  /// The whole answer, made at once.
  Bytes reference(BytesView path = "/") {
    const mvcc::View view = store_->view();
    const auto listing = tree::read(view, path, {.recursive = true}, view.revision());
    EXPECT_TRUE(listing.has_value());
    Bytes text;
    EXPECT_TRUE(append_listing(text, view, *listing, scheduler_.clock().wall()).has_value());
    return text + "\n";
  }

  void get(const ListingLimits& limits = {}, BytesView path = "/", bool head_only = false) {
    mvcc::View view = store_->view();
    tree::Outcome<tree::Walk> walk = tree::Walk::open(view, path, {.recursive = true}, view.revision());
    ASSERT_TRUE(walk.has_value());
    net::Response head;
    head.headers.add("X-Etcd-Index", std::to_string(view.revision()));
    ASSERT_TRUE(send_listing(*store_, scheduler_.clock(), std::move(view), *std::move(walk), std::move(head), head_only,
                             std::make_shared<FakeExchange>(client_, loop_), limits)
                    .has_value());
  }
  static ListingLimits small_pieces() {
    return {.whole_bytes_max = 2'000, .piece_bytes = 1'000, .unsent_bytes_max = 4'000};
  }
  /// Runs the loop until nothing is left to do, timers too.
  void run() {
    while (scheduler_.run_one()) {
    }
  }
  /// Runs it for a client that takes everything at once.
  void run_draining() {
    while (client_.exchange != nullptr) {
      client_.exchange->drain();
      if (!scheduler_.run_one()) break;
    }
  }

  Client client_;
  io::SimScheduler scheduler_{7};
  io::Executor& loop_ = scheduler_.new_executor("net");
  engine::MemoryDisk disk_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<mvcc::Store> store_;
};

TEST_F(Listings, AreWholeWhenSmall) {
  put_files(100);
  get();
  EXPECT_TRUE(client_.whole);
  EXPECT_EQ(client_.body, reference());
  EXPECT_EQ(*client_.head.headers.find("x-etcd-index"), "101");
  EXPECT_EQ(client_.exchange, nullptr);
}

TEST_F(Listings, AFileIsWholeHoweverLarge) {
  put("/f", Bytes(1'000'000, 'x'));
  get({}, "/f");
  EXPECT_TRUE(client_.whole);
  EXPECT_EQ(client_.body, reference("/f"));
  flush();
  ASSERT_FALSE(store_->view().get("/f")->has_value());
  client_ = {};
  get({}, "/f");
  EXPECT_TRUE(client_.whole);
  EXPECT_EQ(client_.body, reference("/f"));
}

TEST_F(Listings, OfManyNodesComeInPieces) {
  put_files(2'001);
  get();
  EXPECT_TRUE(client_.started);
  run_draining();
  EXPECT_TRUE(client_.finished);
  EXPECT_TRUE(client_.head.has_end);
  EXPECT_EQ(client_.body, reference());
  EXPECT_EQ(client_.exchange, nullptr);
}

TEST_F(Listings, OfLargeValuesComeInPieces) {
  for (int file = 0; file < 20; ++file) put(fmt::format("/big/{}", file), Bytes(30'000, 'x'));
  flush();
  get();
  run_draining();
  EXPECT_TRUE(client_.finished);
  EXPECT_GT(client_.pieces, 3);
  EXPECT_EQ(client_.body, reference());
}

TEST_F(Listings, WaitForTheClientWithoutHoldingMemoryBack) {
  put_files(1'000);
  flush();
  const Bytes expected = reference();
  get(small_pieces());
  run();
  EXPECT_FALSE(client_.finished);
  EXPECT_GT(client_.unsent, 4'000u);
  EXPECT_LT(client_.most_unsent, 6'000u);
  for (int round = 0; round < 100; ++round) {
    put("/other", Bytes(10'000, 'x'));
    flush();
  }
  EXPECT_LT(store_->held_back_bytes(), 100'000u);
  run_draining();
  EXPECT_TRUE(client_.finished);
  EXPECT_EQ(client_.body, expected);
  EXPECT_LT(client_.most_unsent, 6'000u);
}

TEST_F(Listings, AreOneRevisionBesideWrites) {
  put_files(1'000);
  const Bytes expected = reference();
  ListingLimits limits = small_pieces();
  limits.held_back_bytes_max = 0;  // a new view after each write
  get(limits);
  int file = 0;
  while (client_.exchange != nullptr) {
    client_.exchange->drain();
    ASSERT_TRUE(scheduler_.run_one());
    put(key_of(999 - file % 1'000), "changed");
    erase(key_of(file * 13 % 1'000));
    put(fmt::format("/d/3/g-{}", file), "made");
    if (++file % 10 == 0) flush();
  }
  EXPECT_TRUE(client_.finished);
  EXPECT_EQ(client_.body, expected);
  EXPECT_GT(file, 10);
}

TEST_F(Listings, BreakOffWhenTheirRevisionIsCompacted) {
  put_files(1'000);
  const Bytes expected = reference();
  get(small_pieces());
  run();
  put(key_of(999), "changed");
  compact();
  run_draining();
  EXPECT_EQ(client_.exchange, nullptr);
  EXPECT_FALSE(client_.finished);
  EXPECT_LT(client_.body.size(), expected.size());
  EXPECT_TRUE(expected.starts_with(client_.body));
}

TEST_F(Listings, EndWithTheirClient) {
  put_files(1'000);
  for (const bool at_once : {true, false}) {
    client_ = {};
    get(small_pieces());
    if (!at_once) run();
    client_.exchange->leave();
    run();
    EXPECT_EQ(client_.exchange, nullptr);
    EXPECT_FALSE(client_.finished);
  }
  store_.reset();  // checks that no view is left
}

TEST_F(Listings, OfAHeadRequestHaveNoBody) {
  put_files(1'000);
  get(small_pieces(), "/", true);
  EXPECT_TRUE(client_.started);
  EXPECT_TRUE(client_.finished);
  EXPECT_EQ(client_.body, "");
  EXPECT_EQ(*client_.head.headers.find("X-Etcd-Index"), "1001");
  client_ = {};
  get({}, "/", true);
  EXPECT_TRUE(client_.whole);
  EXPECT_EQ(client_.body, reference());  // the session takes the length, and no more
}

TEST_F(Listings, LetOthersHaveTheLoopBetweenTheirPieces) {
  put_files(1'000);
  get(small_pieces());
  int turns = 0;
  std::function<void()> other = [&] {
    if (client_.exchange == nullptr) return;
    ++turns;
    client_.exchange->drain();
    loop_.post(other);
  };
  loop_.post(other);
  run();
  EXPECT_TRUE(client_.finished);
  EXPECT_GT(client_.pieces, 20);
  EXPECT_GE(turns, client_.pieces - 2);  // all but the first and the last
}

}  // namespace
}  // namespace etcd::api::v2
