/// The columns of a join's result, filled from pairs of rows.
#pragma once

#include <arrow/api.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/radix_partition.h"

namespace cylon {

/// The sides of a join, by what is done with them: rows of one are looked up among those of the other.
enum JoinSide : uint8_t { kProbe = 0, kBuild = 1 };

/// A column of the result.
struct JoinColumn {
  JoinSide side = kProbe;
  int column = 0;
  int instead = -1;  ///< a column of the other side whose value is shown where a row has no `side`; -1: null is
};

/// Which columns of a side travel with its keys, so that they are read within the cache, and which are copied row by
/// row from where they lie, once the result's rows are known.
struct SidePlan {
  std::vector<int> carried;
  std::vector<int> gathered;

  /// The plan for all columns of `side` that `columns` show.
  static SidePlan Of(const arrow::Schema& schema, const std::vector<JoinColumn>& columns, JoinSide side);
};

/// The rows of one side that are joined at a time.
struct SideRows {
  std::unique_ptr<RadixPartitions> rows;
  RowGatherer gatherer;  ///< of the plan's gathered columns

  static arrow::Result<SideRows> Make(const std::shared_ptr<Resources>& resources, const Table& table,
                                      const std::vector<int>& keys, const KeyLayout& layout, int bits,
                                      const SidePlan& plan);
};

/// Rows of a side for the result: `count` places, counted from `first`; no places: none of this side, nulls.
struct JoinRows {
  const SideRows* side = nullptr;
  int64_t first = 0;
  const uint32_t* places = nullptr;
};

/// Collects rows until there are enough for a batch. Carried columns are copied as pairs come, while their partition is
/// in the cache; the others when the batch is full. Used by one thread.
class JoinBatch {
 public:
  using Sink = std::function<arrow::Status(std::shared_ptr<arrow::RecordBatch>)>;

  /// Batches have `schema`, the columns `columns`, and at most `most_rows` rows.
  JoinBatch(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema,
            std::vector<JoinColumn> columns, const std::array<SidePlan, 2>& plans, int64_t most_rows);

  /// Rows by side; full batches go to `sink`. What the rows refer to is used until Finish, unless everything is
  /// carried.
  arrow::Status Append(const std::array<JoinRows, 2>& rows, int64_t count, const Sink& sink);
  /// Hands on what there is.
  arrow::Status Finish(const Sink& sink);

  bool gathers() const { return gathers_; }

 private:
  struct Column {
    JoinColumn what;
    std::shared_ptr<arrow::DataType> type;
    int width = 0;      // of a carried value
    int carried = -1;   // which of the side's carried columns, else its gathered one
    int gathered = -1;  //
    int instead = -1;   // the same of the other side
    std::shared_ptr<arrow::ResizableBuffer> values;
    std::shared_ptr<arrow::ResizableBuffer> valid;  // one byte per row; nullptr: all are
  };

  arrow::Status Reserve();
  arrow::Status AppendCarried(Column* column, const std::array<JoinRows, 2>& rows, int64_t count);
  arrow::Status MarkValid(Column* column, const uint8_t* valid, const uint32_t* places, int64_t count);
  arrow::Result<std::shared_ptr<arrow::Array>> TakeCarried(Column* column);
  /// Gathers and hands on; in halves where an array would outgrow its 32-bit offsets.
  arrow::Status Emit(const std::vector<std::shared_ptr<arrow::Array>>& carried, int64_t begin, int64_t end,
                     const Sink& sink);
  arrow::Result<std::shared_ptr<arrow::Array>> Gather(const Column& column, int64_t begin, int64_t end) const;
  void LocateRows();

  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<Column> columns_;
  std::array<bool, 2> needs_rows_ = {false, false};  // whether columns of a side are gathered
  bool gathers_ = false;
  const int64_t most_rows_;

  int64_t rows_ = 0;
  int64_t room_ = 0;
  bool was_full_ = false;
  std::array<const SideRows*, 2> sides_ = {nullptr, nullptr};
  std::array<std::vector<uint32_t>, 2> row_numbers_;
  std::array<std::vector<int64_t>, 2> positions_;  // where they are: rows within a batch,
  std::array<std::vector<uint32_t>, 2> sources_;   // and the batch
};

}  // namespace cylon
