// Operators on whole rows that need no look at values: filter, select, rename, slice, shuffle, repartition, counting.
#include "cylon/ops/rows.h"

#include <algorithm>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/unique.h"
#include "cylon/ops/collective_operator.h"

namespace cylon {

using internal::CollectiveOperator;

arrow::Result<Table> Filter(Context& context, const Table& table, const arrow::ChunkedArray& mask,
                            std::source_location location) {
  CallSite site(context.communicator(), location);
  ARROW_RETURN_NOT_OK(internal::CheckTable(table));
  if (mask.type()->id() != arrow::Type::BOOL) {
    return arrow::Status::TypeError(
        "a filter's mask is ", mask.type()->ToString(),
        "; it has to be bool, one value a row; compare the column with something, for example df['x'] > 0");
  }
  if (mask.length() != table.num_rows()) {
    return arrow::Status::Invalid("a filter's mask has ", mask.length(), " values for ", table.num_rows(),
                                  " rows on this rank; make it from a column of the same table");
  }
  TraceSpan span(context.resources()->tracer(), "Filter");
  return FilterRows(context.resources(), table, mask);
}

arrow::Result<Table> Select(const Table& table, const std::vector<std::string>& columns) {
  ARROW_RETURN_NOT_OK(internal::CheckTable(table));
  ARROW_ASSIGN_OR_RAISE(const auto indices, internal::FindColumns(*table.schema(), columns, "column", "the table"));
  return table.SelectColumns(indices);
}

arrow::Result<Table> Rename(const Table& table, const std::vector<std::pair<std::string, std::string>>& names) {
  ARROW_RETURN_NOT_OK(internal::CheckTable(table));
  std::vector<std::string> old_names;
  for (const auto& [old_name, new_name] : names) {
    old_names.push_back(old_name);
  }
  ARROW_ASSIGN_OR_RAISE(const auto indices, internal::FindColumns(*table.schema(), old_names, "column", "the table"));
  auto renamed = table.schema()->field_names();
  for (size_t i = 0; i < indices.size(); ++i) {
    renamed[indices[i]] = names[i].second;
  }
  return table.RenameColumns(renamed);
}

arrow::Result<Table> SliceRows(Context& context, const Table& table, int64_t offset, int64_t length,
                               std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "SliceRows");
  arrow::Status local = internal::CheckTable(table);
  if (local.ok() && (offset < 0 || length < 0)) {
    local = arrow::Status::Invalid("a slice of ", length, " rows from row ", offset,
                                   " was asked for; both have to be 0 or more; count from the end with TotalRows");
  }
  ARROW_ASSIGN_OR_RAISE(const auto agreement,
                        operation.Begin("offset " + std::to_string(offset) + ", length " + std::to_string(length) +
                                            ", " + internal::OneLine(table.schema()),
                                        local, {table.num_rows()}));
  int64_t before = 0;  // global position of this rank's first row
  for (Rank rank = 0; rank < context.rank(); ++rank) {
    before += agreement.values[rank][0];
  }
  // No sum of offset and length, which may be as large as int64 goes.
  const int64_t begin = std::clamp<int64_t>(offset - before, 0, table.num_rows());
  const int64_t skipped = std::max<int64_t>(before - offset, 0);  // rows of the slice that earlier ranks have
  const int64_t wanted = std::max<int64_t>(length - skipped, 0);
  return table.Slice(begin, std::min(wanted, table.num_rows() - begin));
}

arrow::Result<Table> Head(Context& context, const Table& table, int64_t count, std::source_location location) {
  CallSite site(context.communicator(), location);
  return SliceRows(context, table, 0, count);
}

arrow::Result<Table> Shuffle(Context& context, const Table& table, const std::vector<std::string>& columns,
                             std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "Shuffle");
  std::vector<int> keys;
  const auto prepare = [&]() -> arrow::Status {
    ARROW_RETURN_NOT_OK(internal::CheckTable(table));
    ARROW_ASSIGN_OR_RAISE(keys, internal::FindColumnsOrAll(*table.schema(), columns, "column", "the table"));
    return internal::CheckKeyTypes(*table.schema(), keys, "column");
  };
  ARROW_RETURN_NOT_OK(
      operation.Begin(internal::OneLine(columns) + ", " + internal::OneLine(table.schema()), prepare()).status());
  if (operation.alone()) {
    return table;
  }
  return ShuffleByHash(context, "Shuffle", table, keys);
}

arrow::Result<Table> Repartition(Context& context, const Table& table,
                                 const std::optional<std::vector<int64_t>>& rows_per_rank,
                                 std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "Repartition");
  arrow::Status local = internal::CheckTable(table);
  int64_t asked = 0;
  std::string shares;
  if (rows_per_rank) {
    if (local.ok() && static_cast<int>(rows_per_rank->size()) != context.world_size()) {
      local = arrow::Status::Invalid("Repartition was given ", rows_per_rank->size(), " shares for ",
                                     context.world_size(), " ranks; give one number of rows for each rank");
    }
    for (const int64_t rows : *rows_per_rank) {
      if (local.ok() && rows < 0) {
        local = arrow::Status::Invalid("Repartition was given a share of ", rows, " rows; shares have to be 0 or more");
      }
      asked += rows;
      shares += std::to_string(rows) + " ";
    }
  }
  ARROW_ASSIGN_OR_RAISE(const auto agreement, operation.Begin("shares " + (rows_per_rank ? shares : "even") + ", " +
                                                                  internal::OneLine(table.schema()),
                                                              local, {table.num_rows()}));
  if (rows_per_rank && asked != agreement.Sum(0)) {
    return arrow::Status::Invalid("Repartition was given shares of ", asked, " rows in all, but the table has ",
                                  agreement.Sum(0), "; the shares have to add up to the rows of all ranks (TotalRows)");
  }
  if (operation.alone()) {
    return table;
  }
  return RepartitionTable(context, table, rows_per_rank);
}

arrow::Result<int64_t> TotalRows(Context& context, const Table& table, std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "TotalRows");
  ARROW_ASSIGN_OR_RAISE(const auto agreement, operation.Begin(internal::OneLine(table.schema()),
                                                              internal::CheckTable(table), {table.num_rows()}));
  return agreement.Sum(0);
}

}  // namespace cylon
