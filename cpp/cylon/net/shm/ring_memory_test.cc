// Memory that other processes pass: what is taken, and what is refused.
#include "cylon/net/shm/ring_memory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "cylon/base/error.h"

namespace cylon::internal {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kRing = 64 << 10;
constexpr off_t kTotal = 4096 + 2 * static_cast<off_t>(kRing);

/// Memory of `size` bytes with `seals`.
Descriptor Memory(off_t size, int seals) {
  Descriptor memory(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_GE(memory.number(), 0);
  EXPECT_EQ(::ftruncate(memory.number(), size), 0);
  EXPECT_EQ(::fcntl(memory.number(), F_ADD_SEALS, seals), 0);
  return memory;
}

void ExpectRefused(const Descriptor& descriptor, uint64_t ring_bytes, const std::string& what) {
  const auto status = RingMemory::Map(descriptor, ring_bytes).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr(what));
  EXPECT_THAT(status.message(), HasSubstr("the connection is dropped"));
}

TEST(RingMemoryTest, IsSharedBothWays) {
  auto made = RingMemory::Make(kRing).ValueOrDie();
  auto mapped = RingMemory::Map(made.second, kRing).ValueOrDie();
  for (const bool dialler : {true, false}) {
    auto writer = (dialler ? made.first : mapped).writer(dialler);
    auto reader = (dialler ? mapped : made.first).reader(!dialler);
    const std::vector<uint8_t> sent{1, 2, 3, static_cast<uint8_t>(dialler)};
    ASSERT_EQ(writer.Room(kRing), kRing);
    writer.Put(sent);
    writer.Publish();
    std::vector<uint8_t> got(4);
    ASSERT_EQ(reader.Ready(kRing), 4U);
    reader.Take(got);
    EXPECT_EQ(got, sent);
  }
}

TEST(RingMemoryTest, CannotBeShrunkOrUnsealed) {
  auto made = RingMemory::Make(kRing).ValueOrDie();
  EXPECT_NE(::ftruncate(made.second.number(), 4096), 0);
  EXPECT_NE(::ftruncate(made.second.number(), kTotal * 2), 0);
  EXPECT_NE(::fcntl(made.second.number(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(RingMemoryTest, RefusesMemoryThatMayShrink) {
  ExpectRefused(Memory(kTotal, 0), kRing, "is not sealed");
  ExpectRefused(Memory(kTotal, F_SEAL_GROW | F_SEAL_SEAL), kRing, "is not sealed");
  ExpectRefused(Memory(kTotal, F_SEAL_SHRINK | F_SEAL_GROW), kRing, "is not sealed");
}

TEST(RingMemoryTest, RefusesMemoryOfAnotherSize) {
  constexpr int kAll = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  ExpectRefused(Memory(kTotal - 1, kAll), kRing, "has 135167 bytes, not 135168");
  ExpectRefused(Memory(0, kAll), kRing, "has 0 bytes, not 135168");
  ExpectRefused(Memory(kTotal, kAll), 2 * kRing, "has 135168 bytes, not 266240");
  for (const uint64_t claim : {uint64_t{0}, uint64_t{4095}, uint64_t{5000}, uint64_t{1} << 31, UINT64_MAX}) {
    ExpectRefused(Memory(kTotal, kAll), claim, "claims rings of " + std::to_string(claim) + " bytes");
  }
}

TEST(RingMemoryTest, RefusesWhatIsNoMemory) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Descriptor in(ends[0]);
  const Descriptor out(ends[1]);
  ExpectRefused(in, kRing, "is no memory that can be sealed");
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  ExpectRefused(Descriptor(::dup(::fileno(file))), kRing, "");
  std::fclose(file);
}

TEST(RingMemoryTest, RefusesMemoryThatCannotBeWritten) {
  // A mapping that can be written is not to be had of it any more.
  constexpr int kAll = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE;
  const auto status = RingMemory::Map(Memory(kTotal, kAll), kRing).status();
  EXPECT_THAT(status.message(), HasSubstr("cannot share memory with a rank of this host: mmap of 135168 bytes"));
}

TEST(RingMemoryTest, SaysWhichSizesThereAre) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1000}, uint64_t{3} << 20, uint64_t{1} << 31}) {
    const auto status = RingMemory::Make(bytes).status();
    EXPECT_TRUE(status.IsInvalid());
    EXPECT_THAT(status.message(), HasSubstr("expected a power of two from 4096 to 1073741824"));
  }
}

}  // namespace
}  // namespace cylon::internal
