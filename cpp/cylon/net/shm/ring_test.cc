// Rings between two threads, and ends that lie.
#include "cylon/net/shm/ring.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace cylon::internal {
namespace {

/// What two ends share.
struct SharedRing {
  explicit SharedRing(uint64_t capacity) : bytes(capacity) {}
  RingWriter writer() { return {&control, bytes.data(), bytes.size()}; }
  RingReader reader() { return {&control, bytes.data(), bytes.size()}; }
  RingControl control;
  std::vector<uint8_t> bytes;
};

uint8_t ByteAt(uint64_t at) { return static_cast<uint8_t>(at * 2654435761U >> 11); }

TEST(RingTest, PassesBytesBetweenThreadsInOrder) {
  constexpr uint64_t kTotal = 4 << 20;
  SharedRing shared(4096);
  std::thread other([&] {
    auto writer = shared.writer();
    std::vector<uint8_t> step(3000);
    for (uint64_t at = 0; at < kTotal;) {
      const uint64_t wanted = std::min<uint64_t>(kTotal - at, 1 + at % step.size());
      const uint64_t count = std::min(writer.Room(wanted), wanted);
      for (uint64_t i = 0; i < count; ++i) {
        step[i] = ByteAt(at + i);
      }
      writer.Put({step.data(), count});
      writer.Publish();
      at += count;
      if (count == 0) {
        std::this_thread::yield();
      }
    }
    EXPECT_FALSE(writer.broken());
  });
  auto reader = shared.reader();
  std::vector<uint8_t> step(2000);
  for (uint64_t at = 0; at < kTotal;) {
    const uint64_t wanted = std::min<uint64_t>(kTotal - at, 1 + at % step.size());
    const uint64_t count = std::min(reader.Ready(wanted), wanted);
    reader.Take({step.data(), count});
    reader.Release();
    for (uint64_t i = 0; i < count; ++i) {
      ASSERT_EQ(step[i], ByteAt(at + i)) << "at " << at + i;
    }
    at += count;
    if (count == 0) {
      std::this_thread::yield();
    }
  }
  other.join();
  EXPECT_FALSE(reader.broken());
}

TEST(RingTest, AsksToWakeASleepingReaderOnce) {
  SharedRing shared(4096);
  auto writer = shared.writer();
  auto reader = shared.reader();
  const std::vector<uint8_t> bytes(10);
  writer.Put(bytes);
  EXPECT_FALSE(writer.Publish());  // nobody sleeps
  EXPECT_FALSE(reader.Sleep());    // there is something
  reader.Wake();
  std::vector<uint8_t> got(10);
  reader.Take(got);
  reader.Release();
  EXPECT_TRUE(reader.Sleep());
  writer.Put(bytes);
  EXPECT_TRUE(writer.Publish());
  writer.Put(bytes);
  EXPECT_FALSE(writer.Publish());
  EXPECT_EQ(reader.Ready(1), 20U);
}

TEST(RingTest, AsksToWakeASleepingWriterWhenHalfIsFree) {
  SharedRing shared(4096);
  auto writer = shared.writer();
  auto reader = shared.reader();
  writer.Put(std::vector<uint8_t>(4096));
  writer.Publish();
  EXPECT_EQ(writer.Room(1), 0U);
  EXPECT_TRUE(writer.Sleep());
  std::vector<uint8_t> got(1000);
  ASSERT_EQ(reader.Ready(4096), 4096U);
  reader.Take(got);
  EXPECT_FALSE(reader.Release());
  reader.Take(got);
  EXPECT_FALSE(reader.Release());
  reader.Take(got);
  EXPECT_TRUE(reader.Release());
  EXPECT_EQ(writer.Room(3000), 3000U);
  EXPECT_FALSE(writer.Sleep());  // there is room
}

TEST(RingTest, RefusesAWriterThatClaimsMoreThanThereIsRoomFor) {
  for (const uint64_t claim : {uint64_t{4097}, uint64_t{1} << 63, UINT64_MAX}) {
    SharedRing shared(4096);
    auto reader = shared.reader();
    shared.control.written.store(claim);
    EXPECT_EQ(reader.Ready(1), 0U) << claim;
    EXPECT_TRUE(reader.broken());
    EXPECT_FALSE(reader.Sleep());
  }
}

TEST(RingTest, RefusesAWriterThatGoesBack) {
  SharedRing shared(4096);
  auto reader = shared.reader();
  shared.control.written.store(100);
  std::vector<uint8_t> got(50);
  EXPECT_EQ(reader.Ready(50), 100U);
  reader.Take(got);
  shared.control.written.store(99);
  EXPECT_EQ(reader.Ready(51), 0U);
  EXPECT_TRUE(reader.broken());
}

TEST(RingTest, RefusesAReaderThatClaimsMoreThanWasWritten) {
  for (const uint64_t claim : {uint64_t{4097}, uint64_t{1} << 63, UINT64_MAX}) {
    SharedRing shared(4096);
    auto writer = shared.writer();
    writer.Put(std::vector<uint8_t>(4096));
    writer.Publish();
    shared.control.read.store(claim);
    EXPECT_EQ(writer.Room(1), 0U) << claim;
    EXPECT_TRUE(writer.broken());
    EXPECT_FALSE(writer.Sleep());
  }
}

TEST(RingTest, RefusesAReaderThatGoesBack) {
  SharedRing shared(4096);
  auto writer = shared.writer();
  writer.Put(std::vector<uint8_t>(4096));
  writer.Publish();
  shared.control.read.store(100);
  EXPECT_EQ(writer.Room(1), 100U);
  shared.control.read.store(99);
  EXPECT_EQ(writer.Room(4096), 0U);
  EXPECT_TRUE(writer.broken());
}

}  // namespace
}  // namespace cylon::internal
