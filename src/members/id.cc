#include "members/id.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"

namespace etcd::members {
namespace {

void append_big_endian(Bytes& out, std::uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(number >> shift));
}

std::uint64_t first_bytes_of_sha1(BytesView bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  const int done = EVP_Digest(bytes.data(), bytes.size(), digest, nullptr, EVP_sha1(), nullptr);
  CHECK(done == 1, "OpenSSL has no SHA-1");
  std::uint64_t id = 0;
  for (int place = 0; place < 8; ++place) id = id << 8 | digest[place];
  return id;
}

}  // namespace

MemberId bootstrap_member_id(std::vector<std::string> peer_urls, std::string_view cluster_token) {
  std::sort(peer_urls.begin(), peer_urls.end());
  Bytes hashed;
  for (const std::string& url : peer_urls) hashed += url;
  hashed += cluster_token;
  return first_bytes_of_sha1(hashed);
}

ClusterId cluster_id(std::vector<MemberId> members) {
  std::sort(members.begin(), members.end());
  Bytes hashed;
  for (const MemberId member : members) append_big_endian(hashed, member);
  return first_bytes_of_sha1(hashed);
}

std::string hex_id(std::uint64_t id) {
  return fmt::format("{:x}", id);
}

}  // namespace etcd::members
