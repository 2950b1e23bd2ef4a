#include "apply/no_space.h"

namespace etcd::apply {

bool needs_room(etcdv2pb::Command::Verb verb) {
  using etcdv2pb::Command;
  return verb != Command::DELETE && verb != Command::COMPARE_AND_DELETE && verb != Command::EXPIRE;
}

Error no_space() {
  return {ErrorCode::kNoSpace, "etcdserver: mvcc: database space exceeded"};
}

}  // namespace etcd::apply
