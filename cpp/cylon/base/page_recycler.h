/// Large regions of memory on huge pages, kept when they are freed and handed out again.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

#include "cylon/base/export.h"

namespace cylon {

/// False under AddressSanitizer: it sees a use after free only in memory that its own allocator handed out.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kRecyclesPages = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kRecyclesPages = false;
#else
inline constexpr bool kRecyclesPages = true;
#endif
#else
inline constexpr bool kRecyclesPages = true;
#endif

/// Maps regions that begin at a multiple of 2 MiB and asks for huge pages. What the first touch of a page costs (the
/// kernel clears it) is paid once, not by every buffer. Where the system has no huge pages, regions lie on plain ones.
/// Thread-safe; one mutex, because a call stands for many megabytes that somebody will write.
class CYLON_EXPORT PageRecycler {
 public:
  /// From here on an eighth of a power of two is whole huge pages. Below, the last part of a region would lie on plain
  /// ones, whose first touch costs more than what mimalloc, Arrow's default, takes for buffers of such sizes.
  static constexpr int64_t kLeastSize = 16 << 20;
  /// No process has room for it: 2^47 bytes are all of its half on x86-64, 2^48 on arm64.
  static constexpr int64_t kMostSize = int64_t{1} << 48;
  /// A region that is cut to fit is a multiple of this, and so of every page size that Linux has.
  static constexpr int64_t kPageSize = 64 << 10;
  /// Regions begin at a multiple of a huge page.
  static constexpr int64_t kRegionAlignment = 2 << 20;
  /// What is kept is at most one part in so many of the limit: enough for buffers of the next call like this one, while
  /// what is idle stays a small share of what the rank was given.
  static constexpr int64_t kKeptPart = 4;

  /// Length of the region for `size` bytes: eighths of a power of two, so that less than 12.5 % are wasted.
  static int64_t RegionSize(int64_t size);

  /// `held` counts the bytes of all regions, kept ones too, and whatever else the owner holds against `limit`. The
  /// owner raises it before it maps or grows; it is lowered here whenever pages went back to the system. Nothing is
  /// kept while it is above the limit. All regions must be freed before the recycler is destroyed.
  PageRecycler(int64_t limit, std::atomic<int64_t>* held);
  ~PageRecycler();
  PageRecycler(const PageRecycler&) = delete;
  PageRecycler& operator=(const PageRecycler&) = delete;

  /// The region of just this length that was freed last; nullptr where none is kept.
  uint8_t* Reuse(int64_t length);
  /// A new region, zeros; nullptr where the system refuses.
  uint8_t* Map(int64_t length);
  /// Length of a region that is handed out; 0 where `address` is not the begin of one.
  int64_t Find(const uint8_t* address) const;
  /// Takes a region back, to hand it out again or to unmap it; unmaps what was freed longest ago where the kept part
  /// would be too large.
  void Free(uint8_t* region);
  /// Takes a region back and unmaps it.
  void Unmap(uint8_t* region);
  /// Makes a region shorter, where it is, or longer, by moving its pages where need be. Its new address, its content
  /// kept up to the shorter length; nullptr where the system refuses, then nothing has changed.
  uint8_t* Resize(uint8_t* region, int64_t length);
  /// Unmaps kept regions, those freed longest ago first, until `bytes` or all are gone. Returns the bytes.
  int64_t Trim(int64_t bytes);
  /// Bytes of the kept regions.
  int64_t kept() const { return kept_.load(std::memory_order_relaxed); }

 private:
  struct Kept {
    uint8_t* region;
    uint64_t freed;  // by the clock of frees
  };

  int64_t TrimLocked(int64_t bytes);
  void Return(uint8_t* region, int64_t length);

  const int64_t limit_;
  std::atomic<int64_t>* const held_;
  std::atomic<int64_t> kept_{0};
  mutable std::mutex mutex_;                             // guards what follows
  std::unordered_map<const uint8_t*, int64_t> lengths_;  // of what is handed out
  std::map<int64_t, std::deque<Kept>> free_;             // by length, the last freed at the back; none is empty
  uint64_t frees_ = 0;
};

}  // namespace cylon
