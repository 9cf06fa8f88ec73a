// Grouping of rows with running aggregates.
#include "cylon/kernels/grouping.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/gather.h"
#include "cylon/kernels/hash.h"
#include "cylon/kernels/hash_columns.h"
#include "cylon/kernels/partition.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

constexpr int kPartLevel = 62;         // of RehashForLevel: one that no partitioning for memory reaches
constexpr int kDeepestLevel = 3;       // of partitioning: 64^3 parts are more than any table needs
constexpr int64_t kFewRows = 1 << 14;  // below this, one part: threads cost more than they save

/// A morsel with everything that is computed once for all parts.
struct Prepared {
  std::shared_ptr<arrow::RecordBatch> batch;
  KeyBatch keys;
  std::vector<uint32_t> rows;  // sorted by part; unused where there is one part and no row is dropped
  std::vector<int64_t> part_starts;
  std::vector<AggregateInput> inputs;  // of each column that is read, once
  const int64_t* first_rows = nullptr;
  int64_t first_row = 0;
  bool all_rows = false;
};

struct Part {
  Part(arrow::MemoryPool* pool, const KeyEncoder& encoder) : map(pool, encoder) {}
  GroupMap map;
  std::vector<std::shared_ptr<arrow::RecordBatch>> key_batches;
  int64_t key_bytes = 0;
  std::vector<int64_t> first_rows;
  std::vector<std::unique_ptr<AggregateState>> states;
};

/// Sets `nulls` where a float key is NaN: as missing as null when such keys are dropped.
arrow::Status MarkNaN(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, int key, std::vector<uint8_t>* nulls) {
  const auto& name = batch.column_name(key);
  ARROW_ASSIGN_OR_RAISE(const auto plain, KeyColumn::OfType(batch.column_data(key)->type, name));
  if (plain.kind() != KeyKind::kHalf && plain.kind() != KeyKind::kFloat && plain.kind() != KeyKind::kDouble) {
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::Make(pool, batch.column_data(key), name));
  std::vector<uint64_t> words(column.length());
  column.LoadWords(words.data());
  for (int64_t i = 0; i < column.length(); ++i) {
    if (std::isnan(std::bit_cast<double>(words[i]))) {
      nulls->resize(column.length(), 0);
      (*nulls)[i] = 1;
    }
  }
  return arrow::Status::OK();
}

class Grouping {
 public:
  /// With `keep_first_row` the first row's number is added as the last column.
  static arrow::Result<Table> Run(const std::shared_ptr<Resources>& resources, const Table& input,
                                  const GroupingPlan& plan, int level, bool keep_first_row);

 private:
  Grouping(std::shared_ptr<Resources> resources, const GroupingPlan& plan, KeyEncoder encoder)
      : resources_(std::move(resources)), plan_(plan), encoder_(std::move(encoder)) {
    for (const auto& columns : plan.inputs) {
      // Values that several aggregates read are decoded once; states have columns of their own.
      const auto found =
          columns.size() == 1 ? std::find(read_columns_.begin(), read_columns_.end(), columns[0]) : read_columns_.end();
      read_places_.push_back(static_cast<size_t>(found - read_columns_.begin()));
      if (found == read_columns_.end()) {
        read_columns_.insert(read_columns_.end(), columns.begin(), columns.end());
      }
    }
  }

  arrow::Status Start(int parts);
  arrow::Result<Prepared> Prepare(std::shared_ptr<arrow::RecordBatch> batch) const;
  arrow::Status Consume(Part& part, size_t index, const Prepared& morsel);
  int64_t num_bytes() const;
  int64_t num_groups() const;
  arrow::Result<std::shared_ptr<arrow::Schema>> SchemaOf(bool finishes, bool with_first_row) const;
  /// Gives out all groups, in the order of their first rows.
  arrow::Status Emit(bool finishes, const std::shared_ptr<arrow::Schema>& schema, bool with_first_row,
                     TableBuilder* out);
  arrow::Result<Table> MergeFlushed(Table flushed, int level, bool keep_first_row);

  std::shared_ptr<Resources> resources_;
  const GroupingPlan& plan_;
  KeyEncoder encoder_;
  std::shared_ptr<arrow::Schema> key_schema_;
  std::vector<int> read_columns_;    // that aggregates read
  std::vector<size_t> read_places_;  // by aggregate: where its columns begin among them
  std::vector<Part> parts_;
};

arrow::Status Grouping::Start(int parts) {
  parts_.clear();
  for (int i = 0; i < parts; ++i) {
    parts_.emplace_back(resources_->memory(), encoder_);
    for (const auto& aggregate : plan_.aggregates) {
      parts_.back().states.push_back(aggregate.MakeState());
    }
  }
  return arrow::Status::OK();
}

arrow::Result<Prepared> Grouping::Prepare(std::shared_ptr<arrow::RecordBatch> batch) const {
  Prepared result;
  result.batch = std::move(batch);
  ARROW_ASSIGN_OR_RAISE(result.keys, encoder_.Encode(resources_->memory(), *result.batch));
  const int64_t count = result.batch->num_rows();
  const auto parts = static_cast<uint32_t>(parts_.size());
  if (plan_.drop_null_keys) {
    for (int key : plan_.keys) {
      ARROW_RETURN_NOT_OK(MarkNaN(resources_->memory(), *result.batch, key, &result.keys.nulls));
    }
  }
  const bool drops = plan_.drop_null_keys && !result.keys.nulls.empty();
  result.all_rows = parts == 1 && !drops;
  result.part_starts.assign(parts + 1, 0);
  if (result.all_rows) {
    result.part_starts[1] = count;
  } else {
    // A stable counting sort of the row numbers by part; dropped rows are left out.
    std::vector<uint32_t> part_of(count);
    for (int64_t i = 0; i < count; ++i) {
      part_of[i] = drops && result.keys.IsNull(i)
                       ? parts
                       : PartitionOf(RehashForLevel(result.keys.hashes[i], kPartLevel), parts);
      result.part_starts[std::min(part_of[i], parts - 1) + 1] += part_of[i] < parts ? 1 : 0;
    }
    std::partial_sum(result.part_starts.begin(), result.part_starts.end(), result.part_starts.begin());
    result.rows.resize(result.part_starts[parts]);
    std::vector<int64_t> next(result.part_starts.begin(), result.part_starts.end() - 1);
    for (int64_t i = 0; i < count; ++i) {
      if (part_of[i] < parts) {
        result.rows[next[part_of[i]]++] = static_cast<uint32_t>(i);
      }
    }
  }
  for (int column : read_columns_) {
    ARROW_ASSIGN_OR_RAISE(auto input, AggregateInput::Make(resources_->memory(), result.batch->column_data(column),
                                                           result.batch->column_name(column)));
    result.inputs.push_back(std::move(input));
  }
  if (plan_.first_row_column >= 0) {
    result.first_rows = result.batch->column_data(plan_.first_row_column)->GetValues<int64_t>(1);
  }
  return result;
}

arrow::Status Grouping::Consume(Part& part, size_t index, const Prepared& morsel) {
  const int64_t begin = morsel.part_starts[index];
  const int64_t count = morsel.part_starts[index + 1] - begin;
  const uint32_t* rows = morsel.all_rows ? nullptr : morsel.rows.data() + begin;
  std::vector<uint32_t> numbers(count);
  std::vector<uint32_t> added;
  ARROW_RETURN_NOT_OK(part.map.FindOrInsert(morsel.keys, rows, count, numbers.data(), &added));
  if (!added.empty()) {
    std::vector<int64_t> positions(added.begin(), added.end());
    for (int64_t row : positions) {
      part.first_rows.push_back(morsel.first_rows == nullptr ? morsel.first_row + row : morsel.first_rows[row]);
    }
    ARROW_ASSIGN_OR_RAISE(auto keys, morsel.batch->SelectColumns(plan_.keys));
    ARROW_ASSIGN_OR_RAISE(keys, TakeRows(*resources_, *keys, positions));
    for (const auto& column : keys->column_data()) {
      for (const auto& buffer : column->buffers) {
        part.key_bytes += buffer == nullptr ? 0 : buffer->size();
      }
    }
    part.key_batches.push_back(std::move(keys));
  }
  const GroupedRows grouped{rows, numbers.data(), count};
  static const AggregateInput kNoInput{};
  for (size_t a = 0; a < part.states.size(); ++a) {
    AggregateState& state = *part.states[a];
    const auto inputs = std::span(morsel.inputs).subspan(read_places_[a], plan_.inputs[a].size());
    state.Resize(part.map.size());
    ARROW_RETURN_NOT_OK(plan_.merges ? state.Merge(inputs, grouped)
                                     : state.Update(inputs.empty() ? kNoInput : inputs[0], grouped));
  }
  return arrow::Status::OK();
}

int64_t Grouping::num_bytes() const {
  int64_t bytes = 0;
  for (const auto& part : parts_) {
    bytes += part.map.num_bytes() + part.key_bytes + static_cast<int64_t>(part.first_rows.size()) * 8;
    for (const auto& state : part.states) {
      bytes += state->num_bytes();
    }
  }
  return bytes;
}

int64_t Grouping::num_groups() const {
  int64_t groups = 0;
  for (const auto& part : parts_) {
    groups += part.map.size();
  }
  return groups;
}

arrow::Result<std::shared_ptr<arrow::Schema>> Grouping::SchemaOf(bool finishes, bool with_first_row) const {
  arrow::FieldVector fields = key_schema_->fields();
  for (const auto& aggregate : plan_.aggregates) {
    if (finishes) {
      fields.push_back(aggregate.result);
    } else {
      fields.insert(fields.end(), aggregate.states.begin(), aggregate.states.end());
    }
  }
  if (with_first_row) {
    fields.push_back(arrow::field("first row", arrow::int64(), false));
  }
  return arrow::schema(std::move(fields));
}

arrow::Status Grouping::Emit(bool finishes, const std::shared_ptr<arrow::Schema>& schema, bool with_first_row,
                             TableBuilder* out) {
  // Which part, and which group of it, comes when. Within a part they are in order already.
  struct Place {
    int64_t first_row;
    uint32_t part;
    uint32_t group;
  };
  std::vector<Place> places;
  places.reserve(num_groups());
  const int64_t row_bytes = 32 + num_bytes() / std::max<int64_t>(num_groups(), 1);
  std::vector<std::vector<std::pair<uint32_t, int64_t>>> key_places(parts_.size());  // by part: batch and row
  std::vector<std::shared_ptr<arrow::RecordBatch>> key_batches;
  std::vector<arrow::ArrayVector> columns(parts_.size());
  for (uint32_t p = 0; p < parts_.size(); ++p) {
    Part& part = parts_[p];
    for (uint32_t g = 0; g < part.first_rows.size(); ++g) {
      places.push_back({part.first_rows[g], p, g});
    }
    key_places[p].reserve(part.first_rows.size());
    for (const auto& batch : part.key_batches) {
      for (int64_t row = 0; row < batch->num_rows(); ++row) {
        key_places[p].emplace_back(static_cast<uint32_t>(key_batches.size()), row);
      }
      key_batches.push_back(batch);
    }
    for (auto& state : part.states) {
      state->Resize(part.map.size());
      if (finishes) {
        ARROW_ASSIGN_OR_RAISE(auto array, state->Result(resources_->memory()));
        columns[p].push_back(std::move(array));
      } else {
        ARROW_ASSIGN_OR_RAISE(auto arrays, state->StateArrays(resources_->memory()));
        columns[p].insert(columns[p].end(), arrays.begin(), arrays.end());
      }
      state.reset();
    }
  }
  if (parts_.size() > 1) {
    std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.first_row < b.first_row; });
  }
  ARROW_ASSIGN_OR_RAISE(const auto gatherer, RowGatherer::Make(resources_->memory(), key_schema_, key_batches));
  const int64_t piece = MorselRows(*resources_, row_bytes);
  const auto emit = [&](auto& self, int64_t begin, int64_t count) -> arrow::Status {
    std::vector<int64_t> rows(count);
    std::vector<uint32_t> sources(count);
    for (int64_t i = 0; i < count; ++i) {
      const Place& place = places[begin + i];
      std::tie(sources[i], rows[i]) = key_places[place.part][place.group];
    }
    auto keys = gatherer.Gather(RowRefs{rows, sources.data(), false});
    if (keys.status().IsCapacityError() && count > 1) {
      ARROW_RETURN_NOT_OK(self(self, begin, count / 2));
      return self(self, begin + count / 2, count - count / 2);
    }
    ARROW_RETURN_NOT_OK(keys.status());
    arrow::ArrayVector arrays = (*keys)->columns();
    std::vector<int64_t> first_rows(count);
    for (int64_t i = 0; i < count; ++i) {
      rows[i] = places[begin + i].group;
      sources[i] = places[begin + i].part;
      first_rows[i] = places[begin + i].first_row;
    }
    for (size_t c = 0; c < columns[0].size(); ++c) {
      std::vector<std::shared_ptr<arrow::ArrayData>> parts;
      for (const auto& part : columns) {
        parts.push_back(part[c]->data());
      }
      ARROW_ASSIGN_OR_RAISE(
          auto data, GatherArray(resources_->memory(), parts[0]->type, parts, RowRefs{rows, sources.data(), false}));
      arrays.push_back(arrow::MakeArray(data));
    }
    if (with_first_row) {
      ARROW_ASSIGN_OR_RAISE(auto numbers, aggregate::FixedArray(resources_->memory(), arrow::int64(), first_rows.data(),
                                                                8, count, nullptr));
      arrays.push_back(std::move(numbers));
    }
    return out->Append(arrow::RecordBatch::Make(schema, count, std::move(arrays)));
  };
  for (int64_t begin = 0; begin < static_cast<int64_t>(places.size()); begin += piece) {
    ARROW_RETURN_NOT_OK(emit(emit, begin, std::min(piece, static_cast<int64_t>(places.size()) - begin)));
  }
  return arrow::Status::OK();
}

arrow::Result<Table> Grouping::MergeFlushed(Table flushed, int level, bool keep_first_row) {
  GroupingPlan plan = plan_;
  plan.drop_null_keys = false;  // they are gone already
  plan.merges = true;
  std::iota(plan.keys.begin(), plan.keys.end(), 0);
  auto column = static_cast<int>(plan.keys.size());
  for (size_t a = 0; a < plan.aggregates.size(); ++a) {
    plan.inputs[a].clear();
    for (size_t k = 0; k < plan.aggregates[a].states.size(); ++k) {
      plan.inputs[a].push_back(column++);
    }
  }
  plan.first_row_column = column;
  const uint32_t count = PartitionsFor(*resources_, flushed.num_bytes() * 3);  // with the hash table around it
  ARROW_ASSIGN_OR_RAISE(auto tables, PartitionTable(resources_, flushed, plan.keys, level + 1, count));
  flushed = Table();
  for (auto& table : tables) {
    ARROW_ASSIGN_OR_RAISE(auto merged, Run(resources_, table, plan, level + 1, true));
    table = std::move(merged);
  }
  ARROW_ASSIGN_OR_RAISE(auto all, Table::Concatenate(tables));
  if (keep_first_row) {
    return all;  // the outermost level sorts
  }
  const int last = all.num_columns() - 1;
  ARROW_ASSIGN_OR_RAISE(auto sorted, SortTable(resources_, all, {SortKey{last}}));
  std::vector<int> columns(last);
  std::iota(columns.begin(), columns.end(), 0);
  return sorted.SelectColumns(columns);
}

arrow::Result<Table> Grouping::Run(const std::shared_ptr<Resources>& resources, const Table& input,
                                   const GroupingPlan& plan, int level, bool keep_first_row) {
  ARROW_ASSIGN_OR_RAISE(auto encoder, KeyEncoder::Make(*input.schema(), plan.keys));
  Grouping grouping(resources, plan, std::move(encoder));
  arrow::FieldVector key_fields;
  for (int key : plan.keys) {
    key_fields.push_back(input.schema()->field(key));
  }
  grouping.key_schema_ = arrow::schema(std::move(key_fields));
  const int parts = input.num_rows() < kFewRows ? 1 : resources->arena().threads();
  ARROW_RETURN_NOT_OK(grouping.Start(parts));
  ARROW_ASSIGN_OR_RAISE(const auto state_schema, grouping.SchemaOf(false, true));
  TableBuilder flushed(resources, state_schema);
  // A wave of morsels is prepared side by side, then each part takes its rows of all of them.
  std::vector<Prepared> wave;
  int64_t next_row = 0;
  std::mutex mutex;
  std::vector<std::pair<int64_t, Prepared>> prepared;
  ARROW_RETURN_NOT_OK(ForEachMorsel(
      *resources, input, MorselRows(*resources, RowBytes(input) + 16 * static_cast<int64_t>(plan.aggregates.size())),
      [&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t index) {
        ARROW_ASSIGN_OR_RAISE(auto morsel, grouping.Prepare(batch));
        std::lock_guard<std::mutex> lock(mutex);
        prepared.emplace_back(index, std::move(morsel));
        return arrow::Status::OK();
      },
      [&](int64_t index) {
        const auto found =
            std::find_if(prepared.begin(), prepared.end(), [&](const auto& entry) { return entry.first == index; });
        found->second.first_row = next_row;
        next_row += found->second.batch->num_rows();
        wave.push_back(std::move(found->second));
        prepared.erase(found);
        if (!prepared.empty()) {
          return arrow::Status::OK();
        }
        ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(parts, [&](int64_t p) {
          for (const auto& morsel : wave) {
            ARROW_RETURN_NOT_OK(grouping.Consume(grouping.parts_[p], p, morsel));
          }
          return arrow::Status::OK();
        }));
        wave.clear();
        if (level < kDeepestLevel && TooLargeForMemory(*resources, grouping.num_bytes()) &&
            grouping.num_groups() > 256) {
          ARROW_RETURN_NOT_OK(grouping.Emit(false, state_schema, true, &flushed));
          ARROW_RETURN_NOT_OK(grouping.Start(parts));
        }
        return arrow::Status::OK();
      }));
  if (flushed.num_rows() == 0) {
    ARROW_ASSIGN_OR_RAISE(const auto schema, grouping.SchemaOf(plan.finishes, keep_first_row));
    TableBuilder out(resources, schema);
    ARROW_RETURN_NOT_OK(grouping.Emit(plan.finishes, schema, keep_first_row, &out));
    return out.Finish();
  }
  ARROW_RETURN_NOT_OK(grouping.Emit(false, state_schema, true, &flushed));
  ARROW_RETURN_NOT_OK(grouping.Start(0));
  return grouping.MergeFlushed(flushed.Finish(), level, keep_first_row);
}

}  // namespace

arrow::Result<Table> GroupRows(const std::shared_ptr<Resources>& resources, const Table& input,
                               const GroupingPlan& plan) {
  return Grouping::Run(resources, input, plan, 0, false);
}

}  // namespace cylon
