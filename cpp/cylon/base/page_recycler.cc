// Large regions of memory on huge pages, kept when they are freed.
#include "cylon/base/page_recycler.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <limits>

namespace cylon {

namespace {

/// Address space that begins at a multiple of a huge page; nullptr where the system refuses.
uint8_t* MapAligned(int64_t length, int protection) {
  constexpr int64_t kAlignment = PageRecycler::kRegionAlignment;
  void* mapped =
      ::mmap(nullptr, static_cast<size_t>(length + kAlignment), protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return nullptr;
  }
  auto* begin = static_cast<uint8_t*>(mapped);
  const auto past = static_cast<int64_t>(std::bit_cast<uintptr_t>(begin) % kAlignment);
  const int64_t head = past == 0 ? 0 : kAlignment - past;
  if (head > 0) {
    ::munmap(begin, static_cast<size_t>(head));
  }
  ::munmap(begin + head + length, static_cast<size_t>(kAlignment - head));
  return begin + head;
}

}  // namespace

int64_t PageRecycler::RegionSize(int64_t size) {
  static_assert(kLeastSize % kRegionAlignment == 0 && kLeastSize / 8 == kRegionAlignment);
  const auto step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(size - 1)) / 8);
  return (size + step - 1) / step * step;
}

PageRecycler::PageRecycler(int64_t limit, std::atomic<int64_t>* held) : limit_(limit), held_(held) {}

PageRecycler::~PageRecycler() { Trim(std::numeric_limits<int64_t>::max()); }

uint8_t* PageRecycler::Reuse(int64_t length) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto place = free_.find(length);
  if (place == free_.end()) {
    return nullptr;
  }
  uint8_t* region = place->second.back().region;
  lengths_.emplace(region, length);
  place->second.pop_back();
  if (place->second.empty()) {
    free_.erase(place);
  }
  kept_.fetch_sub(length, std::memory_order_relaxed);
  return region;
}

uint8_t* PageRecycler::Map(int64_t length) {
  uint8_t* region = MapAligned(length, PROT_READ | PROT_WRITE);
  if (region == nullptr) {
    return nullptr;
  }
  // A wish: it fails on a kernel without huge pages, and the region is as good but for its speed.
  ::madvise(region, static_cast<size_t>(length), MADV_HUGEPAGE);
  std::lock_guard<std::mutex> lock(mutex_);
  lengths_.emplace(region, length);
  return region;
}

int64_t PageRecycler::Find(const uint8_t* address) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto place = lengths_.find(address);
  return place == lengths_.end() ? 0 : place->second;
}

void PageRecycler::Free(uint8_t* region) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto place = lengths_.find(region);
  const int64_t length = place->second;
  lengths_.erase(place);
  const int64_t most = limit_ / kKeptPart;
  // One that was cut to fit would wait for the same length for ever.
  if (length > most || length != RegionSize(length) || held_->load(std::memory_order_relaxed) > limit_) {
    Return(region, length);
    return;
  }
  TrimLocked(kept_.load(std::memory_order_relaxed) + length - most);
  free_[length].push_back(Kept{region, ++frees_});
  kept_.fetch_add(length, std::memory_order_relaxed);
}

void PageRecycler::Unmap(uint8_t* region) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto place = lengths_.find(region);
  const int64_t length = place->second;
  lengths_.erase(place);
  Return(region, length);
}

uint8_t* PageRecycler::Resize(uint8_t* region, int64_t length) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto place = lengths_.find(region);
  const int64_t old_length = place->second;
  if (length <= old_length) {
    if (length < old_length) {
      Return(region + length, old_length - length);
      place->second = length;
    }
    return region;
  }
  const auto from = static_cast<size_t>(old_length);
  const auto to = static_cast<size_t>(length);
  if (::mremap(region, from, to, 0) != MAP_FAILED) {
    place->second = length;
    return region;
  }
  // The system would choose an address on any page. This range is only there to be replaced.
  uint8_t* target = MapAligned(length, PROT_NONE);
  if (target == nullptr) {
    return nullptr;
  }
  if (::mremap(region, from, to, MREMAP_MAYMOVE | MREMAP_FIXED, target) == MAP_FAILED) {
    ::munmap(target, to);
    return nullptr;
  }
  lengths_.erase(place);
  lengths_.emplace(target, length);
  return target;
}

int64_t PageRecycler::Trim(int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  return TrimLocked(bytes);
}

int64_t PageRecycler::TrimLocked(int64_t bytes) {
  int64_t gone = 0;
  while (gone < bytes && !free_.empty()) {
    // As many entries as there are lengths, a few dozen; unmapping costs a thousand times what the search does.
    auto oldest = std::ranges::min_element(free_, {}, [](const auto& entry) { return entry.second.front().freed; });
    const int64_t length = oldest->first;
    Return(oldest->second.front().region, length);
    oldest->second.pop_front();
    if (oldest->second.empty()) {
      free_.erase(oldest);
    }
    kept_.fetch_sub(length, std::memory_order_relaxed);
    gone += length;
  }
  return gone;
}

void PageRecycler::Return(uint8_t* region, int64_t length) {
  // With the mutex held: who waits for it to trim finds the bytes taken off.
  if (::munmap(region, static_cast<size_t>(length)) != 0) {
    // A part of a mapping cannot go where the process has all the mappings that it may have (65530): its pages can.
    ::madvise(region, static_cast<size_t>(length), MADV_DONTNEED);
  }
  held_->fetch_sub(length, std::memory_order_relaxed);
}

}  // namespace cylon
