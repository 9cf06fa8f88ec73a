// How much a kernel takes on at a time.
#include "cylon/kernels/working_set.h"

#include <numeric>

#include "cylon/kernels/hash.h"
#include "cylon/kernels/hash_columns.h"
#include "cylon/kernels/partition.h"

namespace cylon {

int64_t RowBytes(const Table& table) { return 8 + (table.num_rows() == 0 ? 0 : table.num_bytes() / table.num_rows()); }

int64_t MorselRows(Resources& resources, int64_t row_bytes) {
  const Options& options = resources.options();
  // A thread holds its morsel, the hashes of it and its results: a thirty-second of the budget for each.
  const int64_t bytes = resources.memory()->limit() / (int64_t{32} * std::max(1, options.threads));
  return std::clamp<int64_t>(bytes / std::max<int64_t>(row_bytes, 1),
                             std::min<int64_t>(kLeastRows, options.morsel_rows),
                             std::max<int64_t>(options.morsel_rows, 1));
}

bool TooLargeForMemory(Resources& resources, int64_t bytes) { return bytes > resources.memory()->limit() / 4; }

arrow::Status ForEachMorsel(
    Resources& resources, const Table& table, int64_t rows,
    const std::function<arrow::Status(const std::shared_ptr<arrow::RecordBatch>&, int64_t)>& function,
    const std::function<arrow::Status(int64_t)>& merge) {
  struct Morsel {
    std::shared_ptr<Chunk> chunk;
    int64_t offset;
    int64_t length;
  };
  std::vector<Morsel> morsels;
  for (const auto& chunk : table.chunks()) {
    for (int64_t offset = 0; offset < chunk->num_rows(); offset += rows) {
      morsels.push_back({chunk, offset, std::min(rows, chunk->num_rows() - offset)});
    }
  }
  const auto count = static_cast<int64_t>(morsels.size());
  const int64_t wave = resources.arena().threads();
  std::vector<std::shared_ptr<arrow::RecordBatch>> pins;
  for (int64_t begin = 0; begin < count; begin += wave) {
    const int64_t end = std::min(begin + wave, count);
    // A chunk that goes on into this wave stays pinned: a spilled one would be read again for every morsel.
    const auto last = pins.empty() ? nullptr : pins.back();
    pins.assign(end - begin, nullptr);
    ARROW_RETURN_NOT_OK(resources.arena().ParallelFor(end - begin, [&](int64_t i) {
      const Morsel& morsel = morsels[begin + i];
      ARROW_ASSIGN_OR_RAISE(pins[i], morsel.chunk->Pin());
      return function(morsel.length == pins[i]->num_rows() ? pins[i] : pins[i]->Slice(morsel.offset, morsel.length),
                      begin + i);
    }));
    for (int64_t i = begin; i < end && merge != nullptr; ++i) {
      ARROW_RETURN_NOT_OK(merge(i));
    }
  }
  return arrow::Status::OK();
}

uint32_t PartitionsFor(Resources& resources, int64_t bytes) {
  const int64_t share = std::max<int64_t>(resources.memory()->limit() / 8, 1);
  return static_cast<uint32_t>(std::clamp<int64_t>(bytes / share + 1, 2, 64));
}

arrow::Result<std::vector<Table>> PartitionTable(const std::shared_ptr<Resources>& resources, const Table& input,
                                                 const std::vector<int>& keys, int level, uint32_t count,
                                                 bool number_rows) {
  auto schema = input.schema();
  if (number_rows) {
    ARROW_ASSIGN_OR_RAISE(schema, schema->AddField(schema->num_fields(), arrow::field("row", arrow::int64(), false)));
  }
  std::vector<TableBuilder> builders(count, TableBuilder(resources, schema));
  int64_t first_row = 0;
  // One morsel at a time: what is cut here lies on disk soon, and the disk is what takes the time.
  const int64_t morsel_rows = MorselRows(*resources, RowBytes(input));
  for (const auto& chunk : input.chunks()) {
    ARROW_ASSIGN_OR_RAISE(const auto pinned, chunk->Pin());
    for (int64_t offset = 0; offset < chunk->num_rows(); offset += morsel_rows) {
      auto batch = pinned->Slice(offset, morsel_rows);
      std::vector<uint64_t> hashes;
      ARROW_RETURN_NOT_OK(HashRows(*batch, keys, &hashes));
      std::vector<uint32_t> destinations(hashes.size());
      for (size_t i = 0; i < hashes.size(); ++i) {
        destinations[i] = PartitionOf(RehashForLevel(hashes[i], level), count);
      }
      if (number_rows) {
        ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> numbers,
                              arrow::AllocateBuffer(batch->num_rows() * 8, resources->memory()));
        std::iota(numbers->mutable_data_as<int64_t>(), numbers->mutable_data_as<int64_t>() + batch->num_rows(),
                  first_row);
        first_row += batch->num_rows();
        auto columns = batch->columns();
        columns.push_back(std::make_shared<arrow::Int64Array>(batch->num_rows(), numbers));
        batch = arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns));
      }
      ARROW_ASSIGN_OR_RAISE(auto pieces, PartitionBatch(*resources, *batch, destinations, count));
      for (uint32_t k = 0; k < count; ++k) {
        if (pieces[k] != nullptr) {
          ARROW_RETURN_NOT_OK(builders[k].Append(std::move(pieces[k])));
        }
      }
    }
  }
  std::vector<Table> result;
  result.reserve(count);
  for (auto& builder : builders) {
    result.push_back(builder.Finish());
  }
  return result;
}

}  // namespace cylon
