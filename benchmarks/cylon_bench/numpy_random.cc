// numpy's default generator.
#include "numpy_random.h"

namespace cylon::bench {

namespace {

/// The mixing of numpy's SeedSequence (after O'Neill's seed_seq_fe) for a seed of one word.
class SeedSequence {
 public:
  explicit SeedSequence(uint32_t seed) {
    pool_[0] = HashMix(seed);
    for (std::size_t i = 1; i < pool_.size(); ++i) {
      pool_[i] = HashMix(0);
    }
    for (std::size_t from = 0; from < pool_.size(); ++from) {
      for (std::size_t to = 0; to < pool_.size(); ++to) {
        if (from != to) {
          pool_[to] = Mix(pool_[to], HashMix(pool_[from]));
        }
      }
    }
  }

  /// The first four words of state.
  std::array<uint64_t, 4> State() const {
    std::array<uint64_t, 4> words{};
    uint32_t hash = 0x8b51f9ddU;
    for (std::size_t i = 0; i < 8; ++i) {
      uint32_t data = pool_[i % pool_.size()] ^ hash;
      hash *= 0x58f38dedU;
      data *= hash;
      data ^= data >> 16;
      words[i / 2] |= static_cast<uint64_t>(data) << (i % 2 * 32);
    }
    return words;
  }

 private:
  uint32_t HashMix(uint32_t value) {
    value ^= hash_;
    hash_ *= 0x931e8875U;
    value *= hash_;
    return value ^ (value >> 16);
  }
  static uint32_t Mix(uint32_t x, uint32_t y) {
    const uint32_t result = 0xca01f9ddU * x - 0x4973f715U * y;
    return result ^ (result >> 16);
  }

  std::array<uint32_t, 4> pool_{};
  uint32_t hash_ = 0x43b0d7e5U;
};

constexpr Word128 Join(uint64_t high, uint64_t low) { return static_cast<Word128>(high) << 64 | low; }

constexpr Word128 kMultiplier = Join(2549297995355413924ULL, 4865540595714422341ULL);

}  // namespace

NumpyRandom::NumpyRandom(uint32_t seed) {
  const auto words = SeedSequence(seed).State();
  increment_ = Join(words[2], words[3]) << 1 | 1;
  Step();
  state_ += Join(words[0], words[1]);
  Step();
}

void NumpyRandom::Step() { state_ = state_ * kMultiplier + increment_; }

uint64_t NumpyRandom::Next64() {
  Step();
  const auto folded = static_cast<uint64_t>(state_ >> 64) ^ static_cast<uint64_t>(state_);
  const auto turn = static_cast<unsigned>(state_ >> 122);
  return folded >> turn | folded << (-turn & 63U);
}

uint32_t NumpyRandom::Next32() {
  if (has_half_) {
    has_half_ = false;
    return half_;
  }
  const uint64_t word = Next64();
  has_half_ = true;
  half_ = static_cast<uint32_t>(word >> 32);
  return static_cast<uint32_t>(word);
}

uint64_t NumpyRandom::Integer(uint64_t bound) {
  uint64_t product = Next32() * bound;
  if (static_cast<uint32_t>(product) < bound) {
    const uint64_t threshold = ((uint64_t{1} << 32) - bound) % bound;
    while (static_cast<uint32_t>(product) < threshold) {
      product = Next32() * bound;
    }
  }
  return product >> 32;
}

}  // namespace cylon::bench
