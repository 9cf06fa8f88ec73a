// The columns that a sort names, found in a table.
#include "cylon/ops/sort_columns.h"

#include "cylon/ops/collective_operator.h"

namespace cylon::internal {

arrow::Result<std::vector<SortKey>> FindSortKeys(const Table& table, const SortOptions& options) {
  ARROW_RETURN_NOT_OK(CheckTable(table));
  if (options.by.empty()) {
    return arrow::Status::Invalid("a sort was given no columns; name at least one to sort by");
  }
  std::vector<std::string> names;
  for (const auto& column : options.by) {
    names.push_back(column.name);
  }
  ARROW_ASSIGN_OR_RAISE(const auto indices, FindColumns(*table.schema(), names, "sort column", "the table"));
  ARROW_RETURN_NOT_OK(CheckKeyTypes(*table.schema(), indices, "sort column"));
  std::vector<SortKey> keys;
  for (size_t i = 0; i < indices.size(); ++i) {
    keys.push_back({indices[i], options.by[i].order, options.nulls});
  }
  return keys;
}

std::string DescribeSort(const Table& table, const SortOptions& options) {
  std::string text = "by";
  for (const auto& column : options.by) {
    text += " " + column.name + (column.order == SortOrder::kAscending ? "" : " descending") + ",";
  }
  return text + (options.nulls == NullPlacement::kLast ? " nulls last, " : " nulls first, ") + OneLine(table.schema());
}

}  // namespace cylon::internal
