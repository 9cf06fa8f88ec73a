/// ReadCsv with the size of its blocks in the caller's hand, for tests of the seams.
#pragma once

#include "cylon/io/read.h"

namespace cylon::csv {

/// As ReadCsv; `block_bytes` of text are parsed at a time by each thread. Collective.
CYLON_EXPORT arrow::Result<Table> ReadCsvInBlocks(Context& context, const std::vector<std::string>& paths,
                                                  const CsvReadOptions& options, int64_t block_bytes);

}  // namespace cylon::csv
