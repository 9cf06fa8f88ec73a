/// CSV files before their rows: headers, columns, and which bytes belong to which rank.
#pragma once

#include <arrow/buffer.h>
#include <arrow/io/file.h>
#include <arrow/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/io/csv_scan.h"
#include "cylon/io/read.h"

namespace cylon::csv {

inline std::string_view View(const arrow::Buffer& buffer) { return static_cast<std::string_view>(buffer); }

/// Bytes [begin, end) of a file, by its index.
struct Segment {
  int64_t file = 0;
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const Segment&) const = default;
};

/// The part of `rank`: files laid end to end are cut into `world_size` ranges whose sizes differ by at most a byte.
/// Pure.
CYLON_EXPORT std::vector<Segment> PlanSegments(const std::vector<int64_t>& sizes, int rank, int world_size);

/// The words that pandas reads as null.
CYLON_EXPORT const std::vector<std::string>& PandasNullWords();

/// One file, opened once.
struct File {
  std::string path;
  int64_t size = 0;
  std::shared_ptr<arrow::io::RandomAccessFile> source;
  int64_t data_begin = 0;          ///< behind the byte order mark and the header
  std::vector<std::string> names;  ///< of its columns, as the header has them; empty where the file is
};

/// Opens `path` and reads its header. `size` is what all ranks agreed on. IOError or Invalid with the path.
CYLON_EXPORT arrow::Result<File> OpenFile(const std::string& path, int64_t size, const CsvReadOptions& options,
                                          const LineScanner& scanner, arrow::MemoryPool* pool);

/// A column of the result.
struct Column {
  std::string name;
  size_t source = 0;                      ///< position in the first file's header
  std::shared_ptr<arrow::DataType> type;  ///< asked for; nullptr: inferred
};

/// Columns of the result out of the first file's header. KeyError for an unknown name, Invalid for the wrong number.
CYLON_EXPORT arrow::Result<std::vector<Column>> PlanColumns(const File& first, const CsvReadOptions& options);

/// By column of the result, its position in `file`: columns may come in another order than in `first`. Invalid where
/// they are not the same columns.
CYLON_EXPORT arrow::Result<std::vector<int>> MatchColumns(const File& first, const File& file, bool has_header,
                                                          const std::vector<Column>& columns);

/// Up to `bytes` bytes from `offset`, fewer at the end of the file. IOError with the path.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::Buffer>> ReadBytes(const File& file, int64_t offset, int64_t bytes);

/// The state before byte `offset`, where line ends count in quotes too.
CYLON_EXPORT arrow::Result<State> PlainStateAt(const File& file, int64_t offset);

/// Where the first line begins at or behind `offset`, whose state is `state`; the file's size where none does.
CYLON_EXPORT arrow::Result<int64_t> FindLineBegin(const File& file, const LineScanner& scanner, int64_t offset,
                                                  State state);

/// Where the states lead from byte `begin` to `end`.
CYLON_EXPORT arrow::Result<StateMap> ScanStates(const File& file, const LineScanner& scanner, int64_t begin,
                                                int64_t end);

/// "flights.csv, line 3 (byte 71)", for errors. Reads what lies before, unless that is more than 256 MiB.
CYLON_EXPORT std::string Place(const File& file, int64_t offset);

}  // namespace cylon::csv
