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
//
// A stub is an entry without its value, which was large and which the engine has (StoreOptions::large_value_bytes). It
// tells all else; Reader::load() gives the whole one. Between its KeyValue, which has no field for the value, and its
// attributes stands the value's size, 4 bytes.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
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
    // The value's size where the value is left out, and kv.value is empty: the entry becomes a stub.
    std::optional<std::size_t> left_out{};
  };

  static EntryRef make(const Parts& parts);
  /// As above from bytes that are encoded already; `key_size` and `key_offset` say where the key lies in them.
  static EntryRef make_encoded(BytesView encoded, std::uint32_t key_offset, std::uint32_t key_size, Revision revision,
                               bool tombstone, const Attributes& attributes, std::uint32_t position, BytesView links);
  /// The stub of `whole`, which has its value.
  static EntryRef make_stub(const Entry& whole);

  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  [[nodiscard]] BytesView key() const { return {data() + key_offset_, key_size_}; }
  /// False for a stub. What needs the value (value(), encoded() and fields()) is not to be asked of one.
  [[nodiscard]] bool has_value() const { return (flags_ & kStub) == 0; }
  [[nodiscard]] BytesView value() const { return fields().value; }
  /// Of a stub, too.
  [[nodiscard]] std::size_t value_size() const;
  /// The whole mvccpb.KeyValue, ready for a reply.
  [[nodiscard]] BytesView encoded() const {
    if (!has_value()) [[unlikely]]
      fail_without_value();
    return {data(), encoded_size_};
  }
  /// mvccpb.KeyValue with the key alone, which is a tombstone's stored form upstream (HashKV hashes it).
  [[nodiscard]] BytesView encoded_key_only() const { return {data(), key_offset_ + std::size_t{key_size_}}; }
  /// All fields at once; cheaper than one accessor after another.
  [[nodiscard]] KeyValue fields() const;
  /// All fields but the value, which is empty; of a stub, too.
  [[nodiscard]] KeyValue meta() const;

  [[nodiscard]] bool is_tombstone() const { return (flags_ & kTombstone) != 0; }
  [[nodiscard]] Revision revision() const { return {main_, sub_}; }
  [[nodiscard]] std::int64_t mod_revision() const { return main_; }
  [[nodiscard]] std::int64_t create_revision() const { return meta().create_revision; }
  [[nodiscard]] std::int64_t version() const { return meta().version; }
  [[nodiscard]] LeaseId lease() const { return meta().lease; }
  [[nodiscard]] Attributes attributes() const;
  /// The v2 createdIndex: the node's own where it has one, else create_revision.
  [[nodiscard]] std::int64_t created_index() const;

  [[nodiscard]] std::uint32_t position() const { return position_; }
  [[nodiscard]] BytesView links() const { return {attributes_data() + attributes_bytes(), links_size_}; }
  /// Bytes of memory this entry takes, the allocator's own left out.
  [[nodiscard]] std::size_t footprint() const {
    return sizeof(Entry) + encoded_size_ + left_out_bytes() + attributes_bytes() + links_size_;
  }

 private:
  friend class EntryRef;
  friend class Limbo;
  static constexpr std::uint8_t kTombstone = 1;
  static constexpr std::uint8_t kHasAttributes = 2;
  static constexpr std::uint8_t kStub = 4;

  Entry() = default;
  ~Entry() = default;
  [[nodiscard]] const char* data() const { return reinterpret_cast<const char*>(this + 1); }
  [[nodiscard]] char* data() { return reinterpret_cast<char*>(this + 1); }
  [[nodiscard]] const char* attributes_data() const { return data() + encoded_size_ + left_out_bytes(); }
  [[nodiscard]] std::size_t attributes_bytes() const { return (flags_ & kHasAttributes) != 0 ? kAttributesBytes : 0; }
  [[nodiscard]] std::size_t left_out_bytes() const { return has_value() ? 0 : sizeof(std::uint32_t); }
  [[noreturn]] void fail_without_value() const;
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
