// The memory budget: its limit, its spilling, and buffers that outlive it.
#include "cylon/base/memory.h"

#include <arrow/buffer.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "cylon/base/error.h"
#include "cylon/base/resources.h"

namespace cylon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kLimit = 1 << 20;

/// Holds one buffer, and lets it go when asked.
class Chunk : public Spillable {
 public:
  Chunk(MemoryBudget* budget, int64_t size, std::vector<Chunk*>* order = nullptr)
      : budget_(budget), buffer_(*arrow::AllocateBuffer(size, budget)), order_(order) {
    budget_->Register(this);
  }
  ~Chunk() override { budget_->Unregister(this); }

  arrow::Result<int64_t> Spill() override {
    if (buffer_ == nullptr || pinned) {
      return 0;
    }
    // Writing needs memory too.
    ARROW_ASSIGN_OR_RAISE(auto scratch, arrow::AllocateBuffer(2 * kLimit, budget_));
    if (!failure.ok()) {
      return failure;
    }
    if (order_ != nullptr) {
      order_->push_back(this);
    }
    const int64_t freed = buffer_->size();
    buffer_.reset();
    if (leaves_when_spilled) {
      budget_->Unregister(this);
    }
    return freed;
  }

  bool pinned = false;
  bool leaves_when_spilled = false;
  arrow::Status failure;

 private:
  MemoryBudget* budget_;
  std::unique_ptr<arrow::Buffer> buffer_;
  std::vector<Chunk*>* order_;
};

TEST(MemoryBudgetTest, CountsWhatIsTakenAndGivenBack) {
  MemoryBudget budget(kLimit);
  {
    auto buffer = *arrow::AllocateResizableBuffer(1000, &budget);
    EXPECT_EQ(budget.bytes_allocated(), buffer->capacity());
    ASSERT_TRUE(buffer->Resize(4096).ok());
    EXPECT_EQ(budget.bytes_allocated(), 4096);
    ASSERT_TRUE(buffer->Resize(64, /*shrink_to_fit=*/true).ok());
    EXPECT_EQ(budget.bytes_allocated(), 64);
    EXPECT_EQ(budget.available(), kLimit - 64);
  }
  EXPECT_EQ(budget.bytes_allocated(), 0);
  EXPECT_EQ(budget.max_memory(), 4096);
}

TEST(MemoryBudgetTest, RefusesWithSizesAndAHint) {
  MemoryBudget budget(kLimit);
  auto first = *arrow::AllocateBuffer(kLimit / 2, &budget);
  auto status = arrow::AllocateBuffer(kLimit, &budget).status();
  EXPECT_TRUE(status.IsOutOfMemory());
  EXPECT_TRUE(IsError(status, ErrorKind::kOutOfMemory));
  EXPECT_THAT(status.message(), AllOf(HasSubstr("1.0 MiB were asked for"), HasSubstr("512.0 KiB of 1.0 MiB"),
                                      HasSubstr("CYLON_MEMORY"), HasSubstr("more ranks")));
  EXPECT_EQ(budget.bytes_allocated(), kLimit / 2);
  EXPECT_FALSE(*budget.MakeRoom(kLimit));
  EXPECT_TRUE(*budget.MakeRoom(kLimit / 2));
}

TEST(MemoryBudgetTest, SpillsTheOldestFirstAndNoMoreThanNeeded) {
  MemoryBudget budget(kLimit);
  std::vector<Chunk*> order;
  Chunk oldest(&budget, kLimit / 4, &order);
  Chunk middle(&budget, kLimit / 4, &order);
  Chunk newest(&budget, kLimit / 4, &order);
  auto buffer = *arrow::AllocateBuffer(3 * kLimit / 4, &budget);
  EXPECT_THAT(order, testing::ElementsAre(&oldest, &middle));
  EXPECT_EQ(budget.spilled_bytes(), kLimit / 2);
  EXPECT_EQ(budget.bytes_allocated(), kLimit);
}

TEST(MemoryBudgetTest, SkipsWhatIsPinned) {
  MemoryBudget budget(kLimit);
  Chunk pinned(&budget, kLimit / 2);
  Chunk idle(&budget, kLimit / 2);
  pinned.pinned = true;
  EXPECT_TRUE(*budget.MakeRoom(kLimit / 2));
  EXPECT_FALSE(*budget.MakeRoom(kLimit));
  EXPECT_TRUE(arrow::AllocateBuffer(kLimit, &budget).status().IsOutOfMemory());
}

TEST(MemoryBudgetTest, ASpillableMayLeaveWhileItIsSpilled) {
  MemoryBudget budget(kLimit);
  Chunk first(&budget, kLimit / 2);
  Chunk second(&budget, kLimit / 2);
  first.leaves_when_spilled = true;
  EXPECT_TRUE(arrow::AllocateBuffer(kLimit, &budget).ok());
}

TEST(MemoryBudgetTest, SaysWhySpillingFailed) {
  MemoryBudget budget(kLimit);
  Chunk chunk(&budget, kLimit / 2);
  chunk.failure = arrow::Status::IOError("no space left on device");
  EXPECT_THAT(arrow::AllocateBuffer(kLimit, &budget).status().message(), HasSubstr("no space left on device"));
}

/// Counts what is asked of the pool behind the budget.
class CountingPool : public arrow::ProxyMemoryPool {
 public:
  CountingPool() : arrow::ProxyMemoryPool(arrow::default_memory_pool()) {}
  void ReleaseUnused() override {
    ++releases;
    arrow::ProxyMemoryPool::ReleaseUnused();
  }
  int releases = 0;
};

TEST(MemoryBudgetTest, LargeBuffersArePagedAndKeptForTheNext) {
  constexpr int64_t kSize = 2 << 20;
  CountingPool parent;
  MemoryBudget budget(16 * kSize, &parent);
  auto small = *arrow::AllocateBuffer(1000, &budget);
  EXPECT_EQ(parent.bytes_allocated(), 1024);
  auto large = *arrow::AllocateBuffer(kSize, &budget);
  auto other = *arrow::AllocateResizableBuffer(1000, &budget);
  ASSERT_TRUE(other->Resize(kSize).ok());
  EXPECT_EQ(parent.bytes_allocated(), 1024);
  const uint8_t* data = large->data();
  large.reset();
  large = *arrow::AllocateBuffer(kSize, &budget);
  EXPECT_EQ(large->data(), data);
  budget.ReleaseUnused();
  EXPECT_EQ(parent.releases, 1);
}

TEST(MemoryBudgetTest, MemoryIsShortBeforeWhatIsKeptPassesTheLimit) {
  CountingPool parent;
  MemoryBudget budget(kLimit, &parent);
  auto most = *arrow::AllocateBuffer(kLimit * 7 / 8, &budget);
  EXPECT_EQ(parent.bytes_allocated(), kLimit * 7 / 8);
  auto more = *arrow::AllocateBuffer(kLimit / 32, &budget);
  EXPECT_EQ(parent.bytes_allocated(), kLimit * 7 / 8);
}

TEST(MemoryBudgetTest, WhileMemoryIsShortTheParentIsNotUsedAndGivesBack) {
  CountingPool parent;
  MemoryBudget budget(kLimit, &parent);
  auto chunk = std::make_unique<Chunk>(&budget, kLimit / 2);
  auto before = *arrow::AllocateBuffer(kLimit / 4, &budget);
  EXPECT_EQ(parent.bytes_allocated(), 3 * kLimit / 4);
  auto first = *arrow::AllocateBuffer(kLimit / 2, &budget);  // the chunk leaves
  EXPECT_EQ(parent.bytes_allocated(), kLimit / 4);
  EXPECT_EQ(parent.releases, 1);
  std::fill_n(first->mutable_data(), kLimit / 2, uint8_t{7});
  auto small = *arrow::AllocateBuffer(1000, &budget);
  EXPECT_EQ(parent.bytes_allocated(), kLimit / 4 + 1024);
  small.reset();
  chunk.reset();
  before.reset();
  EXPECT_EQ(parent.releases, 2);
  EXPECT_EQ(parent.bytes_allocated(), 0);
  EXPECT_EQ(first->data()[kLimit / 2 - 1], 7);
  // Plenty again.
  first.reset();
  EXPECT_EQ(budget.bytes_allocated(), 0);
  auto last = *arrow::AllocateBuffer(kLimit / 2, &budget);
  EXPECT_EQ(parent.bytes_allocated(), kLimit / 2);
}

TEST(MemoryBudgetTest, BuffersGrowAndShrinkWhileMemoryIsShort) {
  CountingPool parent;
  MemoryBudget budget(kLimit, &parent);
  auto before = *arrow::AllocateResizableBuffer(kLimit / 2, &budget);
  std::fill_n(before->mutable_data(), kLimit / 2, uint8_t{1});
  Chunk chunk(&budget, kLimit / 2);
  auto growing = *arrow::AllocateResizableBuffer(1024, &budget);
  auto other = *arrow::AllocateResizableBuffer(8192, &budget);
  const auto check = [&](uint8_t value, int64_t size) {
    EXPECT_EQ(std::count(growing->data(), growing->data() + size, value), size);
  };
  std::fill_n(growing->mutable_data(), 1024, uint8_t{5});
  ASSERT_TRUE(growing->Resize(10000).ok());  // from the parent to pages,
  check(5, 1024);
  std::fill_n(growing->mutable_data(), 10000, uint8_t{6});
  auto neighbour = *arrow::AllocateBuffer(8192, &budget);
  ASSERT_TRUE(growing->Resize(100000).ok());  // past what lies behind it,
  check(6, 10000);
  std::fill_n(growing->mutable_data(), 100000, uint8_t{8});
  ASSERT_TRUE(growing->Resize(5000, /*shrink_to_fit=*/true).ok());
  check(8, 5000);
  ASSERT_TRUE(growing->Resize(0, /*shrink_to_fit=*/true).ok());
  ASSERT_TRUE(growing->Resize(6000).ok());
  ASSERT_TRUE(before->Resize(kLimit / 2 + 4096).ok());
  EXPECT_EQ(before->data()[kLimit / 2 - 1], 1);
  ASSERT_TRUE(before->Resize(64, /*shrink_to_fit=*/true).ok());
  EXPECT_EQ(before->data()[63], 1);
  EXPECT_EQ(budget.bytes_allocated(), 64 + 6016 + 8192 + 8192);
  growing.reset();
  other.reset();
  neighbour.reset();
  before.reset();
  EXPECT_EQ(budget.bytes_allocated(), 0);
}

TEST(MemoryBudgetTest, ABufferMayOutliveItsRank) {
  std::shared_ptr<arrow::Buffer> buffer;
  {
    Options options;
    options.threads = 1;
    options.memory_bytes = kLimit;
    auto resources = *Resources::Make(options);
    buffer = *arrow::AllocateBuffer(1000, resources->memory());
    auto gone = *arrow::AllocateBuffer(1000, resources->memory());
  }
  buffer->mutable_data()[999] = 1;
  buffer.reset();  // the budget goes with it: a leak checker sees what a test cannot
}

TEST(MemoryBudgetTest, ThreadsShareTheLimit) {
  MemoryBudget budget(kLimit);
  std::vector<std::thread> threads;
  std::atomic<int64_t> refused{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        Chunk chunk(&budget, kLimit / 8);
        auto buffer = arrow::AllocateBuffer(kLimit / 8, &budget);
        refused += buffer.ok() ? 0 : 1;
        EXPECT_LE(budget.limit() - budget.available(), kLimit);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(budget.bytes_allocated(), 0);
  EXPECT_EQ(refused, 0);
}

}  // namespace
}  // namespace cylon
