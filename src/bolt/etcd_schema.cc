#include "bolt/etcd_schema.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace etcd::bolt {
namespace {

constexpr std::size_t kNumberBytes = 8;
constexpr char kSeparator = '_';
constexpr char kTombstone = 't';

static_assert(std::endian::native == std::endian::little);

std::uint64_t number_at(BytesView bytes, std::size_t at) {
  std::uint64_t number;
  std::memcpy(&number, bytes.data() + at, kNumberBytes);
  return std::byteswap(number);
}

}  // namespace

Bytes number_key(std::uint64_t number) {
  Bytes bytes(kNumberBytes, '\0');
  number = std::byteswap(number);
  std::memcpy(bytes.data(), &number, kNumberBytes);
  return bytes;
}

std::optional<std::uint64_t> decode_number_key(BytesView bytes) {
  if (bytes.size() != kNumberBytes) return std::nullopt;
  return number_at(bytes, 0);
}

Bytes encode_revision_key(const RevisionKey& key) {
  CHECK(key.revision.main >= 0 && key.revision.sub >= 0, "revision {}.{}", key.revision.main, key.revision.sub);
  Bytes bytes = number_key(static_cast<std::uint64_t>(key.revision.main));
  bytes += kSeparator;
  bytes += number_key(static_cast<std::uint64_t>(key.revision.sub));
  if (key.tombstone) bytes += kTombstone;
  return bytes;
}

std::optional<RevisionKey> decode_revision_key(BytesView bytes) {
  const bool marked = bytes.size() == kRevisionKeyBytes + 1 && bytes.back() == kTombstone;
  if ((bytes.size() != kRevisionKeyBytes && !marked) || bytes[kNumberBytes] != kSeparator) return std::nullopt;
  const RevisionKey key{.revision = {.main = static_cast<std::int64_t>(number_at(bytes, 0)),
                                     .sub = static_cast<std::int64_t>(number_at(bytes, kNumberBytes + 1))},
                        .tombstone = marked};
  if (key.revision.main < 0 || key.revision.sub < 0) return std::nullopt;
  return key;
}

}  // namespace etcd::bolt
