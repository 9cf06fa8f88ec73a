/// Cuts record batches into one batch per destination.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/base/resources.h"

namespace cylon {

/// One batch for each of `count` destinations (nullptr where it gets no rows); row i goes to destinations[i]; rows keep
/// their order. Output memory comes from the rank's budget. Works for every Arrow type.
CYLON_EXPORT arrow::Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> PartitionBatch(
    Resources& resources, const arrow::RecordBatch& batch, std::span<const uint32_t> destinations, uint32_t count);

/// Where the hash of `keys` sends each row of `batch` among `count` destinations: PartitionOf its HashRows.
CYLON_EXPORT arrow::Status HashDestinations(const arrow::RecordBatch& batch, const std::vector<int>& keys,
                                            uint32_t count, std::vector<uint32_t>* destinations);

/// Rows `indices` of `batch`, in that order; an index of -1 gives a row of nulls (where the field is nullable). Every
/// Arrow type, view and nested ones too; the result shares no buffers with `batch` except dictionaries.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(Resources& resources,
                                                                         const arrow::RecordBatch& batch,
                                                                         std::span<const int64_t> indices);

/// The same rows in memory of their own where `batch` is a slice of, or views into, much larger buffers (string and
/// binary views, list views, dictionaries stay as they are): what is sent or spilled has to be compact.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::RecordBatch>> CompactBatch(
    Resources& resources, const std::shared_ptr<arrow::RecordBatch>& batch);

}  // namespace cylon
