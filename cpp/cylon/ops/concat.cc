// Rows of several tables, one after another at each rank.
#include <algorithm>

#include "cylon/ops/collective_operator.h"
#include "cylon/ops/column.h"
#include "cylon/ops/rows.h"

namespace cylon {

namespace {

/// `table` with the columns of `schema` in its order; TypeError where a type differs. Columns of nulls take any type.
arrow::Result<Table> InOrderOf(const arrow::Schema& schema, const Table& table, size_t position) {
  const auto whose = "table " + std::to_string(position) + " of those to concatenate";
  ARROW_ASSIGN_OR_RAISE(const auto indices,
                        internal::FindColumns(*table.schema(), schema.field_names(), "column", whose));
  if (table.num_columns() != schema.num_fields()) {
    for (const auto& name : table.schema()->field_names()) {
      if (schema.GetFieldIndex(name) < 0) {
        return arrow::Status::KeyError("column '", name, "' of ", whose, " is not in the first one, which has ",
                                       internal::OneLine(schema.field_names()),
                                       "; all tables have to have the same columns; drop or add some");
      }
    }
  }
  ARROW_ASSIGN_OR_RAISE(auto ordered, table.SelectColumns(indices));
  std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>> casts;
  for (int i = 0; i < schema.num_fields(); ++i) {
    const auto& expected = schema.field(i);
    const auto& actual = ordered.schema()->field(i);
    if (actual->type()->Equals(expected->type())) {
      continue;
    }
    if (actual->type()->id() != arrow::Type::NA) {
      return arrow::Status::TypeError("column '", expected->name(), "' is ", expected->type()->ToString(),
                                      " in an earlier table and ", actual->type()->ToString(), " in ", whose,
                                      "; all have to have one type; cast one, for example df.astype({'",
                                      expected->name(), "': '", expected->type()->ToString(), "'})");
    }
    casts.emplace_back(expected->name(), expected->type());
  }
  return CastColumns(ordered, casts);
}

/// The columns of the first table, with the first type that is not null, nullable where any is.
arrow::Result<std::shared_ptr<arrow::Schema>> CommonSchema(const std::vector<Table>& tables) {
  auto fields = tables[0].schema()->fields();
  for (auto& field : fields) {
    for (const auto& table : tables) {
      const auto other = table.schema()->GetFieldByName(field->name());
      if (other == nullptr) {
        continue;  // told with its place when the columns are put in order
      }
      if (field->type()->id() == arrow::Type::NA) {
        field = field->WithType(other->type());
      }
      field = field->WithNullable(field->nullable() || other->nullable());
    }
  }
  return arrow::schema(std::move(fields));
}

/// The same chunks under a schema that differs in nullability or metadata only.
arrow::Result<Table> WithSchema(const Table& table, const std::shared_ptr<arrow::Schema>& schema) {
  if (table.schema()->Equals(*schema, /*check_metadata=*/false)) {
    return table;
  }
  TableBuilder builder(table.resources(), schema);
  ARROW_RETURN_NOT_OK(table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    return builder.Append(arrow::RecordBatch::Make(schema, batch->num_rows(), batch->columns()), /*owned=*/false);
  }));
  return builder.Finish();
}

}  // namespace

arrow::Result<Table> Concat(Context& context, const std::vector<Table>& tables, std::source_location location) {
  CallSite site(context.communicator(), location);
  internal::CollectiveOperator operation(context, "Concat");
  const auto join = [&]() -> arrow::Result<Table> {
    if (tables.empty()) {
      return arrow::Status::Invalid("Concat was given no tables; give at least one");
    }
    for (const auto& table : tables) {
      ARROW_RETURN_NOT_OK(internal::CheckTable(table));
    }
    ARROW_ASSIGN_OR_RAISE(const auto schema, CommonSchema(tables));
    std::vector<Table> ordered;
    for (size_t i = 0; i < tables.size(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto table, InOrderOf(*schema, tables[i], i));
      ARROW_ASSIGN_OR_RAISE(table, WithSchema(table, schema));
      ordered.push_back(std::move(table));
    }
    return Table::Concatenate(ordered);
  };
  auto result = join();
  std::string details;
  for (const auto& table : tables) {
    details += (details.empty() ? "" : ", ") + internal::OneLine(table.schema());
  }
  ARROW_RETURN_NOT_OK(operation.Begin(details, result.status()).status());
  return result;
}

}  // namespace cylon
