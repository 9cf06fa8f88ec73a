/// Values of any type as bytes that are equal exactly where the values are: what makes nested columns comparable as
/// keys.
#pragma once

#include <arrow/api.h>

#include <memory>

namespace cylon::internal {

/// A large_binary array without nulls, one value per row of `array`: its canonical bytes. Null, NaN and zero have one
/// form each; dictionaries and run-end encodings count as their values. NotImplemented for unions.
arrow::Result<std::shared_ptr<arrow::Array>> EncodeValues(const std::shared_ptr<arrow::Array>& array,
                                                          arrow::MemoryPool* pool);

}  // namespace cylon::internal
