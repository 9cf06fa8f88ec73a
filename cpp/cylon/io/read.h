/// Reading files into distributed tables.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/table/table.h"

namespace cylon {

struct ParquetReadOptions {
  std::vector<std::string> columns;  ///< empty: all
};

/// Files, folders (their *.parquet files, sorted) and globs. Row groups are dealt to ranks in contiguous runs of about
/// even row counts, so the global order is that of the files. Collective. Every file has to have one schema (columns in
/// any order; Invalid names the file that differs). A missing or corrupt file is an error at every rank that names the
/// file; nothing is read twice or left out. OutOfMemory at every rank, before any rows are read, where a row group
/// alone takes more than its rank's budget.
CYLON_EXPORT arrow::Result<Table> ReadParquet(Context& context, const std::vector<std::string>& paths,
                                              const ParquetReadOptions& options = {},
                                              std::source_location location = std::source_location::current());

struct CsvReadOptions {
  char delimiter = ',';
  char quote = '"';
  bool has_header = true;                              ///< false: columns are named f0, f1, …
  std::vector<std::string> names;                      ///< instead of the header's
  std::vector<std::string> columns;                    ///< only these; empty: all
  std::optional<std::vector<std::string>> null_words;  ///< nothing: pandas' own list; applies to strings too
  std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>> types;  ///< instead of inferring
  bool newlines_in_quotes =
      false;  ///< a quoted value may hold line ends: each rank then scans its range's quotes first
};

/// Files, folders (*.csv) and globs, split among ranks by byte range: a line belongs to the rank in whose range it
/// begins. Types are inferred by each rank over its whole range, then promoted to one that holds all ranks' values
/// (int64 → double → string; …). Collective. Errors name file and byte or line.
CYLON_EXPORT arrow::Result<Table> ReadCsv(Context& context, const std::vector<std::string>& paths,
                                          const CsvReadOptions& options = {},
                                          std::source_location location = std::source_location::current());

/// Files that `paths` mean, sorted within each; IOError for a path that does not exist, Invalid for a folder or glob
/// without a match.
CYLON_EXPORT arrow::Result<std::vector<std::string>> ExpandPaths(const std::vector<std::string>& paths,
                                                                 std::string_view extension);

}  // namespace cylon
