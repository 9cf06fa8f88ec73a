// Limits of machine and cgroup, read from made-up /proc and /sys folders.
#include "cylon/base/host_limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cylon/base/random.h"

namespace cylon {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

class HostLimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "cylon-root-" + HexEncode(*RandomBytes(8));
    Put("/proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  std::string root_;
};

TEST_F(HostLimitsTest, WithoutCgroupsTheMachineCounts) {
  const auto limits = HostLimitsUnder(root_, 8);
  EXPECT_EQ(limits.cores, 8);
  EXPECT_EQ(limits.memory_bytes, 16 * kGiB);
}

TEST_F(HostLimitsTest, Version2TakesTheTightestFolderOnTheWayUp) {
  Put("/proc/self/cgroup", "0::/a/b\n");
  Put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  Put("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  Put("/sys/fs/cgroup/a/b/memory.max", "max\n");
  Put("/sys/fs/cgroup/a/memory.max", std::to_string(4 * kGiB));
  Put("/sys/fs/cgroup/a/memory.current", std::to_string(2 * kGiB));
  Put("/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file " + std::to_string(kGiB) + "\nactive_file 0\n");
  const auto limits = HostLimitsUnder(root_, 8);
  EXPECT_EQ(limits.cores, 3);
  EXPECT_EQ(limits.memory_bytes, 3 * kGiB);
}

TEST_F(HostLimitsTest, InAContainerTheMountItselfHasTheLimits) {
  Put("/proc/self/cgroup", "0::/not/under/the/mount\n");
  Put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
  Put("/sys/fs/cgroup/memory.max", std::to_string(kGiB));
  const auto limits = HostLimitsUnder(root_, 8);
  EXPECT_EQ(limits.cores, 1);
  EXPECT_EQ(limits.memory_bytes, kGiB);
}

TEST_F(HostLimitsTest, Version1IsRead) {
  Put("/proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/x\n");
  Put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "200000");
  Put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000");
  Put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", std::to_string(2 * kGiB));
  Put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  const auto limits = HostLimitsUnder(root_, 8);
  EXPECT_EQ(limits.cores, 2);
  EXPECT_EQ(limits.memory_bytes, 2 * kGiB);
}

TEST_F(HostLimitsTest, ThisMachineHasACoreAndSomeMemory) {
  const auto limits = DetectHostLimits();
  EXPECT_GE(limits.cores, 1);
  EXPECT_GT(limits.memory_bytes, 0);
}

}  // namespace
}  // namespace cylon
