// Memory of which is known how much that was freed is still resident.
#include "cylon/base/paged_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace cylon {

namespace {

int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/// What a buffer takes: even an empty one has a place of its own.
int64_t LengthOf(int64_t size) { return RoundUp(std::max<int64_t>(size, 1), PagedMemory::kAlignment); }

int64_t PageSize() {
  static const int64_t size = ::sysconf(_SC_PAGESIZE);
  return size;
}

/// Whether what is mapped counts as memory in use before it is touched.
bool CountsAddresses() {
  int policy = 0;
  std::ifstream("/proc/sys/vm/overcommit_memory") >> policy;
  return policy == 2;
}

}  // namespace

std::unique_ptr<PagedMemory> PagedMemory::Make(int64_t addresses, int64_t most_idle) {
  if (CountsAddresses()) {
    return nullptr;
  }
  addresses = RoundUp(addresses, PageSize());
  void* base = ::mmap(nullptr, static_cast<size_t>(addresses), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return nullptr;
  }
  // A huge page would be resident for the few KiB of it that are used. For large buffers they are no gain either: the
  // first touch of a join's result took twice as long with them, and the joins after it as long as without. Kernels
  // without huge pages refuse the advice.
  ::madvise(base, static_cast<size_t>(addresses), MADV_NOHUGEPAGE);
  return std::unique_ptr<PagedMemory>(new PagedMemory(static_cast<uint8_t*>(base), addresses, most_idle));
}

PagedMemory::PagedMemory(uint8_t* base, int64_t addresses, int64_t most_idle)
    : base_(base), addresses_(addresses), most_idle_(most_idle) {
  cold_.Add({0, addresses});
}

PagedMemory::~PagedMemory() { ::munmap(base_, static_cast<size_t>(addresses_)); }

void PagedMemory::KeepIdle(int64_t most_idle) {
  std::lock_guard<std::mutex> lock(mutex_);
  most_idle_ = most_idle;
  Chill(most_idle_);
}

void PagedMemory::Chill(int64_t most) {
  while (idle_.total() > most) {
    Range range = idle_.TakeLongest();
    const int64_t page = PageSize();
    // Of one large buffer a part stays for the next; an eighth is given back at once, so that not every call has to.
    const int64_t too_much = idle_.total() + range.length() - (most - most / 8);
    const int64_t kept_end = std::max(range.begin, (range.end - too_much) / page * page);
    if (kept_end > range.begin) {
      idle_.Add({range.begin, kept_end});
      range.begin = kept_end;
    }
    const Range merged = cold_.Add(range);
    // Whole pages only: of those that it shares with a neighbour, the ones that the neighbour has left too.
    const int64_t begin = std::max(range.begin / page * page, RoundUp(merged.begin, page));
    const int64_t end = std::min(RoundUp(range.end, page), merged.end / page * page);
    if (begin < end) {
      // Cannot fail for pages of our own mapping; if it did, they would only stay.
      ::madvise(base_ + begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
    }
  }
}

uint8_t* PagedMemory::Allocate(int64_t size) {
  const int64_t length = LengthOf(size);
  std::lock_guard<std::mutex> lock(mutex_);
  Range range = idle_.Take(length);
  if (range.begin < 0) {
    range = cold_.Take(length);
  }
  if (range.begin < 0) {
    Chill(0);  // so that gaps of both kinds are one
    range = cold_.Take(length);
  }
  return range.begin < 0 ? nullptr : base_ + range.begin;
}

void PagedMemory::Release(Range range) {
  if (range.length() > 0) {
    idle_.Add(range);
    Chill(most_idle_);
  }
}

bool PagedMemory::Resize(const uint8_t* data, int64_t old_size, int64_t new_size) {
  const int64_t begin = data - base_;
  const int64_t old_end = begin + LengthOf(old_size);
  const int64_t new_end = begin + LengthOf(new_size);
  std::lock_guard<std::mutex> lock(mutex_);
  if (new_end <= old_end) {
    Release({new_end, old_end});
    return true;
  }
  return idle_.TakeAt(old_end, new_end - old_end) || cold_.TakeAt(old_end, new_end - old_end);
}

void PagedMemory::Free(const uint8_t* data, int64_t size) {
  const int64_t begin = data - base_;
  std::lock_guard<std::mutex> lock(mutex_);
  Release({begin, begin + LengthOf(size)});
}

int64_t PagedMemory::idle_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return idle_.total();
}

}  // namespace cylon
