// bolt/format.h - the fixed parts of a bbolt file: page header, meta, elements, bucket header.
//
// Thread:  any (functions on values).
// Format:  docs/formats/db.md
// Source:  bbolt v1.5.0 internal/common: page.go, meta.go, inode.go, bucket.go; etcd v3.7.1 uses it as it is.
//
// bbolt writes its structs as they lie in memory. Every machine that we and upstream run on is little-endian, so these
// are copied from and to the file.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/result.h"

namespace etcd::bolt {

static_assert(std::endian::native == std::endian::little);

using PageId = std::uint64_t;  // the page's place in the file, counted in pages

constexpr std::uint64_t kPageBytes = 4096;  // of the files we write; those we read say their own
constexpr std::uint64_t kPageBytesMin = 1024;
constexpr std::uint64_t kPageBytesMax = kPageBytesMin << 14;  // as far as upstream looks for the second meta
constexpr PageId kFirstPage = 2;                              // behind the two metas
constexpr PageId kNoFreelist = UINT64_MAX;                    // the free pages are not listed in the file

constexpr std::uint32_t kMagic = 0xED0CDAED;
constexpr std::uint32_t kVersion = 2;

constexpr std::uint16_t kBranchPage = 0x01;
constexpr std::uint16_t kLeafPage = 0x02;
constexpr std::uint16_t kMetaPage = 0x04;
constexpr std::uint16_t kFreelistPage = 0x10;

constexpr std::uint32_t kBucketElement = 0x01;  // a leaf element whose value is a bucket header

constexpr std::uint64_t kKeyBytesMax = 32768;                           // upstream's MaxKeySize
constexpr std::uint64_t kValueBytesMax = (std::uint64_t{1} << 31) - 2;  // upstream's MaxValueSize

struct PageHeader {
  PageId id = 0;  // of the page itself, so that a page in the wrong place is noticed
  std::uint16_t flags = 0;
  std::uint16_t count = 0;     // elements
  std::uint32_t overflow = 0;  // further pages that belong to this one
};

struct BranchElement {
  std::uint32_t at = 0;  // from this element to its key
  std::uint32_t key_bytes = 0;
  PageId child = 0;
};

struct LeafElement {
  std::uint32_t flags = 0;
  std::uint32_t at = 0;  // from this element to its key; the value follows
  std::uint32_t key_bytes = 0;
  std::uint32_t value_bytes = 0;
};

struct BucketHeader {
  PageId root = 0;  // 0: the bucket's one leaf page follows this header
  std::uint64_t sequence = 0;
};

struct Meta {
  std::uint32_t magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t page_bytes = kPageBytes;
  std::uint32_t flags = 0;
  BucketHeader root;  // the bucket whose elements are the buckets
  PageId freelist = kNoFreelist;
  PageId high_water = 0;  // pages of the file that are in use or free; behind them it ends, or is not yet used
  std::uint64_t txid = 0;
  std::uint64_t checksum = 0;
};

constexpr std::uint64_t kPageHeaderBytes = 16;
constexpr std::uint64_t kElementBytes = 16;  // both kinds
constexpr std::uint64_t kBucketHeaderBytes = 16;
constexpr std::uint64_t kMetaBytes = 64;
static_assert(sizeof(PageHeader) == kPageHeaderBytes && sizeof(Meta) == kMetaBytes);
static_assert(sizeof(BranchElement) == kElementBytes && sizeof(LeafElement) == kElementBytes);
static_assert(sizeof(BucketHeader) == kBucketHeaderBytes);

/// The struct at `at`; the caller has made sure that it is there.
template <class Struct>
Struct load(BytesView bytes, std::uint64_t at) {
  CHECK(at + sizeof(Struct) <= bytes.size(), "a struct of {} bytes at {} of {}", sizeof(Struct), at, bytes.size());
  Struct value;
  std::memcpy(&value, bytes.data() + at, sizeof(Struct));
  return value;
}

template <class Struct>
BytesView as_bytes(const Struct& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(Struct)};
}

/// FNV-1a, 64 bits, over the bytes of `meta` before its checksum.
inline std::uint64_t checksum_of(const Meta& meta) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char byte : as_bytes(meta).substr(0, offsetof(Meta, checksum))) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
  }
  return hash;
}

/// The meta of a meta page, given from the page's start: at least kPageHeaderBytes + kMetaBytes.
/// Errors: kCorrupt when magic, version or checksum is wrong. What the fields say is not checked.
inline Result<Meta> decode_meta(BytesView page) {
  const auto meta = load<Meta>(page, kPageHeaderBytes);
  if (meta.magic != kMagic) return failure(ErrorCode::kCorrupt, "no bbolt meta (magic)");
  if (meta.version != kVersion) return failure(ErrorCode::kCorrupt, fmt::format("version {} is not 2", meta.version));
  if (meta.checksum != checksum_of(meta)) return failure(ErrorCode::kCorrupt, "the meta fails its checksum");
  return meta;
}

}  // namespace etcd::bolt
