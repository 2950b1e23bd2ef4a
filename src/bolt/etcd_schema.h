// bolt/etcd_schema.h - what upstream keeps in its .db file: the buckets, their keys, and the keys' binary forms.
//
// Thread:  any (constants, functions on values).
// Format:  docs/formats/db.md
// Source:  etcd v3.7.1 server/storage/schema/bucket.go and its neighbours; server/storage/mvcc/revision.go;
//          server/lease/lessor.go; "3.5+" names the first version that has a key.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/ids.h"

namespace etcd::bolt {

// The buckets. All of them exist in a file of upstream's, be they empty.
constexpr BytesView kAlarmBucket = "alarm";                     // key: AlarmMember as protobuf; value empty
constexpr BytesView kAuthBucket = "auth";                       // kAuthEnabledKey, kAuthRevisionKey
constexpr BytesView kAuthRolesBucket = "authRoles";             // key: the role's name; value: authpb.Role
constexpr BytesView kAuthUsersBucket = "authUsers";             // key: the user's name; value: authpb.User
constexpr BytesView kClusterBucket = "cluster";                 // kClusterVersionKey, kDowngradeKey
constexpr BytesView kKeyBucket = "key";                         // key: a RevisionKey; value: mvccpb.KeyValue
constexpr BytesView kLeaseBucket = "lease";                     // key: the id, number_key(); value: leasepb.Lease
constexpr BytesView kMembersBucket = "members";                 // key: the id in hex; value: the member as JSON
constexpr BytesView kMembersRemovedBucket = "members_removed";  // key: the id in hex; value: kRemovedValue
constexpr BytesView kMetaBucket = "meta";                       // the kMeta... keys

/// In byte order, as they are written.
inline constexpr std::array kEtcdBuckets = {kAlarmBucket,          kAuthBucket, kAuthRolesBucket, kAuthUsersBucket,
                                            kClusterBucket,        kKeyBucket,  kLeaseBucket,     kMembersBucket,
                                            kMembersRemovedBucket, kMetaBucket};

constexpr BytesView kMetaConsistentIndexKey = "consistent_index";      // number_key(): the last entry applied
constexpr BytesView kMetaTermKey = "term";                             // 3.5+; number_key(): of that entry
constexpr BytesView kMetaConfStateKey = "confState";                   // 3.5+; raftpb.ConfState as JSON
constexpr BytesView kMetaScheduledCompactKey = "scheduledCompactRev";  // a RevisionKey's bytes, sub 0
constexpr BytesView kMetaFinishedCompactKey = "finishedCompactRev";    // likewise; below the other: to be resumed
constexpr BytesView kMetaStorageVersionKey = "storageVersion";         // 3.6+; text such as 3.7.0
constexpr BytesView kAuthEnabledKey = "authEnabled";                   // one byte, 1 or 0
constexpr BytesView kAuthRevisionKey = "authRevision";                 // number_key()
constexpr BytesView kClusterVersionKey = "clusterVersion";             // 3.5+; text
constexpr BytesView kDowngradeKey = "downgrade";                       // 3.5+; JSON
constexpr BytesView kRemovedValue = "removed";

/// Keys of the bucket `key`: they sort by revision.
struct RevisionKey {
  Revision revision;  // neither part is negative
  bool tombstone = false;
  friend bool operator==(const RevisionKey&, const RevisionKey&) = default;
};
constexpr std::size_t kRevisionKeyBytes = 17;  // main, '_', sub; a tombstone has a 't' behind them

Bytes encode_revision_key(const RevisionKey& key);
/// Nothing when it is no such key: another length or separator, a negative part, an 18th byte other than 't'.
std::optional<RevisionKey> decode_revision_key(BytesView bytes);

/// A number in eight bytes, big-endian: lease ids, consistent_index, term, authRevision.
Bytes number_key(std::uint64_t number);
std::optional<std::uint64_t> decode_number_key(BytesView bytes);

}  // namespace etcd::bolt
