// peer/headers.h - the header fields by which members know each other, and what is answered when they do not fit.
//
// Thread:  any (functions on values).
// Source:  etcd v3.7.1 server/etcdserver/api/rafthttp/{util,http,stream,peer}.go; api/version/version.go.
//
// Ids are lower-case hex without padding and are compared as text, as upstream does. Ours says `X-Etcd-V2: 1` in every
// request and answer: such a member understands the commands of the v2 API (docs/formats/commands.md).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "net/http.h"

namespace etcd::peer {

inline constexpr std::string_view kRaftPath = "/raft";               // POST: one message
inline constexpr std::string_view kStreamPath = "/raft/stream/";     // GET: behind it "msgapp/ID" or "message/ID"
inline constexpr std::string_view kSnapshotPath = "/raft/snapshot";  // POST: a message and a database
inline constexpr std::string_view kProbingPath = "/raft/probing";    // GET
inline constexpr std::string_view kMinClusterVersion = "3.0.0";      // the oldest that we work with

enum class StreamType : std::uint8_t {
  kMsgAppV2,  // MsgApp alone, in the compact form
  kMessage,   // everything else
};

/// "msgapp" or "message", as in a stream's path.
std::string_view path_of(StreamType type);
/// "stream MsgApp v2", "stream Message", as in logs.
std::string_view name_of(StreamType type);

std::string hex_id(std::uint64_t id);
/// Hexadecimal digits of either case, at most 64 bits.
std::optional<std::uint64_t> parse_hex_id(std::string_view text);

/// A server's version as far as it decides anything; what stands behind the three numbers does not.
struct Version {
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  std::uint64_t patch = 0;
  friend constexpr auto operator<=>(const Version&, const Version&) = default;
};
/// "3.7.1", "3.8.0-alpha.0"
std::optional<Version> parse_version(std::string_view text);
/// X-Server-Version and X-Min-Cluster-Version; a field that is missing says 2.0.0, which never said it.
std::optional<Version> server_version_of(const net::Headers& headers);
std::optional<Version> min_cluster_version_of(const net::Headers& headers);

/// Why two members must not work together, if so; patch versions do not count.
/// Shape: `remote version is too low: remote[NAME]=2.0.0, local=3.7.1`.
std::optional<std::string> version_conflict(std::string_view remote_name, const Version& remote,
                                            const Version& remote_min_cluster);

/// Who we are.
struct Local {
  MemberId id = 0;
  ClusterId cluster = 0;
  std::vector<std::string> peer_urls = {};
};

/// What every request to another member says. `content_type` is of a POST; nothing for GET.
net::Headers request_headers(const Local& local, std::string_view content_type = {});
/// The same and X-Raft-To.
net::Headers stream_request_headers(const Local& local, MemberId to);
/// "/raft/stream/msgapp/ID" with our own id.
std::string stream_target(StreamType type, MemberId local);

/// What every answer says that is given to a member; a stream's has the version, too.
void add_answer_headers(net::Headers& headers, ClusterId cluster);
void add_stream_answer_headers(net::Headers& headers, ClusterId cluster);

/// True for a member that understands v2 commands.
bool speaks_v2(const net::Headers& headers);

/// An answer that says no: a status, and a line of text.
struct Refusal {
  int status = 0;
  std::string text;
  std::string detail = {};  // for our log
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

struct RequestRules {
  ClusterId cluster = 0;
  bool needs_v2 = false;  // the log has v2 commands, which a member without X-Etcd-V2 could not apply
};

/// What every request of a member is checked for: versions, then the cluster.
/// Shape:  412 `incompatible version` or `cluster ID mismatch`. A version that cannot be read is incompatible; upstream
///         drops such a connection.
std::optional<Refusal> check_request(const net::Headers& headers, const RequestRules& rules);

/// X-PeerURLs; none when it does not say.
std::vector<std::string> peer_urls_of(const net::Headers& headers);

/// The sender as it asks to be known: X-Server-From, X-PeerURLs.
struct Introduction {
  MemberId id = 0;
  std::vector<std::string> peer_urls;
  friend bool operator==(const Introduction&, const Introduction&) = default;
};
/// Nothing when either field is missing or the id is none.
std::optional<Introduction> introduction_of(const net::Headers& headers);

/// What is to be done about an answer of another member.
enum class Verdict : std::uint8_t {
  kFine,
  kRetry,    // elsewhere or later: this URL counts as unreachable
  kRemoved,  // we are no member any more: stop
};
struct Judgement {
  Verdict verdict = Verdict::kFine;
  std::string why = {};
  friend bool operator==(const Judgement&, const Judgement&) = default;
};

/// The answer to a stream's GET. `body` is what of an error's text is there. `local` is our id, `peer` theirs.
Judgement judge_stream_answer(int status, const net::Headers& headers, std::string_view body, StreamType type,
                              const Local& local, MemberId peer);
/// The answer to a POST of a message or a snapshot to `url`.
Judgement judge_post_answer(int status, std::string_view body, std::string_view url);

}  // namespace etcd::peer
