// Tables as sets of rows: equal rows meet on one rank, and are compared there.
#include "cylon/ops/set_operations.h"

#include <numeric>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/set_operations.h"
#include "cylon/kernels/unique.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/rows.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;

arrow::Status CheckSides(const Table& left, const Table& right, const std::string& name) {
  ARROW_RETURN_NOT_OK(internal::CheckTable(left));
  ARROW_RETURN_NOT_OK(internal::CheckTable(right));
  const auto& schema = *left.schema();
  const auto& other = *right.schema();
  if (schema.num_fields() == 0) {
    return arrow::Status::Invalid(name,
                                  " was given a table without columns; it compares whole rows, so there has to be "
                                  "at least one");
  }
  for (int i = 0; i < std::max(schema.num_fields(), other.num_fields()); ++i) {
    const auto text = [i](const arrow::Schema& side) {
      return i < side.num_fields() ? "'" + side.field(i)->name() + "' of type " + side.field(i)->type()->ToString()
                                   : std::string("missing");
    };
    if (i >= schema.num_fields() || i >= other.num_fields() || schema.field(i)->name() != other.field(i)->name() ||
        !schema.field(i)->type()->Equals(*other.field(i)->type())) {
      return arrow::Status::TypeError(name, " compares whole rows, but column ", i, " is ", text(schema),
                                      " on the left and ", text(other),
                                      " on the right; names, types and their order have to be the same: select, rename "
                                      "or cast the columns of one side");
    }
  }
  std::vector<int> columns(schema.num_fields());
  std::iota(columns.begin(), columns.end(), 0);
  return internal::CheckKeyTypes(schema, columns, "column");
}

arrow::Result<Table> CompareSides(Context& context, const std::string& name, const Table& left, const Table& right,
                                  bool wanted) {
  CollectiveOperator operation(context, name);
  const auto& resources = context.resources();
  std::vector<int> columns(left.num_columns());
  std::iota(columns.begin(), columns.end(), 0);
  // Only distinct rows travel.
  const auto distinct = [&](const Table& side) -> arrow::Result<Table> {
    return operation.alone() ? side : UniqueRows(resources, side, columns, Keep::kFirst);
  };
  Table from;
  Table with;
  const auto prepare = [&]() -> arrow::Status {
    ARROW_RETURN_NOT_OK(CheckSides(left, right, name));
    ARROW_RETURN_NOT_OK(distinct(left).Value(&from));
    return distinct(right).Value(&with);
  };
  ARROW_RETURN_NOT_OK(
      operation.Begin(internal::OneLine(left.schema()) + " and " + internal::OneLine(right.schema()), prepare())
          .status());
  if (!operation.alone()) {
    ARROW_ASSIGN_OR_RAISE(from, ShuffleByHash(context, name + ", left", from, columns));
    ARROW_ASSIGN_OR_RAISE(with, ShuffleByHash(context, name + ", right", with, columns));
  }
  return operation.End(RowsInBoth(resources, from, with, wanted));
}

}  // namespace

arrow::Result<Table> Union(Context& context, const Table& left, const Table& right, std::source_location location) {
  CallSite site(context.communicator(), location);
  {
    CollectiveOperator operation(context, "Union");
    ARROW_RETURN_NOT_OK(operation
                            .Begin(internal::OneLine(left.schema()) + " and " + internal::OneLine(right.schema()),
                                   CheckSides(left, right, "Union"))
                            .status());
  }
  ARROW_ASSIGN_OR_RAISE(const auto both, Concat(context, {left, right}));
  return Unique(context, both, {}, Keep::kFirst);
}

arrow::Result<Table> Intersect(Context& context, const Table& left, const Table& right, std::source_location location) {
  CallSite site(context.communicator(), location);
  return CompareSides(context, "Intersect", left, right, true);
}

arrow::Result<Table> Subtract(Context& context, const Table& left, const Table& right, std::source_location location) {
  CallSite site(context.communicator(), location);
  return CompareSides(context, "Subtract", left, right, false);
}

}  // namespace cylon
