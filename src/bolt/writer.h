// bolt/writer.h - writes a bbolt file front to back, without ever going back, in bounded memory.
//
// Life:    Planner: { begin_bucket() -> put()* -> end_bucket() }* -> finish() -> Plan
//          Writer:  open(plan) -> the same calls with the same keys and the values -> finish()
//          After an error either is dead: each later call repeats that error.
// Thread:  one owner at a time.
// Format:  docs/formats/db.md
// Source:  bbolt v1.5.0 node.go (what a page may hold), tx.go WriteTo (the two metas of a copy); etcd v3.7.1
//          server/etcdserver/api/v3rpc/maintenance.go: a snapshot's first message says how many bytes are to come.
//
// The first two pages name the root, which can be written only when all else has been. So the content is gone through
// twice: the planner needs keys and the sizes of values, and gives the file's length and the root's place; the writer
// then sends. Each closes a page by the same code, and the writer refuses content that leaves the plan.
//
// A page goes out as soon as it is full: leaves, then the branch above a run of leaves; a bucket's root comes behind
// its pages, the root of all last. Memory: one leaf, two branches for each level, and an output buffer. Large values
// are handed to the sink as they are.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "bolt/format.h"
#include "io/file.h"

namespace etcd::bolt {

/// Takes the next bytes of the file. An error ends the writing and is what the writer's call returns.
using Sink = std::function<Result<void>(BytesView)>;

/// Appends to a file from its beginning; does not sync. Borrows `file`, which must outlive the sink.
Sink sink_into(io::File& file);

/// How the file will be laid out.
struct Plan {
  std::uint64_t pages = 0;  // with the metas; the high-water mark
  PageId root = 0;

  [[nodiscard]] std::uint64_t file_bytes() const { return pages * kPageBytes; }
  friend bool operator==(const Plan&, const Plan&) = default;
};

class Builder;

class Planner {
 public:
  Planner();
  ~Planner();
  Planner(Planner&&) noexcept;
  Planner& operator=(Planner&&) noexcept;

  // As the writer's.
  Result<void> begin_bucket(BytesView name);
  Result<void> put(BytesView key, std::uint64_t value_bytes);
  Result<void> end_bucket();
  Result<Plan> finish();

 private:
  std::unique_ptr<Builder> builder_;  // never null but after a move
};

struct WriterOptions {
  std::uint64_t txid = 2;  // of the first meta; the second has one less, as in a copy made by upstream. Above 0.
};

class Writer {
 public:
  /// Sends the two metas.
  /// Errors: the sink's.
  static Result<Writer> open(Plan plan, Sink sink, WriterOptions options = {});
  ~Writer();
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;

  /// Buckets come in the byte order of their names, one after another. Calls out of turn are our bug.
  /// Errors: kInvalidArgument when the name is not above the last one, is empty or too long; the sink's.
  Result<void> begin_bucket(BytesView name, std::uint64_t sequence = 0);

  /// Shape:  keys ascend within a bucket; 1 to kKeyBytesMax bytes, values up to kValueBytesMax.
  /// Errors: kInvalidArgument when one of these is not so, or the content needs more pages than planned; the sink's.
  Result<void> put(BytesView key, BytesView value);

  Result<void> end_bucket();

  /// Sends what is left. The sink has then got exactly plan.file_bytes().
  /// Errors: kInvalidArgument when the content was not what was planned; the sink's.
  Result<void> finish();

 private:
  explicit Writer(std::unique_ptr<Builder> builder);

  std::unique_ptr<Builder> builder_;  // never null but after a move
};

}  // namespace etcd::bolt
