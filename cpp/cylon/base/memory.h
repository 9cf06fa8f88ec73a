/// A rank's memory budget: a pool that counts, and asks spillable things to leave before it refuses.
#pragma once

#include <arrow/memory_pool.h>
#include <arrow/result.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "cylon/base/export.h"

namespace cylon {

class PagedMemory;

/// Something that can free memory by going to disk.
class CYLON_EXPORT Spillable {
 public:
  virtual ~Spillable();
  /// Frees what it holds, unless it is in use (pinned) or already gone; returns bytes freed. Called by whichever thread
  /// asks for memory, so it never blocks on a lock that may be held while allocating: it tries, and returns 0. What it
  /// allocates meanwhile comes out of the reserve, not out of the budget.
  virtual arrow::Result<int64_t> Spill() = 0;
};

/// An arrow::MemoryPool with a limit. Thread-safe. An allocation that would exceed the limit first spills registered
/// spillables, oldest first; when that is not enough it fails with OutOfMemory and a message that has the sizes and a
/// hint (raise CYLON_MEMORY, use more ranks).
///
/// Large buffers come from PagedMemory, which keeps an eighth of the limit resident for the next ones. The rank is
/// short of memory from seven eighths of the limit, or the first spill, on until three quarters are free again: then
/// all buffers of a page or more come from there, little is kept, and the parent is asked to give back what it keeps.
class CYLON_EXPORT MemoryBudget : public arrow::MemoryPool {
 public:
  /// Gives up a budget that Make made: it goes with its last buffer, at once where none is out.
  struct Release {
    void operator()(MemoryBudget* budget) const;
  };
  using Owner = std::unique_ptr<MemoryBudget, Release>;

  /// A budget that outlives its owner until its last buffer is freed: memory that was handed to Python or to a loader
  /// may be the last thing that is left of a rank. `limit` and `parent` as below.
  static Owner Make(int64_t limit, arrow::MemoryPool* parent = arrow::default_memory_pool());

  /// `limit` in bytes. Allocates from `parent`. All buffers must be gone before a budget made like this is.
  explicit MemoryBudget(int64_t limit, arrow::MemoryPool* parent = arrow::default_memory_pool());
  ~MemoryBudget() override;

  int64_t limit() const { return limit_; }

  /// Bytes that may still be taken without spilling.
  int64_t available() const;

  /// True where `bytes` more fit, if need be after spilling. The bytes are not reserved.
  arrow::Result<bool> MakeRoom(int64_t bytes);

  /// `spillable` must be unregistered before it is destroyed. Both are thread-safe.
  void Register(Spillable* spillable);
  void Unregister(Spillable* spillable);

  /// What went to disk so far, in bytes.
  int64_t spilled_bytes() const { return spilled_bytes_.load(); }

  using arrow::MemoryPool::Allocate;
  using arrow::MemoryPool::Free;
  using arrow::MemoryPool::Reallocate;
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** data) override;
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override;
  void ReleaseUnused() override;
  int64_t bytes_allocated() const override;
  int64_t max_memory() const override;
  int64_t total_bytes_allocated() const override;
  int64_t num_allocations() const override;
  std::string backend_name() const override;

 private:
  arrow::Status Take(int64_t bytes);
  arrow::Status AllocateBuffer(int64_t size, int64_t alignment, uint8_t** out);
  void FreeBuffer(uint8_t* buffer, int64_t size, int64_t alignment);
  /// The least size of buffers that are paged.
  int64_t PagedFrom() const;
  /// What a buffer comes from that is paged, else nullptr.
  PagedMemory* PagedFor(int64_t size, int64_t alignment);
  bool IsPaged(const uint8_t* buffer) const;
  void BecomeShort();
  void BecomePlenty();
  bool TryTake(int64_t bytes);
  void Give(int64_t bytes);
  void AddBuffer() { holders_.fetch_add(1, std::memory_order_relaxed); }
  void DropHolder();
  arrow::Result<int64_t> SpillUntil(int64_t bytes);
  arrow::Status Refusal(int64_t bytes, const arrow::Status& spill_failure) const;

  const int64_t limit_;
  arrow::MemoryPool* parent_;
  std::atomic<int64_t> used_{0};
  std::atomic<int64_t> peak_{0};
  std::atomic<int64_t> total_{0};
  std::atomic<int64_t> count_{0};
  std::atomic<int64_t> spilled_bytes_{0};
  std::atomic<int64_t> holders_{1};           // buffers that are out, and the owner
  std::atomic<bool> short_{false};            // of memory
  std::atomic<int64_t> parent_freed_{0};      // bytes, since it was last asked to give back
  std::atomic<PagedMemory*> paged_{nullptr};  // what owned_paged_ owns
  std::unique_ptr<PagedMemory> owned_paged_;  // made when it is first needed
  std::once_flag paged_made_;
  std::mutex turn_mutex_;  // to short, and back
  // One spiller at a time; guards what follows. Recursive: what is spilled may unregister itself while it is asked.
  std::recursive_mutex spill_mutex_;
  std::list<Spillable*> spillables_;            // oldest first
  std::list<Spillable*>::iterator next_spill_;  // where the walk goes on
  std::unordered_map<Spillable*, std::list<Spillable*>::iterator> places_;
};

}  // namespace cylon
