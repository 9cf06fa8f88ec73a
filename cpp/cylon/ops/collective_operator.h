/// What every collective operator has in common: its first and its last agreement, its name in errors and traces, its
/// columns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/trace.h"
#include "cylon/comm/context.h"
#include "cylon/table/table.h"

namespace cylon::internal {

/// One collective operator under way. On one rank nothing is sent.
class CollectiveOperator {
 public:
  CollectiveOperator(Context& context, std::string name);
  ~CollectiveOperator();
  CollectiveOperator(const CollectiveOperator&) = delete;
  CollectiveOperator& operator=(const CollectiveOperator&) = delete;

  /// Compares `details` (options and schemas) over the ranks, tells all of a local error, and shares `values`. Every
  /// rank's local checks and the work up to the first exchange belong before it, so that no rank is left waiting for
  /// one that gave up. Collective.
  arrow::Result<Agreement> Begin(const std::string& details, const arrow::Status& local,
                                 std::vector<int64_t> values = {});

  /// `result` when every rank has one; else the error, at every rank. Collective.
  arrow::Result<Table> End(arrow::Result<Table> result);
  /// The same for results that are no tables.
  arrow::Result<Agreement> End(const arrow::Status& local, std::vector<int64_t> values = {});

  Context& context() { return context_; }
  const std::string& name() const { return name_; }
  bool alone() const { return alone_; }

 private:
  arrow::Result<Agreement> Agree(std::string signature, const arrow::Status& local, std::vector<int64_t> values);

  Context& context_;
  std::string name_;
  TraceSpan span_;
  bool alone_;
};

/// A schema on one line: "{a: int64, b: string not null}".
std::string OneLine(const std::shared_ptr<arrow::Schema>& schema);
std::string OneLine(const std::vector<std::string>& names);

/// Indices of `names` in the schema. KeyError says what `role` the column has ("join key", "sort column"), whose it is
/// (`whose`: "the left table") and lists the columns there are; Invalid where two columns have the name or a name comes
/// twice.
arrow::Result<std::vector<int>> FindColumns(const arrow::Schema& schema, const std::vector<std::string>& names,
                                            std::string_view role, std::string_view whose);
/// FindColumns, or every column where `names` is empty.
arrow::Result<std::vector<int>> FindColumnsOrAll(const arrow::Schema& schema, const std::vector<std::string>& names,
                                                 std::string_view role, std::string_view whose);

/// Invalid for a table that was never filled.
arrow::Status CheckTable(const Table& table);

/// TypeError naming the first column of `keys` whose type cannot be a key (nested types).
arrow::Status CheckKeyTypes(const arrow::Schema& schema, const std::vector<int>& keys, std::string_view role);

/// The columns that rows are grouped by. As FindColumns and CheckKeyTypes; Invalid where there are none: `otherwise` is
/// what to call instead.
arrow::Result<std::vector<int>> FindGroupKeys(const arrow::Schema& schema, const std::vector<std::string>& names,
                                              std::string_view otherwise);

/// `table` with the int64 column `name` last, its value for row i of the table being first + i.
arrow::Result<Table> AppendRowNumbers(const std::shared_ptr<Resources>& resources, const Table& table, int64_t first,
                                      const std::string& name);

/// `table` with one more column, the same value in every row.
arrow::Result<Table> AppendConstant(const std::shared_ptr<Resources>& resources, const Table& table, int64_t value,
                                    const std::string& name);

}  // namespace cylon::internal
