// A table: a schema and a list of chunks.
#include "cylon/table/table.h"

#include <numeric>

#include "cylon/table/batch_ipc.h"

namespace cylon {

namespace {

std::vector<int> AllColumns(const arrow::Schema& schema) {
  std::vector<int> columns(static_cast<size_t>(schema.num_fields()));
  std::iota(columns.begin(), columns.end(), 0);
  return columns;
}

// The chunk under `schema`, which may differ from its own in names and metadata.
std::shared_ptr<Chunk> Under(const std::shared_ptr<Chunk>& chunk, const std::shared_ptr<arrow::Schema>& schema) {
  if (chunk->schema() == schema || chunk->schema()->Equals(*schema, /*check_metadata=*/true)) {
    return chunk;
  }
  return Chunk::View(chunk, AllColumns(*schema), schema, 0, chunk->num_rows());
}

arrow::Status SchemaMismatch(const char* what, const arrow::Schema& got, const arrow::Schema& expected) {
  return arrow::Status::TypeError(what, " has the schema {", got.ToString(), "}, expected {", expected.ToString(),
                                  "}; cast or select its columns to that schema first");
}

/// One chunk in memory at a time.
class TableReader : public arrow::RecordBatchReader {
 public:
  explicit TableReader(Table table) : table_(std::move(table)) {}
  std::shared_ptr<arrow::Schema> schema() const override { return table_.schema(); }
  arrow::Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    if (next_ >= table_.chunks().size()) {
      batch->reset();
      return arrow::Status::OK();
    }
    return table_.chunks()[next_++]->Pin().Value(batch);
  }

 private:
  Table table_;
  size_t next_ = 0;
};

}  // namespace

Table::Table(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema,
             std::vector<std::shared_ptr<Chunk>> chunks)
    : resources_(std::move(resources)), schema_(std::move(schema)), chunks_(std::move(chunks)) {
  for (const auto& chunk : chunks_) {
    num_rows_ += chunk->num_rows();
  }
}

arrow::Result<Table> Table::FromArrow(std::shared_ptr<Resources> resources,
                                      const std::shared_ptr<arrow::Table>& table) {
  TableBuilder builder(std::move(resources), table->schema());
  if (table->num_columns() == 0) {
    ARROW_RETURN_NOT_OK(builder.Append(
        arrow::RecordBatch::Make(table->schema(), table->num_rows(), std::vector<std::shared_ptr<arrow::ArrayData>>{}),
        /*owned=*/false));
    return builder.Finish();
  }
  arrow::TableBatchReader reader(*table);
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
    if (batch == nullptr) {
      return builder.Finish();
    }
    ARROW_RETURN_NOT_OK(builder.Append(std::move(batch), /*owned=*/false));
  }
}

arrow::Result<Table> Table::FromBatches(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema,
                                        std::vector<std::shared_ptr<arrow::RecordBatch>> batches, bool owned) {
  TableBuilder builder(std::move(resources), std::move(schema));
  for (auto& batch : batches) {
    ARROW_RETURN_NOT_OK(builder.Append(std::move(batch), owned));
  }
  return builder.Finish();
}

Table Table::Empty(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema) {
  return Table(std::move(resources), std::move(schema), {});
}

arrow::Result<std::shared_ptr<arrow::Table>> Table::ToArrow() const {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  batches.reserve(chunks_.size());
  for (const auto& chunk : chunks_) {
    ARROW_ASSIGN_OR_RAISE(auto batch, chunk->Pin());
    batches.push_back(std::move(batch));
  }
  if (num_columns() == 0) {
    return arrow::Table::Make(schema_, std::vector<std::shared_ptr<arrow::ChunkedArray>>{}, num_rows_);
  }
  return arrow::Table::FromRecordBatches(schema_, batches);
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> Table::ToBatch() const {
  if (chunks_.empty()) {
    // Not RecordBatch::MakeEmpty, which has no builder for dictionaries of nested values.
    std::vector<std::shared_ptr<arrow::Array>> columns;
    for (const auto& field : schema_->fields()) {
      ARROW_ASSIGN_OR_RAISE(auto column, arrow::MakeArrayOfNull(field->type(), 0, resources_->memory()));
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(schema_, 0, std::move(columns));
  }
  if (chunks_.size() == 1) {
    return chunks_[0]->Pin();
  }
  if (num_columns() == 0) {
    return arrow::RecordBatch::Make(schema_, num_rows_, std::vector<std::shared_ptr<arrow::ArrayData>>{});
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  batches.reserve(chunks_.size());
  for (const auto& chunk : chunks_) {
    ARROW_ASSIGN_OR_RAISE(auto batch, chunk->Pin());
    batches.push_back(std::move(batch));
  }
  return arrow::ConcatenateRecordBatches(batches, resources_->memory());
}

arrow::Result<std::shared_ptr<arrow::RecordBatchReader>> Table::ToReader() const {
  return std::make_shared<TableReader>(*this);
}

int64_t Table::num_bytes() const {
  int64_t total = 0;
  for (const auto& chunk : chunks_) {
    total += chunk->num_bytes();
  }
  return total;
}

arrow::Result<Table> Table::SelectColumns(const std::vector<int>& indices) const {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  for (const int index : indices) {
    if (index < 0 || index >= num_columns()) {
      return arrow::Status::KeyError("column ", index, " was asked for, expected 0 to ", num_columns() - 1,
                                     "; the columns are: ", schema_->ToString());
    }
    fields.push_back(schema_->field(index));
  }
  auto schema = arrow::schema(std::move(fields), schema_->metadata());
  std::vector<std::shared_ptr<Chunk>> chunks;
  for (const auto& chunk : chunks_) {
    chunks.push_back(Chunk::View(chunk, indices, schema, 0, chunk->num_rows()));
  }
  return Table(resources_, std::move(schema), std::move(chunks));
}

arrow::Result<Table> Table::RenameColumns(const std::vector<std::string>& names) const {
  if (static_cast<int>(names.size()) != num_columns()) {
    return arrow::Status::Invalid(names.size(), " names were given for ", num_columns(),
                                  " columns; expected one for each column");
  }
  ARROW_ASSIGN_OR_RAISE(auto schema, schema_->WithNames(names));
  std::vector<std::shared_ptr<Chunk>> chunks;
  for (const auto& chunk : chunks_) {
    chunks.push_back(Under(chunk, schema));
  }
  return Table(resources_, std::move(schema), std::move(chunks));
}

arrow::Result<Table> Table::Slice(int64_t offset, int64_t length) const {
  const int64_t begin = std::clamp<int64_t>(offset, 0, num_rows_);
  const int64_t end = length < 0 ? begin : begin + std::min(length, num_rows_ - begin);
  std::vector<std::shared_ptr<Chunk>> chunks;
  int64_t first = 0;  // row of the table with which the chunk begins
  for (const auto& chunk : chunks_) {
    const int64_t from = std::max(begin, first);
    const int64_t to = std::min(end, first + chunk->num_rows());
    if (to - from == chunk->num_rows()) {
      chunks.push_back(chunk);
    } else if (to > from) {
      chunks.push_back(Chunk::View(chunk, AllColumns(*schema_), schema_, from - first, to - from));
    }
    first += chunk->num_rows();
  }
  return Table(resources_, schema_, std::move(chunks));
}

arrow::Result<Table> Table::Concatenate(const std::vector<Table>& tables) {
  if (tables.empty()) {
    return arrow::Status::Invalid("no tables were given to concatenate; expected at least one, which has the schema");
  }
  const auto& schema = tables[0].schema();
  std::vector<std::shared_ptr<Chunk>> chunks;
  for (const Table& table : tables) {
    if (!table.schema()->Equals(*schema, /*check_metadata=*/false)) {
      return SchemaMismatch("a table to concatenate", *table.schema(), *schema);
    }
    for (const auto& chunk : table.chunks()) {
      chunks.push_back(Under(chunk, schema));
    }
  }
  return Table(tables[0].resources(), schema, std::move(chunks));
}

arrow::Status Table::ForEachBatch(
    const std::function<arrow::Status(const std::shared_ptr<arrow::RecordBatch>&, int64_t)>& function) const {
  for (size_t i = 0; i < chunks_.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(auto batch, chunks_[i]->Pin());
    ARROW_RETURN_NOT_OK(function(batch, static_cast<int64_t>(i)));
  }
  return arrow::Status::OK();
}

arrow::Result<int> Table::ColumnIndex(std::string_view name) const {
  int found = -1;
  std::string known;
  for (int i = 0; i < num_columns(); ++i) {
    const std::string& column = schema_->field(i)->name();
    if (column == name) {
      if (found >= 0) {
        return arrow::Status::Invalid("columns ", found, " and ", i, " are both named '", name,
                                      "'; expected one; rename one of them, or use its position");
      }
      found = i;
    }
    known += (i == 0 ? "'" : ", '") + column + "'";
  }
  if (found < 0) {
    return arrow::Status::KeyError("there is no column '", name,
                                   "'; the columns are: ", known.empty() ? "none" : known);
  }
  return found;
}

TableBuilder::TableBuilder(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema)
    : resources_(std::move(resources)), schema_(std::move(schema)) {}

arrow::Status TableBuilder::Append(std::shared_ptr<arrow::RecordBatch> batch, bool owned) {
  if (!batch->schema()->Equals(*schema_, /*check_metadata=*/false)) {
    return SchemaMismatch("a batch", *batch->schema(), *schema_);
  }
  if (batch->num_rows() == 0) {
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(auto same, WithSchema(batch, schema_));
  batch.reset();  // the chunk's only, so that it can be spilled
  ARROW_ASSIGN_OR_RAISE(auto chunk, Chunk::Make(resources_, std::move(same), owned));
  num_rows_ += chunk->num_rows();
  chunks_.push_back(std::move(chunk));
  return arrow::Status::OK();
}

arrow::Status TableBuilder::Append(std::shared_ptr<Chunk> chunk) {
  if (!chunk->schema()->Equals(*schema_, /*check_metadata=*/false)) {
    return SchemaMismatch("a chunk", *chunk->schema(), *schema_);
  }
  if (chunk->num_rows() > 0) {
    num_rows_ += chunk->num_rows();
    chunks_.push_back(Under(chunk, schema_));
  }
  return arrow::Status::OK();
}

Table TableBuilder::Finish() {
  num_rows_ = 0;
  return Table(resources_, schema_, std::exchange(chunks_, {}));
}

}  // namespace cylon
