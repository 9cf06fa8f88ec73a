// A rank's memory budget.
#include "cylon/base/memory.h"

#include <arrow/util/bit_util.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>

#include "cylon/base/error.h"

namespace cylon {

namespace {

// The budget this thread is spilling for. What spilling allocates is the reserve: counted, but never refused, and never
// the start of another spill.
thread_local const MemoryBudget* spilling_for = nullptr;

std::string Readable(int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

void RaiseTo(std::atomic<int64_t>* peak, int64_t value) {
  int64_t seen = peak->load(std::memory_order_relaxed);
  while (seen < value && !peak->compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

bool IsForRegion(int64_t size, int64_t alignment) {
  return kRecyclesPages && size >= PageRecycler::kLeastSize && size <= PageRecycler::kMostSize &&
         alignment <= PageRecycler::kRegionAlignment;
}

}  // namespace

Spillable::~Spillable() = default;

void MemoryBudget::Release::operator()(MemoryBudget* budget) const { budget->DropHolder(); }

MemoryBudget::Owner MemoryBudget::Make(int64_t limit, arrow::MemoryPool* parent) {
  return Owner(std::make_unique<MemoryBudget>(limit, parent).release());
}

MemoryBudget::MemoryBudget(int64_t limit, arrow::MemoryPool* parent)
    : limit_(limit), parent_(parent), next_spill_(spillables_.end()), recycler_(limit, &held_) {}

MemoryBudget::~MemoryBudget() = default;

void MemoryBudget::DropHolder() {
  // Reaches zero only after Release, so never for a budget that somebody holds by value.
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    std::default_delete<MemoryBudget>()(this);
  }
}

int64_t MemoryBudget::available() const { return std::max<int64_t>(0, limit_ - used_.load()); }

bool MemoryBudget::TryTake(int64_t bytes, bool reserve) {
  int64_t held = held_.load(std::memory_order_relaxed);
  while (true) {
    const bool possible = bytes <= limit_;
    if (possible && held <= limit_ - bytes) {
      if (held_.compare_exchange_weak(held, held + bytes, std::memory_order_relaxed)) {
        break;
      }
    } else if ((possible || reserve) && recycler_.Trim(possible ? held - (limit_ - bytes) : limit_) > 0) {
      held = held_.load(std::memory_order_relaxed);
    } else if (reserve) {
      held_.fetch_add(bytes, std::memory_order_relaxed);
      break;
    } else {
      return false;
    }
  }
  Use(bytes);
  return true;
}

bool MemoryBudget::TryTake(int64_t bytes) { return TryTake(bytes, /*reserve=*/spilling_for == this); }

arrow::Status MemoryBudget::Take(int64_t bytes) {
  while (!TryTake(bytes)) {
    auto freed = SpillUntil(bytes);
    if (!freed.ok() || *freed == 0) {
      // Somebody else may have freed memory meanwhile.
      return TryTake(bytes) ? arrow::Status::OK()
                            : Refusal(bytes, freed.ok() ? " and nothing more can be spilled"
                                                        : ", and spilling failed: " + freed.status().message());
    }
  }
  return arrow::Status::OK();
}

/// Counts bytes as used that are held already.
void MemoryBudget::Use(int64_t bytes) { RaiseTo(&peak_, used_.fetch_add(bytes, std::memory_order_relaxed) + bytes); }

void MemoryBudget::Give(int64_t bytes) {
  used_.fetch_sub(bytes, std::memory_order_relaxed);
  held_.fetch_sub(bytes, std::memory_order_relaxed);
}

arrow::Status MemoryBudget::Refusal(int64_t bytes, const std::string& reason) const {
  return OutOfMemoryError("out of the rank's memory budget: " + Readable(bytes) + " were asked for, " +
                          Readable(used_.load()) + " of " + Readable(limit_) + " are in use" + reason +
                          "; raise CYLON_MEMORY, or use more ranks");
}

arrow::Status MemoryBudget::SystemRefusal(int64_t bytes, const arrow::Status& failure) const {
  return Refusal(bytes, ", but the system gave no more (" + failure.message() + ")");
}

arrow::Result<int64_t> MemoryBudget::SpillUntil(int64_t bytes) {
  std::lock_guard<std::recursive_mutex> lock(spill_mutex_);
  int64_t freed = 0;
  arrow::Status failure;
  spilling_for = this;
  for (next_spill_ = spillables_.begin(); next_spill_ != spillables_.end();) {
    if (bytes <= limit_ && used_.load() <= limit_ - bytes) {
      freed = std::max<int64_t>(freed, 1);  // there is room, whoever made it
      break;
    }
    Spillable* spillable = *next_spill_;
    ++next_spill_;
    auto gone = spillable->Spill();
    if (gone.ok()) {
      freed += *gone;
      spilled_bytes_.fetch_add(*gone);
    } else if (failure.ok()) {
      failure = gone.status();
    }
  }
  next_spill_ = spillables_.end();
  spilling_for = nullptr;
  if (freed == 0 && !failure.ok()) {
    return failure;
  }
  return freed;
}

arrow::Result<bool> MemoryBudget::MakeRoom(int64_t bytes) {
  auto fits = [&] { return bytes <= limit_ && used_.load() <= limit_ - bytes; };
  while (!fits()) {
    auto freed = bytes <= limit_ ? SpillUntil(bytes) : arrow::Result<int64_t>(0);
    if (!fits()) {
      ARROW_RETURN_NOT_OK(freed);
      if (*freed == 0) {
        return false;
      }
    }
  }
  return true;
}

void MemoryBudget::Register(Spillable* spillable) {
  std::lock_guard<std::recursive_mutex> lock(spill_mutex_);
  if (places_.find(spillable) == places_.end()) {
    places_[spillable] = spillables_.insert(spillables_.end(), spillable);
  }
}

void MemoryBudget::Unregister(Spillable* spillable) {
  std::lock_guard<std::recursive_mutex> lock(spill_mutex_);
  auto place = places_.find(spillable);
  if (place == places_.end()) {
    return;
  }
  if (next_spill_ == place->second) {
    ++next_spill_;
  }
  spillables_.erase(place->second);
  places_.erase(place);
}

/// A kept region or a new one; nullptr where it does not fit, not even after spilling, or the system has none.
uint8_t* MemoryBudget::TakeRegion(int64_t length) {
  if (uint8_t* region = recycler_.Reuse(length)) {
    Use(length);
    return region;
  }
  if (length > limit_ || !Take(length).ok()) {
    return nullptr;
  }
  uint8_t* region = recycler_.Map(length);
  if (region == nullptr) {
    Give(length);
  }
  return region;
}

void MemoryBudget::FreeRegion(uint8_t* region, int64_t length) {
  // In this order: who sees the bytes unused finds them kept, or gone.
  recycler_.Free(region);
  used_.fetch_sub(length, std::memory_order_relaxed);
}

arrow::Status MemoryBudget::Obtain(int64_t size, int64_t alignment, uint8_t** out) {
  if (IsForRegion(size, alignment)) {
    *out = TakeRegion(PageRecycler::RegionSize(size));
    if (*out != nullptr) {
      return arrow::Status::OK();
    }
  }
  ARROW_RETURN_NOT_OK(Take(size));
  auto status = parent_->Allocate(size, alignment, out);
  if (!status.ok()) {
    Give(size);
    return SystemRefusal(size, status);
  }
  return status;
}

/// Length of the region that a buffer is; 0 where it is the parent's. A region is never for less than kLeastSize.
int64_t MemoryBudget::RegionLength(const uint8_t* buffer, int64_t size) const {
  return size >= PageRecycler::kLeastSize ? recycler_.Find(buffer) : 0;
}

void MemoryBudget::Dispose(uint8_t* buffer, int64_t size, int64_t alignment) {
  const int64_t length = RegionLength(buffer, size);
  if (length > 0) {
    FreeRegion(buffer, length);
  } else {
    parent_->Free(buffer, size, alignment);
    Give(size);
  }
}

arrow::Status MemoryBudget::ReallocateAtParent(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) {
  const int64_t more = std::max<int64_t>(0, new_size - old_size);
  ARROW_RETURN_NOT_OK(Take(more));
  auto status = parent_->Reallocate(old_size, new_size, alignment, data);
  if (!status.ok()) {
    Give(more);
    return SystemRefusal(new_size, status);
  }
  Give(std::max<int64_t>(0, old_size - new_size));
  return status;
}

/// A small buffer grows. Where its region does not fit, it stays with the parent, which needs less.
arrow::Status MemoryBudget::MoveIntoRegion(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) {
  uint8_t* region = TakeRegion(PageRecycler::RegionSize(new_size));
  if (region == nullptr) {
    return ReallocateAtParent(old_size, new_size, alignment, data);
  }
  std::memcpy(region, *data, static_cast<size_t>(old_size));
  parent_->Free(*data, old_size, alignment);
  Give(old_size);
  *data = region;
  return arrow::Status::OK();
}

/// A region becomes a small buffer. That frees memory, so it is not refused where the budget is full: until the region
/// is gone, the small one is of the reserve.
arrow::Status MemoryBudget::MoveOutOfRegion(int64_t length, int64_t new_size, int64_t alignment, uint8_t** data) {
  TryTake(new_size, /*reserve=*/true);
  uint8_t* small = nullptr;
  auto status = parent_->Allocate(new_size, alignment, &small);
  if (!status.ok()) {
    Give(new_size);
    return SystemRefusal(new_size, status);
  }
  std::memcpy(small, *data, static_cast<size_t>(new_size));
  FreeRegion(*data, length);
  *data = small;
  return status;
}

/// Where the system cannot move the pages, the content moves to a new buffer.
arrow::Status MemoryBudget::ResizeRegion(int64_t length, int64_t old_size, int64_t new_size, int64_t alignment,
                                         uint8_t** data) {
  int64_t wanted = PageRecycler::RegionSize(new_size);
  if (wanted > length && (wanted > limit_ || !Take(wanted - length).ok())) {
    wanted = std::max(length, arrow::bit_util::RoundUp(new_size, PageRecycler::kPageSize));
    ARROW_RETURN_NOT_OK(Take(wanted - length));
  }
  if (uint8_t* region = recycler_.Resize(*data, wanted)) {
    used_.fetch_sub(std::max<int64_t>(0, length - wanted), std::memory_order_relaxed);
    *data = region;
    return arrow::Status::OK();
  }
  Give(wanted - length);
  uint8_t* moved = nullptr;
  ARROW_RETURN_NOT_OK(Obtain(new_size, alignment, &moved));
  std::memcpy(moved, *data, static_cast<size_t>(std::min(old_size, new_size)));
  FreeRegion(*data, length);
  *data = moved;
  return arrow::Status::OK();
}

arrow::Status MemoryBudget::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  if (size < 0) {
    return arrow::Status::Invalid("cannot allocate ", size, " bytes");
  }
  ARROW_RETURN_NOT_OK(Obtain(size, alignment, out));
  AddBuffer();
  total_.fetch_add(size, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  return arrow::Status::OK();
}

arrow::Status MemoryBudget::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) {
  if (new_size < 0) {
    return arrow::Status::Invalid("cannot allocate ", new_size, " bytes");
  }
  const int64_t length = RegionLength(*data, old_size);
  if (length > 0 && new_size > PageRecycler::kMostSize) {
    return Refusal(new_size, ", and no process has room for that");
  }
  if (length > 0 && new_size < PageRecycler::kLeastSize) {
    ARROW_RETURN_NOT_OK(MoveOutOfRegion(length, new_size, alignment, data));
  } else if (length > 0) {
    ARROW_RETURN_NOT_OK(ResizeRegion(length, old_size, new_size, alignment, data));
  } else if (old_size < PageRecycler::kLeastSize && IsForRegion(new_size, alignment)) {
    ARROW_RETURN_NOT_OK(MoveIntoRegion(old_size, new_size, alignment, data));
  } else {
    ARROW_RETURN_NOT_OK(ReallocateAtParent(old_size, new_size, alignment, data));
  }
  total_.fetch_add(std::max<int64_t>(0, new_size - old_size), std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  return arrow::Status::OK();
}

void MemoryBudget::Free(uint8_t* buffer, int64_t size, int64_t alignment) {
  Dispose(buffer, size, alignment);
  DropHolder();
}

void MemoryBudget::ReleaseUnused() {
  recycler_.Trim(std::numeric_limits<int64_t>::max());
  parent_->ReleaseUnused();
}

int64_t MemoryBudget::bytes_allocated() const { return used_.load(); }
int64_t MemoryBudget::max_memory() const { return peak_.load(); }
int64_t MemoryBudget::total_bytes_allocated() const { return total_.load(); }
int64_t MemoryBudget::num_allocations() const { return count_.load(); }
std::string MemoryBudget::backend_name() const { return parent_->backend_name(); }

}  // namespace cylon
