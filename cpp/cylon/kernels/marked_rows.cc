// One byte for each row of a table, told from its key alone.
#include "cylon/kernels/marked_rows.h"

#include <numeric>

#include "cylon/kernels/row_key.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

constexpr int kDeepestLevel = 4;

/// So few rows are not cut any more.
constexpr int64_t kFewRows = 256;

/// Beside the row: its partition, word, number and slot, and its byte.
constexpr int64_t kStateBytesPerRow = 2 + 8 + 4 + 8 + 1;

/// Sets the bytes of the rows of `part`: their numbers are in the last column, after the keys. Cuts the part by hash
/// until its keys fit.
arrow::Status MarkParts(const std::shared_ptr<Resources>& resources, const Table& part, const std::vector<int>& keys,
                        const KeyMarker& mark, int level, uint8_t* out) {
  const int64_t bytes = part.num_bytes() + part.num_rows() * kStateBytesPerRow;
  if (level < kDeepestLevel && part.num_rows() > kFewRows && TooLargeForMemory(*resources, bytes)) {
    const uint32_t count = PartitionsFor(*resources, bytes);
    ARROW_ASSIGN_OR_RAISE(auto smaller, PartitionTable(resources, part, keys, level + 1, count));
    for (auto& one : smaller) {
      ARROW_RETURN_NOT_OK(MarkParts(resources, one, keys, mark, level + 1, out));
      one = Table();
    }
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const auto columns, part.SelectColumns(keys));
  ARROW_ASSIGN_OR_RAISE(const auto marks, mark(columns));
  const uint8_t* next = marks->data();
  const int last = part.num_columns() - 1;
  return part.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(last));
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      out[numbers.Value(i)] = *next++;
    }
    return arrow::Status::OK();
  });
}

}  // namespace

arrow::Result<std::shared_ptr<arrow::Buffer>> MarkRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                                       const std::vector<int>& keys, const KeyMarker& mark) {
  ARROW_RETURN_NOT_OK(KeyEncoder::Make(*input.schema(), keys).status());
  ARROW_ASSIGN_OR_RAISE(const auto columns, input.SelectColumns(keys));
  const int64_t state = input.num_rows() * kStateBytesPerRow;
  // Chunks are pinned whole, other columns too.
  if (!TooLargeForMemory(*resources, input.num_bytes() + state) || input.num_rows() <= kFewRows) {
    return mark(columns);
  }
  std::vector<int> all(keys.size());
  std::iota(all.begin(), all.end(), 0);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> out,
                        arrow::AllocateBuffer(input.num_rows(), resources->memory()));
  const uint32_t count = PartitionsFor(*resources, columns.num_bytes() + state);
  ARROW_ASSIGN_OR_RAISE(auto parts, PartitionTable(resources, columns, all, 1, count, /*number_rows=*/true));
  for (auto& part : parts) {
    ARROW_RETURN_NOT_OK(MarkParts(resources, part, all, mark, 1, out->mutable_data()));
    part = Table();
  }
  return out;
}

}  // namespace cylon
