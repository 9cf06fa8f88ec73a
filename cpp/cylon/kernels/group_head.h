/// One rank's first or last rows of each group.
#pragma once

#include <vector>

#include "cylon/base/export.h"
#include "cylon/table/table.h"

namespace cylon {

/// Which rows of a group.
enum class GroupSide : uint8_t { kHead, kTail };

struct GroupHeadKernelOptions {
  std::vector<int> keys;
  int64_t count = 5;  ///< rows of each group; negative: all but so many at the other end
  GroupSide side = GroupSide::kHead;
  bool drop_null_keys = true;  ///< leaves out rows with a null key, or with NaN in a float key column
};

/// One byte per row of `input`: 1 where it is one of the first (kHead) or last (kTail) rows of those with equal keys,
/// else 0. Keys that are too many for the memory are cut into parts on disk.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::Buffer>> MarkGroupHeads(const std::shared_ptr<Resources>& resources,
                                                                          const Table& input,
                                                                          const GroupHeadKernelOptions& options);

/// The rows that MarkGroupHeads marks, in the order of the table.
CYLON_EXPORT arrow::Result<Table> GroupHeadRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                                const GroupHeadKernelOptions& options);

}  // namespace cylon
