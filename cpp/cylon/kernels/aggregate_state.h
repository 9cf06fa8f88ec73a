/// Running states of aggregates, one value per group: the one table of what can be aggregated how.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cylon/kernels/group_by.h"
#include "cylon/kernels/key_column.h"

namespace cylon {

/// A column of one batch, decoded once for all aggregates over it.
struct AggregateInput {
  std::optional<KeyColumn>
      column;                   ///< unset where the type has no values to look at (nested ones, which are only counted)
  std::vector<uint64_t> words;  ///< as KeyColumn::LoadWords, where it is a word
  std::vector<uint8_t> missing;  ///< 1 where the row is null or NaN; empty: nowhere

  static arrow::Result<AggregateInput> Make(arrow::MemoryPool* pool, const std::shared_ptr<arrow::ArrayData>& data,
                                            const std::string& name);
};

/// The rows of a batch that are to be added, and the group of each.
struct GroupedRows {
  const uint32_t* rows;    ///< nullptr: rows 0 to count - 1
  const uint32_t* groups;  ///< groups[i] is the group of rows[i]
  int64_t count;
};

/// The state of one aggregate. Not thread-safe.
class AggregateState {
 public:
  virtual ~AggregateState() = default;

  /// Room for groups 0 to count - 1; new ones start empty.
  virtual void Resize(int64_t count) = 0;
  /// Adds values of the aggregated column. Errors name the column.
  virtual arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) = 0;
  /// Adds states that StateArrays gave out, elsewhere or before.
  virtual arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) = 0;
  virtual arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) = 0;
  virtual arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) = 0;
  /// Bytes of memory, about.
  virtual int64_t num_bytes() const = 0;
};

/// What an aggregate over a column of one type needs and gives.
struct AggregatePlan {
  AggregateSpec spec;
  std::string column_name;
  std::shared_ptr<arrow::DataType> input_type;  ///< nullptr for kSize
  std::shared_ptr<arrow::Field> result;
  arrow::FieldVector states;

  /// TypeError names column, type and operation where they do not go together.
  static arrow::Result<AggregatePlan> Make(const arrow::Schema& input_schema, const AggregateSpec& spec);
  std::unique_ptr<AggregateState> MakeState() const;
};

}  // namespace cylon
