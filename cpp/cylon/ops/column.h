/// Column-wise work on one rank's rows: element-wise functions, casts, and putting columns into tables.
#pragma once

#include <arrow/compute/type_fwd.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/table/table.h"

namespace cylon {

/// A table of one column, or one value for all rows.
using Operand = std::variant<Table, std::shared_ptr<arrow::Scalar>>;

/// `function` of arrow::compute ("add_checked", "less", "is_in", …) applied element by element: a table of one column
/// called `name`. At least one operand is a table; those have equal row counts (Invalid otherwise). Local; works chunk
/// by chunk, so that operands may be spilled.
CYLON_EXPORT arrow::Result<Table> MapColumns(const std::string& function, const std::vector<Operand>& operands,
                                             const arrow::compute::FunctionOptions* options, const std::string& name);

/// `table` with the column of `column` (a table of one column and as many rows) as `name`, in place of the one that has
/// the name, else last. Local. No copy of what is in memory.
CYLON_EXPORT arrow::Result<Table> WithColumn(const Table& table, const std::string& name, const Table& column);

/// `table` with the columns in `types` cast. Local. KeyError for an unknown column; Invalid names column and value that
/// does not fit.
CYLON_EXPORT arrow::Result<Table> CastColumns(
    const Table& table, const std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>>& types);

}  // namespace cylon
