// What every collective operator has in common.
#include "cylon/ops/collective_operator.h"

#include <arrow/util/bit_util.h>

#include <algorithm>
#include <set>
#include <utility>

#include "cylon/kernels/hash.h"

namespace cylon::internal {

namespace {

/// A table with one more int64 column; `fill(row of the table, rows, values)` writes its values.
template <typename Fill>
arrow::Result<Table> AppendInt64(const std::shared_ptr<Resources>& resources, const Table& table,
                                 const std::string& name, const Fill& fill) {
  ARROW_ASSIGN_OR_RAISE(auto schema,
                        table.schema()->AddField(table.num_columns(), arrow::field(name, arrow::int64(), false)));
  TableBuilder builder(resources, schema);
  int64_t before = 0;
  ARROW_RETURN_NOT_OK(
      table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) -> arrow::Status {
        const int64_t rows = batch->num_rows();
        ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                              arrow::AllocateBuffer(rows * sizeof(int64_t), resources->memory()));
        fill(before, rows, buffer->mutable_data_as<int64_t>());
        before += rows;
        auto columns = batch->columns();
        columns.push_back(std::make_shared<arrow::Int64Array>(rows, std::move(buffer)));
        // The other columns may be the caller's own memory, so the chunk as a whole is not ours to spill.
        return builder.Append(arrow::RecordBatch::Make(schema, rows, std::move(columns)), /*owned=*/false);
      }));
  return builder.Finish();
}

}  // namespace

CollectiveOperator::CollectiveOperator(Context& context, std::string name)
    : context_(context),
      name_(std::move(name)),
      span_(context.resources()->tracer(), name_),
      alone_(context.world_size() == 1) {
  context_.communicator().SetOperation(name_);
}

CollectiveOperator::~CollectiveOperator() { context_.communicator().SetOperation(""); }

arrow::Result<Agreement> CollectiveOperator::Agree(std::string signature, const arrow::Status& local,
                                                   std::vector<int64_t> values) {
  if (alone_) {
    ARROW_RETURN_NOT_OK(local);
    ARROW_RETURN_NOT_OK(context_.communicator().Check());
    Agreement agreement;
    agreement.values.push_back(std::move(values));
    return agreement;
  }
  Proposal proposal;
  proposal.signature = std::move(signature);
  proposal.status = local;
  proposal.values = std::move(values);
  return context_.communicator().Agree(std::move(proposal));
}

arrow::Result<Agreement> CollectiveOperator::Begin(const std::string& details, const arrow::Status& local,
                                                   std::vector<int64_t> values) {
  return Agree(name_ + "(" + details + ")", local, std::move(values));
}

arrow::Result<Agreement> CollectiveOperator::End(const arrow::Status& local, std::vector<int64_t> values) {
  return Agree(name_ + " end", local, std::move(values));
}

arrow::Result<Table> CollectiveOperator::End(arrow::Result<Table> result) {
  ARROW_RETURN_NOT_OK(End(result.status(), {result.ok() ? result->num_rows() : 0}).status());
  span_.Set("rows", result->num_rows());
  return result;
}

std::string OneLine(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

std::string OneLine(const std::shared_ptr<arrow::Schema>& schema) {
  if (schema == nullptr) {
    return "no schema";
  }
  std::string text = "{";
  for (const auto& field : schema->fields()) {
    text += (text.size() == 1 ? "" : ", ") + field->ToString();
  }
  return text + "}";
}

arrow::Result<std::vector<int>> FindColumns(const arrow::Schema& schema, const std::vector<std::string>& names,
                                            std::string_view role, std::string_view whose) {
  std::vector<int> indices;
  std::set<std::string> seen;
  for (const auto& name : names) {
    const auto found = schema.GetAllFieldIndices(name);
    if (found.empty()) {
      return arrow::Status::KeyError(role, " '", name, "' is not a column of ", whose, "; it has ",
                                     schema.num_fields() == 0 ? "no columns" : OneLine(schema.field_names()),
                                     "; name one of these");
    }
    if (found.size() > 1) {
      return arrow::Status::Invalid(role, " '", name, "' is the name of ", found.size(), " columns of ", whose,
                                    "; a column that is referred to has to have a name of its own; rename them");
    }
    if (!seen.insert(name).second) {
      return arrow::Status::Invalid(role, " '", name, "' is given twice; name each column once");
    }
    indices.push_back(found[0]);
  }
  return indices;
}

arrow::Result<std::vector<int>> FindColumnsOrAll(const arrow::Schema& schema, const std::vector<std::string>& names,
                                                 std::string_view role, std::string_view whose) {
  if (!names.empty()) {
    return FindColumns(schema, names, role, whose);
  }
  std::vector<int> all(schema.num_fields());
  for (int i = 0; i < schema.num_fields(); ++i) {
    all[i] = i;
  }
  return all;
}

arrow::Status CheckTable(const Table& table) {
  if (table.schema() == nullptr) {
    return arrow::Status::Invalid(
        "a table without a schema was given; every rank passes a table of the same schema, one without "
        "rows where it has none (Table::Empty)");
  }
  return arrow::Status::OK();
}

arrow::Status CheckKeyTypes(const arrow::Schema& schema, const std::vector<int>& keys, std::string_view role) {
  std::vector<uint64_t> hashes;
  for (const int key : keys) {
    const auto& field = schema.field(key);
    ARROW_ASSIGN_OR_RAISE(auto column, arrow::MakeEmptyArray(field->type()));
    auto batch = arrow::RecordBatch::Make(arrow::schema({field}), 0, {std::move(column)});
    const auto status = HashRows(*batch, {0}, &hashes);
    if (status.IsNotImplemented()) {
      return arrow::Status::TypeError(
          role, " '", field->name(), "' is ", field->type()->ToString(),
          "; keys are numbers, booleans, strings, binaries, dates and times; choose another column");
    }
    ARROW_RETURN_NOT_OK(status);
  }
  return arrow::Status::OK();
}

arrow::Result<std::vector<int>> FindGroupKeys(const arrow::Schema& schema, const std::vector<std::string>& names,
                                              std::string_view otherwise) {
  if (names.empty()) {
    return arrow::Status::Invalid("rows of groups were asked for without keys; name at least one, or use ", otherwise);
  }
  ARROW_ASSIGN_OR_RAISE(auto keys, FindColumns(schema, names, "group key", "the table"));
  ARROW_RETURN_NOT_OK(CheckKeyTypes(schema, keys, "group key"));
  return keys;
}

arrow::Result<Table> AppendRowNumbers(const std::shared_ptr<Resources>& resources, const Table& table, int64_t first,
                                      const std::string& name) {
  return AppendInt64(resources, table, name, [first](int64_t before, int64_t rows, int64_t* values) {
    for (int64_t i = 0; i < rows; ++i) {
      values[i] = first + before + i;
    }
  });
}

arrow::Result<Table> AppendConstant(const std::shared_ptr<Resources>& resources, const Table& table, int64_t value,
                                    const std::string& name) {
  return AppendInt64(resources, table, name,
                     [value](int64_t, int64_t rows, int64_t* values) { std::fill(values, values + rows, value); });
}

}  // namespace cylon::internal
