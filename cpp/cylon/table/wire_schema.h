/// A schema as it travels, and batches as the schema of their table again.
#pragma once

#include <arrow/api.h>

#include <memory>

#include "cylon/base/export.h"

namespace cylon {

/// `schema` with what its extension types are stored as, and without metadata: nothing that somebody's registry of
/// types would look up by a name in the bytes, and the same bytes from every rank whose columns are the same.
std::shared_ptr<arrow::Schema> WireSchema(const arrow::Schema& schema);

/// Dictionaries that a stream of batches with `schema` has: of columns, and inside them.
int CountDictionaries(const arrow::Schema& schema);

/// `batch` with `schema`, whose types differ at most in being extension types over the batch's, or the other way
/// round. TypeError otherwise.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::RecordBatch>> WithSchema(
    const std::shared_ptr<arrow::RecordBatch>& batch, const std::shared_ptr<arrow::Schema>& schema);

namespace internal {

/// What `type` is stored as, where it is an extension type.
const arrow::DataType& StorageOf(const arrow::DataType& type);

}  // namespace internal

}  // namespace cylon
