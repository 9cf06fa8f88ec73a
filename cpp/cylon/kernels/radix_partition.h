/// Rows of a table dealt into many small partitions by the hash of their keys, column by column, so that whatever is
/// built over one partition stays in the cache.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "cylon/kernels/key_layout.h"
#include "cylon/kernels/row_key.h"
#include "cylon/kernels/row_locator.h"
#include "cylon/table/table.h"

namespace cylon {

/// Whether values of `type` can travel with the keys: fixed width of at most 16 bytes, bool included, no dictionaries.
bool CanCarry(const arrow::DataType& type);

/// Partitions (as a power of two, at most 2^11, where the write buffers leave the second-level cache) that bring `rows`
/// rows of `row_bytes` each down to a quarter of a MiB, half of what a core's second-level cache commonly holds.
int RadixBits(int64_t rows, int64_t row_bytes);

struct RadixPlan {
  std::vector<int> keys;
  KeyLayout layout;
  std::vector<int> carried;  ///< columns that are dealt with the keys; each CanCarry
  bool row_numbers = false;  ///< whether each row's number in the table is dealt too; always with hashes
  int bits = 0;              ///< 2^bits partitions
};

/// A column in the order of the partitions.
struct CarriedColumn {
  std::shared_ptr<arrow::DataType> type;
  int width = 0;                    ///< bytes per value: 1, 2, 4, 8 or 16; a bool is a byte that is 0 or 1
  const uint8_t* values = nullptr;  ///< anything under a null
  const uint8_t* valid = nullptr;   ///< one byte per row, 0 where null; nullptr: no row is
};

/// The dealt rows: partition p has the places [begin(p), begin(p + 1)) of every array, in the order of the table. The
/// last partition, number count(), has the rows of which a key is null; words that are not packed are 0 there.
///
///   places     | partition 0 | partition 1 | ... | partition count() - 1 | null keys |
///   words      |w w w w w w w|w w w w      | ... |
///   columns[k] |v v v v v v v|v v v v      | ... |
///
/// A row's partition is the low `bits` of its hash: PartitionOf, which deals rows to ranks, reads the high ones.
///
/// Dealing: one pass finds each row's partition, counts, then one pass per column through a 64-byte line per partition
/// that leaves by non-temporal stores when it is full (Balkesen, Teubner, Alonso, Özsu: Main-memory hash joins on
/// multi-core CPUs, ICDE 2013), so that a row costs neither a cache miss nor a miss of the translation buffer.
class RadixPartitions {
 public:
  /// Pins all of `table` while it lives. CapacityError beyond 2^32 - 2 rows. Memory out of the rank's budget.
  static arrow::Result<std::unique_ptr<RadixPartitions>> Make(const std::shared_ptr<Resources>& resources,
                                                              const Table& table, const RadixPlan& plan);

  int64_t count() const { return int64_t{1} << plan_.bits; }
  int bits() const { return plan_.bits; }
  KeyForm form() const { return plan_.layout.form(); }
  int64_t num_rows() const { return starts_.back(); }
  int64_t begin(int64_t partition) const { return starts_[partition]; }
  int64_t rows(int64_t partition) const { return starts_[partition + 1] - starts_[partition]; }

  const uint64_t* words() const { return words_; }
  const uint64_t* second_words() const { return second_words_; }  ///< kTwoWords
  const uint32_t* row_numbers() const { return row_numbers_; }    ///< where they were asked for
  const CarriedColumn& column(size_t k) const { return columns_[k]; }

  /// The hash of the key at `place`; in a partition its low `bits` are all the same.
  uint64_t HashAt(int64_t place) const;

  /// Whether rows (by their numbers in their tables) have equal keys. Only for kHash.
  bool SameKey(uint32_t row, const RadixPartitions& other, uint32_t other_row) const;

  /// The pinned batches, and where in them a row of the table is: for columns that were not carried.
  const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches() const { return batches_; }
  const RowLocator& locator() const { return locator_; }

 private:
  /// Consecutive rows of one batch.
  struct Piece {
    size_t batch;
    int64_t offset;  // within the batch
    int64_t length;
    int64_t first_row;  // in the table
  };
  /// Gives consecutive values of a piece, from a row of it on; in `scratch` where they do not lie anywhere.
  using Load = std::function<const void*(const Piece&, int64_t begin, int64_t rows, std::vector<uint64_t>* scratch)>;
  /// Words by row of the table, where they are dear: hashes and what is packed. Else nullptr, and they are read again.
  struct KeptWords {
    uint64_t* words[2] = {nullptr, nullptr};
  };
  /// An array that is still to be filled.
  struct Task {
    uint8_t* out;
    Load load;
  };

  RadixPartitions(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema, RadixPlan plan)
      : resources_(std::move(resources)), schema_(std::move(schema)), plan_(std::move(plan)) {}

  arrow::Status Pin(const Table& table);
  arrow::Status FindPartitions(uint16_t* partition_of, const KeptWords& kept);
  arrow::Status FindPartitionsOf(const Piece& piece, uint64_t* counts, uint16_t* partition_of, const KeptWords& kept);
  arrow::Status FindPartitionsByHash(const Piece& piece, uint64_t* counts, uint16_t* partition_of, uint64_t* hashes);
  void PlaceRanges();
  /// Memory for an array of `width` bytes per row, to be filled by RunAllTasks.
  arrow::Result<uint8_t*> AddTask(int width, Load load);
  arrow::Status AddKeys(const KeptWords& kept);
  arrow::Status AddColumn(int column);
  template <typename T, size_t N>
  arrow::Status RunTasks(std::span<const Task> tasks, const uint16_t* partition_of);
  template <typename T>
  arrow::Status RunTasksOfWidth(const uint16_t* partition_of);
  arrow::Status RunAllTasks(const uint16_t* partition_of);
  /// Whether the words of the key are the column's values, so that it need not be dealt again.
  bool AliasesWords(int column) const;
  std::string_view KeyBytes(uint32_t row, bool* null) const;
  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  RadixPlan plan_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  RowLocator locator_;
  std::vector<Piece> pieces_;
  std::vector<size_t> range_ends_;                // each thread's pieces are those up to its end
  std::vector<std::vector<uint64_t>> positions_;  // by thread and partition: where its rows begin
  std::vector<int64_t> starts_;
  std::vector<std::shared_ptr<arrow::Buffer>> buffers_;
  uint64_t* words_ = nullptr;
  uint64_t* second_words_ = nullptr;
  uint32_t* row_numbers_ = nullptr;
  std::vector<CarriedColumn> columns_;
  std::map<int, std::vector<Task>> tasks_;  // by width
  std::vector<KeyBatch> key_batches_;       // by piece; kHash
  RowLocator piece_locator_;
};

}  // namespace cylon
