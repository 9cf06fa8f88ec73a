/// The parts that gathering is made of, one function per family of types.
#pragma once

#include <arrow/util/bit_util.h>

#include "cylon/kernels/gather.h"

namespace cylon::gather {

using DataPointer = std::shared_ptr<arrow::ArrayData>;
using TypePointer = std::shared_ptr<arrow::DataType>;
using Sources = std::span<const DataPointer>;

/// The validity bits of a result; no bitmap where nothing is null.
struct Validity {
  std::shared_ptr<arrow::Buffer> bitmap;
  int64_t null_count = 0;
  bool IsValid(int64_t i) const { return bitmap == nullptr || arrow::bit_util::GetBit(bitmap->data(), i); }
};

arrow::Result<Validity> GatherValidity(arrow::MemoryPool* pool, Sources sources, const RowRefs& refs);

/// Buffer number `buffer` of the sources as values of `width` bytes; zeros where the row is -1. Widths other than 1, 2,
/// 4, 8, 16 and 32 only for buffer 1.
arrow::Result<std::shared_ptr<arrow::Buffer>> GatherFixedBuffer(arrow::MemoryPool* pool, Sources sources, int buffer,
                                                                int64_t width, const RowRefs& refs);
arrow::Result<DataPointer> GatherFixed(arrow::MemoryPool* pool, const TypePointer& type, int64_t width, Sources sources,
                                       const RowRefs& refs);

arrow::Status TooLarge(const arrow::DataType& type, int64_t rows);

arrow::Result<DataPointer> GatherDictionary(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                            const RowRefs& refs);
arrow::Result<DataPointer> GatherExtension(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                           const RowRefs& refs);
arrow::Result<DataPointer> GatherList(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                      const RowRefs& refs);
arrow::Result<DataPointer> GatherFixedSizeList(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                               const RowRefs& refs);
arrow::Result<DataPointer> GatherStruct(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                        const RowRefs& refs);
arrow::Result<DataPointer> GatherSparseUnion(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                             const RowRefs& refs);
arrow::Result<DataPointer> GatherDenseUnion(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                            const RowRefs& refs);
arrow::Result<DataPointer> GatherRunEndEncoded(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                               const RowRefs& refs);

}  // namespace cylon::gather
