// What the WAL's records carry: entries, hard states, metadata, conf changes.
#include <cstdint>
#include <cstdlib>

#include "replica/entry_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace etcd;
  const BytesView bytes(reinterpret_cast<const char*>(data), size);
  if (const auto entry = replica::decode_entry(bytes)) {
    Bytes again;
    replica::append_entry(again, *entry);
    if (replica::decode_entry(again).value() != *entry) std::abort();
    static_cast<void>(raft::decode_conf_change(*entry));
  }
  if (const auto state = replica::decode_hard_state(bytes)) {
    if (replica::decode_hard_state(replica::encode_hard_state(*state)).value() != *state) std::abort();
  }
  static_cast<void>(replica::decode_metadata(bytes));
  return 0;
}
