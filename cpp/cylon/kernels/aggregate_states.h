/// The kinds of running state, and what they share.
#pragma once

#include <memory>
#include <string>

#include "cylon/kernels/aggregate_state.h"

namespace cylon::aggregate {

/// How values lie in an AggregateInput.
enum class Source : uint8_t { kNothing, kSigned, kUnsigned, kDouble, kDecimal128, kDecimal256 };

/// A column of numbers. `scale` is of decimals.
struct Operand {
  Source source;
  int scale;
  std::string column_name;
};

/// `all_rows`: missing values count too.
std::unique_ptr<AggregateState> MakeCount(bool all_rows);
std::unique_ptr<AggregateState> MakeSum(const Operand& operand, const std::shared_ptr<arrow::DataType>& result);
std::unique_ptr<AggregateState> MakeMean(const Operand& operand, const std::shared_ptr<arrow::DataType>& result);
std::unique_ptr<AggregateState> MakeVariance(const Operand& operand, int ddof, bool root);
std::unique_ptr<AggregateState> MakeExtreme(const std::shared_ptr<arrow::DataType>& type, bool largest);

/// function(row, group) for every row of `rows` whose value is there.
template <typename Function>
void ForEachValue(const AggregateInput& input, const GroupedRows& rows, const Function& function) {
  const uint8_t* missing = input.missing.empty() ? nullptr : input.missing.data();
  if (rows.rows == nullptr && missing == nullptr) {
    for (int64_t i = 0; i < rows.count; ++i) {
      function(i, rows.groups[i]);
    }
    return;
  }
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows.rows == nullptr ? i : rows.rows[i];
    if (missing == nullptr || missing[row] == 0) {
      function(row, rows.groups[i]);
    }
  }
}

/// Values of fixed width as an array; null where `present` is 0 (nullptr: nowhere).
arrow::Result<std::shared_ptr<arrow::Array>> FixedArray(arrow::MemoryPool* pool,
                                                        const std::shared_ptr<arrow::DataType>& type,
                                                        const void* values, int64_t width, int64_t count,
                                                        const std::vector<uint8_t>* present);

}  // namespace cylon::aggregate
