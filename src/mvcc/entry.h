// mvcc/entry.h - one version of one key, immutable, in the bytes that a client gets.
//
// Life:    Entry::make() -> EntryRef copies ... -> the last EntryRef frees it
// Thread:  any (immutable; the count is atomic).
// Format:  the encoded part is mvccpb.KeyValue; a stored version is docs/formats/store.md, "History record".
//
//      +--------------------+------------------------------+------------------+-----------------+
//      | 32 bytes of header | encoded mvccpb.KeyValue      | attributes, 0/24 | links, 0..      |
//      +--------------------+------------------------------+------------------+-----------------+
//       count, sizes,        a Range reply copies these     created index,     older versions of
//       revision, position   bytes                          deadline           the key (links.h)
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace etcd::mvcc {

/// What a v2 node has beside its key and value. Not part of mvccpb.KeyValue, hence neither hashed nor shown by v3.
struct Attributes {
  std::int64_t created_index = 0;  // 0: the same as create_revision
  WallTime deadline{};             // when the node's TTL runs out; 0: it has none
  Duration ttl{};                  // how long that was from when it was written; meaningless without a deadline

  [[nodiscard]] bool is_default() const { return created_index == 0 && deadline.ns == 0; }
  friend bool operator==(const Attributes&, const Attributes&) = default;
};

/// The fields of mvccpb.KeyValue; zeros stand for absent ones.
/// Source: etcd v3.7.1 api/mvccpb/kv.proto.
struct KeyValue {
  BytesView key;                     // 1
  std::int64_t create_revision = 0;  // 2
  std::int64_t mod_revision = 0;     // 3
  std::int64_t version = 0;          // 4
  BytesView value;                   // 5
  LeaseId lease = 0;                 // 6

  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

[[nodiscard]] std::size_t encoded_size(const KeyValue& kv);
void append_encoded(const KeyValue& kv, Bytes& out);
/// The views point into `bytes`. Fields may come in any order, unknown ones are skipped. Errors: kCorrupt.
Result<KeyValue> decode_key_value(BytesView bytes);

inline constexpr std::size_t kAttributesBytes = 24;  // in memory and in a record: three numbers of 8 bytes

class EntryRef;

class Entry {
 public:
  /// What an entry is made of. A tombstone's `kv` has key and mod_revision only, which is also what a DELETE event
  /// shows.
  struct Parts {
    KeyValue kv;  // kv.mod_revision is the entry's main revision
    std::int64_t sub = 0;
    bool tombstone = false;
    Attributes attributes;
    std::uint32_t position = 1;  // how many versions the chain holds, this one included (links.h)
    BytesView links;             // encoded, see links.h
  };

  static EntryRef make(const Parts& parts);
  /// As above from bytes that are encoded already; `key_size` and `key_offset` say where the key lies in them.
  static EntryRef make_encoded(BytesView encoded, std::uint32_t key_offset, std::uint32_t key_size, Revision revision,
                               bool tombstone, const Attributes& attributes, std::uint32_t position, BytesView links);

  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  [[nodiscard]] BytesView key() const { return {data() + key_offset_, key_size_}; }
  [[nodiscard]] BytesView value() const { return fields().value; }
  /// The whole mvccpb.KeyValue, ready for a reply.
  [[nodiscard]] BytesView encoded() const { return {data(), encoded_size_}; }
  /// mvccpb.KeyValue with the key alone, which is a tombstone's stored form upstream (HashKV hashes it).
  [[nodiscard]] BytesView encoded_key_only() const { return {data(), key_offset_ + std::size_t{key_size_}}; }
  /// All fields at once; cheaper than one accessor after another.
  [[nodiscard]] KeyValue fields() const;

  [[nodiscard]] bool is_tombstone() const { return (flags_ & kTombstone) != 0; }
  [[nodiscard]] Revision revision() const { return {main_, sub_}; }
  [[nodiscard]] std::int64_t mod_revision() const { return main_; }
  [[nodiscard]] std::int64_t create_revision() const { return fields().create_revision; }
  [[nodiscard]] std::int64_t version() const { return fields().version; }
  [[nodiscard]] LeaseId lease() const { return fields().lease; }
  [[nodiscard]] Attributes attributes() const;
  /// The v2 createdIndex: the node's own where it has one, else create_revision.
  [[nodiscard]] std::int64_t created_index() const;

  [[nodiscard]] std::uint32_t position() const { return position_; }
  [[nodiscard]] BytesView links() const { return {data() + encoded_size_ + attributes_bytes(), links_size_}; }
  /// Bytes of memory this entry takes, the allocator's own left out.
  [[nodiscard]] std::size_t footprint() const {
    return sizeof(Entry) + encoded_size_ + attributes_bytes() + links_size_;
  }

 private:
  friend class EntryRef;
  friend class Limbo;
  static constexpr std::uint8_t kTombstone = 1;
  static constexpr std::uint8_t kHasAttributes = 2;

  Entry() = default;
  ~Entry() = default;
  [[nodiscard]] const char* data() const { return reinterpret_cast<const char*>(this + 1); }
  [[nodiscard]] char* data() { return reinterpret_cast<char*>(this + 1); }
  [[nodiscard]] std::size_t attributes_bytes() const { return (flags_ & kHasAttributes) != 0 ? kAttributesBytes : 0; }
  void retain() const { count_.fetch_add(1, std::memory_order_relaxed); }
  void release() const {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) free_entry(this);
  }
  static void free_entry(const Entry* entry);

  mutable std::atomic<std::uint32_t> count_{1};
  std::uint32_t encoded_size_ = 0;
  std::int64_t main_ = 0;
  std::uint32_t sub_ = 0;
  std::uint32_t position_ = 1;
  std::uint32_t key_size_ = 0;
  std::uint16_t links_size_ = 0;
  std::uint8_t flags_ = 0;
  std::uint8_t key_offset_ = 0;
};
static_assert(sizeof(Entry) == 32, "a million keys are counted in these bytes");

/// One count of an Entry; null is possible.
class EntryRef {
 public:
  EntryRef() = default;
  EntryRef(std::nullptr_t) {}  // NOLINT: `return nullptr` reads well
  /// Takes a count of its own of an entry that somebody keeps alive during this call.
  explicit EntryRef(const Entry* entry) : entry_(entry) {
    if (entry_ != nullptr) entry_->retain();
  }
  EntryRef(const EntryRef& other) : EntryRef(other.entry_) {}
  EntryRef(EntryRef&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
  EntryRef& operator=(EntryRef other) noexcept {
    std::swap(entry_, other.entry_);
    return *this;
  }
  ~EntryRef() {
    if (entry_ != nullptr) entry_->release();
  }

  [[nodiscard]] const Entry* get() const { return entry_; }
  const Entry& operator*() const { return *entry_; }
  const Entry* operator->() const { return entry_; }
  explicit operator bool() const { return entry_ != nullptr; }
  /// Gives up the count without releasing it.
  [[nodiscard]] const Entry* detach() { return std::exchange(entry_, nullptr); }
  /// Takes over a count that was detached.
  static EntryRef adopt(const Entry* entry) {
    EntryRef ref;
    ref.entry_ = entry;
    return ref;
  }

 private:
  const Entry* entry_ = nullptr;
};

}  // namespace etcd::mvcc
