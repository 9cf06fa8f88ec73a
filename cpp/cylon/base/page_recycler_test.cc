// Large buffers: recycled, moved and trimmed, within the limit of their budget.
#include "cylon/base/page_recycler.h"

#include <arrow/buffer.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/memory.h"

namespace cylon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kLimit = 64 * kMiB;
// Of budgets: the least buffer that is a region, and a limit for sixty-four.
constexpr int64_t kUnit = PageRecycler::kLeastSize;
constexpr int64_t kBudget = 64 * kUnit;

int64_t PastBoundary(const void* address, int64_t alignment) {
  return static_cast<int64_t>(std::bit_cast<uintptr_t>(address) % static_cast<uintptr_t>(alignment));
}

/// True where the page of `address` belongs to a mapping of the process.
bool IsMapped(uint8_t* address) {
  unsigned char resident = 0;
  return ::mincore(address, 1, &resident) == 0;
}

uint8_t Expected(int64_t i) { return static_cast<uint8_t>((i * 131) >> 7); }

constexpr int64_t kStride = 1021;  // several places of every page

void Fill(uint8_t* data, int64_t size) {
  for (int64_t i = 0; i < size; i += kStride) {
    data[i] = Expected(i);
  }
}

/// Where the content is not what Fill wrote; -1: nowhere.
int64_t FirstWrong(const uint8_t* data, int64_t size) {
  int64_t wrong = -1;
  for (int64_t i = 0; i < size && wrong < 0; i += kStride) {
    wrong = data[i] == Expected(i) ? -1 : i;
  }
  return wrong;
}

TEST(PageRecyclerTest, RegionsWasteLessThanAnEighthAndAreWholeHugePages) {
  for (int64_t size = PageRecycler::kLeastSize; size <= PageRecycler::kMostSize / 2; size += size / 37 + 1) {
    const int64_t length = PageRecycler::RegionSize(size);
    ASSERT_GE(length, size);
    ASSERT_LT(length - size, size / 8 + 1) << size;
    ASSERT_EQ(length % PageRecycler::kRegionAlignment, 0) << size;
    ASSERT_EQ(PageRecycler::RegionSize(length), length);
  }
}

TEST(PageRecyclerTest, HandsOutWhatWasFreedLastAndOnlyOfTheSameLength) {
  std::atomic<int64_t> held{3 * kMiB + 4 * kMiB};
  PageRecycler recycler(kLimit, &held);
  uint8_t* first = recycler.Map(3 * kMiB);
  uint8_t* second = recycler.Map(4 * kMiB);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(PastBoundary(first, PageRecycler::kRegionAlignment), 0);
  EXPECT_EQ(PastBoundary(second, PageRecycler::kRegionAlignment), 0);
  EXPECT_EQ(recycler.Find(first), 3 * kMiB);
  EXPECT_EQ(recycler.Find(first + 64), 0);
  recycler.Free(first);
  recycler.Free(second);
  EXPECT_EQ(recycler.Find(first), 0);
  EXPECT_EQ(recycler.kept(), 7 * kMiB);
  EXPECT_EQ(recycler.Reuse(5 * kMiB), nullptr);
  EXPECT_EQ(recycler.Reuse(3 * kMiB), first);
  EXPECT_EQ(recycler.Reuse(3 * kMiB), nullptr);
  recycler.Unmap(first);
  EXPECT_FALSE(IsMapped(first));
  EXPECT_EQ(held.load(), 4 * kMiB);
  EXPECT_TRUE(IsMapped(second));
  EXPECT_EQ(recycler.Trim(1), 4 * kMiB);
  EXPECT_FALSE(IsMapped(second));
  EXPECT_EQ(held.load(), 0);
}

TEST(PageRecyclerTest, KeepsNoMoreThanItsShareAndDropsTheOldestFirst) {
  constexpr int64_t kLength = 4 * kMiB;
  constexpr int64_t kFit = kLimit / PageRecycler::kKeptPart / kLength;
  std::atomic<int64_t> held{(kFit + 1) * kLength};
  PageRecycler recycler(kLimit, &held);
  std::vector<uint8_t*> regions;
  for (int64_t i = 0; i <= kFit; ++i) {
    regions.push_back(recycler.Map(kLength));
  }
  for (uint8_t* region : regions) {
    recycler.Free(region);
  }
  EXPECT_EQ(recycler.kept(), kFit * kLength);
  EXPECT_EQ(held.load(), kFit * kLength);
  EXPECT_FALSE(IsMapped(regions.front()));
  EXPECT_TRUE(IsMapped(regions[1]));
  EXPECT_EQ(recycler.Reuse(kLength), regions.back());
  recycler.Unmap(regions.back());
}

TEST(PageRecyclerTest, KeepsNothingWhileMoreThanTheLimitIsHeld) {
  std::atomic<int64_t> held{kLimit + 1};
  PageRecycler recycler(kLimit, &held);
  recycler.Free(recycler.Map(2 * kMiB));
  EXPECT_EQ(recycler.kept(), 0);
  EXPECT_EQ(held.load(), kLimit + 1 - 2 * kMiB);
}

TEST(PageRecyclerTest, ResizedRegionsKeepTheirContentAndTheirAlignment) {
  std::atomic<int64_t> held{0};
  PageRecycler recycler(kLimit, &held);
  int64_t length = 2 * kMiB;
  held += length;
  uint8_t* region = recycler.Map(length);
  Fill(region, length);
  for (const int64_t next : {3 * kMiB, 40 * kMiB, 5 * kMiB, kMiB, 9 * kMiB}) {
    held += std::max<int64_t>(0, next - length);
    // In the way, so that it has to move.
    void* wall = ::mmap(region + length, kMiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    region = recycler.Resize(region, next);
    ASSERT_NE(region, nullptr);
    EXPECT_EQ(PastBoundary(region, PageRecycler::kRegionAlignment), 0);
    EXPECT_EQ(FirstWrong(region, std::min(length, next)), -1);
    EXPECT_EQ(recycler.Find(region), next);
    EXPECT_EQ(held.load(), next);
    Fill(region, next);
    if (wall != MAP_FAILED) {
      ::munmap(wall, kMiB);
    }
    length = next;
  }
  recycler.Free(region);
}

/// Of budgets: under AddressSanitizer all their memory is the parent's.
class RecyclingBudgetTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!kRecyclesPages) {
      GTEST_SKIP() << "this build leaves large buffers to the sanitizer's allocator";
    }
  }

  /// What was asked of it is in the parent; the rest is in regions.
  arrow::ProxyMemoryPool parent_{arrow::default_memory_pool()};
};

TEST_F(RecyclingBudgetTest, AFreedBufferIsTheNextOneOfItsSize) {
  MemoryBudget budget(kBudget, &parent_);
  auto buffer = *arrow::AllocateBuffer(5 * kUnit, &budget);
  const uint8_t* address = buffer->data();
  EXPECT_EQ(PastBoundary(address, PageRecycler::kRegionAlignment), 0);
  buffer.reset();
  EXPECT_EQ(budget.kept(), 5 * kUnit);
  EXPECT_EQ(budget.bytes_allocated(), 0);
  EXPECT_EQ(budget.available(), kBudget);
  auto again = *arrow::AllocateBuffer((5 * kUnit) - 4096, &budget);
  EXPECT_EQ(again->data(), address);
  EXPECT_EQ(budget.kept(), 0);
  EXPECT_EQ(budget.bytes_allocated(), 5 * kUnit);
  EXPECT_EQ(parent_.num_allocations(), 0);
}

TEST_F(RecyclingBudgetTest, SmallBuffersAndWideAlignmentsAreTheParents) {
  MemoryBudget budget(kBudget, &parent_);
  auto small = *arrow::AllocateBuffer(PageRecycler::kLeastSize - 64, &budget);
  auto empty = *arrow::AllocateBuffer(0, &budget);
  EXPECT_EQ(parent_.bytes_allocated(), PageRecycler::kLeastSize - 64);
  EXPECT_EQ(budget.bytes_allocated(), PageRecycler::kLeastSize - 64);
  auto wide = *arrow::AllocateBuffer(2 * kUnit, 2 * PageRecycler::kRegionAlignment, &budget);
  EXPECT_EQ(PastBoundary(wide->data(), 2 * PageRecycler::kRegionAlignment), 0);
  EXPECT_EQ(parent_.bytes_allocated(), (3 * kUnit) - 64);
}

TEST_F(RecyclingBudgetTest, KeptRegionsGoBeforeAnythingIsSpilledOrRefused) {
  class Watcher : public Spillable {
   public:
    arrow::Result<int64_t> Spill() override {
      ++asked;
      return 0;
    }
    int asked = 0;
  };
  MemoryBudget budget(kBudget);
  Watcher watcher;
  budget.Register(&watcher);
  arrow::AllocateBuffer(7 * kUnit, &budget)->reset();
  arrow::AllocateBuffer(8 * kUnit, &budget)->reset();
  EXPECT_EQ(budget.kept(), 15 * kUnit);
  auto most = *arrow::AllocateBuffer(56 * kUnit, &budget);
  EXPECT_EQ(budget.kept(), 8 * kUnit);  // what was freed first went
  std::vector<std::unique_ptr<arrow::Buffer>> small;
  for (int64_t i = 0; i < 8 * 2; ++i) {
    small.push_back(*arrow::AllocateBuffer(kUnit / 2, &budget));
    EXPECT_LE(budget.bytes_allocated() + budget.kept(), kBudget);
  }
  EXPECT_EQ(budget.kept(), 0);
  EXPECT_EQ(budget.available(), 0);
  EXPECT_EQ(watcher.asked, 0);
  EXPECT_TRUE(arrow::AllocateBuffer(64, &budget).status().IsOutOfMemory());
  EXPECT_EQ(watcher.asked, 1);
  budget.Unregister(&watcher);
}

TEST_F(RecyclingBudgetTest, WhatFitsWithoutItsRegionsWasteIsNotRefused) {
  constexpr int64_t kOdd = (9 * kUnit) - (kUnit / 2);
  ASSERT_GT(PageRecycler::RegionSize(kOdd), kOdd);
  MemoryBudget budget(kOdd, &parent_);
  {
    auto whole = *arrow::AllocateBuffer(kOdd, &budget);
    EXPECT_EQ(parent_.bytes_allocated(), kOdd);
    EXPECT_EQ(budget.available(), 0);
  }
  auto grows = *arrow::AllocateResizableBuffer(kUnit, &budget);
  Fill(grows->mutable_data(), kUnit);
  ASSERT_TRUE(grows->Resize(kOdd).ok());
  EXPECT_EQ(budget.available(), 0);
  EXPECT_EQ(FirstWrong(grows->data(), kUnit), -1);
  grows.reset();
  EXPECT_EQ(budget.available(), kOdd);
  EXPECT_EQ(budget.kept(), 0);  // no other buffer has this length
}

TEST_F(RecyclingBudgetTest, ReleaseUnusedGivesKeptPagesBack) {
  MemoryBudget budget(kBudget);
  auto buffer = *arrow::AllocateBuffer(3 * kUnit, &budget);
  uint8_t* address = buffer->mutable_data();
  buffer.reset();
  EXPECT_TRUE(IsMapped(address));
  budget.ReleaseUnused();
  EXPECT_EQ(budget.kept(), 0);
  EXPECT_FALSE(IsMapped(address));
}

TEST_F(RecyclingBudgetTest, ARegionOutlivesTheOwnerOfItsBudget) {
  auto budget = MemoryBudget::Make(kBudget);
  auto buffer = *arrow::AllocateBuffer(3 * kUnit, budget.get());
  auto kept = *arrow::AllocateBuffer(2 * kUnit, budget.get());
  uint8_t* kept_address = kept->mutable_data();
  uint8_t* address = buffer->mutable_data();
  kept.reset();
  budget.reset();
  Fill(address, 3 * kUnit);
  EXPECT_EQ(FirstWrong(address, 3 * kUnit), -1);
  EXPECT_TRUE(IsMapped(kept_address));
  buffer.reset();  // the budget goes with its last buffer, and all pages with the budget
  EXPECT_FALSE(IsMapped(address));
  EXPECT_FALSE(IsMapped(kept_address));
}

TEST_F(RecyclingBudgetTest, ResizingKeepsContentAcrossEverySize) {
  MemoryBudget budget(kBudget, &parent_);
  auto buffer = *arrow::AllocateResizableBuffer(0, &budget);
  std::mt19937_64 random(7);
  int64_t size = 0;
  for (int step = 0; step < 60; ++step) {
    // As many small sizes as large ones.
    const int64_t next = static_cast<int64_t>(random() % (step % 2 == 0 ? 2 * kUnit : 5 * kUnit));
    ASSERT_TRUE(buffer->Resize(next, /*shrink_to_fit=*/true).ok());
    ASSERT_EQ(FirstWrong(buffer->data(), std::min(size, next)), -1) << size << " to " << next;
    Fill(buffer->mutable_data(), next);
    size = next;
    const int64_t wanted = buffer->capacity();
    ASSERT_EQ(PastBoundary(buffer->data(), 64), 0);
    ASSERT_EQ(parent_.bytes_allocated(), wanted < PageRecycler::kLeastSize ? wanted : 0);
    ASSERT_EQ(budget.bytes_allocated(), wanted < PageRecycler::kLeastSize ? wanted : PageRecycler::RegionSize(wanted));
    ASSERT_LE(budget.bytes_allocated() + budget.kept(), kBudget);
  }
  buffer.reset();
  EXPECT_EQ(budget.bytes_allocated(), 0);
  EXPECT_EQ(parent_.bytes_allocated(), 0);
}

TEST_F(RecyclingBudgetTest, ShrinkingIsNotRefusedWhereTheBudgetIsFull) {
  MemoryBudget budget(4 * kUnit);
  auto buffer = *arrow::AllocateResizableBuffer(4 * kUnit, &budget);
  Fill(buffer->mutable_data(), 4 * kUnit);
  ASSERT_EQ(budget.available(), 0);
  ASSERT_TRUE(buffer->Resize(1000, /*shrink_to_fit=*/true).ok());
  EXPECT_EQ(FirstWrong(buffer->data(), 1000), -1);
  EXPECT_EQ(budget.bytes_allocated(), 1024);
  EXPECT_LE(budget.bytes_allocated() + budget.kept(), budget.limit());
}

TEST_F(RecyclingBudgetTest, SaysThatTheSystemHasNoMore) {
  MemoryBudget budget(int64_t{1} << 60);
  for (const int64_t size : {PageRecycler::kMostSize, 4 * PageRecycler::kMostSize}) {
    auto status = arrow::AllocateBuffer(size, &budget).status();
    EXPECT_TRUE(IsError(status, ErrorKind::kOutOfMemory));
    EXPECT_THAT(status.message(), AllOf(HasSubstr("TiB were asked for"), HasSubstr("0 bytes of 1048576.0 TiB"),
                                        HasSubstr("the system gave no more"), HasSubstr("more ranks")));
  }
  auto buffer = *arrow::AllocateResizableBuffer(2 * kUnit, &budget);
  Fill(buffer->mutable_data(), 2 * kUnit);
  EXPECT_THAT(buffer->Resize(PageRecycler::kMostSize).message(), HasSubstr("the system gave no more"));
  EXPECT_THAT(buffer->Resize(4 * PageRecycler::kMostSize).message(), HasSubstr("no process has room for that"));
  EXPECT_EQ(FirstWrong(buffer->data(), 2 * kUnit), -1);
  EXPECT_EQ(budget.bytes_allocated(), 2 * kUnit);
}

TEST_F(RecyclingBudgetTest, ManyThreadsStayWithinTheLimitAndApart) {
  MemoryBudget budget(kBudget);
  std::vector<std::thread> threads;
  std::atomic<int64_t> refused{0};
  std::atomic<int64_t> mixed_up{0};
  std::atomic<int64_t> over{0};
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 100; ++i) {
        auto buffer = arrow::AllocateResizableBuffer(static_cast<int64_t>(random() % (6 * kUnit)), &budget);
        if (!buffer.ok() || !(*buffer)->Resize(static_cast<int64_t>(random() % (6 * kUnit)) + 2).ok()) {
          ++refused;
          continue;
        }
        // A page of each end is enough to see another's hand.
        uint8_t* data = (*buffer)->mutable_data();
        const int64_t last = (*buffer)->size() - 1;
        data[0] = data[last] = static_cast<uint8_t>(t + 1);
        over += budget.held() > kBudget ? 1 : 0;
        std::this_thread::yield();
        mixed_up += data[0] != t + 1 || data[last] != t + 1 ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(mixed_up, 0);
  EXPECT_EQ(over, 0);
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(budget.bytes_allocated(), 0);
  EXPECT_EQ(budget.held(), budget.kept());
  budget.ReleaseUnused();
  EXPECT_EQ(budget.held(), 0);
}

}  // namespace
}  // namespace cylon
