// Nothing leaves a rank that was in its memory before: what is sent depends on the rows alone.
#include <gtest/gtest.h>

#include <numeric>

#include "cylon/exchange/stream.h"
#include "cylon/kernels/partition.h"
#include "cylon/kernels/testing/test_resources.h"
#include "cylon/table/testing/all_types.h"

namespace cylon::internal {
namespace {

using cylon::testing::AllTypesSchema;
using cylon::testing::MakeResources;
using cylon::testing::RandomBatch;

/// Leaves `dirt` in what `pool` gives next, as an allocator gives out first what was freed last. Returns how many of
/// some buffers had it.
int SoilMemory(arrow::MemoryPool* pool, uint8_t dirt) {
  constexpr int kEach = 40;
  std::vector<int64_t> sizes;
  for (int64_t size = 64; size <= 64 << 10; size += size < 4096 ? 64 : 4096) {
    sizes.push_back(size);
  }
  {
    std::vector<std::shared_ptr<arrow::Buffer>> held;
    for (const int64_t size : sizes) {
      for (int i = 0; i < kEach; ++i) {
        held.push_back(*arrow::AllocateBuffer(size, pool));
        std::memset(held.back()->mutable_data(), dirt, static_cast<size_t>(size));
      }
    }
  }
  int dirty = 0;
  for (const int64_t size : {64, 512, 4096}) {
    auto buffer = *arrow::AllocateBuffer(size, pool);
    dirty += buffer->data()[size / 2] == dirt ? 1 : 0;
  }
  return dirty;
}

std::string Flatten(const std::vector<Message>& messages) {
  std::string bytes;
  for (const auto& message : messages) {
    bytes.append(reinterpret_cast<const char*>(message.header.data()), message.header.size());
    for (const auto& segment : message.segments) {
      bytes.append(std::string_view(*segment));
    }
  }
  return bytes;
}

// Rows that were dealt to ranks, taken one by one (with nulls where there is no row), and cut to a part.
std::vector<std::string> Sent(const std::shared_ptr<arrow::RecordBatch>& batch, uint8_t dirt, int* dirty) {
  auto resources = MakeResources();
  const int64_t rows = batch->num_rows();
  std::vector<uint32_t> destinations;
  std::vector<int64_t> indices;
  for (int64_t row = 0; row < rows; ++row) {
    destinations.push_back(static_cast<uint32_t>(row * 7 % 3));
    indices.push_back(row % 5 == 0 ? -1 : (row * 31) % rows);
  }
  *dirty += SoilMemory(resources->memory(), dirt);
  auto parts = PartitionBatch(*resources, *batch, destinations, 3).ValueOrDie();
  parts.push_back(TakeRows(*resources, *batch, indices).ValueOrDie());
  parts.push_back(CompactBatch(*resources, batch->Slice(rows / 3, rows / 3)).ValueOrDie());
  parts.push_back(batch->Slice(1, rows / 2));
  std::vector<std::string> sent;
  for (const auto& part : parts) {
    OutStream out(ChannelId{}, part->schema(), resources->memory());
    sent.push_back(Flatten(out.Write(*part).ValueOrDie()));
  }
  return sent;
}

TEST(SentBytesTest, WhatIsSentDoesNotDependOnWhatMemoryHeldBefore) {
#ifdef CYLON_SANITIZED
  GTEST_SKIP() << "a sanitizer gives no memory back for a while, so none is found dirty";
#endif
  int dirty = 0;
  const auto schema = AllTypesSchema();
  for (int column = 0; column < schema->num_fields(); ++column) {
    for (const int64_t rows : {7, 100, 3000}) {
      const auto batch =
          RandomBatch(arrow::schema({schema->field(column)->WithNullable(true)}), rows, static_cast<uint64_t>(rows));
      const auto first = Sent(batch, 0x55, &dirty);
      const auto second = Sent(batch, 0xaa, &dirty);
      for (size_t i = 0; i < first.size(); ++i) {
        EXPECT_EQ(first[i].size(), second[i].size());
        const auto differs = std::mismatch(first[i].begin(), first[i].end(), second[i].begin());
        EXPECT_TRUE(differs.first == first[i].end())
            << schema->field(column)->ToString() << ", part " << i << " of " << rows << " rows: byte "
            << differs.first - first[i].begin() << " of " << first[i].size() << " is what memory held";
      }
    }
  }
  EXPECT_GT(dirty, 0) << "no allocator gave back what was freed: nothing was tested";
}

}  // namespace
}  // namespace cylon::internal
