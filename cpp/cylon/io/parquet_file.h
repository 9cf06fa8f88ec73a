/// One Parquet file, opened for a rank.
#pragma once

#include <arrow/io/file.h>
#include <arrow/record_batch.h>
#include <parquet/arrow/reader.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/resources.h"

namespace cylon::parquet_io {

/// Not thread-safe; a file may be opened many times.
class ParquetFile {
 public:
  /// Reads the footer. IOError with the path where the file is missing or is no whole Parquet file.
  static arrow::Result<std::unique_ptr<ParquetFile>> Open(const std::string& path, Resources& resources);

  const std::string& path() const { return path_; }
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  /// Rows of each row group.
  const std::vector<int64_t>& group_rows() const { return group_rows_; }

  /// The columns of `schema`, in its order, of one row group, batch by batch. Columns are found by name, at the same
  /// place first.
  arrow::Status ReadGroup(int group, const std::shared_ptr<arrow::Schema>& schema,
                          const std::function<arrow::Status(std::shared_ptr<arrow::RecordBatch>)>& visit);

 private:
  explicit ParquetFile(std::string path) : path_(std::move(path)) {}
  /// `status` with the path, and what to do.
  arrow::Status Named(const arrow::Status& status) const;
  int64_t BatchRows(int group, int64_t most) const;

  std::string path_;
  int64_t most_batch_rows_ = 0;
  std::unique_ptr<::parquet::arrow::FileReader> reader_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<int64_t> group_rows_;
  std::vector<int64_t> group_bytes_;
};

}  // namespace cylon::parquet_io
