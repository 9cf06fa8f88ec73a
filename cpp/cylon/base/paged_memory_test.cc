// Paged memory: buffers keep their bytes, and pages that nobody uses are not resident.
#include "cylon/base/paged_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <vector>

namespace cylon {
namespace {

constexpr int64_t kAddresses = 4 << 20;

/// Resident bytes of the pages from `data` on.
int64_t ResidentBytes(const uint8_t* data, int64_t size) {
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> resident(static_cast<size_t>((size + page - 1) / page));
  EXPECT_EQ(::mincore(const_cast<uint8_t*>(data), static_cast<size_t>(size), resident.data()), 0);
  int64_t bytes = 0;
  for (const unsigned char one : resident) {
    bytes += (one & 1) != 0 ? page : 0;
  }
  return bytes;
}

TEST(PagedMemoryTest, GivesBackWhatIsFreed) {
  auto memory = PagedMemory::Make(kAddresses, 0);
  ASSERT_NE(memory, nullptr);
  // Not whole pages: first and last are shared with the neighbours.
  const int64_t size = 100001;
  std::vector<uint8_t*> buffers;
  for (int i = 0; i < 20; ++i) {
    buffers.push_back(memory->Allocate(size));
    ASSERT_NE(buffers.back(), nullptr);
    std::memset(buffers.back(), i, size);
  }
  const uint8_t* base = buffers[0];
  EXPECT_GE(ResidentBytes(base, kAddresses), 20 * size);
  for (int i = 1; i < 20; i += 2) {
    memory->Free(buffers[i], size);
  }
  EXPECT_LE(ResidentBytes(base, kAddresses), 10 * (size + int64_t{2} * 4096));
  for (int i = 0; i < 20; i += 2) {
    EXPECT_EQ(buffers[i][0], i);
    EXPECT_EQ(buffers[i][size - 1], i);
    memory->Free(buffers[i], size);
  }
  EXPECT_EQ(ResidentBytes(base, kAddresses), 0);
}

TEST(PagedMemoryTest, KeepsAFewFreedBytesForTheNext) {
  constexpr int64_t kIdle = 256 << 10;
  auto memory = PagedMemory::Make(kAddresses, kIdle);
  uint8_t* first = memory->Allocate(1 << 20);
  uint8_t* second = memory->Allocate(kIdle / 2);
  std::memset(first, 1, 1 << 20);
  std::memset(second, 2, kIdle / 2);
  memory->Free(second, kIdle / 2);
  EXPECT_EQ(memory->idle_bytes(), kIdle / 2);
  EXPECT_EQ(memory->Allocate(kIdle / 2), second);
  EXPECT_EQ(memory->idle_bytes(), 0);
  memory->Free(second, kIdle / 2);
  memory->Free(first, 1 << 20);
  EXPECT_LE(memory->idle_bytes(), kIdle);
  EXPECT_LE(ResidentBytes(first, kAddresses), kIdle);
}

TEST(PagedMemoryTest, OfALargeBufferAPartStaysAndGoesWhenAsked) {
  constexpr int64_t kIdle = 256 << 10;
  auto memory = PagedMemory::Make(kAddresses, kIdle);
  uint8_t* large = memory->Allocate(1 << 20);
  std::memset(large, 1, 1 << 20);
  memory->Free(large, 1 << 20);
  EXPECT_EQ(memory->idle_bytes(), kIdle * 7 / 8);
  EXPECT_EQ(ResidentBytes(large, kAddresses), kIdle * 7 / 8);
  memory->KeepIdle(0);
  EXPECT_EQ(memory->idle_bytes(), 0);
  EXPECT_EQ(ResidentBytes(large, kAddresses), 0);
}

TEST(PagedMemoryTest, RefusesWhatFindsNoGap) {
  auto memory = PagedMemory::Make(kAddresses, kAddresses);
  EXPECT_EQ(memory->Allocate(kAddresses + 1), nullptr);
  uint8_t* half = memory->Allocate(kAddresses / 2);
  uint8_t* rest = memory->Allocate(kAddresses / 2);
  ASSERT_TRUE(half != nullptr && rest != nullptr);
  EXPECT_EQ(memory->Allocate(1), nullptr);
  memory->Free(half, kAddresses / 2);
  memory->Free(rest, kAddresses / 2);
  // What is idle and what is cold make one gap.
  uint8_t* all = memory->Allocate(kAddresses);
  ASSERT_NE(all, nullptr);
  EXPECT_TRUE(memory->Owns(all));
  EXPECT_FALSE(memory->Owns(all + kAddresses));
  memory->Free(all, kAddresses);
}

TEST(PagedMemoryTest, BuffersKeepTheirBytesWhileOthersComeAndGo) {
  struct Buffer {
    uint8_t* data;
    int64_t size;
    uint8_t mark;
  };
  auto memory = PagedMemory::Make(kAddresses, 200 << 10);
  std::mt19937_64 random(3);
  std::vector<Buffer> buffers;
  const auto check = [](const Buffer& buffer) {
    for (int64_t i = 0; i < buffer.size; i += 97) {
      ASSERT_EQ(buffer.data[i], buffer.mark);
    }
  };
  for (int step = 0; step < 5000; ++step) {
    const auto size = static_cast<int64_t>(random() % 60000);
    const uint64_t choice = random() % 5;
    if (choice < 2 || buffers.empty()) {
      if (uint8_t* data = memory->Allocate(size)) {
        ASSERT_EQ(std::bit_cast<uintptr_t>(data) % PagedMemory::kAlignment, 0);
        buffers.push_back({data, size, static_cast<uint8_t>(step)});
        std::memset(data, buffers.back().mark, size);
      }
      continue;
    }
    Buffer& buffer = buffers[random() % buffers.size()];
    check(buffer);
    if (choice < 4) {
      memory->Free(buffer.data, buffer.size);
      buffer = buffers.back();
      buffers.pop_back();
    } else if (memory->Resize(buffer.data, buffer.size, size)) {
      const int64_t kept = std::min(buffer.size, size);
      buffer.size = kept;
      check(buffer);
      buffer.size = size;
      std::memset(buffer.data, buffer.mark, size);
    } else {
      ASSERT_GT(size, buffer.size);
    }
    ASSERT_LE(memory->idle_bytes(), 200 << 10);
  }
  for (const auto& buffer : buffers) {
    check(buffer);
    memory->Free(buffer.data, buffer.size);
  }
  uint8_t* all = memory->Allocate(kAddresses);
  EXPECT_NE(all, nullptr);
  memory->Free(all, kAddresses);
}

}  // namespace
}  // namespace cylon
