// Row keys: encoding them, and numbering distinct ones.
#include "cylon/kernels/row_key.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cylon/kernels/hash_columns.h"

namespace cylon {

namespace {

int64_t PaddedTo8(int64_t bytes) { return (bytes + 7) / 8 * 8; }

int64_t NullBytes(size_t columns) { return static_cast<int64_t>(columns + 7) / 8; }

}  // namespace

arrow::Result<KeyEncoder> KeyEncoder::Make(const arrow::Schema& schema, std::vector<int> keys) {
  KeyEncoder encoder;
  bool fixed = true;
  int64_t stride = PaddedTo8(NullBytes(keys.size()));
  bool all_words = true;
  for (int key : keys) {
    if (key < 0 || key >= schema.num_fields()) {
      return arrow::Status::IndexError("key column ", key, " was asked for of a table of ", schema.num_fields(),
                                       " columns; columns are numbered from 0");
    }
    ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::OfType(schema.field(key)->type(), schema.field(key)->name()));
    fixed = fixed && column.is_fixed();
    all_words = all_words && column.is_word();
    stride += column.is_word() ? 8 : PaddedTo8(column.width());
  }
  encoder.hash_is_key_ = keys.size() == 1 && all_words;
  encoder.stride_ = fixed && !encoder.hash_is_key_ ? std::max<int64_t>(stride, 8) : 0;
  encoder.keys_ = std::move(keys);
  return encoder;
}

arrow::Result<KeyBatch> KeyEncoder::Encode(arrow::MemoryPool* pool, const arrow::RecordBatch& batch) const {
  ARROW_ASSIGN_OR_RAISE(const auto columns, KeyColumn::MakeAll(pool, batch, keys_));
  KeyBatch result;
  result.num_rows = batch.num_rows();
  HashColumns(columns, batch.num_rows(), &result.hashes);
  for (const auto& column : columns) {
    if (column.may_have_nulls()) {
      result.nulls.resize(batch.num_rows(), 0);
      for (int64_t i = 0; i < batch.num_rows(); ++i) {
        result.nulls[i] |= static_cast<uint8_t>(column.IsNull(i));
      }
    }
  }
  if (stride_ > 0) {
    ARROW_RETURN_NOT_OK(EncodeFixed(columns, &result));
  } else if (!hash_is_key_) {
    ARROW_RETURN_NOT_OK(EncodeVariable(columns, &result));
  }
  return result;
}

arrow::Status KeyEncoder::EncodeFixed(const std::vector<KeyColumn>& columns, KeyBatch* out) const {
  const int64_t count = out->num_rows;
  out->bytes.assign(count * stride_, 0);
  std::vector<uint64_t> words(count);
  int64_t position = PaddedTo8(NullBytes(columns.size()));
  for (size_t k = 0; k < columns.size(); ++k) {
    const auto& column = columns[k];
    const bool nullable = column.may_have_nulls();
    uint8_t* base = out->bytes.data() + position;
    if (column.is_word()) {
      column.LoadWords(words.data());
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(base + i * stride_, &words[i], 8);
      }
      position += 8;
    } else if (column.kind() != KeyKind::kNull) {
      column.VisitBytes(
          [&](int64_t i, std::string_view bytes) { std::memcpy(base + i * stride_, bytes.data(), bytes.size()); });
      position += PaddedTo8(column.width());
    }
    if (nullable) {
      for (int64_t i = 0; i < count; ++i) {
        if (column.IsNull(i)) {
          out->bytes[i * stride_ + static_cast<int64_t>(k / 8)] |= static_cast<uint8_t>(1u << (k % 8));
          if (column.is_word()) {
            std::memset(base + i * stride_, 0, 8);
          }
        }
      }
    }
  }
  return arrow::Status::OK();
}

arrow::Status KeyEncoder::EncodeVariable(const std::vector<KeyColumn>& columns, KeyBatch* out) const {
  const int64_t count = out->num_rows;
  int64_t fixed = NullBytes(columns.size());
  for (const auto& column : columns) {
    fixed += column.is_word() ? 8 : (column.is_fixed() ? column.width() : 4);
  }
  std::vector<int64_t>& offsets = out->offsets;
  offsets.assign(count + 1, fixed);
  for (const auto& column : columns) {
    if (!column.is_fixed()) {
      column.VisitBytes([&](int64_t i, std::string_view bytes) { offsets[i] += static_cast<int64_t>(bytes.size()); });
    }
  }
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) {
    total += std::exchange(offsets[i], total);
  }
  offsets[count] = total;
  out->bytes.assign(total, 0);
  std::vector<int64_t> cursor(offsets.begin(), offsets.end() - 1);
  for (int64_t& position : cursor) {
    position += NullBytes(columns.size());
  }
  uint8_t* base = out->bytes.data();
  std::vector<uint64_t> words(count);
  for (size_t k = 0; k < columns.size(); ++k) {
    const auto& column = columns[k];
    const bool nullable = column.may_have_nulls();
    if (column.is_word()) {
      column.LoadWords(words.data());
      for (int64_t i = 0; i < count; ++i) {
        if (!nullable || !column.IsNull(i)) {
          std::memcpy(base + cursor[i], &words[i], 8);
        }
        cursor[i] += 8;
      }
    } else if (column.is_fixed()) {
      if (column.kind() != KeyKind::kNull) {
        column.VisitBytes(
            [&](int64_t i, std::string_view bytes) { std::memcpy(base + cursor[i], bytes.data(), bytes.size()); });
      }
      for (int64_t& position : cursor) {
        position += column.width();
      }
    } else {
      column.VisitBytes([&](int64_t i, std::string_view bytes) {
        const auto length = static_cast<uint32_t>(bytes.size());
        std::memcpy(base + cursor[i], &length, 4);
        if (length > 0) {
          std::memcpy(base + cursor[i] + 4, bytes.data(), length);
        }
        cursor[i] += length;
      });
      for (int64_t& position : cursor) {
        position += 4;
      }
    }
    for (int64_t i = 0; nullable && i < count; ++i) {
      if (column.IsNull(i)) {
        base[offsets[i] + static_cast<int64_t>(k / 8)] |= static_cast<uint8_t>(1u << (k % 8));
      }
    }
  }
  return arrow::Status::OK();
}

GroupMap::GroupMap(arrow::MemoryPool* pool, const KeyEncoder& encoder)
    : pool_(pool),
      hash_is_key_(encoder.hash_is_key()),
      stride_(encoder.stride()),
      key_bytes_(std::make_unique<arrow::BufferBuilder>(pool)),
      key_ends_(std::make_unique<arrow::TypedBufferBuilder<int64_t>>(pool)) {}

int64_t GroupMap::num_bytes() const {
  return (slot_buffer_ == nullptr ? 0 : slot_buffer_->size()) + key_bytes_->capacity() + key_ends_->capacity();
}

arrow::Status GroupMap::Grow(int64_t slots) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(slots * static_cast<int64_t>(sizeof(Slot)), pool_));
  std::memset(buffer->mutable_data(), 0xFF, buffer->size());
  auto* fresh = buffer->mutable_data_as<Slot>();
  const auto mask = static_cast<uint64_t>(slots - 1);
  for (uint64_t i = 0; slots_ != nullptr && i <= mask_; ++i) {
    if (slots_[i].number != kNone) {
      uint64_t place = slots_[i].hash & mask;
      while (fresh[place].number != kNone) {
        place = (place + 1) & mask;
      }
      fresh[place] = slots_[i];
    }
  }
  slot_buffer_ = std::move(buffer);
  slots_ = fresh;
  mask_ = mask;
  return arrow::Status::OK();
}

arrow::Status GroupMap::Reserve(int64_t count) {
  if (count >= static_cast<int64_t>(kNone)) {
    return arrow::Status::CapacityError(count, " keys do not fit one hash table, which holds fewer than ", kNone,
                                        "; use more ranks");
  }
  // At most five eighths full: chains stay short, and a doubling is not paid for every power of two of rows.
  const auto slots = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(count, 16) * 8 / 5)));
  return slot_buffer_ == nullptr || static_cast<uint64_t>(slots) > mask_ + 1 ? Grow(slots) : arrow::Status::OK();
}

bool GroupMap::SameKey(uint32_t number, const KeyBatch& batch, int64_t row) const {
  if (hash_is_key_) {
    return true;
  }
  if (stride_ > 0) {
    return std::memcmp(key_bytes_->data() + number * stride_, batch.bytes.data() + row * stride_, stride_) == 0;
  }
  const int64_t begin = number == 0 ? 0 : key_ends_->data()[number - 1];
  const int64_t size = key_ends_->data()[number] - begin;
  return size == batch.offsets[row + 1] - batch.offsets[row] &&
         std::memcmp(key_bytes_->data() + begin, batch.bytes.data() + batch.offsets[row], size) == 0;
}

arrow::Status GroupMap::AddKey(const KeyBatch& batch, int64_t row) {
  if (hash_is_key_) {
    return arrow::Status::OK();
  }
  if (stride_ > 0) {
    return key_bytes_->Append(batch.bytes.data() + row * stride_, stride_);
  }
  ARROW_RETURN_NOT_OK(
      key_bytes_->Append(batch.bytes.data() + batch.offsets[row], batch.offsets[row + 1] - batch.offsets[row]));
  return key_ends_->Append(key_bytes_->length());
}

arrow::Status GroupMap::FindOrInsert(const KeyBatch& batch, const uint32_t* rows, int64_t count, uint32_t* numbers,
                                     std::vector<uint32_t>* added) {
  constexpr int64_t kBatch = 32;
  for (int64_t begin = 0; begin < count; begin += kBatch) {
    const int64_t end = std::min(begin + kBatch, count);
    ARROW_RETURN_NOT_OK(Reserve(size_ + kBatch));
    for (int64_t i = begin; i < end; ++i) {
      __builtin_prefetch(slots_ + (batch.hashes[rows == nullptr ? i : rows[i]] & mask_), 1);
    }
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = rows == nullptr ? i : rows[i];
      const uint64_t hash = batch.hashes[row];
      const bool apart = hash_is_key_ && batch.IsNull(row);
      uint64_t place = hash & mask_;
      uint32_t found = null_number_;
      if (!apart) {
        while ((found = slots_[place].number) != kNone && !(slots_[place].hash == hash && SameKey(found, batch, row))) {
          place = (place + 1) & mask_;
        }
      }
      if (found == kNone) {
        found = static_cast<uint32_t>(size_++);
        if (apart) {
          null_number_ = found;
        } else {
          slots_[place] = Slot{hash, found, 0};
        }
        ARROW_RETURN_NOT_OK(AddKey(batch, row));
        added->push_back(static_cast<uint32_t>(row));
      }
      numbers[i] = found;
    }
  }
  return arrow::Status::OK();
}

}  // namespace cylon
