// Gathering of flat types, and the dispatch over all types.
#include "cylon/kernels/gather.h"

#include <arrow/util/bit_util.h>

#include <cstring>
#include <limits>

#include "cylon/kernels/gather_internal.h"

namespace cylon {

namespace gather {

arrow::Result<Validity> GatherValidity(arrow::MemoryPool* pool, Sources sources, const RowRefs& refs) {
  bool needed = refs.any_null;
  for (const auto& source : sources) {
    needed = needed || source->MayHaveNulls();
  }
  Validity result;
  if (!needed) {
    return result;
  }
  const auto count = static_cast<int64_t>(refs.rows.size());
  ARROW_ASSIGN_OR_RAISE(auto bitmap, arrow::AllocateEmptyBitmap(count, pool));
  uint8_t* bits = bitmap->mutable_data();
  std::vector<const uint8_t*> bases;
  bases.reserve(sources.size());
  for (const auto& source : sources) {
    bases.push_back(source->MayHaveNulls() ? source->buffers[0]->data() : nullptr);
  }
  int64_t valid_count = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = refs.rows[i];
    if (row < 0) {
      continue;
    }
    const uint32_t source = refs.sources == nullptr ? 0 : refs.sources[i];
    const bool valid =
        bases[source] == nullptr || arrow::bit_util::GetBit(bases[source], row + sources[source]->offset);
    bits[i >> 3] |= static_cast<uint8_t>(static_cast<unsigned>(valid) << (i & 7));
    valid_count += static_cast<int64_t>(valid);
  }
  result.null_count = count - valid_count;
  if (result.null_count != 0) {
    result.bitmap = std::move(bitmap);
  }
  return result;
}

namespace {

template <typename T>
void CopyValues(Sources sources, int buffer, const RowRefs& refs, T* out) {
  const size_t count = refs.rows.size();
  std::vector<const T*> bases;
  bases.reserve(sources.size());
  for (const auto& source : sources) {
    bases.push_back(source->GetValues<T>(buffer));
  }
  if (refs.sources == nullptr && !refs.any_null) {
    const T* base = bases[0];
    for (size_t i = 0; i < count; ++i) {
      out[i] = base[refs.rows[i]];
    }
  } else if (!refs.any_null) {
    for (size_t i = 0; i < count; ++i) {
      out[i] = bases[refs.sources[i]][refs.rows[i]];
    }
  } else {
    for (size_t i = 0; i < count; ++i) {
      const int64_t row = refs.rows[i];
      out[i] = row < 0 ? T{} : bases[refs.sources == nullptr ? 0 : refs.sources[i]][row];
    }
  }
}

struct Bytes16 {
  uint64_t words[2];
};
struct Bytes32 {
  uint64_t words[4];
};

void CopyWide(Sources sources, const RowRefs& refs, int64_t width, uint8_t* out) {
  for (size_t i = 0; i < refs.rows.size(); ++i, out += width) {
    const int64_t row = refs.rows[i];
    if (row < 0) {
      std::memset(out, 0, width);
      continue;
    }
    const auto& source = *sources[refs.sources == nullptr ? 0 : refs.sources[i]];
    std::memcpy(out, source.GetValues<uint8_t>(1, 0) + (source.offset + row) * width, width);
  }
}

arrow::Result<DataPointer> GatherBoolean(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                         const RowRefs& refs) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  ARROW_ASSIGN_OR_RAISE(auto validity, GatherValidity(pool, sources, refs));
  ARROW_ASSIGN_OR_RAISE(auto values, arrow::AllocateEmptyBitmap(count, pool));
  uint8_t* bits = values->mutable_data();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = refs.rows[i];
    if (row < 0) {
      continue;
    }
    const auto& source = *sources[refs.sources == nullptr ? 0 : refs.sources[i]];
    const bool value = arrow::bit_util::GetBit(source.buffers[1]->data(), source.offset + row);
    bits[i >> 3] |= static_cast<uint8_t>(static_cast<unsigned>(value) << (i & 7));
  }
  return arrow::ArrayData::Make(type, count, {validity.bitmap, std::move(values)}, validity.null_count);
}

/// Rows ahead of that in work whose bytes are asked for: a miss takes as long as copying some ten short values.
constexpr int64_t kAhead = 16;
/// Values of up to so many bytes are copied as if they had as many: one load and one store, without a call.
constexpr int64_t kShort = 16;

/// The text of one source.
template <typename Offset>
struct Text {
  const Offset* offsets = nullptr;
  const uint8_t* begin = nullptr;
  const uint8_t* end = nullptr;

  explicit Text(const arrow::ArrayData& source) {
    offsets = source.length == 0 ? nullptr : source.GetValues<Offset>(1);
    if (source.buffers[2] != nullptr) {
      begin = source.buffers[2]->data();
      end = begin + source.buffers[2]->size();
    }
  }
};

/// Fills `from` with where the value of each row lies, nullptr where it is empty or null, and offsets[1] to
/// offsets[count]; false where the text outgrows them.
template <typename Offset, typename TextOf>
bool LocateText(const TextOf& text_of, const RowRefs& refs, const Validity& validity, const uint8_t** from,
                Offset* offsets) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count && refs.rows[i + kAhead] >= 0) {
      __builtin_prefetch(text_of(i + kAhead).offsets + refs.rows[i + kAhead]);
    }
    const int64_t row = refs.rows[i];
    from[i] = nullptr;
    if (row >= 0 && validity.IsValid(i)) {
      const Text<Offset>& text = text_of(i);
      const Offset length = text.offsets[row + 1] - text.offsets[row];
      from[i] = length > 0 ? text.begin + text.offsets[row] : nullptr;
      total += length;
    }
    if (total > std::numeric_limits<Offset>::max()) {
      return false;
    }
    offsets[i + 1] = static_cast<Offset>(total);
  }
  return true;
}

template <typename Offset>
arrow::Result<DataPointer> GatherBinary(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                        const RowRefs& refs) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  ARROW_ASSIGN_OR_RAISE(auto validity, GatherValidity(pool, sources, refs));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offset_buffer,
                        arrow::AllocateBuffer((count + 1) * sizeof(Offset), pool));
  ARROW_ASSIGN_OR_RAISE(const auto from_buffer, arrow::AllocateBuffer(count * sizeof(const uint8_t*), pool));
  auto* offsets = offset_buffer->mutable_data_as<Offset>();
  auto* from = from_buffer->mutable_data_as<const uint8_t*>();
  std::vector<Text<Offset>> texts;
  for (const auto& source : sources) {
    texts.emplace_back(*source);
  }
  const auto text_of = [&](int64_t i) -> const Text<Offset>& {
    return texts[refs.sources == nullptr ? 0 : refs.sources[i]];
  };
  offsets[0] = 0;
  if (!LocateText(text_of, refs, validity, from, offsets)) {
    return TooLarge(*type, count);
  }
  const int64_t total = offsets[count];
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> value_buffer, arrow::AllocateBuffer(total, pool));
  uint8_t* values = value_buffer->mutable_data();
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {
      __builtin_prefetch(from[i + kAhead]);
    }
    const Offset length = offsets[i + 1] - offsets[i];
    if (length == 0) {
      continue;
    }
    if (length <= kShort && offsets[i] + kShort <= total && text_of(i).end - from[i] >= kShort) {
      std::memcpy(values + offsets[i], from[i], kShort);  // the next values write over what is too much
    } else {
      std::memcpy(values + offsets[i], from[i], length);
    }
  }
  return arrow::ArrayData::Make(type, count, {validity.bitmap, std::move(offset_buffer), std::move(value_buffer)},
                                validity.null_count);
}

/// Views of at most 12 bytes hold them; the bytes of longer ones lie in further buffers, whose offsets are 32-bit.
arrow::Result<DataPointer> GatherBinaryView(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                            const RowRefs& refs) {
  using View = arrow::BinaryViewType::c_type;
  constexpr int64_t kLargestBuffer = int64_t{1} << 30;  // well below the 2 GiB that an offset can reach
  const auto count = static_cast<int64_t>(refs.rows.size());
  ARROW_ASSIGN_OR_RAISE(auto validity, GatherValidity(pool, sources, refs));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> view_buffer, arrow::AllocateBuffer(count * sizeof(View), pool));
  View* views = view_buffer->mutable_data_as<View>();
  std::vector<int64_t> sizes(1, 0);
  for (int64_t i = 0; i < count; ++i) {
    views[i] = View{};
    if (refs.rows[i] < 0 || !validity.IsValid(i)) {
      continue;  // what lies under a null need not be a view
    }
    const auto& source = *sources[refs.sources == nullptr ? 0 : refs.sources[i]];
    views[i] = source.GetValues<View>(1)[refs.rows[i]];
    if (!views[i].is_inline()) {
      if (sizes.back() > 0 && sizes.back() + views[i].size() > kLargestBuffer) {
        sizes.push_back(0);
      }
      sizes.back() += views[i].size();
    }
  }
  std::vector<std::shared_ptr<arrow::Buffer>> buffers = {validity.bitmap, std::move(view_buffer)};
  if (sizes[0] > 0) {
    for (int64_t size : sizes) {
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(size, pool));
      buffers.push_back(std::move(buffer));
    }
  }
  size_t current = 0;
  int64_t used = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (views[i].is_inline()) {
      continue;
    }
    if (used == sizes[current]) {
      ++current;
      used = 0;
    }
    const auto& source = *sources[refs.sources == nullptr ? 0 : refs.sources[i]];
    auto& ref = views[i].ref;
    std::memcpy(buffers[2 + current]->mutable_data() + used, source.buffers[2 + ref.buffer_index]->data() + ref.offset,
                ref.size);
    ref.buffer_index = static_cast<int32_t>(current);
    ref.offset = static_cast<int32_t>(used);
    used += ref.size;
  }
  return arrow::ArrayData::Make(type, count, std::move(buffers), validity.null_count);
}

}  // namespace

arrow::Result<std::shared_ptr<arrow::Buffer>> GatherFixedBuffer(arrow::MemoryPool* pool, Sources sources, int buffer,
                                                                int64_t width, const RowRefs& refs) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> out, arrow::AllocateBuffer(count * width, pool));
  switch (width) {
    case 1:
      CopyValues(sources, buffer, refs, out->mutable_data_as<uint8_t>());
      break;
    case 2:
      CopyValues(sources, buffer, refs, out->mutable_data_as<uint16_t>());
      break;
    case 4:
      CopyValues(sources, buffer, refs, out->mutable_data_as<uint32_t>());
      break;
    case 8:
      CopyValues(sources, buffer, refs, out->mutable_data_as<uint64_t>());
      break;
    case 16:
      CopyValues(sources, buffer, refs, out->mutable_data_as<Bytes16>());
      break;
    case 32:
      CopyValues(sources, buffer, refs, out->mutable_data_as<Bytes32>());
      break;
    case 0:
      break;
    default:
      CopyWide(sources, refs, width, out->mutable_data());
  }
  return out;
}

arrow::Status TooLarge(const arrow::DataType& type, int64_t rows) {
  return arrow::Status::CapacityError(rows, " rows of ", type.ToString(), " do not fit one array of that type; ",
                                      "cast the column to its large variant, or work on fewer rows at a time");
}

arrow::Result<DataPointer> GatherFixed(arrow::MemoryPool* pool, const TypePointer& type, int64_t width, Sources sources,
                                       const RowRefs& refs) {
  ARROW_ASSIGN_OR_RAISE(auto validity, GatherValidity(pool, sources, refs));
  ARROW_ASSIGN_OR_RAISE(auto values, GatherFixedBuffer(pool, sources, 1, width, refs));
  return arrow::ArrayData::Make(type, static_cast<int64_t>(refs.rows.size()), {validity.bitmap, std::move(values)},
                                validity.null_count);
}

}  // namespace gather

arrow::Result<std::shared_ptr<arrow::ArrayData>> GatherArray(arrow::MemoryPool* pool,
                                                             const std::shared_ptr<arrow::DataType>& type,
                                                             std::span<const std::shared_ptr<arrow::ArrayData>> sources,
                                                             const RowRefs& refs) {
  using arrow::Type;
  const auto count = static_cast<int64_t>(refs.rows.size());
  if (sources.empty()) {
    // Only nulls can be asked for: any array of the type will do.
    ARROW_ASSIGN_OR_RAISE(auto empty, arrow::MakeEmptyArray(type, pool));
    const std::vector<std::shared_ptr<arrow::ArrayData>> one = {empty->data()};
    return GatherArray(pool, type, one, refs);
  }
  switch (type->id()) {
    case Type::NA:
      return arrow::ArrayData::Make(type, count, {nullptr}, count);
    case Type::BOOL:
      return gather::GatherBoolean(pool, type, sources, refs);
    case Type::STRING:
    case Type::BINARY:
      return gather::GatherBinary<int32_t>(pool, type, sources, refs);
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return gather::GatherBinary<int64_t>(pool, type, sources, refs);
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return gather::GatherBinaryView(pool, type, sources, refs);
    case Type::DICTIONARY:
      return gather::GatherDictionary(pool, type, sources, refs);
    case Type::EXTENSION:
      return gather::GatherExtension(pool, type, sources, refs);
    case Type::LIST:
    case Type::MAP:
    case Type::LARGE_LIST:
    case Type::LIST_VIEW:
    case Type::LARGE_LIST_VIEW:
      return gather::GatherList(pool, type, sources, refs);
    case Type::FIXED_SIZE_LIST:
      return gather::GatherFixedSizeList(pool, type, sources, refs);
    case Type::STRUCT:
      return gather::GatherStruct(pool, type, sources, refs);
    case Type::SPARSE_UNION:
      return gather::GatherSparseUnion(pool, type, sources, refs);
    case Type::DENSE_UNION:
      return gather::GatherDenseUnion(pool, type, sources, refs);
    case Type::RUN_END_ENCODED:
      return gather::GatherRunEndEncoded(pool, type, sources, refs);
    default:
      break;
  }
  if (!arrow::is_fixed_width(*type)) {
    return arrow::Status::NotImplemented("rows of type ", type->ToString(), " cannot be copied; cast the column first");
  }
  return gather::GatherFixed(pool, type, type->byte_width(), sources, refs);
}

arrow::Result<RowGatherer> RowGatherer::Make(arrow::MemoryPool* pool, std::shared_ptr<arrow::Schema> schema,
                                             const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  RowGatherer result;
  result.pool_ = pool;
  result.schema_ = std::move(schema);
  result.columns_.resize(result.schema_->num_fields());
  for (int column = 0; column < result.schema_->num_fields(); ++column) {
    auto& sources = result.columns_[column];
    for (const auto& batch : batches) {
      sources.push_back(batch->column_data(column));
    }
    if (sources.size() > 1 && result.schema_->field(column)->type()->id() == arrow::Type::DICTIONARY) {
      ARROW_ASSIGN_OR_RAISE(sources, UnifyDictionaries(pool, sources));
    }
  }
  return result;
}

arrow::Result<std::shared_ptr<arrow::Array>> RowGatherer::GatherColumn(int column, const RowRefs& refs) const {
  ARROW_ASSIGN_OR_RAISE(auto data, GatherArray(pool_, schema_->field(column)->type(), columns_[column], refs));
  return arrow::MakeArray(data);
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> RowGatherer::Gather(const RowRefs& refs) const {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  arrays.reserve(columns_.size());
  for (int column = 0; column < schema_->num_fields(); ++column) {
    ARROW_ASSIGN_OR_RAISE(auto array, GatherColumn(column, refs));
    arrays.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(schema_, static_cast<int64_t>(refs.rows.size()), std::move(arrays));
}

}  // namespace cylon
