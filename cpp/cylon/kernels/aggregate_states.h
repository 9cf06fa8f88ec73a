/// Running states of aggregates, one per group: what a group-by keeps while rows come.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cylon/kernels/aggregate_values.h"
#include "cylon/kernels/group_by.h"
#include "cylon/kernels/group_output.h"

namespace cylon {

/// What is read out of states: one aggregate.
struct AggregateOutput {
  AggregateOp op = AggregateOp::kCount;
  int ddof = 1;
  double quantile = 0.5;
};

/// The states of all groups over one column (or over rows as such), which several aggregates may be read from. Not
/// thread-safe.
class GroupStates {
 public:
  virtual ~GroupStates() = default;

  /// Room for groups 0 to count - 1: new ones start empty, those beyond are dropped.
  virtual arrow::Status Resize(int64_t count) = 0;
  /// Adds values; groups[i] is the group of row i of the block. Errors name the column.
  virtual arrow::Status Update(const ValueBlock& values, const uint32_t* groups) = 0;
  /// Adds states that AppendStates gave out, elsewhere or before: a block of each state column.
  virtual arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) = 0;
  /// Adds the states of another of the same kind; groups[g] is the group here of its group g.
  virtual arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) = 0;

  /// Writes the states of all groups to the end of their columns.
  virtual arrow::Status AppendStates(std::span<OutputColumn> out) const = 0;
  /// Writes one result of all groups to the end of its column.
  virtual arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const = 0;
  /// Bytes of memory per group, about.
  virtual int64_t group_bytes() const = 0;
};

namespace aggregate {

/// How the values of a column are added up.
enum class Source : uint8_t { kNothing, kSigned, kUnsigned, kDouble, kDecimal128, kDecimal256 };

/// A column of numbers. `scale` is of decimals.
struct Operand {
  Source source = Source::kNothing;
  int scale = 0;
  std::string column_name;
};

/// What of a column of numbers is wanted; counts are always kept.
struct NumberNeeds {
  bool sum = false;
  bool moments = false;  ///< needs the sum
  bool range = false;
};

/// Numbers of up to 64 bits. Decimals of more only where moments alone are wanted of them (as the nearest doubles).
/// States: count; sum (decimal128, or two doubles); sum of squared distances from the mean; smallest and largest.
std::unique_ptr<GroupStates> MakeNumbers(arrow::MemoryPool* pool, const Operand& operand, const NumberNeeds& needs);
/// Sums and moments of the same numbers (no range) without rounding on the way: the same bits for any order of the
/// rows. States: count; exact sum; exact sum of squares.
std::unique_ptr<GroupStates> MakeExactNumbers(arrow::MemoryPool* pool, const Operand& operand,
                                              const NumberNeeds& needs);
int32_t ExactSumBytes();
/// `all_rows`: missing values count too, and no column is read.
std::unique_ptr<GroupStates> MakeCount(arrow::MemoryPool* pool, bool all_rows);
/// Sums of decimals of 128 and 256 bits, with their count.
std::unique_ptr<GroupStates> MakeDecimalSum(arrow::MemoryPool* pool, const Operand& operand);
/// Which value of a group is kept.
enum class Choice : uint8_t { kSmallest, kLargest, kFirst, kLast };
/// Smallest and largest only of what is not a word: decimals of 128 and 256 bits, text and opaque bytes.
std::unique_ptr<GroupStates> MakeChoice(arrow::MemoryPool* pool, const std::shared_ptr<arrow::DataType>& type,
                                        Choice choice);
/// Products of numbers of up to 64 bits.
std::unique_ptr<GroupStates> MakeProduct(arrow::MemoryPool* pool, const Operand& operand);
/// Whether any value, and whether every value, is other than zero.
std::unique_ptr<GroupStates> MakeTruth(arrow::MemoryPool* pool);
/// Quantiles of numbers by t-digests of up to MostCentroids(compression) each. State: the digest as bytes.
std::unique_ptr<GroupStates> MakeDigests(arrow::MemoryPool* pool, const Operand& operand, int compression);
/// All values of a column, kept until their groups are complete: for quantiles of numbers. Have no states that travel.
std::unique_ptr<GroupStates> MakeQuantiles(arrow::MemoryPool* pool, const Operand& operand);
/// The same for numbers of distinct values, of any type that can be a key.
std::unique_ptr<GroupStates> MakeDistinct(arrow::MemoryPool* pool);

/// The words of a column of numbers: as they are, or in `scratch` the doubles nearest to wide decimals, 0 for null.
const uint64_t* NumberWords(const ValueBlock& values, const Operand& operand, std::vector<uint64_t>* scratch);

}  // namespace aggregate

}  // namespace cylon
