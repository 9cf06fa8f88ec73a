/// Operators on tables whose results are known beforehand. Each as RunOperation.
#pragma once

#include <arrow/status.h>

#include <cstdint>

#include "cylon/cylon.h"

namespace cylon::chaos {

arrow::Status RunShuffle(Context& context, int64_t round, int64_t bytes);
arrow::Status RunJoin(Context& context, int64_t round, int64_t bytes);
arrow::Status RunSort(Context& context, int64_t round, int64_t bytes);
arrow::Status RunGroupBy(Context& context, int64_t round, int64_t bytes);

}  // namespace cylon::chaos
