// One Parquet file, opened for a rank.
#include "cylon/io/parquet_file.h"

#include <parquet/arrow/schema.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include <algorithm>

namespace cylon::parquet_io {

namespace {

/// Decoded bytes of a batch, about, at most: chunks of this size can be spilled and sent in good pieces.
constexpr int64_t kBatchBytes = 32 << 20;
constexpr int64_t kLeastBatchRows = 1024;
/// And at most this part of the rank's budget, which a batch shares with what is read, sent and kept.
constexpr int64_t kBudgetPart = 16;

void CollectLeaves(const ::parquet::arrow::SchemaField& field, std::vector<int>* leaves) {
  if (field.is_leaf()) {
    leaves->push_back(field.column_index);
  }
  for (const auto& child : field.children) {
    CollectLeaves(child, leaves);
  }
}

}  // namespace

arrow::Status ParquetFile::Named(const arrow::Status& status) const {
  if (status.ok() || status.IsOutOfMemory()) {
    return status;
  }
  return status.WithMessage("cannot read ", path_, ": ", status.message(),
                            "; expected a whole Parquet file; check it on this rank's host, or write it again");
}

arrow::Result<std::unique_ptr<ParquetFile>> ParquetFile::Open(const std::string& path, Resources& resources) {
  auto file = std::unique_ptr<ParquetFile>(new ParquetFile(path));  // the constructor is private
  file->most_batch_rows_ = resources.options().morsel_rows;
  file->most_batch_bytes_ = std::min(kBatchBytes, resources.memory()->limit() / kBudgetPart);

  arrow::MemoryPool* pool = resources.memory();
  ::parquet::ReaderProperties properties(pool);
  properties.set_page_checksum_verification(true);  // of pages that have one
  ::parquet::ArrowReaderProperties arrow_properties(/*use_threads=*/false);
  // Reading ahead would hold whole row groups in memory beside what is decoded.
  arrow_properties.set_pre_buffer(false);

  ::parquet::arrow::FileReaderBuilder builder;
  auto open = [&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto source, arrow::io::ReadableFile::Open(path, pool));
    ARROW_RETURN_NOT_OK(builder.Open(std::move(source), properties));
    ARROW_ASSIGN_OR_RAISE(file->reader_, builder.memory_pool(pool)->properties(arrow_properties)->Build());
    ARROW_RETURN_NOT_OK(file->reader_->GetSchema(&file->schema_));
    return file->ReadGroupSizes();
  };
  ARROW_RETURN_NOT_OK(file->Named(open()));
  return file;
}

arrow::Status ParquetFile::ReadGroupSizes() {
  const auto metadata = reader_->parquet_reader()->metadata();
  BEGIN_PARQUET_CATCH_EXCEPTIONS
  for (int group = 0; group < metadata->num_row_groups(); ++group) {
    const auto description = metadata->RowGroup(group);
    groups_.push_back({description->num_rows(), description->total_byte_size()});
  }
  END_PARQUET_CATCH_EXCEPTIONS
  const bool negative = std::ranges::any_of(groups_, [](const Group& group) { return group.rows < 0; });
  return negative ? arrow::Status::Invalid("a row group has a negative number of rows") : arrow::Status::OK();
}

int64_t ParquetFile::BatchRows(int group) const {
  const int64_t row_bytes = std::max<int64_t>(1, groups_[group].bytes / std::max<int64_t>(1, groups_[group].rows));
  return std::min(most_batch_rows_, std::max(kLeastBatchRows, most_batch_bytes_ / row_bytes));
}

ParquetFile::Columns ParquetFile::Find(const arrow::Schema& schema) const {
  Columns found;
  for (int i = 0; i < schema.num_fields(); ++i) {
    const std::string& name = schema.field(i)->name();
    const bool same_place = i < schema_->num_fields() && schema_->field(i)->name() == name;
    found.fields.push_back(same_place ? i : schema_->GetFieldIndex(name));
  }
  found.wanted = found.fields;
  std::ranges::sort(found.wanted);
  found.wanted.erase(std::unique(found.wanted.begin(), found.wanted.end()), found.wanted.end());
  for (const int field : found.wanted) {
    CollectLeaves(reader_->manifest().schema_fields[field], &found.leaves);
  }
  return found;
}

arrow::Result<int64_t> ParquetFile::BytesToRead(int group, const arrow::Schema& schema) const {
  double in_file = 0;  // the footer may say anything, so nothing here may overflow
  double decoded = 0;
  auto add = [&]() -> arrow::Status {
    BEGIN_PARQUET_CATCH_EXCEPTIONS
    const auto description = reader_->parquet_reader()->metadata()->RowGroup(group);
    for (const int leaf : Find(schema).leaves) {
      const auto column = description->ColumnChunk(leaf);
      in_file += static_cast<double>(std::max<int64_t>(0, column->total_compressed_size()));
      decoded += static_cast<double>(std::max<int64_t>(0, column->total_uncompressed_size()));
    }
    END_PARQUET_CATCH_EXCEPTIONS
    return arrow::Status::OK();
  };
  ARROW_RETURN_NOT_OK(Named(add()));
  const double rows = static_cast<double>(std::max<int64_t>(1, groups_[group].rows));
  const double batch = decoded * std::min(1.0, static_cast<double>(BatchRows(group)) / rows);
  constexpr double kMost = 1LL << 62;
  return static_cast<int64_t>(std::min(kMost, in_file + 2 * batch));
}

arrow::Status ParquetFile::ReadGroup(int group, const std::shared_ptr<arrow::Schema>& schema,
                                     const std::function<arrow::Status(std::shared_ptr<arrow::RecordBatch>)>& visit) {
  const Columns columns = Find(*schema);
  reader_->set_batch_size(BatchRows(group));
  auto read = reader_->GetRecordBatchReader({group}, columns.leaves);
  ARROW_RETURN_NOT_OK(Named(read.status()));
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(Named((*read)->ReadNext(&batch)));
    if (batch == nullptr) {
      return arrow::Status::OK();
    }
    arrow::ArrayVector arrays;
    for (const int field : columns.fields) {
      const auto at = std::ranges::lower_bound(columns.wanted, field) - columns.wanted.begin();
      arrays.push_back(batch->column(static_cast<int>(at)));
    }
    ARROW_RETURN_NOT_OK(visit(arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(arrays))));
  }
}

}  // namespace cylon::parquet_io
