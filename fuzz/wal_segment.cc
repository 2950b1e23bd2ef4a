// A WAL segment with whatever in it: opened, or refused as corrupt with the file's name; then it takes appends.
#include <cstdint>
#include <cstdlib>

#include "io/sim_disk.h"
#include "wal/log.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace etcd;
  io::SimDisk disk(1);
  const auto directory = disk.open_directory("/wal");
  {
    const auto file = directory->create("0000000000000000-0000000000000000.wal").value();
    file->write_at(0, BytesView(reinterpret_cast<const char*>(data), size)).value();
  }
  auto opened =
      wal::Log::open(*directory, Index{0}, Index{0}, {.segment_bytes = 1 << 20, .prewrite_bytes = 512}, nullptr);
  if (!opened) {
    if (opened.error().code != ErrorCode::kCorrupt || !opened.error().message.contains(".wal")) std::abort();
    return 0;
  }
  wal::Log& log = *opened->log;
  const Index end = log.end();
  if (!log.read(log.first(), end, UINT64_MAX)) std::abort();
  const Bytes entry("\x08\x00\x10\x01\x18\x01", 6);
  if (!log.append_entry(end, entry) || !log.sync()) std::abort();
  if (log.read(end, end + 1, 1).value().front().data != entry) std::abort();
  return 0;
}
