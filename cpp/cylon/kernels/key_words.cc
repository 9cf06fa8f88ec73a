// Packing keys into words, and back.
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "cylon/kernels/key_bytes.h"
#include "cylon/kernels/key_layout.h"

namespace cylon {

namespace {

CYLON_CLONES void AddWords(const uint64_t* words, int64_t count, uint64_t less, int shift, uint64_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] |= (words[i] - less) << shift;
  }
}

/// The bits of one byte of each word.
CYLON_CLONES void AddByte(const uint64_t* words, int64_t count, int from, uint64_t mask, int shift, uint64_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] |= ((words[i] >> from) & mask) << shift;
  }
}

CYLON_CLONES void Subtract(uint64_t less, int64_t count, uint64_t* words) {
  for (int64_t i = 0; i < count; ++i) {
    words[i] -= less;
  }
}

/// The bits of `code` back to the bytes that `mask` has them in, above the least.
uint64_t Spread(const KeyPart& part, uint64_t code) {
  uint64_t word = part.least;
  int taken = 0;
  for (int b = 0; b < 8; ++b) {
    const uint64_t mask = (part.mask >> (8 * b)) & 0xFF;
    const int bits = std::popcount(mask);
    if (bits > 0) {
      word += ((code >> taken) & mask) << (8 * b);
      taken += bits;
    }
  }
  return word;
}

/// Parts of one key, and where its bytes come from.
struct Unpacker {
  const KeyPart* word = nullptr;    // or
  const KeyPart* length = nullptr;  // and
  std::vector<const KeyPart*> bytes;

  Unpacker(const KeyLayout& layout, int key) {
    for (const KeyPart& part : layout.parts()) {
      if (part.key == key) {
        switch (part.source) {
          case KeyPart::Source::kWord:
            word = &part;
            break;
          case KeyPart::Source::kLength:
            length = &part;
            break;
          case KeyPart::Source::kBytes:
            bytes.push_back(&part);
            break;
        }
      }
    }
  }

  bool nullable() const { return word != nullptr ? word->nullable : length->nullable; }
};

/// Packed keys that are being unpacked.
struct PackedKeys {
  const uint64_t* words[2];
  int64_t count;

  uint64_t Code(const KeyPart& part, int64_t i) const { return PartOf(part, words[part.word][i]); }
};

template <typename T>
void StoreWords(const PackedKeys& keys, const KeyPart& part, uint8_t* out) {
  auto* values = static_cast<T*>(static_cast<void*>(out));
  const uint64_t add = part.least - (part.nullable ? 1 : 0);
  for (int64_t i = 0; i < keys.count; ++i) {
    values[i] = static_cast<T>(keys.Code(part, i) + add);
  }
}

arrow::Result<std::shared_ptr<arrow::Buffer>> UnpackWords(arrow::MemoryPool* pool, const PackedKeys& keys,
                                                          const KeyPart& part, const arrow::DataType& type) {
  if (type.id() == arrow::Type::BOOL) {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(keys.count, pool));
    const uint64_t add = part.least - (part.nullable ? 1 : 0);
    for (int64_t i = 0; i < keys.count; ++i) {
      arrow::bit_util::SetBitTo(bits->mutable_data(), i, ((keys.Code(part, i) + add) & 1) != 0);
    }
    return bits;
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> values,
                        arrow::AllocateBuffer(keys.count * type.byte_width(), pool));
  if (type.byte_width() > 8) {  // decimals that fit a word: the rest is their sign
    const int64_t words = type.byte_width() / 8;
    auto* out = values->mutable_data_as<uint64_t>();
    const uint64_t add = part.least - (part.nullable ? 1 : 0);
    for (int64_t i = 0; i < keys.count; ++i) {
      const uint64_t low = keys.Code(part, i) + add;
      std::fill_n(out + i * words, words, low >> 63 == 0 ? 0 : ~uint64_t{0});
      out[i * words] = low;
    }
    return values;
  }
  switch (type.byte_width()) {
    case 1:
      StoreWords<uint8_t>(keys, part, values->mutable_data());
      break;
    case 2:
      StoreWords<uint16_t>(keys, part, values->mutable_data());
      break;
    case 4:
      StoreWords<uint32_t>(keys, part, values->mutable_data());
      break;
    default:
      StoreWords<uint64_t>(keys, part, values->mutable_data());
  }
  return values;
}

/// The bytes of key i, `length` of them.
void StoreBytes(const PackedKeys& keys, const Unpacker& from, int64_t i, int64_t length, uint8_t* out) {
  std::fill_n(out, length, uint8_t{0});
  for (const KeyPart* part : from.bytes) {
    if (part->byte < length) {
      const uint64_t word = Spread(*part, keys.Code(*part, i));
      std::memcpy(out + part->byte, &word, std::min<int64_t>(8, length - part->byte));
    }
  }
}

int64_t LengthOf(const PackedKeys& keys, const KeyPart& part, int64_t i) {
  const uint64_t code = keys.Code(part, i);
  if (part.nullable && code == 0) {
    return 0;
  }
  return static_cast<int64_t>(code + part.least - (part.nullable ? 1 : 0));
}

template <typename Offset>
arrow::Result<arrow::BufferVector> UnpackText(arrow::MemoryPool* pool, const PackedKeys& keys, const Unpacker& from) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offsets,
                        arrow::AllocateBuffer((keys.count + 1) * static_cast<int64_t>(sizeof(Offset)), pool));
  auto* ends = offsets->mutable_data_as<Offset>();
  int64_t total = 0;
  for (int64_t i = 0; i < keys.count; ++i) {
    ends[i] = static_cast<Offset>(total);
    total += LengthOf(keys, *from.length, i);
    if (total > std::numeric_limits<Offset>::max()) {
      return arrow::Status::CapacityError("the text of ", keys.count,
                                          " keys outgrows its offsets; take fewer at a time");
    }
  }
  ends[keys.count] = static_cast<Offset>(total);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(total, pool));
  for (int64_t i = 0; i < keys.count; ++i) {
    StoreBytes(keys, from, i, ends[i + 1] - ends[i], bytes->mutable_data() + ends[i]);
  }
  return arrow::BufferVector{std::move(offsets), std::move(bytes)};
}

arrow::Result<std::shared_ptr<arrow::Buffer>> UnpackFixed(arrow::MemoryPool* pool, const PackedKeys& keys,
                                                          const Unpacker& from, int64_t width) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(keys.count * width, pool));
  for (int64_t i = 0; i < keys.count; ++i) {
    StoreBytes(keys, from, i, width, bytes->mutable_data() + i * width);
  }
  return bytes;
}

arrow::Result<std::shared_ptr<arrow::Array>> UnpackViews(arrow::MemoryPool* pool, const PackedKeys& keys,
                                                         const Unpacker& from,
                                                         const std::shared_ptr<arrow::DataType>& type) {
  arrow::BinaryViewBuilder builder(type, pool);
  ARROW_RETURN_NOT_OK(builder.Reserve(keys.count));
  std::string bytes;  // its data is never null, as the builder asks
  for (int64_t i = 0; i < keys.count; ++i) {
    if (from.nullable() && keys.Code(*from.length, i) == 0) {
      builder.UnsafeAppendNull();
      continue;
    }
    bytes.resize(LengthOf(keys, *from.length, i));
    StoreBytes(keys, from, i, static_cast<int64_t>(bytes.size()), reinterpret_cast<uint8_t*>(bytes.data()));
    ARROW_RETURN_NOT_OK(builder.Append(bytes));
  }
  ARROW_ASSIGN_OR_RAISE(const auto views, builder.Finish());
  auto data = views->data()->Copy();
  data->type = type;  // the builder calls text binary
  return arrow::MakeArray(data);
}

arrow::Result<std::shared_ptr<arrow::Array>> UnpackKey(arrow::MemoryPool* pool, const PackedKeys& keys,
                                                       const Unpacker& from,
                                                       const std::shared_ptr<arrow::DataType>& type) {
  arrow::BufferVector buffers(1);
  int64_t nulls = 0;
  if (from.nullable()) {
    const KeyPart& part = from.word != nullptr ? *from.word : *from.length;
    ARROW_ASSIGN_OR_RAISE(buffers[0], arrow::AllocateEmptyBitmap(keys.count, pool));
    for (int64_t i = 0; i < keys.count; ++i) {
      const bool valid = keys.Code(part, i) != 0;
      arrow::bit_util::SetBitTo(buffers[0]->mutable_data(), i, valid);
      nulls += valid ? 0 : 1;
    }
  }
  if (arrow::is_binary_view_like(type->id())) {
    return UnpackViews(pool, keys, from, type);
  }
  if (from.word != nullptr) {
    ARROW_ASSIGN_OR_RAISE(auto values, UnpackWords(pool, keys, *from.word, *type));
    buffers.push_back(std::move(values));
  } else if (arrow::is_base_binary_like(type->id())) {
    ARROW_ASSIGN_OR_RAISE(auto text, arrow::is_large_binary_like(type->id()) ? UnpackText<int64_t>(pool, keys, from)
                                                                             : UnpackText<int32_t>(pool, keys, from));
    buffers.insert(buffers.end(), text.begin(), text.end());
  } else {
    ARROW_ASSIGN_OR_RAISE(auto bytes, UnpackFixed(pool, keys, from, type->byte_width()));
    buffers.push_back(std::move(bytes));
  }
  return arrow::MakeArray(arrow::ArrayData::Make(type, keys.count, std::move(buffers), nulls));
}

}  // namespace

arrow::Result<KeyWords> KeyWords::Make(arrow::MemoryPool* pool, const KeyLayout& layout,
                                       const arrow::RecordBatch& batch, const std::vector<int>& keys) {
  KeyWords result;
  result.layout_ = &layout;
  ARROW_ASSIGN_OR_RAISE(result.columns_, layout.Columns(pool, batch, keys));
  result.nullable_ = std::any_of(result.columns_.begin(), result.columns_.end(), [](const auto& column) {
    return column.kind() == KeyKind::kNull || column.data()->GetNullCount() != 0;
  });
  return result;
}

KeyWords::Block KeyWords::Read(int64_t offset, int64_t count) {
  Block block;
  if (nullable_) {
    valid_.assign(count, 1);
    for (const auto& column : columns_) {
      for (int64_t i = 0; column.may_have_nulls() && i < count; ++i) {
        valid_[i] &= static_cast<uint8_t>(!column.IsNull(offset + i));
      }
    }
    block.valid = valid_.data();
  }
  const bool two = layout_->form() == KeyForm::kTwoWords;
  if (!layout_->packed()) {
    block.first = columns_[0].Words(offset, count, &first_);
    block.second = two ? columns_[1].Words(offset, count, &second_) : nullptr;
    return block;
  }
  first_.assign(count, 0);
  second_.assign(two ? count : 0, 0);
  for (const KeyPart& part : layout_->parts()) {
    if (part.bits > 0) {
      ReadPart(part, offset, count, part.word == 0 ? first_.data() : second_.data());
    }
  }
  block.first = first_.data();
  block.second = two ? second_.data() : nullptr;
  return block;
}

void KeyWords::ReadPart(const KeyPart& part, int64_t offset, int64_t count, uint64_t* out) {
  const KeyColumn& column = columns_[part.key];
  const uint64_t less = part.least - (part.nullable ? 1 : 0);
  const bool nulls = column.kind() == KeyKind::kNull || (nullable_ && column.may_have_nulls());
  const uint64_t* words = nullptr;
  switch (part.source) {
    case KeyPart::Source::kWord:
      if (column.kind() == KeyKind::kNull) {
        return;
      }
      if (column.is_word()) {
        words = column.Words(offset, count, &scratch_);
      } else {  // decimals that fit
        scratch_.assign(count, less);
        ReadEightBytes(column.Slice(offset, count), 0, scratch_.data());
        words = scratch_.data();
      }
      if (nulls && column.is_word()) {
        if (words != scratch_.data()) {
          scratch_.assign(words, words + count);
          words = scratch_.data();
        }
        for (int64_t i = 0; i < count; ++i) {
          scratch_[i] = column.IsNull(offset + i) ? less : scratch_[i];
        }
      }
      AddWords(words, count, less, part.shift, out);
      return;
    case KeyPart::Source::kLength:
      scratch_.assign(count, less);
      column.Slice(offset, count).VisitBytes([&](int64_t i, std::string_view bytes) { scratch_[i] = bytes.size(); });
      AddWords(scratch_.data(), count, less, part.shift, out);
      return;
    case KeyPart::Source::kBytes:
      if (nulls) {
        scratch_.assign(count, part.least);
      } else {
        scratch_.resize(count);
      }
      ReadEightBytes(column.Slice(offset, count), part.byte, scratch_.data());
      Subtract(part.least, count, scratch_.data());
      int shift = part.shift;
      for (int b = 0; b < 8; ++b) {
        const uint64_t mask = (part.mask >> (8 * b)) & 0xFF;
        if (mask != 0) {
          AddByte(scratch_.data(), count, 8 * b, mask, shift, out);
          shift += std::popcount(mask);
        }
      }
      return;
  }
}

arrow::Result<arrow::ArrayVector> UnpackKeys(arrow::MemoryPool* pool, const KeyLayout& layout,
                                             const arrow::FieldVector& fields, const uint64_t* first,
                                             const uint64_t* second, int64_t count) {
  const PackedKeys keys{{first, second}, count};
  arrow::ArrayVector arrays;
  for (size_t k = 0; k < fields.size(); ++k) {
    const Unpacker from(layout, static_cast<int>(k));
    const auto& dictionary = layout.dictionary(k);
    if (dictionary == nullptr) {
      ARROW_ASSIGN_OR_RAISE(auto array, UnpackKey(pool, keys, from, fields[k]->type()));
      arrays.push_back(std::move(array));
    } else {
      const auto& type = static_cast<const arrow::DictionaryType&>(*fields[k]->type());
      ARROW_ASSIGN_OR_RAISE(const auto codes, UnpackKey(pool, keys, from, type.index_type()));
      arrays.push_back(
          std::make_shared<arrow::DictionaryArray>(fields[k]->type(), codes, arrow::MakeArray(dictionary)));
    }
  }
  return arrays;
}

}  // namespace cylon
