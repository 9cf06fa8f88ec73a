// A rank's memory budget.
#include "cylon/base/memory.h"

#include <algorithm>
#include <cstring>

#include "cylon/base/error.h"
#include "cylon/base/failpoint.h"
#include "cylon/base/paged_memory.h"
#include "cylon/base/readable.h"

namespace cylon {

namespace {

// The budget this thread is spilling for. What spilling allocates is the reserve: counted, but never refused, and never
// the start of another spill.
thread_local const MemoryBudget* spilling_for = nullptr;

/// Buffers from here on are paged always: the lock is nothing beside filling them.
constexpr int64_t kLargeFrom = 1 << 20;
/// And from here on where memory is short: a page. Of smaller ones there are few.
constexpr int64_t kPagedFrom = 4096;
/// Addresses are free; with four times as many as there can be buffers, a gap that is long enough is nearly always
/// found.
constexpr int64_t kAddressesPerByte = 4;
/// Of 2^47 addresses that a process has. Larger limits than this find their gaps in 32 TiB as well.
constexpr int64_t kMostAddresses = int64_t{1} << 43;
/// Freed memory that may stay resident: an eighth of the limit. Memory is short as soon as less than that is free.
constexpr int64_t kIdlePart = 8;
/// The same, and what the parent may be freed of before it is asked to give back, where memory is short.
constexpr int64_t kShortIdlePart = 32;
/// Memory is not short any more when less than a quarter is used.
constexpr int64_t kPartOfPlenty = 4;

void RaiseTo(std::atomic<int64_t>* peak, int64_t value) {
  int64_t seen = peak->load(std::memory_order_relaxed);
  while (seen < value && !peak->compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

}  // namespace

Spillable::~Spillable() = default;

void MemoryBudget::Release::operator()(MemoryBudget* budget) const { budget->DropHolder(); }

MemoryBudget::Owner MemoryBudget::Make(int64_t limit, arrow::MemoryPool* parent) {
  return Owner(std::make_unique<MemoryBudget>(limit, parent).release());
}

MemoryBudget::MemoryBudget(int64_t limit, arrow::MemoryPool* parent)
    : limit_(limit), parent_(parent), next_spill_(spillables_.end()) {}

MemoryBudget::~MemoryBudget() = default;

void MemoryBudget::DropHolder() {
  // Reaches zero only after Release, so never for a budget that somebody holds by value.
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    std::default_delete<MemoryBudget>()(this);
  }
}

int64_t MemoryBudget::available() const { return std::max<int64_t>(0, limit_ - used_.load()); }

bool MemoryBudget::TryTake(int64_t bytes) {
  int64_t used = used_.load(std::memory_order_relaxed);
  const bool reserve = spilling_for == this;
  while (reserve || (bytes <= limit_ && used <= limit_ - bytes)) {
    if (used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed)) {
      RaiseTo(&peak_, used + bytes);
      if (used + bytes > limit_ - limit_ / kIdlePart) {
        BecomeShort();
      }
      return true;
    }
  }
  return false;
}

arrow::Status MemoryBudget::Take(int64_t bytes) {
  if (auto hit = CYLON_FAILPOINT_STATUS("memory.reserve"); !hit.ok()) {
    return OutOfMemoryError(hit.message());
  }
  while (!TryTake(bytes)) {
    BecomeShort();
    auto freed = SpillUntil(bytes);
    if (!freed.ok() || *freed == 0) {
      // Somebody else may have freed memory meanwhile.
      return TryTake(bytes) ? arrow::Status::OK() : Refusal(bytes, freed.status());
    }
  }
  return arrow::Status::OK();
}

void MemoryBudget::Give(int64_t bytes) {
  const int64_t used = used_.fetch_sub(bytes, std::memory_order_relaxed) - bytes;
  if (used < limit_ / kPartOfPlenty) {
    BecomePlenty();
  }
}

void MemoryBudget::BecomeShort() {
  if (short_.load(std::memory_order_relaxed)) {
    return;
  }
  std::lock_guard<std::mutex> lock(turn_mutex_);
  if (PagedMemory* paged = paged_.load(std::memory_order_acquire)) {
    paged->KeepIdle(limit_ / kShortIdlePart);
  }
  short_.store(true, std::memory_order_relaxed);
}

void MemoryBudget::BecomePlenty() {
  if (!short_.load(std::memory_order_relaxed)) {
    return;
  }
  std::lock_guard<std::mutex> lock(turn_mutex_);
  if (PagedMemory* paged = paged_.load(std::memory_order_acquire)) {
    paged->KeepIdle(limit_ / kIdlePart);
  }
  short_.store(false, std::memory_order_relaxed);
}

int64_t MemoryBudget::PagedFrom() const { return short_.load(std::memory_order_relaxed) ? kPagedFrom : kLargeFrom; }

PagedMemory* MemoryBudget::PagedFor(int64_t size, int64_t alignment) {
  if (size < PagedFrom() || alignment > PagedMemory::kAlignment) {
    return nullptr;
  }
  std::call_once(paged_made_, [&] {
    std::lock_guard<std::mutex> lock(turn_mutex_);
    const bool is_short = short_.load(std::memory_order_relaxed);
    owned_paged_ = PagedMemory::Make(kAddressesPerByte * std::min(limit_, kMostAddresses),
                                     limit_ / (is_short ? kShortIdlePart : kIdlePart));
    paged_.store(owned_paged_.get(), std::memory_order_release);
  });
  return paged_.load(std::memory_order_acquire);
}

bool MemoryBudget::IsPaged(const uint8_t* buffer) const {
  const PagedMemory* paged = paged_.load(std::memory_order_acquire);
  return paged != nullptr && paged->Owns(buffer);
}

arrow::Status MemoryBudget::AllocateBuffer(int64_t size, int64_t alignment, uint8_t** out) {
  if (PagedMemory* paged = PagedFor(size, alignment)) {
    *out = paged->Allocate(size);
    if (*out != nullptr) {
      return arrow::Status::OK();
    }
  }
  return parent_->Allocate(size, alignment, out);
}

void MemoryBudget::FreeBuffer(uint8_t* buffer, int64_t size, int64_t alignment) {
  if (IsPaged(buffer)) {
    paged_.load(std::memory_order_relaxed)->Free(buffer, size);
    return;
  }
  parent_->Free(buffer, size, alignment);
  if (short_.load(std::memory_order_relaxed) &&
      parent_freed_.fetch_add(size, std::memory_order_relaxed) + size > limit_ / kShortIdlePart) {
    parent_freed_.store(0, std::memory_order_relaxed);
    parent_->ReleaseUnused();
  }
}

arrow::Status MemoryBudget::Refusal(int64_t bytes, const arrow::Status& spill_failure) const {
  std::string message = "out of the rank's memory budget: " + ReadableBytes(bytes) + " were asked for, " +
                        ReadableBytes(used_.load()) + " of " + ReadableBytes(limit_) + " are in use";
  message +=
      spill_failure.ok() ? " and nothing more can be spilled" : ", and spilling failed: " + spill_failure.message();
  return OutOfMemoryError(message + "; raise CYLON_MEMORY, or use more ranks");
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
    BecomeShort();
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

arrow::Status MemoryBudget::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  if (size < 0) {
    return arrow::Status::Invalid("cannot allocate ", size, " bytes");
  }
  ARROW_RETURN_NOT_OK(Take(size));
  auto status = AllocateBuffer(size, alignment, out);
  if (!status.ok()) {
    Give(size);
    return status;
  }
  AddBuffer();
  total_.fetch_add(size, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  return arrow::Status::OK();
}

arrow::Status MemoryBudget::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) {
  if (new_size < 0) {
    return arrow::Status::Invalid("cannot allocate ", new_size, " bytes");
  }
  const int64_t more = std::max<int64_t>(0, new_size - old_size);
  ARROW_RETURN_NOT_OK(Take(more));
  const bool paged = IsPaged(*data);
  arrow::Status status;
  if (!paged && (old_size >= PagedFrom() || PagedFor(new_size, alignment) == nullptr)) {
    status = parent_->Reallocate(old_size, new_size, alignment, data);
  } else if (!paged || !paged_.load()->Resize(*data, old_size, new_size)) {
    uint8_t* moved = nullptr;
    status = AllocateBuffer(new_size, alignment, &moved);
    if (status.ok()) {
      std::memcpy(moved, *data, static_cast<size_t>(std::min(old_size, new_size)));
      FreeBuffer(std::exchange(*data, moved), old_size, alignment);
    }
  }
  if (!status.ok()) {
    Give(more);
    return status;
  }
  Give(std::max<int64_t>(0, old_size - new_size));
  total_.fetch_add(more, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  return arrow::Status::OK();
}

void MemoryBudget::Free(uint8_t* buffer, int64_t size, int64_t alignment) {
  FreeBuffer(buffer, size, alignment);
  Give(size);
  DropHolder();
}

void MemoryBudget::ReleaseUnused() {
  if (PagedMemory* paged = paged_.load(std::memory_order_acquire)) {
    std::lock_guard<std::mutex> lock(turn_mutex_);
    paged->KeepIdle(0);
    paged->KeepIdle(limit_ / (short_.load(std::memory_order_relaxed) ? kShortIdlePart : kIdlePart));
  }
  parent_->ReleaseUnused();
}
int64_t MemoryBudget::bytes_allocated() const { return used_.load(); }
int64_t MemoryBudget::max_memory() const { return peak_.load(); }
int64_t MemoryBudget::total_bytes_allocated() const { return total_.load(); }
int64_t MemoryBudget::num_allocations() const { return count_.load(); }
std::string MemoryBudget::backend_name() const { return parent_->backend_name(); }

}  // namespace cylon
