// One rank's distinct rows.
#include "cylon/kernels/unique.h"

#include <algorithm>
#include <numeric>

#include "cylon/kernels/distinct.h"
#include "cylon/kernels/gather.h"
#include "cylon/kernels/row_key.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

constexpr int kDeepestLevel = 4;

/// Beside the row: its partition, word, number and slot, and whether it is kept.
constexpr int64_t kStateBytesPerRow = 2 + 8 + 4 + 8 + 1;

/// The rows of `input` whose byte in `kept` is not 0, in their order.
arrow::Status EmitRows(const std::shared_ptr<Resources>& resources, const Table& input, const uint8_t* kept,
                       TableBuilder* out) {
  const int64_t piece_rows = MorselRows(*resources, RowBytes(input));
  const int64_t wave = resources->arena().threads();
  for (const auto& chunk : input.chunks()) {
    const uint8_t* here = kept;
    kept += chunk->num_rows();
    if (std::all_of(here, kept, [](uint8_t byte) { return byte != 0; })) {
      ARROW_RETURN_NOT_OK(out->Append(chunk));
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
        ARROW_RETURN_NOT_OK(out->Append(std::move(piece)));
      }
    }
  }
  return arrow::Status::OK();
}

/// Cuts the table by hash until the keys of a part fit, and appends each part's rows.
arrow::Status UniqueParts(const std::shared_ptr<Resources>& resources, const Table& input, const std::vector<int>& keys,
                          Keep keep, int level, bool number_rows, TableBuilder* out) {
  const int64_t bytes = input.num_bytes() + input.num_rows() * kStateBytesPerRow;
  if (level < kDeepestLevel && input.num_rows() > 256 && TooLargeForMemory(*resources, bytes)) {
    const uint32_t count = PartitionsFor(*resources, bytes);
    ARROW_ASSIGN_OR_RAISE(auto parts, PartitionTable(resources, input, keys, level + 1, count, number_rows));
    for (auto& part : parts) {
      ARROW_RETURN_NOT_OK(UniqueParts(resources, part, keys, keep, level + 1, false, out));
      part = Table();
    }
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const auto kept, MarkDistinctRows(resources, input, keys, keep));
  return EmitRows(resources, input, kept->data(), out);
}

}  // namespace

arrow::Result<Table> UniqueRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                const std::vector<int>& keys, Keep keep) {
  ARROW_RETURN_NOT_OK(KeyEncoder::Make(*input.schema(), keys).status());
  const int64_t bytes = input.num_bytes() + input.num_rows() * kStateBytesPerRow;
  if (!TooLargeForMemory(*resources, bytes) || input.num_rows() <= 256) {
    TableBuilder out(resources, input.schema());
    ARROW_RETURN_NOT_OK(UniqueParts(resources, input, keys, keep, kDeepestLevel, false, &out));
    return out.Finish();
  }
  // Parts lose the order of the rows; a column with their numbers brings it back.
  const int last = input.num_columns();
  ARROW_ASSIGN_OR_RAISE(auto schema, input.schema()->AddField(last, arrow::field("row", arrow::int64(), false)));
  TableBuilder numbered(resources, std::move(schema));
  ARROW_RETURN_NOT_OK(UniqueParts(resources, input, keys, keep, 0, true, &numbered));
  ARROW_ASSIGN_OR_RAISE(const auto sorted, SortTable(resources, numbered.Finish(), {SortKey{last}}));
  std::vector<int> columns(last);
  std::iota(columns.begin(), columns.end(), 0);
  return sorted.SelectColumns(columns);
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
  TableBuilder out(resources, input.schema());
  ARROW_RETURN_NOT_OK(EmitRows(resources, input, kept->data(), &out));
  return out.Finish();
}

}  // namespace cylon
