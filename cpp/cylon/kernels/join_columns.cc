// The columns of a join's result.
#include "cylon/kernels/join_columns.h"

#include <arrow/util/bit_util.h>

#include <algorithm>
#include <cstring>

namespace cylon {

namespace {

constexpr uint32_t kNoRow = 0xFFFFFFFFu;

/// Rows that room is made for at first: a small result should not cost the memory of a large one.
constexpr int64_t kFirstRoom = 16 << 10;

struct Bytes16 {
  uint64_t words[2];
};

template <typename T>
void CopyValues(const uint8_t* values, int64_t first, const uint32_t* places, int64_t count, uint8_t* out) {
  const T* from = static_cast<const T*>(static_cast<const void*>(values)) + first;
  T* to = static_cast<T*>(static_cast<void*>(out));
  for (int64_t i = 0; i < count; ++i) {
    to[i] = from[places[i]];
  }
}

void CopyValues(int width, const uint8_t* values, int64_t first, const uint32_t* places, int64_t count, uint8_t* out) {
  switch (width) {
    case 1:
      return CopyValues<uint8_t>(values, first, places, count, out);
    case 2:
      return CopyValues<uint16_t>(values, first, places, count, out);
    case 4:
      return CopyValues<uint32_t>(values, first, places, count, out);
    case 8:
      return CopyValues<uint64_t>(values, first, places, count, out);
    default:
      return CopyValues<Bytes16>(values, first, places, count, out);
  }
}

int CarriedWidthOf(const arrow::DataType& type) { return type.id() == arrow::Type::BOOL ? 1 : type.byte_width(); }

/// One bit for each of `count` bytes that are 0 or 1; how many are 1.
int64_t PackBits(const uint8_t* bytes, int64_t count, uint8_t* bits) {
  int64_t ones = 0;
  for (int64_t begin = 0; begin < count; begin += 8) {
    unsigned packed = 0;
    for (int64_t i = begin; i < std::min(begin + 8, count); ++i) {
      packed |= static_cast<unsigned>(bytes[i]) << (i - begin);
      ones += bytes[i];
    }
    bits[begin / 8] = static_cast<uint8_t>(packed);
  }
  return ones;
}

int IndexOf(const std::vector<int>& columns, int column) {
  const auto found = std::find(columns.begin(), columns.end(), column);
  return found == columns.end() ? -1 : static_cast<int>(found - columns.begin());
}

JoinSide Other(JoinSide side) { return side == kProbe ? kBuild : kProbe; }

}  // namespace

SidePlan SidePlan::Of(const arrow::Schema& schema, const std::vector<JoinColumn>& columns, JoinSide side) {
  SidePlan plan;
  const auto add = [&](int column) {
    auto& list = CanCarry(*schema.field(column)->type()) ? plan.carried : plan.gathered;
    if (IndexOf(list, column) < 0) {
      list.push_back(column);
    }
  };
  for (const auto& column : columns) {
    if (column.side == side) {
      add(column.column);
    } else if (column.instead >= 0) {
      add(column.instead);
    }
  }
  return plan;
}

arrow::Result<SideRows> SideRows::Make(const std::shared_ptr<Resources>& resources, const Table& table,
                                       const std::vector<int>& keys, const KeyLayout& layout, int bits,
                                       const SidePlan& plan) {
  SideRows side;
  RadixPlan radix;
  radix.keys = keys;
  radix.layout = layout;
  radix.carried = plan.carried;
  radix.row_numbers = !plan.gathered.empty();
  radix.bits = bits;
  ARROW_ASSIGN_OR_RAISE(side.rows, RadixPartitions::Make(resources, table, radix));
  auto schema = arrow::schema({});
  for (size_t i = 0; i < plan.gathered.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(schema, schema->AddField(static_cast<int>(i), table.schema()->field(plan.gathered[i])));
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> projected;
  for (const auto& batch : side.rows->batches()) {
    ARROW_ASSIGN_OR_RAISE(auto view, batch->SelectColumns(plan.gathered));
    projected.push_back(std::move(view));
  }
  ARROW_ASSIGN_OR_RAISE(side.gatherer, RowGatherer::Make(resources->memory(), schema, projected));
  return side;
}

JoinBatch::JoinBatch(std::shared_ptr<Resources> resources, std::shared_ptr<arrow::Schema> schema,
                     std::vector<JoinColumn> columns, const std::array<SidePlan, 2>& plans, int64_t most_rows)
    : resources_(std::move(resources)), schema_(std::move(schema)), most_rows_(std::max<int64_t>(1, most_rows)) {
  for (size_t i = 0; i < columns.size(); ++i) {
    Column column;
    column.what = columns[i];
    column.type = schema_->field(static_cast<int>(i))->type();
    const SidePlan& plan = plans[column.what.side];
    const SidePlan& other = plans[Other(column.what.side)];
    column.carried = IndexOf(plan.carried, column.what.column);
    column.gathered = IndexOf(plan.gathered, column.what.column);
    if (column.carried >= 0) {
      column.width = CarriedWidthOf(*column.type);
      column.instead = IndexOf(other.carried, column.what.instead);
    } else {
      column.instead = IndexOf(other.gathered, column.what.instead);
      needs_rows_[column.what.side] = true;
      needs_rows_[Other(column.what.side)] = needs_rows_[Other(column.what.side)] || column.instead >= 0;
      gathers_ = true;
    }
    columns_.push_back(std::move(column));
  }
}

arrow::Status JoinBatch::Reserve() {
  const int64_t wanted = room_ > 0 ? room_ * 4 : (was_full_ ? most_rows_ : kFirstRoom);
  room_ = std::min(wanted, most_rows_);
  for (Column& column : columns_) {
    if (column.carried < 0) {
      continue;
    }
    if (column.values == nullptr) {
      ARROW_ASSIGN_OR_RAISE(column.values, arrow::AllocateResizableBuffer(room_ * column.width, resources_->memory()));
    } else {
      ARROW_RETURN_NOT_OK(column.values->Resize(room_ * column.width));
    }
    if (column.valid != nullptr) {
      ARROW_RETURN_NOT_OK(column.valid->Resize(room_));
    }
  }
  return arrow::Status::OK();
}

arrow::Status JoinBatch::Append(const std::array<JoinRows, 2>& rows, int64_t count, const Sink& sink) {
  std::array<JoinRows, 2> rest = rows;
  while (count > 0) {
    if (rows_ == room_) {
      if (rows_ == most_rows_) {
        was_full_ = true;
        ARROW_RETURN_NOT_OK(Finish(sink));
      }
      ARROW_RETURN_NOT_OK(Reserve());
    }
    const int64_t now = std::min(count, room_ - rows_);
    for (Column& column : columns_) {
      if (column.carried >= 0) {
        ARROW_RETURN_NOT_OK(AppendCarried(&column, rest, now));
      }
    }
    for (const JoinSide side : {kProbe, kBuild}) {
      JoinRows& part = rest[side];
      sides_[side] = part.side != nullptr ? part.side : sides_[side];
      if (needs_rows_[side]) {
        auto& numbers = row_numbers_[side];
        if (part.places == nullptr) {
          numbers.resize(numbers.size() + now, kNoRow);
        } else {
          const uint32_t* of_place = part.side->rows->row_numbers() + part.first;
          for (int64_t i = 0; i < now; ++i) {
            numbers.push_back(of_place[part.places[i]]);
          }
        }
      }
      part.places += part.places == nullptr ? 0 : now;
    }
    rows_ += now;
    count -= now;
  }
  return arrow::Status::OK();
}

arrow::Status JoinBatch::AppendCarried(Column* column, const std::array<JoinRows, 2>& rows, int64_t count) {
  uint8_t* out = column->values->mutable_data() + rows_ * column->width;
  const JoinRows* from = &rows[column->what.side];
  int index = column->carried;
  if (from->places == nullptr && column->instead >= 0) {
    from = &rows[Other(column->what.side)];
    index = column->instead;
  }
  if (from->places == nullptr) {
    std::memset(out, 0, count * column->width);
    return MarkValid(column, nullptr, nullptr, count);
  }
  const CarriedColumn& carried = from->side->rows->column(index);
  CopyValues(column->width, carried.values, from->first, from->places, count, out);
  if (carried.valid != nullptr || column->valid != nullptr) {
    return MarkValid(column, carried.valid == nullptr ? nullptr : carried.valid + from->first, from->places, count);
  }
  return arrow::Status::OK();
}

/// Without `valid` all rows are valid where there are places, and none where there are not.
arrow::Status JoinBatch::MarkValid(Column* column, const uint8_t* valid, const uint32_t* places, int64_t count) {
  if (column->valid == nullptr) {
    ARROW_ASSIGN_OR_RAISE(column->valid, arrow::AllocateResizableBuffer(room_, resources_->memory()));
    std::memset(column->valid->mutable_data(), 1, rows_);
  }
  uint8_t* out = column->valid->mutable_data() + rows_;
  if (valid == nullptr) {
    std::memset(out, places == nullptr ? 0 : 1, count);
  } else {
    CopyValues<uint8_t>(valid, 0, places, count, out);
  }
  return arrow::Status::OK();
}

arrow::Result<std::shared_ptr<arrow::Array>> JoinBatch::TakeCarried(Column* column) {
  std::shared_ptr<arrow::Buffer> values = std::move(column->values);
  int64_t null_count = 0;
  std::shared_ptr<arrow::Buffer> bitmap;
  if (column->valid != nullptr) {
    ARROW_ASSIGN_OR_RAISE(bitmap, arrow::AllocateEmptyBitmap(rows_, resources_->memory()));
    null_count = rows_ - PackBits(column->valid->data(), rows_, bitmap->mutable_data());
    column->valid.reset();
  }
  if (column->type->id() == arrow::Type::BOOL) {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(rows_, resources_->memory()));
    PackBits(values->data(), rows_, bits->mutable_data());
    values = std::move(bits);
  } else if (rows_ < room_ - room_ / 8) {
    // Room that was not needed goes back; an eighth is less than what moving the values costs.
    ARROW_RETURN_NOT_OK(static_cast<arrow::ResizableBuffer&>(*values).Resize(rows_ * column->width));
  } else {
    values = arrow::SliceBuffer(std::move(values), 0, rows_ * column->width);
  }
  return arrow::MakeArray(
      arrow::ArrayData::Make(column->type, rows_, {null_count == 0 ? nullptr : bitmap, values}, null_count));
}

arrow::Status JoinBatch::Finish(const Sink& sink) {
  if (rows_ == 0) {
    sides_ = {nullptr, nullptr};
    return arrow::Status::OK();
  }
  std::vector<std::shared_ptr<arrow::Array>> carried(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].carried >= 0) {
      ARROW_ASSIGN_OR_RAISE(carried[i], TakeCarried(&columns_[i]));
    }
  }
  LocateRows();
  const int64_t rows = std::exchange(rows_, 0);
  room_ = 0;
  const auto status = Emit(carried, 0, rows, sink);
  sides_ = {nullptr, nullptr};
  return status;
}

void JoinBatch::LocateRows() {
  for (const JoinSide side : {kProbe, kBuild}) {
    auto& numbers = row_numbers_[side];
    positions_[side].resize(numbers.size());
    sources_[side].resize(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (numbers[i] == kNoRow) {
        positions_[side][i] = -1;
        sources_[side][i] = 0;
      } else {
        sides_[side]->rows->locator().Locate(numbers[i], &sources_[side][i], &positions_[side][i]);
      }
    }
    numbers.clear();
  }
}

arrow::Status JoinBatch::Emit(const std::vector<std::shared_ptr<arrow::Array>>& carried, int64_t begin, int64_t end,
                              const Sink& sink) {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (carried[i] != nullptr) {
      const bool all = begin == 0 && end == carried[i]->length();
      arrays.push_back(all ? carried[i] : carried[i]->Slice(begin, end - begin));
      continue;
    }
    auto array = Gather(columns_[i], begin, end);
    if (array.status().IsCapacityError() && end - begin > 1) {
      const int64_t middle = begin + (end - begin) / 2;
      ARROW_RETURN_NOT_OK(Emit(carried, begin, middle, sink));
      return Emit(carried, middle, end, sink);
    }
    ARROW_RETURN_NOT_OK(array.status());
    arrays.push_back(*std::move(array));
  }
  return sink(arrow::RecordBatch::Make(schema_, end - begin, std::move(arrays)));
}

arrow::Result<std::shared_ptr<arrow::Array>> JoinBatch::Gather(const Column& column, int64_t begin, int64_t end) const {
  const JoinSide side = column.what.side;
  const auto count = static_cast<size_t>(end - begin);
  const auto rows = std::span(positions_[side]).subspan(begin, count);
  const bool any_null = std::find(rows.begin(), rows.end(), -1) != rows.end();
  const uint32_t* sources = sources_[side].data() + begin;
  if (sides_[side] != nullptr && (column.instead < 0 || !any_null)) {
    return sides_[side]->gatherer.GatherColumn(column.gathered, RowRefs{rows, sources, any_null});
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
  if (sides_[side] != nullptr) {
    arrays = sides_[side]->gatherer.sources(column.gathered);
  }
  const auto own = static_cast<uint32_t>(arrays.size());
  std::vector<int64_t> mixed_rows(rows.begin(), rows.end());
  std::vector<uint32_t> mixed_sources(sources, sources + count);
  bool still_null = any_null;
  if (column.instead >= 0 && sides_[Other(side)] != nullptr) {
    const auto& others = sides_[Other(side)]->gatherer.sources(column.instead);
    arrays.insert(arrays.end(), others.begin(), others.end());
    still_null = false;
    for (size_t i = 0; i < count; ++i) {
      if (mixed_rows[i] < 0) {
        mixed_rows[i] = positions_[Other(side)][begin + i];
        mixed_sources[i] = own + sources_[Other(side)][begin + i];
      }
      still_null = still_null || mixed_rows[i] < 0;
    }
  }
  ARROW_ASSIGN_OR_RAISE(auto data, GatherArray(resources_->memory(), column.type, arrays,
                                               RowRefs{mixed_rows, mixed_sources.data(), still_null}));
  return arrow::MakeArray(data);
}

}  // namespace cylon
