// Global order: sort locally, agree on splitters, exchange ranges, merge what came.
#include "cylon/ops/sort.h"

#include "cylon/ops/sort_exchange.h"

namespace cylon {

namespace {

arrow::Result<std::vector<SortKey>> FindKeys(const Table& table, const SortOptions& options) {
  ARROW_RETURN_NOT_OK(internal::CheckTable(table));
  if (options.by.empty()) {
    return arrow::Status::Invalid("a sort was given no columns; name at least one to sort by");
  }
  std::vector<std::string> names;
  for (const auto& column : options.by) {
    names.push_back(column.name);
  }
  ARROW_ASSIGN_OR_RAISE(const auto indices, internal::FindColumns(*table.schema(), names, "sort column", "the table"));
  ARROW_RETURN_NOT_OK(internal::CheckKeyTypes(*table.schema(), indices, "sort column"));
  std::vector<SortKey> keys;
  for (size_t i = 0; i < indices.size(); ++i) {
    keys.push_back({indices[i], options.by[i].order, options.nulls});
  }
  return keys;
}

std::string Describe(const Table& table, const SortOptions& options) {
  std::string text = "by";
  for (const auto& column : options.by) {
    text += " " + column.name + (column.order == SortOrder::kAscending ? "" : " descending") + ",";
  }
  return text + (options.nulls == NullPlacement::kLast ? " nulls last, " : " nulls first, ") +
         internal::OneLine(table.schema());
}

}  // namespace

arrow::Result<Table> Sort(Context& context, const Table& table, const SortOptions& options) {
  internal::CollectiveOperator operation(context, "Sort");
  std::vector<SortKey> keys;
  const auto sort_here = [&]() -> arrow::Result<Table> {
    ARROW_ASSIGN_OR_RAISE(keys, FindKeys(table, options));
    return SortTable(context.resources(), table, keys);
  };
  return internal::SortAcrossRanks(operation, Describe(table, options), sort_here(), keys);
}

}  // namespace cylon
