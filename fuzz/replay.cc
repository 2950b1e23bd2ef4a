// Runs a fuzz target over the files of its corpus, and over what becomes of each by small seeded damage.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

std::string damaged(std::string bytes, etcd::Rng& rng) {
  for (std::uint64_t count = 1 + rng.below(4); count > 0; --count) {
    const std::size_t at = rng.below(bytes.size() + 1);
    switch (rng.below(4)) {
      case 0: bytes.resize(at); break;
      case 1: bytes.insert(at, 1, static_cast<char>(rng.next())); break;
      case 2: bytes.insert(at, bytes.substr(rng.below(bytes.size() + 1), rng.below(20))); break;
      default:
        if (at < bytes.size()) bytes[at] = static_cast<char>(rng.next());
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kDamagesEach = 2000;
  int files = 0;
  for (int argument = 1; argument < argc; ++argument) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[argument])) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      etcd::Rng rng(static_cast<std::uint64_t>(bytes.size()) * 31 + static_cast<std::uint64_t>(files));
      run(bytes);
      for (int count = 0; count < kDamagesEach; ++count) run(damaged(bytes, rng));
      ++files;
    }
  }
  std::printf("%d files, each with %d damages\n", files, kDamagesEach);
  return files > 0 ? 0 : 1;
}
