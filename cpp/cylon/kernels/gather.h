/// Copies chosen rows of arrays into new ones: the one place that knows the memory layout of every Arrow type.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cylon/base/export.h"

namespace cylon {

/// Which rows to copy: row rows[i] of array sources[i], or a null where rows[i] is -1.
struct RowRefs {
  std::span<const int64_t> rows;
  const uint32_t* sources = nullptr;  ///< nullptr: all out of the first array
  bool any_null = false;              ///< whether a row may be -1
};

/// A new array of `type` with the rows `refs` of `sources` (all of that type). Compact: it shares no buffers with its
/// sources except dictionaries. CapacityError where the result would not fit its 32-bit offsets or run ends: ask for
/// fewer rows then.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::ArrayData>> GatherArray(
    arrow::MemoryPool* pool, const std::shared_ptr<arrow::DataType>& type,
    std::span<const std::shared_ptr<arrow::ArrayData>> sources, const RowRefs& refs);

/// Gathers rows out of a list of batches that all have `schema`. Thread-safe once made.
class CYLON_EXPORT RowGatherer {
 public:
  /// Dictionaries that differ between the batches are unified here, once.
  static arrow::Result<RowGatherer> Make(arrow::MemoryPool* pool, std::shared_ptr<arrow::Schema> schema,
                                         const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

  arrow::Result<std::shared_ptr<arrow::RecordBatch>> Gather(const RowRefs& refs) const;
  arrow::Result<std::shared_ptr<arrow::Array>> GatherColumn(int column, const RowRefs& refs) const;

  /// The arrays of a column, one for each batch, to gather from together with others.
  const std::vector<std::shared_ptr<arrow::ArrayData>>& sources(int column) const { return columns_[column]; }

 private:
  arrow::MemoryPool* pool_ = nullptr;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::vector<std::shared_ptr<arrow::ArrayData>>> columns_;  // by column, then by batch
};

/// Arrays of one dictionary type with one common dictionary. Invalid where the index type is too narrow for it.
CYLON_EXPORT arrow::Result<std::vector<std::shared_ptr<arrow::ArrayData>>> UnifyDictionaries(
    arrow::MemoryPool* pool, std::span<const std::shared_ptr<arrow::ArrayData>> arrays);

}  // namespace cylon
