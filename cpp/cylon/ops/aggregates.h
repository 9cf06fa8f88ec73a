/// Aggregates as users name them: which columns they are of, what they are called, how messages write them.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "cylon/kernels/group_by.h"
#include "cylon/ops/group_by.h"

namespace cylon::internal {

/// For the kernels. KeyError for an unknown column; Invalid where a result has a name of `taken`, or two have one.
arrow::Result<std::vector<AggregateSpec>> FindAggregates(const arrow::Schema& schema,
                                                         const std::vector<Aggregate>& aggregates,
                                                         std::set<std::string> taken);

/// "v_sum = sum(v), low = quantile(v) 0.1": for the details that ranks compare.
std::string Describe(const std::vector<Aggregate>& aggregates);

}  // namespace cylon::internal
