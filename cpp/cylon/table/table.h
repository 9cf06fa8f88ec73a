/// A table: a schema and a list of chunks, each in memory or spilled.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/base/resources.h"

namespace cylon {

/// Rows that lie together: a record batch in memory, or the same in an unlinked spill file (nothing outlives a crash).
/// Immutable, thread-safe. Spillable chunks are registered with the rank's memory budget, which spills the oldest
/// unpinned ones when it runs short.
class CYLON_EXPORT Chunk : public Spillable {
 public:
  /// A chunk of `batch`. With options().spill_always it goes to disk at once. Buffers that are not of the rank's pool
  /// (the caller's own memory, seen without a copy) free nothing when spilled, so such chunks are never spilled
  /// unless spill_always asks for it: pass `owned` = false for them. IOError where spill_always meets a full disk.
  static arrow::Result<std::shared_ptr<Chunk>> Make(std::shared_ptr<Resources> resources,
                                                    std::shared_ptr<arrow::RecordBatch> batch, bool owned);
  /// Rows [offset, offset + length) of `chunk`, of its columns `columns` in that order, under `schema` (whose types are
  /// those columns'). No copy; what the view shows is spilled and pinned with `chunk`.
  static std::shared_ptr<Chunk> View(const std::shared_ptr<Chunk>& chunk, const std::vector<int>& columns,
                                     std::shared_ptr<arrow::Schema> schema, int64_t offset, int64_t length);
  ~Chunk() override;

  const std::shared_ptr<arrow::Schema>& schema() const;
  int64_t num_rows() const { return num_rows_; }
  /// Bytes of the referenced buffers (slices count what they show, about).
  int64_t num_bytes() const { return num_bytes_; }
  bool spilled() const;

  /// The rows in memory, read back where spilled. While the returned batch lives, the memory is in use; a chunk is
  /// pinned as long as somebody holds the batch. A failed read is IOError with path and bytes.
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> Pin();

  /// Writes the rows to the rank's spill file and lets the memory go. 0 where it is pinned, on disk already, or busy on
  /// another thread. IOError where the disk is full or broken; the chunk then stays in memory.
  arrow::Result<int64_t> Spill() override;

 private:
  class Impl;
  class Store;
  class Window;
  explicit Chunk(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  int64_t num_rows_ = 0;
  int64_t num_bytes_ = 0;
};

/// Cheap to copy; immutable. A distributed table is one Table per rank with one schema, also on ranks that have no
/// rows; its order is (rank, row).
class CYLON_EXPORT Table {
 public:
  Table() = default;
  Table(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema,
        std::vector<std::shared_ptr<Chunk>> chunks);

  /// The caller's Arrow table without a copy. Columns whose chunks do not line up are cut to the common boundaries. A
  /// table of columns but 0 rows has no chunks; a table of 0 columns keeps its row count.
  static arrow::Result<Table> FromArrow(std::shared_ptr<Resources> resources,
                                        const std::shared_ptr<arrow::Table>& table);
  static arrow::Result<Table> FromBatches(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema,
                                          std::vector<std::shared_ptr<arrow::RecordBatch>> batches, bool owned = true);
  static Table Empty(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema);

  /// All chunks in memory as one Arrow table, without a copy of those that are in memory.
  arrow::Result<std::shared_ptr<arrow::Table>> ToArrow() const;
  /// All rows as one record batch (copies where there are several chunks).
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> ToBatch() const;
  /// Reads chunk by chunk: one is in memory at a time. For the Arrow C stream interface.
  arrow::Result<std::shared_ptr<arrow::RecordBatchReader>> ToReader() const;

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  const std::shared_ptr<Resources>& resources() const { return resources_; }
  const std::vector<std::shared_ptr<Chunk>>& chunks() const { return chunks_; }
  int64_t num_rows() const { return num_rows_; }
  int num_columns() const { return schema_ == nullptr ? 0 : schema_->num_fields(); }
  int64_t num_bytes() const;

  /// The same rows with other columns: `indices` into the schema, renamed to `names` where given. No copy.
  /// KeyError where an index is out of range.
  arrow::Result<Table> SelectColumns(const std::vector<int>& indices) const;
  arrow::Result<Table> RenameColumns(const std::vector<std::string>& names) const;
  /// Rows [offset, offset + length), clipped to the table. No copy.
  arrow::Result<Table> Slice(int64_t offset, int64_t length) const;
  /// Rows of all `tables` one after another (schemas must be equal but for metadata). No copy.
  static arrow::Result<Table> Concatenate(const std::vector<Table>& tables);

  /// function(batch, index of chunk), chunk after chunk, each pinned only while it runs.
  arrow::Status ForEachBatch(
      const std::function<arrow::Status(const std::shared_ptr<arrow::RecordBatch>&, int64_t)>& function) const;

  /// Column index of `name`; KeyError lists the columns there are; Invalid where two have the name.
  arrow::Result<int> ColumnIndex(std::string_view name) const;

 private:
  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::shared_ptr<Chunk>> chunks_;
  int64_t num_rows_ = 0;
};

/// Collects batches into a table, spilling as the budget asks. Not thread-safe.
class CYLON_EXPORT TableBuilder {
 public:
  TableBuilder(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema);
  /// `batch` has the builder's schema (TypeError otherwise). Empty batches are dropped.
  arrow::Status Append(std::shared_ptr<arrow::RecordBatch> batch, bool owned = true);
  arrow::Status Append(std::shared_ptr<Chunk> chunk);
  int64_t num_rows() const { return num_rows_; }
  Table Finish();

 private:
  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::shared_ptr<Chunk>> chunks_;
  int64_t num_rows_ = 0;
};

}  // namespace cylon
