/// Blocks of whole CSV lines, and record batches out of them.
#pragma once

#include <arrow/csv/options.h>
#include <arrow/csv/parser.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/io/csv_layout.h"
#include "cylon/io/csv_types.h"

namespace cylon::csv {

/// Whole lines of one file: bytes [begin, end).
struct Block {
  int64_t begin = 0;
  int64_t end = 0;
  std::shared_ptr<arrow::Buffer> text;
};

/// Cuts [begin, end) of a file, which begins and ends where lines do, into blocks of about `block_bytes`.
class CYLON_EXPORT BlockCutter {
 public:
  BlockCutter(const File* file, const LineScanner* scanner, int64_t begin, int64_t end, int64_t block_bytes)
      : file_(file), scanner_(scanner), begin_(begin), end_(end), block_bytes_(block_bytes) {}

  /// The next block, nothing at the end. Invalid for a line of 1 GiB or more.
  arrow::Result<std::optional<Block>> Next();

 private:
  const File* file_;
  const LineScanner* scanner_;
  int64_t begin_;
  int64_t end_;
  int64_t block_bytes_;
};

/// Rows of a block, and what their columns turned out to be.
struct Parsed {
  std::vector<Kind> kinds;
  std::shared_ptr<arrow::RecordBatch> batch;
};

/// Parses and converts blocks. Thread-safe: blocks may be converted side by side.
class CYLON_EXPORT BlockConverter {
 public:
  BlockConverter(const CsvReadOptions& options, std::vector<Column> columns, arrow::MemoryPool* pool);

  const std::vector<Column>& columns() const { return columns_; }

  /// `positions` as MatchColumns gives them. Each column without a type is read as `kinds` says, or as the first kind
  /// above it that all its values can be read as. Invalid with file, line and byte for a row with too few or too many
  /// values, a quote that is not closed, a line end in quotes where they were not expected, text that is not UTF-8, and
  /// a value that does not fit the type asked for.
  arrow::Result<Parsed> Convert(const File& file, const std::vector<int>& positions, const Block& block,
                                const std::vector<Kind>& kinds) const;

  /// The schema of the result where columns are of `kinds`.
  std::shared_ptr<arrow::Schema> SchemaOf(const std::vector<Kind>& kinds) const;

 private:
  arrow::Result<std::shared_ptr<arrow::Array>> ConvertColumn(const arrow::csv::BlockParser& parser, int position,
                                                             const Column& column, Kind* kind) const;
  /// A row with the wrong number of values.
  struct Ragged {
    int64_t row = 0;  // of the block
    int32_t values = 0;
    std::string text;
  };

  /// Offset of the first line that ends inside a quoted value.
  std::optional<size_t> OpenLine(std::string_view text) const;
  /// The same for text of which `rows` rows were parsed, quickly where there is none.
  std::optional<size_t> LineEndInQuotes(std::string_view text, int64_t rows) const;
  /// Offset of a quote that is not closed at the end of the text.
  std::optional<size_t> OpenQuote(std::string_view text) const;
  arrow::Status CheckQuotes(const File& file, const Block& block, int64_t rows) const;
  arrow::Status RaggedError(const File& file, const Block& block, const Ragged& ragged) const;
  arrow::Status ValueError(const File& file, const Block& block, const std::string& column,
                           const arrow::Status& status) const;

  std::vector<Column> columns_;
  LineScanner lines_;   // as the ranges are cut
  LineScanner quoted_;  // as the parser sees quotes
  arrow::MemoryPool* pool_;
  arrow::csv::ParseOptions parse_;
  arrow::csv::ConvertOptions convert_;
};

}  // namespace cylon::csv
