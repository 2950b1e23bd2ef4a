// base/rng.h - seeded randomness: the same seed gives the same numbers on every machine.
//
// Thread:  one owner at a time.
// Source:  Blackman and Vigna, "Scrambled linear pseudorandom number generators" (xoshiro256**), seeded by SplitMix64.
#pragma once
#include <bit>
#include <cstdint>

namespace etcd {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
      seed += 0x9E3779B97F4A7C15u;
      std::uint64_t mixed = seed;
      mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
      mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
      word = mixed ^ (mixed >> 31);
    }
  }

  /// Any 64 bits, uniformly.
  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  /// A number in [0, end); 0 when end is 0. The bias of the multiplication is below 2^-32 for ends below 2^32.
  std::uint64_t below(std::uint64_t end) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * end) >> 64);
  }

  /// True in `numerator` of `denominator` cases.
  bool chance(std::uint64_t numerator, std::uint64_t denominator) { return below(denominator) < numerator; }

  /// A generator of its own, seeded from this one.
  Rng fork() { return Rng(next()); }

 private:
  std::uint64_t state_[4];
};

}  // namespace etcd
