// One rank's distinct rows.
#include "cylon/kernels/unique.h"

#include <algorithm>
#include <numeric>

#include "cylon/kernels/distinct.h"
#include "cylon/kernels/gather.h"
#include "cylon/kernels/marked_rows.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

arrow::Result<std::shared_ptr<arrow::Buffer>> MarkUniqueRows(const std::shared_ptr<Resources>& resources,
                                                             const Table& input, const std::vector<int>& keys,
                                                             Keep keep) {
  std::vector<int> all(keys.size());
  std::iota(all.begin(), all.end(), 0);
  return MarkRows(resources, input, keys,
                  [&](const Table& columns) { return MarkDistinctRows(resources, columns, all, keep); });
}

arrow::Result<Table> KeepRows(const std::shared_ptr<Resources>& resources, const Table& input, const uint8_t* kept) {
  TableBuilder out(resources, input.schema());
  const int64_t piece_rows = MorselRows(*resources, RowBytes(input));
  const int64_t wave = resources->arena().threads();
  for (const auto& chunk : input.chunks()) {
    const uint8_t* here = kept;
    kept += chunk->num_rows();
    if (std::all_of(here, kept, [](uint8_t byte) { return byte != 0; })) {
      ARROW_RETURN_NOT_OK(out.Append(chunk));
      continue;
    }
    if (std::all_of(here, kept, [](uint8_t byte) { return byte == 0; })) {
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    ARROW_ASSIGN_OR_RAISE(const auto gatherer, RowGatherer::Make(resources->memory(), input.schema(), {batch}));
    const int64_t pieces = (batch->num_rows() + piece_rows - 1) / piece_rows;
    for (int64_t first = 0; first < pieces; first += wave) {
      std::vector<std::shared_ptr<arrow::RecordBatch>> gathered(std::min(wave, pieces - first));
      ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(static_cast<int64_t>(gathered.size()), [&](int64_t i) {
        const int64_t begin = (first + i) * piece_rows;
        const int64_t end = std::min(begin + piece_rows, batch->num_rows());
        // Without a branch on a byte that nobody can predict.
        std::vector<int64_t> rows(end - begin);
        size_t count = 0;
        for (int64_t row = begin; row < end; ++row) {
          rows[count] = row;
          count += here[row] != 0 ? 1 : 0;
        }
        return gatherer.Gather(RowRefs{std::span(rows).first(count), nullptr, false}).Value(&gathered[i]);
      }));
      for (auto& piece : gathered) {
        ARROW_RETURN_NOT_OK(out.Append(std::move(piece)));
      }
    }
  }
  return out.Finish();
}

arrow::Result<Table> UniqueRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                const std::vector<int>& keys, Keep keep) {
  ARROW_ASSIGN_OR_RAISE(const auto kept, MarkUniqueRows(resources, input, keys, keep));
  return KeepRows(resources, input, kept->data());
}

arrow::Result<Table> FilterRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                const arrow::ChunkedArray& mask) {
  if (mask.type()->id() != arrow::Type::BOOL) {
    return arrow::Status::TypeError("a mask of type ", mask.type()->ToString(),
                                    " cannot filter rows; it must be boolean, for example the result of a comparison");
  }
  if (mask.length() != input.num_rows()) {
    return arrow::Status::Invalid("a mask of ", mask.length(), " values cannot filter a table of ", input.num_rows(),
                                  " rows; it needs one value for each row");
  }
  ARROW_ASSIGN_OR_RAISE(const std::shared_ptr<arrow::Buffer> kept,
                        arrow::AllocateBuffer(mask.length(), resources->memory()));
  uint8_t* next = kept->mutable_data();
  for (const auto& chunk : mask.chunks()) {
    const auto& values = static_cast<const arrow::BooleanArray&>(*chunk);
    for (int64_t i = 0; i < values.length(); ++i) {
      *next++ = static_cast<uint8_t>(values.IsValid(i) && values.Value(i));
    }
  }
  return KeepRows(resources, input, kept->data());
}

}  // namespace cylon
