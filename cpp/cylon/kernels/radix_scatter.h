/// Deals values to many places at once through one cache line for each, which leaves when it is full.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace cylon {

/// Where the next value of each partition goes, for values of type T. `out` is aligned to 64 bytes. Between two writers
/// that share a line, each writes only its own bytes of it.
template <typename T>
class RadixScatter {
 public:
  /// `starts[p]`: the first place of partition p for this writer.
  RadixScatter(T* out, const std::vector<uint64_t>& starts)
      : out_(out), starts_(starts), next_(starts), lines_(starts.size()) {}

  void Add(uint32_t partition, T value) {
    const uint64_t place = next_[partition]++;
    Line& line = lines_[partition];
    const uint64_t slot = place % kValues;
    std::memcpy(line.bytes + slot * sizeof(T), &value, sizeof(T));
    if (slot == kValues - 1) {
      Flush(line, starts_[partition], place + 1 - kValues);
    }
  }

  /// Writes what is left in the lines.
  void Finish() {
    for (size_t p = 0; p < next_.size(); ++p) {
      const uint64_t line_start = next_[p] / kValues * kValues;
      const uint64_t from = std::max(line_start, starts_[p]);
      if (from < next_[p]) {
        std::memcpy(out_ + from, lines_[p].bytes + (from - line_start) * sizeof(T), (next_[p] - from) * sizeof(T));
      }
    }
#if defined(__SSE2__)
    _mm_sfence();
#endif
  }

 private:
  static constexpr uint64_t kLineBytes = 64;
  static constexpr uint64_t kValues = kLineBytes / sizeof(T);
  struct alignas(kLineBytes) Line {
    uint8_t bytes[kLineBytes];
  };

  void Flush(const Line& line, uint64_t start, uint64_t line_start) {
    if (line_start < start) {
      // The partition's first line, of which somebody else has the beginning.
      std::memcpy(out_ + start, line.bytes + (start - line_start) * sizeof(T),
                  (line_start + kValues - start) * sizeof(T));
      return;
    }
    T* to = out_ + line_start;
#if defined(__SSE2__)
    for (int i = 0; i < 4; ++i) {
      _mm_stream_si128(static_cast<__m128i*>(static_cast<void*>(to)) + i,
                       _mm_load_si128(static_cast<const __m128i*>(static_cast<const void*>(line.bytes)) + i));
    }
#else
    std::memcpy(to, line.bytes, kLineBytes);
#endif
  }

  T* out_;
  const std::vector<uint64_t>& starts_;
  std::vector<uint64_t> next_;
  std::vector<Line> lines_;
};

}  // namespace cylon
