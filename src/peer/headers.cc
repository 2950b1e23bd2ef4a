#include "peer/headers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/version.h"
#include "net/ascii.h"

namespace etcd::peer {
namespace {

constexpr std::string_view kServerFrom = "X-Server-From";
constexpr std::string_view kServerVersionField = "X-Server-Version";
constexpr std::string_view kMinClusterVersionField = "X-Min-Cluster-Version";
constexpr std::string_view kClusterId = "X-Etcd-Cluster-ID";
constexpr std::string_view kRaftTo = "X-Raft-To";
constexpr std::string_view kPeerUrls = "X-PeerURLs";
constexpr std::string_view kV2 = "X-Etcd-V2";

constexpr std::string_view kIncompatibleVersion = "incompatible version";
constexpr std::string_view kClusterIdMismatch = "cluster ID mismatch";
constexpr std::string_view kMemberRemoved = "the member has been permanently removed from the cluster";

std::string_view value_of(const net::Headers& headers, std::string_view name) {
  const std::string* const value = headers.find(name);
  return value != nullptr ? std::string_view(*value) : std::string_view();
}

std::optional<Version> version_of(const net::Headers& headers, std::string_view name) {
  const std::string_view text = value_of(headers, name);
  return text.empty() ? Version{.major = 2} : parse_version(text);
}

std::string text_of(const Version& version) {
  return fmt::format("{}.{}.{}", version.major, version.minor, version.patch);
}

Version known_version(std::string_view text) {
  const std::optional<Version> version = parse_version(text);
  CHECK(version.has_value(), "our own version {}", text);
  return *version;
}

std::pair<std::uint64_t, std::uint64_t> line_of(const Version& version) {
  return {version.major, version.minor};
}

/// Whether a member of an older line streams at all. Source: rafthttp/stream.go supportedStream: 2.1 to 2.3, and every
/// 3.x up to ours.
bool streams(const Version& version) {
  return (version.major == 2 && version.minor >= 1 && version.minor <= 3) ||
         (version.major == 3 && line_of(version) <= line_of(known_version(kServerVersion)));
}

std::string joined(const std::vector<std::string>& texts) {
  return fmt::format("{}", fmt::join(texts, ","));
}

std::string_view without_line_end(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string_view path_of(StreamType type) {
  return type == StreamType::kMsgAppV2 ? "msgapp" : "message";
}

std::string_view name_of(StreamType type) {
  return type == StreamType::kMsgAppV2 ? "stream MsgApp v2" : "stream Message";
}

std::string hex_id(std::uint64_t id) {
  return fmt::format("{:x}", id);
}

std::optional<std::uint64_t> parse_hex_id(std::string_view text) {
  std::uint64_t id = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || std::from_chars(text.data(), end, id, 16) != std::from_chars_result{end, std::errc{}}) return {};
  return id;
}

std::optional<Version> parse_version(std::string_view text) {
  Version version;
  const std::size_t end = text.find_first_of("-+");  // a pre-release or a build, neither of which decides anything
  if (end != std::string_view::npos && end + 1 == text.size()) return {};
  std::string_view numbers = text.substr(0, end);
  std::uint64_t* const parts[] = {&version.major, &version.minor, &version.patch};
  for (std::uint64_t* const part : parts) {
    const std::size_t dot = part == &version.patch ? numbers.size() : numbers.find('.');
    if (dot == std::string_view::npos) return {};
    const std::string_view number = numbers.substr(0, dot);
    const char* const last = number.data() + number.size();
    if (number.empty() || std::from_chars(number.data(), last, *part) != std::from_chars_result{last, std::errc{}}) {
      return {};
    }
    numbers.remove_prefix(std::min(dot + 1, numbers.size()));
  }
  return version;
}

std::optional<Version> server_version_of(const net::Headers& headers) {
  return version_of(headers, kServerVersionField);
}

std::optional<Version> min_cluster_version_of(const net::Headers& headers) {
  return version_of(headers, kMinClusterVersionField);
}

std::optional<std::string> version_conflict(std::string_view remote_name, const Version& remote,
                                            const Version& remote_min_cluster) {
  const Version local = known_version(kServerVersion);
  const bool remote_is_low = line_of(remote) < line_of(known_version(kMinClusterVersion));
  const bool local_is_low = line_of(remote_min_cluster) > line_of(local);
  if (!remote_is_low && !local_is_low) return {};
  return fmt::format("{} version is too low: remote[{}]={}, local={}", remote_is_low ? "remote" : "local", remote_name,
                     text_of(remote), text_of(local));
}

net::Headers request_headers(const Local& local, std::string_view content_type) {
  net::Headers headers;
  const auto add = [&headers](std::string_view name, std::string value) {
    headers.add(std::string(name), std::move(value));
  };
  if (!content_type.empty()) add("Content-Type", std::string(content_type));
  add(kServerFrom, hex_id(local.id));
  add(kServerVersionField, kServerVersion);
  add(kMinClusterVersionField, std::string(kMinClusterVersion));
  add(kClusterId, hex_id(local.cluster));
  if (!local.peer_urls.empty()) add(kPeerUrls, joined(local.peer_urls));
  add(kV2, "1");
  return headers;
}

net::Headers stream_request_headers(const Local& local, MemberId to) {
  net::Headers headers = request_headers(local);
  headers.add(std::string(kRaftTo), hex_id(to));
  return headers;
}

std::string stream_target(StreamType type, MemberId local) {
  return fmt::format("{}{}/{:x}", kStreamPath, path_of(type), local);
}

void add_answer_headers(net::Headers& headers, ClusterId cluster) {
  headers.add(std::string(kClusterId), hex_id(cluster));
  headers.add(std::string(kV2), "1");
}

void add_stream_answer_headers(net::Headers& headers, ClusterId cluster) {
  headers.add(std::string(kServerVersionField), kServerVersion);
  add_answer_headers(headers, cluster);
}

bool speaks_v2(const net::Headers& headers) {
  return value_of(headers, kV2) == "1";
}

std::optional<Refusal> check_request(const net::Headers& headers, const RequestRules& rules) {
  const std::string_view name = value_of(headers, kServerFrom);
  const auto incompatible = [](std::string detail) {
    return Refusal{.status = 412, .text = std::string(kIncompatibleVersion), .detail = std::move(detail)};
  };
  const std::optional<Version> server = server_version_of(headers);
  const std::optional<Version> min_cluster = min_cluster_version_of(headers);
  if (!server.has_value() || !min_cluster.has_value()) {
    return incompatible(fmt::format("member {} sends a version that cannot be read", name));
  }
  if (std::optional<std::string> conflict = version_conflict(name, *server, *min_cluster)) {
    return incompatible(*std::move(conflict));
  }
  if (rules.needs_v2 && !speaks_v2(headers)) {
    return incompatible(fmt::format("member {} does not understand the v2 commands of this cluster's log", name));
  }
  if (const std::string_view cluster = value_of(headers, kClusterId); cluster != hex_id(rules.cluster)) {
    return Refusal{.status = 412,
                   .text = std::string(kClusterIdMismatch),
                   .detail = fmt::format("member {} is of cluster {}, this is {:x}", name, cluster, rules.cluster)};
  }
  return {};
}

std::vector<std::string> peer_urls_of(const net::Headers& headers) {
  std::string_view text = value_of(headers, kPeerUrls);
  std::vector<std::string> urls;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    urls.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return urls;
}

std::optional<Introduction> introduction_of(const net::Headers& headers) {
  const std::optional<MemberId> id = parse_hex_id(value_of(headers, kServerFrom));
  std::vector<std::string> urls = peer_urls_of(headers);
  if (!id.has_value() || urls.empty()) return {};
  return Introduction{.id = *id, .peer_urls = std::move(urls)};
}

Judgement judge_stream_answer(int status, const net::Headers& headers, std::string_view body, StreamType type,
                              const Local& local, MemberId peer) {
  const auto retry = [](std::string why) { return Judgement{.verdict = Verdict::kRetry, .why = std::move(why)}; };
  // Before the status, as upstream: an answer from 2.0 or from no etcd at all says nothing that is to be relied on.
  const std::optional<Version> version = server_version_of(headers);
  if (!version.has_value()) return retry(fmt::format("{}: the answer's version cannot be read", name_of(type)));
  if (line_of(*version) < line_of(known_version(kServerVersion)) && !streams(*version)) {
    return retry("unsupported stream type");
  }
  switch (status) {
    case 200: return {};
    case 410: return {.verdict = Verdict::kRemoved, .why = std::string(kMemberRemoved)};
    case 404: return retry(fmt::format("peer {:x} failed to find local node {:x}", peer, local.id));
    case 412: {
      const std::string_view text = without_line_end(body);
      if (text == kIncompatibleVersion) return retry(std::string(kIncompatibleVersion));
      if (text == kClusterIdMismatch) {
        return retry(fmt::format("{}: peer {:x} is of cluster {}, we are of {:x}", kClusterIdMismatch, peer,
                                 value_of(headers, kClusterId), local.cluster));
      }
      return retry(fmt::format("unhandled error \"{}\" when precondition failed", text));
    }
    default: return retry(fmt::format("unhandled http status {}", status));
  }
}

Judgement judge_post_answer(int status, std::string_view body, std::string_view url) {
  const auto retry = [](std::string why) { return Judgement{.verdict = Verdict::kRetry, .why = std::move(why)}; };
  switch (status) {
    case 204: return {};
    case 403: return {.verdict = Verdict::kRemoved, .why = std::string(kMemberRemoved)};
    case 412: {
      const std::string_view text = without_line_end(body);
      if (text == kIncompatibleVersion || text == kClusterIdMismatch) return retry(std::string(text));
      return retry(fmt::format("unhandled error \"{}\" when precondition failed", text));
    }
    default: return retry(fmt::format("unexpected http status {} while posting to \"{}\"", status, url));
  }
}

}  // namespace etcd::peer
