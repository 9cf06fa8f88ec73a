// The side of a join that is kept.
#include "cylon/kernels/join_build.h"

#include <algorithm>
#include <atomic>

#include "cylon/kernels/hash.h"
#include "cylon/kernels/hash_columns.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

constexpr int kPartLevel = 63;  // of RehashForLevel: one that no partitioning for memory reaches

}  // namespace

uint32_t JoinBuild::PartOf(uint64_t hash) const {
  return parts_.size() == 1 ? 0 : PartitionOf(RehashForLevel(hash, kPartLevel), static_cast<uint32_t>(parts_.size()));
}

arrow::Result<std::unique_ptr<JoinBuild>> JoinBuild::Make(const std::shared_ptr<Resources>& resources,
                                                          const Table& table, const std::vector<int>& keys,
                                                          NullKeys null_keys, const std::vector<int>& columns) {
  if (table.num_rows() >= static_cast<int64_t>(kNone)) {
    return arrow::Status::CapacityError("a join was to keep ", table.num_rows(), " rows of one side, more than ", kNone,
                                        "; use more ranks, or a smaller CYLON_MEMORY, so that it is cut into parts");
  }
  std::unique_ptr<JoinBuild> build(new JoinBuild());
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*table.schema(), keys));
  const int parts = table.num_rows() < (1 << 16) ? 1 : resources->arena().threads();
  for (int i = 0; i < parts; ++i) {
    build->parts_.emplace_back(resources->memory(), encoder);
  }
  build->next_.assign(table.num_rows(), kNone);
  const int64_t morsel_rows = resources->options().morsel_rows;
  struct Slice {
    std::shared_ptr<arrow::RecordBatch> batch;
    int64_t first_row;
  };
  std::vector<Slice> slices;
  std::vector<std::shared_ptr<arrow::RecordBatch>> projected;
  for (const auto& chunk : table.chunks()) {
    ARROW_ASSIGN_OR_RAISE(auto batch, chunk->Pin());
    for (int64_t offset = 0; offset < batch->num_rows(); offset += morsel_rows) {
      slices.push_back({batch->Slice(offset, morsel_rows), build->num_rows() + offset});
    }
    build->locator_.AddBatch(batch->num_rows());
    ARROW_ASSIGN_OR_RAISE(auto view, batch->SelectColumns(columns));
    projected.push_back(std::move(view));
    build->batches_.push_back(std::move(batch));
  }
  const size_t wave = resources->arena().threads();
  for (size_t begin = 0; begin < slices.size(); begin += wave) {
    const size_t count = std::min(wave, slices.size() - begin);
    std::vector<KeyBatch> encoded(count);
    ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(static_cast<int64_t>(count), [&](int64_t i) {
      ARROW_ASSIGN_OR_RAISE(encoded[i], encoder.Encode(resources->memory(), *slices[begin + i].batch));
      return arrow::Status::OK();
    }));
    ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(parts, [&](int64_t part) {
      for (size_t i = 0; i < count; ++i) {
        ARROW_RETURN_NOT_OK(
            build->Fill(static_cast<uint32_t>(part), encoded[i], null_keys, slices[begin + i].first_row));
      }
      // Where the first rows were nearly all distinct, the others will be: room at once instead of by doubling.
      auto& map = build->parts_[part].map;
      const int64_t seen = slices[begin + count - 1].first_row + slices[begin + count - 1].batch->num_rows();
      if (begin == 0 && map.size() * parts > seen / 2) {
        ARROW_RETURN_NOT_OK(map.Reserve(map.size() * table.num_rows() / seen));
      }
      return arrow::Status::OK();
    }));
  }
  int64_t distinct = 0;
  for (auto& part : build->parts_) {
    distinct += part.map.size();
    part.found.assign(part.map.size(), 0);
    part.tails = {};
  }
  if (distinct == table.num_rows()) {
    build->next_ = {};
  }
  auto schema = arrow::schema({});
  for (size_t i = 0; i < columns.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(schema, schema->AddField(static_cast<int>(i), table.schema()->field(columns[i])));
  }
  ARROW_ASSIGN_OR_RAISE(build->gatherer_, RowGatherer::Make(resources->memory(), schema, projected));
  return build;
}

arrow::Status JoinBuild::Fill(uint32_t index, const KeyBatch& keys, NullKeys null_keys, int64_t first_row) {
  Part& part = parts_[index];
  const bool drop_nulls = null_keys == NullKeys::kNeverMatch && !keys.nulls.empty();
  std::vector<uint32_t> rows;
  const bool all = parts_.size() == 1 && !drop_nulls;
  if (!all) {
    rows.reserve(keys.num_rows / parts_.size() + 1);
    for (int64_t i = 0; i < keys.num_rows; ++i) {
      if (PartOf(keys.hashes[i]) == index && !(drop_nulls && keys.IsNull(i))) {
        rows.push_back(static_cast<uint32_t>(i));
      }
    }
  }
  const int64_t count = all ? keys.num_rows : static_cast<int64_t>(rows.size());
  std::vector<uint32_t> numbers(count);
  std::vector<uint32_t> added;
  ARROW_RETURN_NOT_OK(part.map.FindOrInsert(keys, all ? nullptr : rows.data(), count, numbers.data(), &added));
  for (int64_t i = 0; i < count; ++i) {
    const auto row = static_cast<uint32_t>(first_row + (all ? i : rows[i]));
    if (numbers[i] == part.heads.size()) {
      part.heads.push_back(row);
      part.tails.push_back(row);
    } else {
      next_[part.tails[numbers[i]]] = row;
      part.tails[numbers[i]] = row;
    }
  }
  return arrow::Status::OK();
}

void JoinBuild::FindFirst(const KeyBatch& keys, bool mark, uint32_t* rows) {
  const auto resolve = [&](Part& part, uint32_t number) {
    if (number == kNone) {
      return kNone;
    }
    if (mark) {
      // Looked at first, so that a key that is found often is not written by all threads all the time.
      std::atomic_ref<uint8_t> found(part.found[number]);
      if (found.load(std::memory_order_relaxed) == 0) {
        found.store(1, std::memory_order_relaxed);
      }
    }
    return part.heads[number];
  };
  if (parts_.size() == 1) {
    parts_[0].map.Find(keys, nullptr, keys.num_rows, rows);
    for (int64_t i = 0; i < keys.num_rows; ++i) {
      rows[i] = resolve(parts_[0], rows[i]);
    }
    return;
  }
  std::vector<std::vector<uint32_t>> chosen(parts_.size());
  for (int64_t i = 0; i < keys.num_rows; ++i) {
    chosen[PartOf(keys.hashes[i])].push_back(static_cast<uint32_t>(i));
  }
  std::vector<uint32_t> numbers;
  for (size_t p = 0; p < parts_.size(); ++p) {
    numbers.resize(chosen[p].size());
    parts_[p].map.Find(keys, chosen[p].data(), static_cast<int64_t>(chosen[p].size()), numbers.data());
    for (size_t i = 0; i < numbers.size(); ++i) {
      rows[chosen[p][i]] = resolve(parts_[p], numbers[i]);
    }
  }
}

std::vector<uint32_t> JoinBuild::UnmatchedRows() const {
  std::vector<uint8_t> matched(num_rows(), 0);
  for (const auto& part : parts_) {
    for (size_t number = 0; number < part.found.size(); ++number) {
      for (uint32_t row = part.heads[number]; part.found[number] != 0 && row != kNone; row = Next(row)) {
        matched[row] = 1;
      }
    }
  }
  std::vector<uint32_t> rows;
  for (int64_t row = 0; row < num_rows(); ++row) {
    if (matched[row] == 0) {
      rows.push_back(static_cast<uint32_t>(row));
    }
  }
  return rows;
}

void JoinBuild::Locate(std::span<const uint32_t> rows, std::vector<int64_t>* positions,
                       std::vector<uint32_t>* sources) const {
  positions->resize(rows.size());
  sources->resize(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const uint32_t row = rows[i];
    if (row == kNone) {
      (*positions)[i] = -1;
      (*sources)[i] = 0;
      continue;
    }
    locator_.Locate(row, &(*sources)[i], &(*positions)[i]);
  }
}

}  // namespace cylon
