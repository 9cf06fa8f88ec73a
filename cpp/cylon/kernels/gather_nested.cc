// Gathering of nested types: each turns the chosen rows into chosen rows of its children.
#include <arrow/util/ree_util.h>

#include <algorithm>
#include <limits>

#include "cylon/kernels/gather_internal.h"

namespace cylon::gather {

namespace {

/// Rows of a child, as they are collected.
class ChildRefs {
 public:
  explicit ChildRefs(bool with_sources) : with_sources_(with_sources) {}
  void Reserve(int64_t count) {
    rows_.reserve(count);
    if (with_sources_) {
      sources_.reserve(count);
    }
  }
  void Add(uint32_t source, int64_t row) {
    rows_.push_back(row);
    any_null_ = any_null_ || row < 0;
    if (with_sources_) {
      sources_.push_back(source);
    }
  }
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  RowRefs refs() const { return RowRefs{rows_, with_sources_ ? sources_.data() : nullptr, any_null_}; }

 private:
  bool with_sources_;
  bool any_null_ = false;
  std::vector<int64_t> rows_;
  std::vector<uint32_t> sources_;
};

uint32_t SourceOf(const RowRefs& refs, int64_t i) { return refs.sources == nullptr ? 0 : refs.sources[i]; }

/// Child `index` of every source; `sliced`: seen through the offset of its parent, as for structs and sparse unions.
std::vector<DataPointer> Children(Sources sources, int index, bool sliced) {
  std::vector<DataPointer> children;
  children.reserve(sources.size());
  for (const auto& source : sources) {
    const DataPointer& child = source->child_data[index];
    children.push_back(sliced ? child->Slice(source->offset, source->length) : child);
  }
  return children;
}

/// Lists by offsets (list, large list, map) and by offset and size (the list views). List views come out in order.
template <typename Offset, bool kView>
arrow::Result<DataPointer> GatherListOf(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                        const RowRefs& refs) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  ARROW_ASSIGN_OR_RAISE(auto validity, GatherValidity(pool, sources, refs));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offset_buffer,
                        arrow::AllocateBuffer((count + (kView ? 0 : 1)) * sizeof(Offset), pool));
  auto* offsets = offset_buffer->mutable_data_as<Offset>();
  std::shared_ptr<arrow::Buffer> size_buffer;
  Offset* sizes = nullptr;
  if constexpr (kView) {
    ARROW_ASSIGN_OR_RAISE(size_buffer, arrow::AllocateBuffer(count * sizeof(Offset), pool));
    sizes = size_buffer->mutable_data_as<Offset>();
  }
  ChildRefs child_refs(sources.size() > 1);
  child_refs.Reserve(count);
  for (int64_t i = 0; i < count; ++i) {
    offsets[i] = static_cast<Offset>(child_refs.size());
    Offset length = 0;
    if (refs.rows[i] >= 0 && validity.IsValid(i)) {
      const uint32_t source = SourceOf(refs, i);
      const auto* base = sources[source]->template GetValues<Offset>(1) + refs.rows[i];
      const Offset begin = base[0];
      length = kView ? sources[source]->template GetValues<Offset>(2)[refs.rows[i]] : base[1] - begin;
      for (Offset k = 0; k < length; ++k) {
        child_refs.Add(source, begin + k);
      }
    }
    if (child_refs.size() > std::numeric_limits<Offset>::max()) {
      return TooLarge(*type, count);
    }
    if constexpr (kView) {
      sizes[i] = length;
    }
  }
  if constexpr (!kView) {
    offsets[count] = static_cast<Offset>(child_refs.size());
  }
  const auto children = Children(sources, 0, false);
  ARROW_ASSIGN_OR_RAISE(auto child, GatherArray(pool, type->field(0)->type(), children, child_refs.refs()));
  std::vector<std::shared_ptr<arrow::Buffer>> buffers = {validity.bitmap, std::move(offset_buffer)};
  if constexpr (kView) {
    buffers.push_back(std::move(size_buffer));
  }
  return arrow::ArrayData::Make(type, count, std::move(buffers), {std::move(child)}, validity.null_count);
}

int64_t RunEnd(const arrow::ArrayData& run_ends, int64_t run) {
  switch (run_ends.type->id()) {
    case arrow::Type::INT16:
      return run_ends.GetValues<int16_t>(1)[run];
    case arrow::Type::INT32:
      return run_ends.GetValues<int32_t>(1)[run];
    default:
      return run_ends.GetValues<int64_t>(1)[run];
  }
}

/// The run that logical position `position` (offset included) lies in; `hint`, the last answer, is tried first.
int64_t FindRun(const arrow::ArrayData& run_ends, int64_t position, int64_t hint) {
  const auto holds = [&](int64_t run) {
    return run < run_ends.length && position < RunEnd(run_ends, run) &&
           (run == 0 || position >= RunEnd(run_ends, run - 1));
  };
  if (holds(hint)) {
    return hint;
  }
  if (holds(hint + 1)) {
    return hint + 1;
  }
  int64_t low = 0;
  int64_t high = run_ends.length;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (RunEnd(run_ends, middle) <= position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// Rewrites the indices of one dictionary array: index k becomes map[k].
template <typename Index>
arrow::Result<DataPointer> MapIndices(arrow::MemoryPool* pool, const arrow::ArrayData& array, const int32_t* map,
                                      const DataPointer& dictionary) {
  const int64_t bit_offset = array.offset % 8;
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer((bit_offset + array.length) * sizeof(Index), pool));
  auto* out = buffer->mutable_data_as<Index>();
  std::fill(out, out + bit_offset, Index{0});
  std::shared_ptr<arrow::Buffer> bitmap;
  if (array.MayHaveNulls()) {
    bitmap = arrow::SliceBuffer(array.buffers[0], array.offset / 8);
  }
  const auto* in = array.GetValues<Index>(1);
  for (int64_t i = 0; i < array.length; ++i) {
    const bool valid = bitmap == nullptr || arrow::bit_util::GetBit(bitmap->data(), bit_offset + i);
    out[bit_offset + i] = valid ? static_cast<Index>(map[in[i]]) : Index{0};
  }
  auto result = arrow::ArrayData::Make(array.type, array.length, {bitmap, std::move(buffer)}, array.null_count.load(),
                                       bit_offset);
  result->dictionary = dictionary;
  return result;
}

arrow::Result<DataPointer> MapIndices(arrow::MemoryPool* pool, const arrow::ArrayData& array, const int32_t* map,
                                      const DataPointer& dictionary) {
  switch (static_cast<const arrow::DictionaryType&>(*array.type).index_type()->id()) {
    case arrow::Type::INT8:
      return MapIndices<int8_t>(pool, array, map, dictionary);
    case arrow::Type::UINT8:
      return MapIndices<uint8_t>(pool, array, map, dictionary);
    case arrow::Type::INT16:
      return MapIndices<int16_t>(pool, array, map, dictionary);
    case arrow::Type::UINT16:
      return MapIndices<uint16_t>(pool, array, map, dictionary);
    case arrow::Type::INT32:
      return MapIndices<int32_t>(pool, array, map, dictionary);
    case arrow::Type::UINT32:
      return MapIndices<uint32_t>(pool, array, map, dictionary);
    case arrow::Type::INT64:
      return MapIndices<int64_t>(pool, array, map, dictionary);
    default:
      return MapIndices<uint64_t>(pool, array, map, dictionary);
  }
}

int64_t LargestIndex(const arrow::DataType& index_type) {
  const int bits = index_type.bit_width();
  if (bits == 64) {
    return std::numeric_limits<int32_t>::max();  // the maps are 32-bit
  }
  const int64_t largest = (int64_t{1} << (arrow::is_signed_integer(index_type.id()) ? bits - 1 : bits)) - 1;
  return std::min<int64_t>(largest, std::numeric_limits<int32_t>::max());
}

/// The distinct values of all dictionaries, and where each index went. Values that Arrow cannot unify (nested types,
/// dictionaries that hold nulls) are set one after the other instead.
arrow::Result<DataPointer> MergeDictionaries(arrow::MemoryPool* pool, const arrow::DictionaryType& type,
                                             const std::vector<DataPointer>& dictionaries,
                                             std::vector<std::vector<int32_t>>* maps) {
  maps->assign(dictionaries.size(), {});
  auto unifier = arrow::DictionaryUnifier::Make(type.value_type(), pool);
  bool unified = unifier.ok();
  for (size_t i = 0; i < dictionaries.size() && unified; ++i) {
    std::shared_ptr<arrow::Buffer> map;
    const auto values = arrow::MakeArray(dictionaries[i]);
    unified = (*unifier)->Unify(*values, &map).ok();
    if (unified) {
      const auto* begin = map->data_as<int32_t>();
      (*maps)[i].assign(begin, begin + values->length());
    }
  }
  if (unified) {
    std::shared_ptr<arrow::DataType> ignored;
    std::shared_ptr<arrow::Array> values;
    ARROW_RETURN_NOT_OK((*unifier)->GetResult(&ignored, &values));
    return values->data();
  }
  std::vector<int64_t> rows;
  std::vector<uint32_t> sources;
  for (size_t i = 0; i < dictionaries.size(); ++i) {
    (*maps)[i].clear();
    for (int64_t k = 0; k < dictionaries[i]->length; ++k) {
      (*maps)[i].push_back(static_cast<int32_t>(rows.size()));
      rows.push_back(k);
      sources.push_back(static_cast<uint32_t>(i));
    }
  }
  return GatherArray(pool, type.value_type(), dictionaries, RowRefs{rows, sources.data(), false});
}

}  // namespace

arrow::Result<DataPointer> GatherDictionary(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                            const RowRefs& refs) {
  ARROW_ASSIGN_OR_RAISE(auto unified, UnifyDictionaries(pool, sources));
  const int64_t width = static_cast<const arrow::DictionaryType&>(*type).index_type()->byte_width();
  ARROW_ASSIGN_OR_RAISE(auto result, GatherFixed(pool, type, width, unified, refs));
  result->dictionary = unified[0]->dictionary;
  return result;
}

arrow::Result<DataPointer> GatherExtension(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                           const RowRefs& refs) {
  const auto& storage_type = static_cast<const arrow::ExtensionType&>(*type).storage_type();
  std::vector<DataPointer> storage;
  for (const auto& source : sources) {
    storage.push_back(source->Copy());
    storage.back()->type = storage_type;
  }
  ARROW_ASSIGN_OR_RAISE(auto result, GatherArray(pool, storage_type, storage, refs));
  auto typed = result->Copy();
  typed->type = type;
  return typed;
}

arrow::Result<DataPointer> GatherList(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                      const RowRefs& refs) {
  switch (type->id()) {
    case arrow::Type::LARGE_LIST:
      return GatherListOf<int64_t, false>(pool, type, sources, refs);
    case arrow::Type::LIST_VIEW:
      return GatherListOf<int32_t, true>(pool, type, sources, refs);
    case arrow::Type::LARGE_LIST_VIEW:
      return GatherListOf<int64_t, true>(pool, type, sources, refs);
    default:
      return GatherListOf<int32_t, false>(pool, type, sources, refs);
  }
}

arrow::Result<DataPointer> GatherFixedSizeList(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                               const RowRefs& refs) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  const int64_t list_size = static_cast<const arrow::FixedSizeListType&>(*type).list_size();
  ARROW_ASSIGN_OR_RAISE(auto validity, GatherValidity(pool, sources, refs));
  ChildRefs child_refs(sources.size() > 1);
  child_refs.Reserve(count * list_size);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t source = SourceOf(refs, i);
    const bool null = refs.rows[i] < 0;
    const int64_t begin = null ? -1 : (sources[source]->offset + refs.rows[i]) * list_size;
    for (int64_t k = 0; k < list_size; ++k) {
      child_refs.Add(source, null ? -1 : begin + k);
    }
  }
  const auto children = Children(sources, 0, false);
  ARROW_ASSIGN_OR_RAISE(auto child, GatherArray(pool, type->field(0)->type(), children, child_refs.refs()));
  return arrow::ArrayData::Make(type, count, {validity.bitmap}, {std::move(child)}, validity.null_count);
}

arrow::Result<DataPointer> GatherStruct(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                        const RowRefs& refs) {
  ARROW_ASSIGN_OR_RAISE(auto validity, GatherValidity(pool, sources, refs));
  auto result =
      arrow::ArrayData::Make(type, static_cast<int64_t>(refs.rows.size()), {validity.bitmap}, validity.null_count);
  for (int k = 0; k < type->num_fields(); ++k) {
    const auto children = Children(sources, k, true);
    ARROW_ASSIGN_OR_RAISE(auto child, GatherArray(pool, type->field(k)->type(), children, refs));
    result->child_data.push_back(std::move(child));
  }
  return result;
}

arrow::Result<DataPointer> GatherSparseUnion(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                             const RowRefs& refs) {
  // A union has no validity of its own: a row of nulls is a null of its first child.
  const auto& codes = static_cast<const arrow::UnionType&>(*type).type_codes();
  ARROW_ASSIGN_OR_RAISE(auto code_buffer, GatherFixedBuffer(pool, sources, 1, 1, refs));
  if (refs.any_null && !codes.empty()) {
    auto* out = code_buffer->mutable_data_as<int8_t>();
    for (size_t i = 0; i < refs.rows.size(); ++i) {
      out[i] = refs.rows[i] < 0 ? codes[0] : out[i];
    }
  }
  auto result =
      arrow::ArrayData::Make(type, static_cast<int64_t>(refs.rows.size()), {nullptr, std::move(code_buffer)}, 0);
  for (int k = 0; k < type->num_fields(); ++k) {
    const auto children = Children(sources, k, true);
    ARROW_ASSIGN_OR_RAISE(auto child, GatherArray(pool, type->field(k)->type(), children, refs));
    result->child_data.push_back(std::move(child));
  }
  return result;
}

arrow::Result<DataPointer> GatherDenseUnion(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                            const RowRefs& refs) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  const auto& union_type = static_cast<const arrow::UnionType&>(*type);
  if (refs.any_null && type->num_fields() == 0) {
    return arrow::Status::Invalid("a union without children cannot hold a null row; drop the column first");
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> code_buffer, arrow::AllocateBuffer(count, pool));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offset_buffer, arrow::AllocateBuffer(count * 4, pool));
  auto* codes = code_buffer->mutable_data_as<int8_t>();
  auto* offsets = offset_buffer->mutable_data_as<int32_t>();
  std::vector<ChildRefs> child_refs(type->num_fields(), ChildRefs(sources.size() > 1));
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t source = SourceOf(refs, i);
    const int64_t row = refs.rows[i];
    codes[i] = row < 0 ? union_type.type_codes()[0] : sources[source]->GetValues<int8_t>(1)[row];
    ChildRefs& child = child_refs[union_type.child_ids()[codes[i]]];
    offsets[i] = static_cast<int32_t>(child.size());
    child.Add(source, row < 0 ? -1 : sources[source]->GetValues<int32_t>(2)[row]);
  }
  auto result = arrow::ArrayData::Make(type, count, {nullptr, std::move(code_buffer), std::move(offset_buffer)}, 0);
  for (int k = 0; k < type->num_fields(); ++k) {
    const auto children = Children(sources, k, false);
    ARROW_ASSIGN_OR_RAISE(auto child, GatherArray(pool, type->field(k)->type(), children, child_refs[k].refs()));
    result->child_data.push_back(std::move(child));
  }
  return result;
}

arrow::Result<DataPointer> GatherRunEndEncoded(arrow::MemoryPool* pool, const TypePointer& type, Sources sources,
                                               const RowRefs& refs) {
  const auto count = static_cast<int64_t>(refs.rows.size());
  const auto& ree_type = static_cast<const arrow::RunEndEncodedType&>(*type);
  const int64_t largest = ree_type.run_end_type()->id() == arrow::Type::INT16   ? std::numeric_limits<int16_t>::max()
                          : ree_type.run_end_type()->id() == arrow::Type::INT32 ? std::numeric_limits<int32_t>::max()
                                                                                : std::numeric_limits<int64_t>::max();
  if (count > largest) {
    return TooLarge(*type, count);
  }
  ChildRefs value_refs(sources.size() > 1);
  std::vector<int64_t> ends;
  uint32_t last_source = 0;
  int64_t last_run = -2;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t source = SourceOf(refs, i);
    int64_t run = -1;
    if (refs.rows[i] >= 0) {
      run = FindRun(*sources[source]->child_data[0], sources[source]->offset + refs.rows[i],
                    source == last_source && last_run >= 0 ? last_run : 0);
    }
    const bool same = run == last_run && (run == -1 || source == last_source);
    if (same) {
      ends.back() = i + 1;
    } else {
      value_refs.Add(source, run);
      ends.push_back(i + 1);
    }
    last_source = source;
    last_run = run;
  }
  const auto runs = static_cast<int64_t>(ends.size());
  const int64_t width = ree_type.run_end_type()->byte_width();
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> end_buffer, arrow::AllocateBuffer(runs * width, pool));
  for (int64_t k = 0; k < runs; ++k) {
    if (width == 2) {
      end_buffer->mutable_data_as<int16_t>()[k] = static_cast<int16_t>(ends[k]);
    } else if (width == 4) {
      end_buffer->mutable_data_as<int32_t>()[k] = static_cast<int32_t>(ends[k]);
    } else {
      end_buffer->mutable_data_as<int64_t>()[k] = ends[k];
    }
  }
  const auto children = Children(sources, 1, false);
  ARROW_ASSIGN_OR_RAISE(auto values, GatherArray(pool, ree_type.value_type(), children, value_refs.refs()));
  auto end_data = arrow::ArrayData::Make(ree_type.run_end_type(), runs, {nullptr, std::move(end_buffer)}, 0);
  return arrow::ArrayData::Make(type, count, {nullptr}, {std::move(end_data), std::move(values)}, 0);
}

}  // namespace cylon::gather

namespace cylon {

arrow::Result<std::vector<std::shared_ptr<arrow::ArrayData>>> UnifyDictionaries(
    arrow::MemoryPool* pool, std::span<const std::shared_ptr<arrow::ArrayData>> arrays) {
  std::vector<std::shared_ptr<arrow::ArrayData>> result(arrays.begin(), arrays.end());
  std::vector<std::shared_ptr<arrow::ArrayData>> dictionaries;  // distinct ones
  std::vector<size_t> which;
  for (const auto& array : arrays) {
    size_t k = 0;
    while (k < dictionaries.size() && dictionaries[k] != array->dictionary &&
           !(dictionaries[k]->length == array->dictionary->length &&
             dictionaries[k]->buffers == array->dictionary->buffers &&
             dictionaries[k]->offset == array->dictionary->offset && array->dictionary->child_data.empty() &&
             array->dictionary->dictionary == nullptr)) {
      ++k;
    }
    if (k == dictionaries.size()) {
      dictionaries.push_back(array->dictionary);
    }
    which.push_back(k);
  }
  if (dictionaries.size() <= 1) {
    return result;
  }
  const auto& type = static_cast<const arrow::DictionaryType&>(*arrays[0]->type);
  std::vector<std::vector<int32_t>> maps;
  ARROW_ASSIGN_OR_RAISE(auto merged, gather::MergeDictionaries(pool, type, dictionaries, &maps));
  if (merged->length - 1 > gather::LargestIndex(*type.index_type())) {
    return arrow::Status::Invalid("the dictionaries of ", type.ToString(), " have ", merged->length,
                                  " values together, more than its indices can tell apart; cast the column to ",
                                  type.value_type()->ToString(), " or to a dictionary with int32 indices");
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(result[i], gather::MapIndices(pool, *arrays[i], maps[which[i]].data(), merged));
  }
  return result;
}

}  // namespace cylon
