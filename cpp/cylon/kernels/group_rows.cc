// What both ways of grouping share.
#include "cylon/kernels/group_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "cylon/kernels/partition.h"
#include "cylon/kernels/working_set.h"

namespace cylon::grouping {

namespace {

/// Rows whose groups are found together, by one thread, before they are merged with the others'.
constexpr int64_t kRangeRows = 1 << 18;
/// Merging a group costs about as much as adding a few rows to it.
constexpr int64_t kRowsPerGroup = 64;

/// 2^18 slots are 1 MiB, what a second-level cache holds.
constexpr int kMostDirectBits = 18;
/// Emptying a slot takes a tenth of a nanosecond, hashing and finding a row's key some ten.
constexpr int64_t kSlotsPerRow = 4;

/// Whether a key column of `type` is written back from its words as they are.
bool KeyIsItsWord(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::NA:
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::INTERVAL_DAY_TIME:
    case arrow::Type::INTERVAL_MONTH_DAY_NANO:
      return false;
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
      return true;
    default:
      return arrow::is_primitive(type.id());
  }
}

}  // namespace

arrow::Status StateSet::Open(arrow::MemoryPool* pool, const arrow::RecordBatch& batch) {
  for (size_t s = 0; s < states_.size(); ++s) {
    readers_[s].clear();
    for (int column : plan_.inputs[s]) {
      ARROW_ASSIGN_OR_RAISE(auto reader, ValueReader::Make(pool, batch.column_data(column), batch.column_name(column)));
      readers_[s].push_back(std::move(reader));
    }
  }
  return arrow::Status::OK();
}

arrow::Status StateSet::Add(int64_t offset, int64_t count, const uint32_t* numbers, int64_t groups,
                            const std::vector<uint8_t>& dropped) {
  for (size_t s = 0; s < states_.size(); ++s) {
    ARROW_RETURN_NOT_OK(states_[s]->Resize(groups));
    blocks_.clear();
    for (auto& reader : readers_[s]) {
      blocks_.push_back(reader.Read(offset, count));
    }
    if (blocks_.empty()) {
      blocks_.emplace_back().count = count;
    }
    if (plan_.merges) {
      ARROW_RETURN_NOT_OK(states_[s]->Merge(blocks_, numbers));
      continue;
    }
    if (!dropped.empty()) {
      valid_.resize(count);
      for (int64_t i = 0; i < count; ++i) {
        valid_[i] = static_cast<uint8_t>(dropped[numbers[i]] == 0 && !blocks_[0].IsNull(i));
      }
      blocks_[0].valid = valid_.data();
    }
    ARROW_RETURN_NOT_OK(states_[s]->Update(blocks_[0], numbers));
  }
  return arrow::Status::OK();
}

arrow::Status StateSet::Resize(int64_t groups) {
  for (auto& states : states_) {
    ARROW_RETURN_NOT_OK(states->Resize(groups));
  }
  return arrow::Status::OK();
}

arrow::Status StateSet::MergeFrom(const StateSet& other, const uint32_t* numbers, int64_t groups) {
  ARROW_RETURN_NOT_OK(Resize(groups));
  for (size_t s = 0; s < states_.size(); ++s) {
    ARROW_RETURN_NOT_OK(states_[s]->MergeFrom(*other.states_[s], numbers));
  }
  return arrow::Status::OK();
}

std::vector<OutputColumn> StateSet::MakeColumns(arrow::MemoryPool* pool) const {
  std::vector<OutputColumn> columns;
  for (const auto& field : plan_.finishes ? plan_.aggregates.ResultFields() : plan_.aggregates.StateFields()) {
    columns.emplace_back(pool, field->type());
  }
  return columns;
}

arrow::Status StateSet::Append(std::span<OutputColumn> columns) const {
  if (plan_.finishes) {
    for (size_t i = 0; i < columns.size(); ++i) {
      const auto& result = plan_.aggregates.results[i];
      ARROW_RETURN_NOT_OK(states_[result.states]->AppendResult(result.output, &columns[i]));
    }
    return arrow::Status::OK();
  }
  size_t column = 0;
  for (size_t s = 0; s < states_.size(); ++s) {
    const size_t width = plan_.aggregates.states[s].Fields().size();
    ARROW_RETURN_NOT_OK(states_[s]->AppendStates(columns.subspan(column, width)));
    column += width;
  }
  return arrow::Status::OK();
}

int64_t StateSet::group_bytes() const {
  int64_t bytes = 0;
  for (const auto& states : states_) {
    bytes += states->group_bytes();
  }
  return bytes;
}

arrow::FieldVector KeyFields(const arrow::Schema& schema, const GroupingPlan& plan) {
  arrow::FieldVector fields;
  for (int key : plan.keys) {
    fields.push_back(schema.field(key));
  }
  return fields;
}

bool KeysAreTheirWords(const arrow::Schema& schema, const std::vector<int>& keys, const KeyLayout& layout) {
  for (size_t k = 0; k < keys.size(); ++k) {
    const auto& type = *schema.field(keys[k])->type();
    if (layout.form() == KeyForm::kHash || !(layout.packed() ? layout.CanUnpack(k, type) : KeyIsItsWord(type))) {
      return false;
    }
  }
  return true;
}

int64_t RangeRows(Resources& resources, const Table& input, int64_t expected_groups) {
  const int64_t budget_rows = resources.memory()->limit() / (1024 * (RowBytes(input) + 64));
  const int64_t wanted_rows =
      std::min(std::max(kRangeRows, expected_groups * kRowsPerGroup), resources.options().morsel_rows);
  return std::clamp<int64_t>(wanted_rows, 64, std::max<int64_t>(budget_rows, 64));
}

int DirectBits(const KeyLayout& layout, int64_t rows) {
  const int bits = layout.packed() ? layout.bits() : kMostDirectBits + 1;
  return bits <= kMostDirectBits && int64_t{1} << bits <= kSlotsPerRow * rows ? bits : -1;
}

void DropMissing(const KeyLayout& layout, const uint64_t* first, const uint64_t* second, int64_t from, int64_t count,
                 std::vector<uint8_t>* dropped) {
  for (int64_t number = from; number < count; ++number) {
    if (layout.IsMissing(first[number], second == nullptr ? 0 : second[number])) {
      dropped->resize(count, 0);
      (*dropped)[number] = 1;
    }
  }
  if (!dropped->empty()) {
    dropped->resize(count, 0);
  }
}

arrow::Result<std::vector<uint8_t>> MissingKeys(arrow::MemoryPool* pool, const arrow::RecordBatch& keys) {
  std::vector<uint8_t> missing;
  for (int k = 0; k < keys.num_columns(); ++k) {
    ARROW_ASSIGN_OR_RAISE(auto reader, ValueReader::Make(pool, keys.column_data(k), keys.column_name(k)));
    for (int64_t begin = 0; begin < keys.num_rows(); begin += kValueBlockRows) {
      const auto block = reader.Read(begin, std::min(kValueBlockRows, keys.num_rows() - begin));
      for (int64_t i = 0; i < block.count; ++i) {
        if (block.IsMissing(i)) {
          missing.resize(keys.num_rows(), 0);
          missing[begin + i] = 1;
        }
      }
    }
  }
  return missing;
}

namespace {

arrow::Status AppendRange(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Schema>& schema,
                          const KeySource& keys, const arrow::ArrayVector& values, int64_t begin, int64_t count,
                          const std::vector<uint8_t>& dropped, std::vector<std::shared_ptr<Chunk>>* out) {
  auto key_arrays = keys(begin, count);
  if (key_arrays.status().IsCapacityError() && count > 1) {
    ARROW_RETURN_NOT_OK(AppendRange(resources, schema, keys, values, begin, count / 2, dropped, out));
    return AppendRange(resources, schema, keys, values, begin + count / 2, count - count / 2, dropped, out);
  }
  ARROW_ASSIGN_OR_RAISE(auto arrays, std::move(key_arrays));
  for (const auto& array : values) {
    arrays.push_back(array->length() == count ? array : array->Slice(begin, count));
  }
  auto batch = arrow::RecordBatch::Make(schema, count, std::move(arrays));
  if (!dropped.empty()) {
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < count; ++i) {
      if (dropped[begin + i] == 0) {
        kept.push_back(i);
      }
    }
    if (static_cast<int64_t>(kept.size()) < count) {
      ARROW_ASSIGN_OR_RAISE(batch, TakeRows(*resources, *batch, kept));
    }
  }
  if (batch->num_rows() > 0) {
    ARROW_ASSIGN_OR_RAISE(auto chunk, Chunk::Make(resources, std::move(batch), /*owned=*/true));
    out->push_back(std::move(chunk));
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Status AppendGroups(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Schema>& schema,
                           const KeySource& keys, std::vector<OutputColumn>* columns, int64_t groups,
                           const std::vector<uint8_t>& dropped, std::vector<std::shared_ptr<Chunk>>* out) {
  if (groups == 0) {
    return arrow::Status::OK();
  }
  arrow::ArrayVector values;
  for (auto& column : *columns) {
    ARROW_ASSIGN_OR_RAISE(auto array, column.Finish(groups));
    values.push_back(std::move(array));
  }
  return AppendRange(resources, schema, keys, values, 0, groups, dropped, out);
}

}  // namespace cylon::grouping
