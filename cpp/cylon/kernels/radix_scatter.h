/// Deals values to many places at once through one cache line for each, which leaves when it is full.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace cylon {

/// Deals rows of N columns of values of type T. One row costs one counter and one branch, however many columns: two
/// 8-byte columns together take two thirds of the time that they take one after the other.
template <typename T, size_t N>
class RadixScatter {
 public:
  /// `starts[p]`: the place of the first row of partition p for this writer; it outlives the scatter. The arrays `out`
  /// are aligned to 64 bytes. Where two writers share a line, each writes only its own bytes of it.
  RadixScatter(const std::array<T*, N>& out, const std::vector<uint64_t>& starts)
      : out_(out), starts_(starts), next_(starts), lines_(starts.size()) {}

  /// Row i, of which values[k][i] is column k's value, goes to partitions[i].
  void Add(const uint16_t* partitions, const std::array<const T*, N>& values, int64_t rows) {
    // Locals, since what is stored through T* could be these members for all that the compiler knows.
    uint64_t* const next = next_.data();
    Lines* const lines = lines_.data();
    const std::array<const T*, N> from = values;
    for (int64_t i = 0; i < rows; ++i) {
      const uint32_t partition = partitions[i];
      const uint64_t place = next[partition]++;
      Lines& line = lines[partition];
      const uint64_t slot = place % kValues;
      for (size_t k = 0; k < N; ++k) {
        line.values[k][slot] = from[k][i];
      }
      if (slot == kValues - 1) [[unlikely]] {
        Flush(line, starts_[partition], place + 1 - kValues);
      }
    }
  }

  /// Writes what is left in the lines.
  void Finish() {
    for (size_t p = 0; p < next_.size(); ++p) {
      const uint64_t line_start = next_[p] / kValues * kValues;
      const uint64_t from = std::max(line_start, starts_[p]);
      for (size_t k = 0; k < N && from < next_[p]; ++k) {
        std::memcpy(out_[k] + from, lines_[p].values[k] + (from - line_start), (next_[p] - from) * sizeof(T));
      }
    }
#if defined(__SSE2__)
    _mm_sfence();
#endif
  }

 private:
  static constexpr uint64_t kLineBytes = 64;
  static constexpr uint64_t kValues = kLineBytes / sizeof(T);
  struct alignas(kLineBytes) Lines {
    T values[N][kValues];
  };

  void Flush(const Lines& line, uint64_t start, uint64_t line_start) {
    for (size_t k = 0; k < N; ++k) {
      if (line_start < start) {
        // The partition's first line, of which somebody else has the beginning.
        std::memcpy(out_[k] + start, line.values[k] + (start - line_start), (line_start + kValues - start) * sizeof(T));
        continue;
      }
#if defined(__SSE2__)
      const void* from = line.values[k];
      void* to = out_[k] + line_start;
      for (int i = 0; i < 4; ++i) {
        _mm_stream_si128(static_cast<__m128i*>(to) + i, _mm_load_si128(static_cast<const __m128i*>(from) + i));
      }
#else
      std::memcpy(out_[k] + line_start, line.values[k], kLineBytes);
#endif
    }
  }

  std::array<T*, N> out_;
  const std::vector<uint64_t>& starts_;
  std::vector<uint64_t> next_;
  std::vector<Lines> lines_;
};

}  // namespace cylon
