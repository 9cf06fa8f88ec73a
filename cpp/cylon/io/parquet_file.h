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
  int groups() const { return static_cast<int>(groups_.size()); }
  int64_t group_rows(int group) const { return groups_[group].rows; }
  /// What reading the columns of `schema` of one row group has in memory at once, at the least: them as they are in the
  /// file, and two batches, one that is decoded and one that is kept.
  arrow::Result<int64_t> BytesToRead(int group, const arrow::Schema& schema) const;

  /// The columns of `schema`, in its order, of one row group, batch by batch. Columns are found by name, at the same
  /// place first.
  arrow::Status ReadGroup(int group, const std::shared_ptr<arrow::Schema>& schema,
                          const std::function<arrow::Status(std::shared_ptr<arrow::RecordBatch>)>& visit);

 private:
  struct Group {
    int64_t rows = 0;
    int64_t bytes = 0;  ///< of all columns, not compressed
  };
  /// Where the columns of a schema are in the file.
  struct Columns {
    std::vector<int> fields;  ///< of the file, by column of the schema
    std::vector<int> wanted;  ///< the same, each once, in the file's order
    std::vector<int> leaves;  ///< theirs
  };

  explicit ParquetFile(std::string path) : path_(std::move(path)) {}
  arrow::Status ReadGroupSizes();
  /// `status` with the path, and what to do.
  arrow::Status Named(const arrow::Status& status) const;
  Columns Find(const arrow::Schema& schema) const;
  int64_t BatchRows(int group) const;

  std::string path_;
  int64_t most_batch_rows_ = 0;
  int64_t most_batch_bytes_ = 0;
  std::unique_ptr<::parquet::arrow::FileReader> reader_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<Group> groups_;
};

}  // namespace cylon::parquet_io
