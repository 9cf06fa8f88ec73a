/// Which states serve the aggregates that are asked for: the one table of what can be aggregated how.
#pragma once

#include <arrow/api.h>

#include <memory>
#include <string>
#include <vector>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/group_by.h"

namespace cylon {

/// States over one column.
struct StatesPlan {
  enum class Kind : uint8_t {
    kRows,
    kCount,
    kNumbers,
    kExactNumbers,
    kDecimalSum,
    kSmallest,
    kLargest,
    kFirst,
    kLast,
    kProduct,
    kTruth,
    kDistinct,
    kQuantiles,
    kDigest
  };

  Kind kind = Kind::kRows;
  int column = -1;                        ///< of the input; -1 for kRows
  std::string column_name;                ///< for messages
  std::shared_ptr<arrow::DataType> type;  ///< of its values, without dictionary or other encoding
  aggregate::NumberNeeds needs;           ///< kNumbers, kExactNumbers
  int compression = 0;                    ///< kDigest

  /// What they are when they travel; nothing of kDistinct and kQuantiles, which need the rows.
  arrow::FieldVector Fields() const;
  /// Whether one of both can serve for the other, once it has the needs of both.
  bool Shares(const StatesPlan& other) const {
    return column == other.column && kind == other.kind && compression == other.compression;
  }
  std::unique_ptr<GroupStates> Make(arrow::MemoryPool* pool) const;
};

/// One aggregate: which states it is read from.
struct ResultPlan {
  size_t states = 0;
  AggregateOutput output;
  std::shared_ptr<arrow::Field> field;
};

/// Sum, mean, variance, smallest and largest of one column share one state, so that a row is added once for all.
struct AggregatePlan {
  std::vector<StatesPlan> states;
  std::vector<ResultPlan> results;

  /// TypeError names column, type and operation where they do not go together; IndexError a column that is not there.
  static arrow::Result<AggregatePlan> Make(const arrow::Schema& input_schema,
                                           const std::vector<AggregateSpec>& aggregates);
  std::vector<std::unique_ptr<GroupStates>> MakeStates(arrow::MemoryPool* pool) const;
  /// Whether some states cannot travel, so that the rows of a group have to be brought together first.
  bool needs_rows() const;
  /// The columns that states travel in, one after another.
  arrow::FieldVector StateFields() const;
  arrow::FieldVector ResultFields() const;

 private:
  /// Counts of columns of which other states count too are read from those.
  void ShareCounts();
};

}  // namespace cylon
