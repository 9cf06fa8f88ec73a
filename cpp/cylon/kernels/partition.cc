// Cuts record batches into one batch per destination.
#include "cylon/kernels/partition.h"

#include <numeric>

#include "cylon/kernels/gather.h"

namespace cylon {

namespace {

/// Whether a buffer of `held` bytes is worth copying for the `used` bytes that are seen of it: where more than an
/// eighth (and more than a page) is dead weight.
bool Loose(int64_t held, int64_t used) { return held > used + used / 8 + 4096; }

int64_t SizeOf(const std::shared_ptr<arrow::Buffer>& buffer) { return buffer == nullptr ? 0 : buffer->size(); }

template <typename Offset>
int64_t UsedBytes(const arrow::ArrayData& data) {
  if (data.length == 0) {
    return 0;
  }
  const auto* offsets = data.GetValues<Offset>(1);
  return offsets[data.length] - offsets[0];
}

/// Child rows that the list views see; one that two lists share counts twice.
template <typename Offset>
int64_t ViewedChildRows(const arrow::ArrayData& data) {
  int64_t used = 0;
  for (int64_t i = 0; i < data.length; ++i) {
    used += data.IsNull(i) ? 0 : data.GetValues<Offset>(2)[i];
  }
  return used;
}

/// Whether the array holds on to much more memory than its rows need. Sliced nested types always count as loose.
bool IsLoose(const arrow::ArrayData& data) {
  using arrow::Type;
  if (Loose(SizeOf(data.buffers.empty() ? nullptr : data.buffers[0]), (data.length + 7) / 8)) {
    return true;
  }
  switch (data.type->id()) {
    case Type::NA:
      return false;
    case Type::BOOL:
      return Loose(SizeOf(data.buffers[1]), (data.length + 7) / 8);
    case Type::STRING:
    case Type::BINARY:
      return Loose(SizeOf(data.buffers[1]), data.length * 4) ||
             Loose(SizeOf(data.buffers[2]), UsedBytes<int32_t>(data));
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return Loose(SizeOf(data.buffers[1]), data.length * 8) ||
             Loose(SizeOf(data.buffers[2]), UsedBytes<int64_t>(data));
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW: {
      int64_t held = 0;
      for (size_t k = 2; k < data.buffers.size(); ++k) {
        held += SizeOf(data.buffers[k]);
      }
      int64_t used = 0;
      const auto* views = data.GetValues<arrow::BinaryViewType::c_type>(1);
      for (int64_t i = 0; i < data.length && held > 0; ++i) {
        if (!data.IsNull(i) && !views[i].is_inline()) {
          used += views[i].size();
        }
      }
      return Loose(SizeOf(data.buffers[1]), data.length * 16) || Loose(held, used);
    }
    case Type::DICTIONARY:
      return Loose(SizeOf(data.buffers[1]),
                   data.length * static_cast<const arrow::DictionaryType&>(*data.type).index_type()->byte_width());
    case Type::EXTENSION: {
      auto storage = data.Copy();
      storage->type = static_cast<const arrow::ExtensionType&>(*data.type).storage_type();
      return IsLoose(*storage);
    }
    case Type::LIST_VIEW:
      return ViewedChildRows<int32_t>(data) != data.child_data[0]->length || IsLoose(*data.child_data[0]);
    case Type::LARGE_LIST_VIEW:
      return ViewedChildRows<int64_t>(data) != data.child_data[0]->length || IsLoose(*data.child_data[0]);
    case Type::RUN_END_ENCODED:
      return data.offset != 0 || IsLoose(*data.child_data[0]) || IsLoose(*data.child_data[1]);
    default:
      break;
  }
  if (!data.child_data.empty() || arrow::is_nested(data.type->id())) {
    if (data.offset != 0) {
      return true;
    }
    if ((data.type->id() == Type::LIST || data.type->id() == Type::MAP) &&
        UsedBytes<int32_t>(data) != data.child_data[0]->length) {
      return true;
    }
    if (data.type->id() == Type::LARGE_LIST && UsedBytes<int64_t>(data) != data.child_data[0]->length) {
      return true;
    }
    for (const auto& child : data.child_data) {
      const bool shares_rows = data.type->id() == Type::STRUCT || data.type->id() == Type::SPARSE_UNION;
      if (IsLoose(*child) || (shares_rows && child->length != data.length) ||
          (data.type->id() == Type::DENSE_UNION && child->length > data.length)) {
        return true;
      }
    }
    return false;
  }
  return Loose(SizeOf(data.buffers[1]), data.length * data.type->byte_width());
}

}  // namespace

arrow::Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> PartitionBatch(Resources& resources,
                                                                               const arrow::RecordBatch& batch,
                                                                               std::span<const uint32_t> destinations,
                                                                               uint32_t count) {
  const int64_t num_rows = batch.num_rows();
  if (static_cast<int64_t>(destinations.size()) != num_rows) {
    return arrow::Status::Invalid("a batch of ", num_rows, " rows was to be cut by ", destinations.size(),
                                  " destinations; give one for each row");
  }
  // A stable counting sort of the row numbers by destination.
  std::vector<int64_t> starts(count + 1, 0);
  for (uint32_t destination : destinations) {
    if (destination >= count) {
      return arrow::Status::Invalid("a row was to go to destination ", destination, " of ", count,
                                    "; destinations are numbered from 0");
    }
    ++starts[destination + 1];
  }
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  std::vector<int64_t> rows(num_rows);
  std::vector<int64_t> next(starts.begin(), starts.end() - 1);
  for (int64_t i = 0; i < num_rows; ++i) {
    rows[next[destinations[i]]++] = i;
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> result(count);
  for (uint32_t k = 0; k < count; ++k) {
    if (starts[k] != starts[k + 1]) {
      const std::span<const int64_t> chosen(rows.data() + starts[k], starts[k + 1] - starts[k]);
      ARROW_ASSIGN_OR_RAISE(result[k], TakeRows(resources, batch, chosen));
    }
  }
  return result;
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(Resources& resources, const arrow::RecordBatch& batch,
                                                            std::span<const int64_t> indices) {
  RowRefs refs{indices, nullptr, false};
  for (int64_t index : indices) {
    if (index < -1 || index >= batch.num_rows()) {
      return arrow::Status::IndexError("row ", index, " was asked for of a batch of ", batch.num_rows(),
                                       " rows; rows are numbered from 0, and -1 asks for nulls");
    }
    refs.any_null = refs.any_null || index < 0;
  }
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  arrays.reserve(batch.num_columns());
  for (int column = 0; column < batch.num_columns(); ++column) {
    const std::shared_ptr<arrow::ArrayData> source = batch.column_data(column);
    ARROW_ASSIGN_OR_RAISE(auto data, GatherArray(resources.memory(), source->type, std::span(&source, 1), refs));
    arrays.push_back(arrow::MakeArray(data));
  }
  return arrow::RecordBatch::Make(batch.schema(), static_cast<int64_t>(indices.size()), std::move(arrays));
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> CompactBatch(Resources& resources,
                                                                const std::shared_ptr<arrow::RecordBatch>& batch) {
  std::vector<int64_t> rows;
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  bool changed = false;
  for (int column = 0; column < batch->num_columns(); ++column) {
    const std::shared_ptr<arrow::ArrayData> source = batch->column_data(column);
    if (!IsLoose(*source)) {
      arrays.push_back(batch->column(column));
      continue;
    }
    if (rows.empty()) {
      rows.resize(batch->num_rows());
      std::iota(rows.begin(), rows.end(), int64_t{0});
    }
    ARROW_ASSIGN_OR_RAISE(
        auto data, GatherArray(resources.memory(), source->type, std::span(&source, 1), RowRefs{rows, nullptr, false}));
    arrays.push_back(arrow::MakeArray(data));
    changed = true;
  }
  return changed ? arrow::RecordBatch::Make(batch->schema(), batch->num_rows(), std::move(arrays)) : batch;
}

}  // namespace cylon
