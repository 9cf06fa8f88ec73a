/// Writing distributed tables to files.
#pragma once

#include <string>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/table/table.h"

namespace cylon {

struct ParquetWriteOptions {
  std::string compression = "snappy";  ///< none, snappy, zstd, lz4, gzip
  int64_t row_group_rows = 1 << 20;
  bool overwrite = true;  ///< false: Invalid where the folder has Parquet files
};

/// One file per rank in folder `directory`: part-00000.parquet … Under temporary names first (dot files), renamed only
/// after every rank has written and synced its own; a failure at any rank removes the temporary files everywhere and is
/// an error at every rank. With overwrite, Parquet files of an earlier, larger world are removed last. Collective.
CYLON_EXPORT arrow::Status WriteParquet(Context& context, const Table& table, const std::string& directory,
                                        const ParquetWriteOptions& options = {},
                                        std::source_location location = std::source_location::current());

}  // namespace cylon
