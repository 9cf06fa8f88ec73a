// Column-wise work on one rank's rows.
#include "cylon/ops/column.h"

#include <arrow/compute/api.h>

namespace cylon {

namespace {

/// Walks tables of equal row counts in step: batches of the same rows, cut at every table's chunk boundaries.
class StepReader {
 public:
  explicit StepReader(const Table& table) : table_(table) {}

  /// Rows until this table's next boundary.
  arrow::Result<int64_t> Ahead() {
    while (batch_ == nullptr || offset_ == batch_->num_rows()) {
      ARROW_ASSIGN_OR_RAISE(batch_, table_.chunks()[next_++]->Pin());
      offset_ = 0;
    }
    return batch_->num_rows() - offset_;
  }

  std::shared_ptr<arrow::RecordBatch> Take(int64_t rows) {
    auto out = batch_->Slice(offset_, rows);
    offset_ += rows;
    return out;
  }

 private:
  const Table& table_;
  size_t next_ = 0;
  std::shared_ptr<arrow::RecordBatch> batch_;
  int64_t offset_ = 0;
};

arrow::Status CheckRows(int64_t expected, int64_t actual) {
  if (expected != actual) {
    return arrow::Status::Invalid("columns of ", expected, " and ", actual,
                                  " rows were combined; both have to come from frames with the same rows on this rank");
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Result<Table> MapColumns(const std::string& function, const std::vector<Operand>& operands,
                                const arrow::compute::FunctionOptions* options, const std::string& name) {
  const Table* first = nullptr;
  std::vector<std::unique_ptr<StepReader>> readers;
  std::vector<arrow::Datum> arguments;
  for (const auto& operand : operands) {
    if (const auto* table = std::get_if<Table>(&operand)) {
      if (table->num_columns() != 1) {
        return arrow::Status::Invalid("an operand has ", table->num_columns(), " columns; it has to be one column");
      }
      first = first == nullptr ? table : first;
      ARROW_RETURN_NOT_OK(CheckRows(first->num_rows(), table->num_rows()));
      readers.push_back(std::make_unique<StepReader>(*table));
      // The type of the result is asked of an empty column, so that it is known for a table without rows too.
      ARROW_ASSIGN_OR_RAISE(auto empty, arrow::MakeEmptyArray(table->schema()->field(0)->type()));
      arguments.emplace_back(std::move(empty));
    } else {
      readers.push_back(nullptr);
      arguments.emplace_back(std::get<std::shared_ptr<arrow::Scalar>>(operand));
    }
  }
  if (first == nullptr) {
    return arrow::Status::Invalid(function, " needs at least one column");
  }
  const auto& resources = first->resources();
  arrow::compute::ExecContext compute(resources->memory());
  compute.set_use_threads(false);
  ARROW_ASSIGN_OR_RAISE(auto empty_result, arrow::compute::CallFunction(function, arguments, options, &compute));
  auto schema = arrow::schema({arrow::field(name, empty_result.type())});
  TableBuilder builder(resources, schema);
  for (int64_t done = 0; done < first->num_rows();) {
    int64_t rows = first->num_rows() - done;
    for (auto& reader : readers) {
      if (reader != nullptr) {
        ARROW_ASSIGN_OR_RAISE(auto ahead, reader->Ahead());
        rows = std::min(rows, ahead);
      }
    }
    for (size_t i = 0; i < readers.size(); ++i) {
      if (readers[i] != nullptr) {
        arguments[i] = readers[i]->Take(rows)->column(0);
      }
    }
    ARROW_ASSIGN_OR_RAISE(auto result, arrow::compute::CallFunction(function, arguments, options, &compute));
    ARROW_RETURN_NOT_OK(builder.Append(arrow::RecordBatch::Make(schema, rows, {result.make_array()})));
    done += rows;
  }
  return builder.Finish();
}

arrow::Result<Table> WithColumn(const Table& table, const std::string& name, const Table& column) {
  if (column.num_columns() != 1) {
    return arrow::Status::Invalid("a column was expected, not a table of ", column.num_columns(), " columns");
  }
  if (table.num_columns() == 0 && table.num_rows() == 0) {
    return column.RenameColumns({name});
  }
  ARROW_RETURN_NOT_OK(CheckRows(table.num_rows(), column.num_rows()));
  const int position = table.schema()->GetFieldIndex(name);
  auto field = column.schema()->field(0)->WithName(name);
  auto schema = table.schema();
  if (position >= 0) {
    ARROW_ASSIGN_OR_RAISE(schema, schema->SetField(position, field));
  } else {
    ARROW_ASSIGN_OR_RAISE(schema, schema->AddField(schema->num_fields(), field));
  }
  TableBuilder builder(table.resources(), schema);
  StepReader left(table);
  StepReader right(column);
  for (int64_t done = 0; done < table.num_rows();) {
    ARROW_ASSIGN_OR_RAISE(auto left_ahead, left.Ahead());
    ARROW_ASSIGN_OR_RAISE(auto right_ahead, right.Ahead());
    const int64_t rows = std::min(left_ahead, right_ahead);
    auto batch = left.Take(rows);
    auto values = right.Take(rows)->column(0);
    std::vector<std::shared_ptr<arrow::Array>> columns = batch->columns();
    if (position >= 0) {
      columns[position] = values;
    } else {
      columns.push_back(values);
    }
    ARROW_RETURN_NOT_OK(builder.Append(arrow::RecordBatch::Make(schema, rows, std::move(columns))));
    done += rows;
  }
  return builder.Finish();
}

arrow::Result<Table> CastColumns(const Table& table,
                                 const std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>>& types) {
  Table out = table;
  for (const auto& [name, type] : types) {
    ARROW_ASSIGN_OR_RAISE(const int index, table.ColumnIndex(name));
    ARROW_ASSIGN_OR_RAISE(auto column, table.SelectColumns({index}));
    arrow::compute::CastOptions options = arrow::compute::CastOptions::Safe(type);
    auto cast = MapColumns("cast", {column}, &options, name);
    if (!cast.ok()) {
      return cast.status().WithMessage("column '", name, "' (", column.schema()->field(0)->type()->ToString(),
                                       ") cannot be cast to ", type->ToString(), ": ", cast.status().message());
    }
    ARROW_ASSIGN_OR_RAISE(out, WithColumn(out, name, *cast));
  }
  return out;
}

}  // namespace cylon
