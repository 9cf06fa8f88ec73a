/// Values of a column in the form that aggregates read them, a block of rows at a time.
#pragma once

#include <arrow/api.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cylon/kernels/key_column.h"
#include "cylon/kernels/radix_partition.h"

namespace cylon {

/// Rows that are handled between two looks at the next column: their words and group numbers take 24 KiB, which leaves
/// the first-level cache some room for the states of few groups.
inline constexpr int64_t kValueBlockRows = 2048;

/// What doubles are read for: values, as they lie, or keys, with one NaN and one zero.
enum class ValueForm : uint8_t { kValue, kKey };

/// Consecutive rows of one column.
struct ValueBlock {
  int64_t count = 0;
  const uint64_t* words = nullptr;    ///< of kinds that are words: as KeyColumn::LoadWords, but see ValueForm
  const uint8_t* valid = nullptr;     ///< one byte per row, 0 where null; nullptr: no row is
  const KeyColumn* column = nullptr;  ///< of the other kinds (decimals, text), and nothing of nested ones
  bool floats = false;                ///< words are doubles, of which NaN is missing too

  bool IsNull(int64_t i) const { return valid != nullptr && valid[i] == 0; }
  bool IsMissing(int64_t i) const { return IsNull(i) || (floats && std::isnan(std::bit_cast<double>(words[i]))); }
};

/// Reads a column block by block. What is encoded (dictionaries, run ends) is decoded once, when it is made.
class ValueReader {
 public:
  /// Any column, also nested ones, of which only nulls can be told. Memory for decoding out of `pool`.
  static arrow::Result<ValueReader> Make(arrow::MemoryPool* pool, const std::shared_ptr<arrow::ArrayData>& data,
                                         const std::string& name, ValueForm form = ValueForm::kValue);
  /// Rows [begin, begin + rows) of a column that was dealt into partitions, which outlive the reader.
  static arrow::Result<ValueReader> OfCarried(arrow::MemoryPool* pool, const CarriedColumn& carried, int64_t begin,
                                              int64_t rows, const std::string& name);

  /// The block is good until the next Read. At most kValueBlockRows.
  ValueBlock Read(int64_t offset, int64_t count);

 private:
  std::optional<KeyColumn> column_;
  KeyColumn block_column_;
  std::shared_ptr<arrow::Array> nested_;   // where there is no column
  const uint64_t* plain_words_ = nullptr;  // where words are the values as they lie
  const uint8_t* bytes_valid_ = nullptr;
  bool has_bitmap_ = false;
  bool floats_ = false;
  std::vector<uint64_t> words_;
  std::vector<uint8_t> valid_;
};

}  // namespace cylon
