/// How large the chunks of an exchange are.
#pragma once

#include <arrow/api.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <cstdint>

#include "cylon/base/resources.h"

namespace cylon::internal {

/// Below this the cost of a message outweighs its bytes.
inline constexpr int64_t kLeastChunkBytes = 16 << 10;
/// Share of the budget that one open chunk for each rank may take.
inline constexpr int64_t kChunkShare = 8;

/// Bytes of a chunk to one of `world_size` ranks.
inline int64_t ChunkBytes(Resources& resources, int world_size) {
  const int64_t share = resources.memory()->limit() / (kChunkShare * world_size);
  return std::max(std::min(resources.options().chunk_bytes, share), kLeastChunkBytes);
}

/// Rows of `batch` that take about `bytes`; at least 1.
inline int64_t RowsPerChunk(const arrow::RecordBatch& batch, int64_t bytes) {
  auto referenced = arrow::util::ReferencedBufferSize(batch);
  const int64_t total = std::max<int64_t>(1, referenced.ok() ? *referenced : arrow::util::TotalBufferSize(batch));
  if (total <= bytes) {
    return std::max<int64_t>(1, batch.num_rows());
  }
  const double share = static_cast<double>(bytes) / static_cast<double>(total);
  return std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(batch.num_rows())));
}

}  // namespace cylon::internal
