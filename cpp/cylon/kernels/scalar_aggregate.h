/// One rank's part of an aggregate over whole columns, and how parts are merged.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/group_by.h"

namespace cylon {

/// `aggregates` over all rows at once: one row, one column per aggregate.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateLocal(
    const std::shared_ptr<Resources>& resources, const Table& input, const std::vector<AggregateSpec>& aggregates);
/// The state of `aggregates` over all rows: one row of state columns, as GroupByPartial without keys,
/// so not of aggregates that GroupByNeedsRows.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregatePartial(
    const std::shared_ptr<Resources>& resources, const Table& input, const std::vector<AggregateSpec>& aggregates);
/// Merges such rows and computes the results: one row, one column per aggregate. Sum of nothing is 0; others null.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateMerge(
    const std::shared_ptr<Resources>& resources, const std::vector<std::shared_ptr<arrow::RecordBatch>>& partials,
    const std::shared_ptr<arrow::Schema>& input_schema, const std::vector<AggregateSpec>& aggregates);

}  // namespace cylon
