/// Memory of which is known how much that was freed is still resident.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "cylon/base/export.h"
#include "cylon/base/free_ranges.h"

namespace cylon {

/// Buffers side by side in one range of addresses. Allocators give large buffers back at once or after a moment, so
/// that the system has to clear their pages again for the next one, which took up to half of the time of a sort; and
/// smaller ones they keep, in pages that other buffers still lie in and in each thread's hands: of a join of 4 GiB
/// under 1 GiB that was 0.8 GiB. Here what is resident beyond the buffers is known and bounded: `most_idle` bytes that
/// were freed and not yet given back, and the ends of the first and last page of each gap. Every call takes a lock and
/// half a microsecond. Thread-safe.
class CYLON_EXPORT PagedMemory {
 public:
  static constexpr int64_t kAlignment = 64;

  /// Over `addresses` bytes of address space; nullptr where the system does not give as many, or would count them as
  /// memory in use (vm.overcommit_memory=2).
  static std::unique_ptr<PagedMemory> Make(int64_t addresses, int64_t most_idle);
  /// All buffers must have been freed.
  ~PagedMemory();
  PagedMemory(const PagedMemory&) = delete;
  PagedMemory& operator=(const PagedMemory&) = delete;

  /// How many freed bytes may stay resident from now on.
  void KeepIdle(int64_t most_idle);

  /// `size` bytes, aligned to kAlignment; nullptr where no gap is as long.
  uint8_t* Allocate(int64_t size);
  /// Where the buffer lies it gets its new size; false where there is another behind it.
  bool Resize(const uint8_t* data, int64_t old_size, int64_t new_size);
  void Free(const uint8_t* data, int64_t size);
  bool Owns(const uint8_t* data) const { return data >= base_ && data < base_ + addresses_; }

  /// Bytes that were freed and are still resident, but for the ends of pages.
  int64_t idle_bytes() const;

 private:
  using Range = FreeRanges::Range;
  PagedMemory(uint8_t* base, int64_t addresses, int64_t most_idle);
  void Release(Range range);
  /// Gives back the longest ranges until `most` bytes are idle.
  void Chill(int64_t most);

  uint8_t* const base_;
  const int64_t addresses_;
  mutable std::mutex mutex_;
  int64_t most_idle_;
  FreeRanges idle_;  // resident
  FreeRanges cold_;  // the system has the pages
};

}  // namespace cylon
