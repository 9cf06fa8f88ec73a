// One Parquet file, opened for a rank.
#include "cylon/io/parquet_file.h"

#include <parquet/arrow/schema.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include <algorithm>

namespace cylon::parquet_io {

namespace {

/// Decoded bytes of a batch, about: chunks of this size can be spilled and sent in good pieces.
constexpr int64_t kBatchBytes = 32 << 20;
constexpr int64_t kLeastBatchRows = 1024;

void CollectLeaves(const ::parquet::arrow::SchemaField& field, std::vector<int>* leaves) {
  if (field.is_leaf()) {
    leaves->push_back(field.column_index);
  }
  for (const auto& child : field.children) {
    CollectLeaves(child, leaves);
  }
}

arrow::Status ReadShape(const ::parquet::FileMetaData& metadata, std::vector<int64_t>* rows,
                        std::vector<int64_t>* bytes) {
  BEGIN_PARQUET_CATCH_EXCEPTIONS
  for (int group = 0; group < metadata.num_row_groups(); ++group) {
    const auto description = metadata.RowGroup(group);
    rows->push_back(description->num_rows());
    bytes->push_back(description->total_byte_size());
  }
  END_PARQUET_CATCH_EXCEPTIONS
  const bool negative = std::ranges::any_of(*rows, [](int64_t count) { return count < 0; });
  return negative ? arrow::Status::Invalid("a row group has a negative number of rows") : arrow::Status::OK();
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
    return ReadShape(*file->reader_->parquet_reader()->metadata(), &file->group_rows_, &file->group_bytes_);
  };
  ARROW_RETURN_NOT_OK(file->Named(open()));
  return file;
}

int64_t ParquetFile::BatchRows(int group, int64_t most) const {
  const int64_t row_bytes = std::max<int64_t>(1, group_bytes_[group] / std::max<int64_t>(1, group_rows_[group]));
  return std::min(most, std::max(kLeastBatchRows, kBatchBytes / row_bytes));
}

arrow::Status ParquetFile::ReadGroup(int group, const std::shared_ptr<arrow::Schema>& schema,
                                     const std::function<arrow::Status(std::shared_ptr<arrow::RecordBatch>)>& visit) {
  std::vector<int> fields;  // of the file, by column of the result
  for (int i = 0; i < schema->num_fields(); ++i) {
    const std::string& name = schema->field(i)->name();
    const bool same_place = i < schema_->num_fields() && schema_->field(i)->name() == name;
    fields.push_back(same_place ? i : schema_->GetFieldIndex(name));
  }
  std::vector<int> wanted = fields;
  std::ranges::sort(wanted);
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  std::vector<int> leaves;
  for (const int field : wanted) {
    CollectLeaves(reader_->manifest().schema_fields[field], &leaves);
  }

  reader_->set_batch_size(BatchRows(group, most_batch_rows_));
  auto read = reader_->GetRecordBatchReader({group}, leaves);
  ARROW_RETURN_NOT_OK(Named(read.status()));
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(Named((*read)->ReadNext(&batch)));
    if (batch == nullptr) {
      return arrow::Status::OK();
    }
    arrow::ArrayVector columns;
    for (const int field : fields) {
      const auto at = std::ranges::lower_bound(wanted, field) - wanted.begin();
      columns.push_back(batch->column(static_cast<int>(at)));
    }
    ARROW_RETURN_NOT_OK(visit(arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns))));
  }
}

}  // namespace cylon::parquet_io
