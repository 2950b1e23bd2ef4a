#include "mvcc/entry.h"

#include <cstring>
#include <new>

#include "base/check.h"
#include "mvcc/varint.h"

namespace etcd::mvcc {

namespace {

// Field tags: number << 3 | wire type (0 varint, 2 length-delimited).
constexpr char kKeyTag = 0x0A;
constexpr char kCreateTag = 0x10;
constexpr char kModTag = 0x18;
constexpr char kVersionTag = 0x20;
constexpr char kValueTag = 0x2A;
constexpr char kLeaseTag = 0x30;

std::size_t bytes_field_size(BytesView bytes) {
  return bytes.empty() ? 0 : 1 + varint_size(bytes.size()) + bytes.size();
}

std::size_t number_field_size(std::int64_t number) {
  return number == 0 ? 0 : 1 + varint_size(static_cast<std::uint64_t>(number));
}

char* write_bytes_field(char tag, BytesView bytes, char* out) {
  if (bytes.empty()) return out;
  *out++ = tag;
  out = write_varint(bytes.size(), out);
  std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

char* write_number_field(char tag, std::int64_t number, char* out) {
  if (number == 0) return out;
  *out++ = tag;
  return write_varint(static_cast<std::uint64_t>(number), out);
}

char* write_encoded(const KeyValue& kv, char* out) {
  out = write_bytes_field(kKeyTag, kv.key, out);
  out = write_number_field(kCreateTag, kv.create_revision, out);
  out = write_number_field(kModTag, kv.mod_revision, out);
  out = write_number_field(kVersionTag, kv.version, out);
  out = write_bytes_field(kValueTag, kv.value, out);
  return write_number_field(kLeaseTag, kv.lease, out);
}

std::unexpected<Error> malformed(const char* what) {
  return failure(ErrorCode::kCorrupt, std::string("mvccpb.KeyValue: ") + what);
}

}  // namespace

std::size_t encoded_size(const KeyValue& kv) {
  return bytes_field_size(kv.key) + number_field_size(kv.create_revision) + number_field_size(kv.mod_revision) +
         number_field_size(kv.version) + bytes_field_size(kv.value) + number_field_size(kv.lease);
}

void append_encoded(const KeyValue& kv, Bytes& out) {
  const std::size_t before = out.size();
  out.resize(before + encoded_size(kv));
  write_encoded(kv, out.data() + before);
}

Result<KeyValue> decode_key_value(BytesView bytes) {
  KeyValue kv;
  while (!bytes.empty()) {
    std::uint64_t tag = 0;
    std::uint64_t number = 0;
    if (!read_varint(bytes, tag)) return malformed("bad tag");
    switch (tag & 7) {
      case 0: {
        if (!read_varint(bytes, number)) return malformed("bad number");
        const auto field = static_cast<std::int64_t>(number);
        switch (tag) {
          case kCreateTag: kv.create_revision = field; break;
          case kModTag: kv.mod_revision = field; break;
          case kVersionTag: kv.version = field; break;
          case kLeaseTag: kv.lease = field; break;
          default: break;
        }
        break;
      }
      case 2: {
        if (!read_varint(bytes, number) || number > bytes.size()) return malformed("bad length");
        if (tag == kKeyTag) kv.key = bytes.substr(0, number);
        if (tag == kValueTag) kv.value = bytes.substr(0, number);
        bytes.remove_prefix(number);
        break;
      }
      case 1:
      case 5: {
        const std::size_t size = (tag & 7) == 1 ? 8 : 4;
        if (bytes.size() < size) return malformed("bad fixed field");
        bytes.remove_prefix(size);
        break;
      }
      default: return malformed("unknown wire type");
    }
  }
  return kv;
}

namespace {

char* write_attributes(const Attributes& attributes, char* out) {
  const std::int64_t numbers[3] = {attributes.created_index, attributes.deadline.ns, attributes.ttl.count()};
  static_assert(sizeof numbers == kAttributesBytes);
  std::memcpy(out, numbers, sizeof numbers);
  return out + sizeof numbers;
}

}  // namespace

EntryRef Entry::make(const Parts& parts) {
  CHECK(parts.sub >= 0 && parts.sub <= 0xFFFFFFFF, "sub revision {}", parts.sub);
  const std::size_t encoded = encoded_size(parts.kv);
  const std::size_t attributes = parts.attributes.is_default() ? 0 : kAttributesBytes;
  CHECK(encoded <= 0xFFFFFFFFu && parts.links.size() <= 0xFFFFu, "{} bytes, {} of links", encoded, parts.links.size());
  CHECK(!parts.left_out || (parts.kv.value.empty() && *parts.left_out <= 0xFFFFFFFFu),
        "a stub with a value of {} bytes", parts.kv.value.size());
  const std::size_t left_out = parts.left_out ? sizeof(std::uint32_t) : 0;
  void* memory = ::operator new(sizeof(Entry) + encoded + left_out + attributes + parts.links.size());
  auto* entry = new (memory) Entry();
  entry->encoded_size_ = static_cast<std::uint32_t>(encoded);
  entry->main_ = parts.kv.mod_revision;
  entry->sub_ = static_cast<std::uint32_t>(parts.sub);
  entry->position_ = parts.position;
  entry->key_size_ = static_cast<std::uint32_t>(parts.kv.key.size());
  entry->key_offset_ = parts.kv.key.empty() ? 0 : static_cast<std::uint8_t>(1 + varint_size(parts.kv.key.size()));
  entry->links_size_ = static_cast<std::uint16_t>(parts.links.size());
  entry->flags_ = static_cast<std::uint8_t>((parts.tombstone ? kTombstone : 0) | (attributes > 0 ? kHasAttributes : 0) |
                                            (parts.left_out ? kStub : 0));
  char* out = write_encoded(parts.kv, entry->data());
  if (parts.left_out) {
    const auto size = static_cast<std::uint32_t>(*parts.left_out);
    std::memcpy(out, &size, sizeof size);
    out += sizeof size;
  }
  if (attributes > 0) {
    out = write_attributes(parts.attributes, out);
  }
  if (!parts.links.empty()) std::memcpy(out, parts.links.data(), parts.links.size());
  return EntryRef::adopt(entry);
}

EntryRef Entry::make_encoded(BytesView encoded, std::uint32_t key_offset, std::uint32_t key_size, Revision revision,
                             bool tombstone, const Attributes& attributes, std::uint32_t position, BytesView links) {
  const std::size_t attributes_size = attributes.is_default() ? 0 : kAttributesBytes;
  CHECK(encoded.size() <= 0xFFFFFFFFu && links.size() <= 0xFFFFu && key_offset <= 0xFF,
        "{} bytes, {} of links, key at {}", encoded.size(), links.size(), key_offset);
  void* memory = ::operator new(sizeof(Entry) + encoded.size() + attributes_size + links.size());
  auto* entry = new (memory) Entry();
  entry->encoded_size_ = static_cast<std::uint32_t>(encoded.size());
  entry->main_ = revision.main;
  entry->sub_ = static_cast<std::uint32_t>(revision.sub);
  entry->position_ = position;
  entry->key_size_ = key_size;
  entry->key_offset_ = static_cast<std::uint8_t>(key_offset);
  entry->links_size_ = static_cast<std::uint16_t>(links.size());
  entry->flags_ = static_cast<std::uint8_t>((tombstone ? kTombstone : 0) | (attributes_size > 0 ? kHasAttributes : 0));
  std::memcpy(entry->data(), encoded.data(), encoded.size());
  char* out = entry->data() + encoded.size();
  if (attributes_size > 0) {
    out = write_attributes(attributes, out);
  }
  if (!links.empty()) std::memcpy(out, links.data(), links.size());
  return EntryRef::adopt(entry);
}

EntryRef Entry::make_stub(const Entry& whole) {
  Parts parts;
  parts.kv = whole.fields();
  parts.left_out = parts.kv.value.size();
  parts.kv.value = {};
  parts.sub = whole.revision().sub;
  parts.tombstone = whole.is_tombstone();
  parts.attributes = whole.attributes();
  parts.position = whole.position();
  parts.links = whole.links();
  return make(parts);
}

void Entry::free_entry(const Entry* entry) {
  entry->~Entry();
  ::operator delete(const_cast<Entry*>(entry));
}

void Entry::fail_without_value() const {
  CHECK(false, "the value of revision {}.{} is asked of its stub", main_, sub_);
}

namespace {

/// The bytes were written by make(), or checked when the record was read.
KeyValue decode_own(BytesView encoded, Revision revision) {
  Result<KeyValue> kv = decode_key_value(encoded);
  CHECK(kv.has_value(), "entry at revision {}.{}: {}", revision.main, revision.sub, kv.error().message);
  return *kv;
}

}  // namespace

KeyValue Entry::fields() const {
  return decode_own(encoded(), revision());
}

KeyValue Entry::meta() const {
  KeyValue kv = decode_own({data(), encoded_size_}, revision());
  kv.value = {};
  return kv;
}

std::size_t Entry::value_size() const {
  if (has_value()) return value().size();
  std::uint32_t size = 0;
  std::memcpy(&size, data() + encoded_size_, sizeof size);
  return size;
}

Attributes Entry::attributes() const {
  Attributes attributes;
  if ((flags_ & kHasAttributes) != 0) {
    std::int64_t numbers[3];
    static_assert(sizeof numbers == kAttributesBytes);
    std::memcpy(numbers, attributes_data(), sizeof numbers);
    attributes = {.created_index = numbers[0], .deadline = {numbers[1]}, .ttl = Duration(numbers[2])};
  }
  return attributes;
}

std::int64_t Entry::created_index() const {
  const std::int64_t own = attributes().created_index;
  return own != 0 ? own : create_revision();
}

}  // namespace etcd::mvcc
