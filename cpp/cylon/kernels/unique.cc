// One rank's distinct rows.
#include "cylon/kernels/unique.h"

#include <algorithm>
#include <numeric>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/row_key.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

constexpr int kDeepestLevel = 4;

/// Beside the row: 26 bytes of a slot that is five eighths full, the row that stands for the key, and whether it is
/// alone.
constexpr int64_t kStateBytesPerRow = 40;

/// Rows `chosen` (ascending, by their number in the table) of `input`, chunk by chunk.
arrow::Status EmitRows(const std::shared_ptr<Resources>& resources, const Table& input,
                       const std::vector<int64_t>& chosen, TableBuilder* out) {
  size_t next = 0;
  int64_t start = 0;
  const int64_t piece = MorselRows(*resources, RowBytes(input));
  for (const auto& chunk : input.chunks()) {
    const int64_t end = start + chunk->num_rows();
    std::vector<int64_t> rows;
    while (next < chosen.size() && chosen[next] < end) {
      rows.push_back(chosen[next++] - start);
    }
    start = end;
    if (rows.empty()) {
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    if (static_cast<int64_t>(rows.size()) == batch->num_rows()) {
      ARROW_RETURN_NOT_OK(out->Append(chunk));
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const auto gatherer, RowGatherer::Make(resources->memory(), input.schema(), {batch}));
    for (size_t begin = 0; begin < rows.size(); begin += piece) {
      const size_t count = std::min<size_t>(piece, rows.size() - begin);
      ARROW_ASSIGN_OR_RAISE(auto part, gatherer.Gather(RowRefs{std::span(rows).subspan(begin, count), nullptr, false}));
      ARROW_RETURN_NOT_OK(out->Append(std::move(part)));
    }
  }
  return arrow::Status::OK();
}

/// The rows to keep, while the table of keys fits into memory.
arrow::Result<std::vector<int64_t>> ChooseRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                               const std::vector<int>& keys, Keep keep) {
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*input.schema(), keys));
  GroupMap map(resources->memory(), encoder);
  std::vector<int64_t> row_of;    // by key: the row that stands for it
  std::vector<uint8_t> repeated;  // by key
  int64_t start = 0;
  std::vector<std::pair<int64_t, KeyBatch>> encoded;
  std::mutex mutex;
  std::vector<uint32_t> numbers;
  std::vector<uint32_t> added;
  ARROW_RETURN_NOT_OK(ForEachMorsel(
      *resources, input, MorselRows(*resources, RowBytes(input)),
      [&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t index) {
        ARROW_ASSIGN_OR_RAISE(auto morsel, encoder.Encode(resources->memory(), *batch));
        std::lock_guard<std::mutex> lock(mutex);
        encoded.emplace_back(index, std::move(morsel));
        return arrow::Status::OK();
      },
      [&](int64_t index) {
        const auto found =
            std::find_if(encoded.begin(), encoded.end(), [&](const auto& entry) { return entry.first == index; });
        const KeyBatch morsel = std::move(found->second);
        encoded.erase(found);
        numbers.resize(morsel.num_rows);
        added.clear();
        ARROW_RETURN_NOT_OK(map.FindOrInsert(morsel, nullptr, morsel.num_rows, numbers.data(), &added));
        for (int64_t i = 0; i < morsel.num_rows; ++i) {
          if (numbers[i] == row_of.size()) {
            row_of.push_back(start + i);
            repeated.push_back(0);
          } else {
            repeated[numbers[i]] = 1;
            row_of[numbers[i]] = keep == Keep::kLast ? start + i : row_of[numbers[i]];
          }
        }
        start += morsel.num_rows;
        return arrow::Status::OK();
      }));
  std::vector<int64_t> chosen;
  for (size_t k = 0; k < row_of.size(); ++k) {
    if (keep != Keep::kNone || repeated[k] == 0) {
      chosen.push_back(row_of[k]);
    }
  }
  if (keep == Keep::kLast) {
    std::sort(chosen.begin(), chosen.end());
  }
  return chosen;
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
  ARROW_ASSIGN_OR_RAISE(const auto chosen, ChooseRows(resources, input, keys, keep));
  return EmitRows(resources, input, chosen, out);
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
  std::vector<int64_t> chosen;
  int64_t start = 0;
  for (const auto& chunk : mask.chunks()) {
    const auto& values = static_cast<const arrow::BooleanArray&>(*chunk);
    for (int64_t i = 0; i < values.length(); ++i) {
      if (values.IsValid(i) && values.Value(i)) {
        chosen.push_back(start + i);
      }
    }
    start += values.length();
  }
  TableBuilder out(resources, input.schema());
  ARROW_RETURN_NOT_OK(EmitRows(resources, input, chosen, &out));
  return out.Finish();
}

}  // namespace cylon
