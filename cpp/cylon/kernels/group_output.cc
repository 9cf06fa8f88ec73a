// Columns of a result that grow as groups come out.
#include "cylon/kernels/group_output.h"

#include <arrow/array/concatenate.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/float16.h>

#include <algorithm>
#include <bit>
#include <type_traits>

namespace cylon {

namespace {

/// Bits of bytes that are 0 or not.
arrow::Result<std::shared_ptr<arrow::Buffer>> PackBits(arrow::MemoryPool* pool, const uint8_t* bytes, int64_t count) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(count, pool));
  uint8_t* out = bits->mutable_data();
  for (int64_t i = 0; i < count / 8 * 8; i += 8) {
    uint8_t packed = 0;
    for (int k = 0; k < 8; ++k) {
      packed |= static_cast<uint8_t>((bytes[i + k] != 0 ? 1u : 0u) << k);
    }
    out[i / 8] = packed;
  }
  for (int64_t i = count / 8 * 8; i < count; ++i) {
    arrow::bit_util::SetBitTo(out, i, bytes[i] != 0);
  }
  return bits;
}

template <typename T>
arrow::Status Narrow(const uint64_t* words, int64_t count, OutputColumn* out) {
  ARROW_ASSIGN_OR_RAISE(T * values, out->Extend<T>(count));
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      values[i] = static_cast<float>(std::bit_cast<double>(words[i]));
    } else {
      values[i] = static_cast<T>(words[i]);
    }
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Status AppendWords(const uint64_t* words, int64_t count, OutputColumn* out) {
  if (out->type()->id() == arrow::Type::FLOAT) {
    return Narrow<float>(words, count, out);
  }
  if (out->type()->id() == arrow::Type::HALF_FLOAT) {
    ARROW_ASSIGN_OR_RAISE(uint16_t* values, out->Extend<uint16_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      values[i] = arrow::util::Float16::FromDouble(std::bit_cast<double>(words[i])).bits();
    }
    return arrow::Status::OK();
  }
  switch (out->type()->id() == arrow::Type::BOOL ? 1 : out->type()->byte_width()) {
    case 1:
      return Narrow<uint8_t>(words, count, out);
    case 2:
      return Narrow<uint16_t>(words, count, out);
    case 4:
      return Narrow<uint32_t>(words, count, out);
    default:
      return Narrow<uint64_t>(words, count, out);
  }
}

arrow::Status OutputColumn::Reserve(int64_t count) {
  if (!arrow::is_fixed_width(type_->id())) {
    return arrow::Status::OK();
  }
  const int64_t width = type_->id() == arrow::Type::BOOL ? 1 : type_->byte_width();
  return values_.Reserve(count * width);
}

arrow::Result<std::shared_ptr<arrow::Array>> OutputColumn::Finish(int64_t count) {
  if (!arrays_.empty()) {
    return arrays_.size() == 1 ? arrays_[0] : arrow::Concatenate(arrays_, pool_);
  }
  if (!arrow::is_fixed_width(type_->id()) || count == 0) {
    return arrow::MakeEmptyArray(type_, pool_);
  }
  std::shared_ptr<arrow::Buffer> bitmap;
  int64_t null_count = 0;
  if (valid_.length() > 0) {
    null_count = std::count(valid_.data(), valid_.data() + count, uint8_t{0});
  }
  if (null_count > 0) {
    ARROW_ASSIGN_OR_RAISE(bitmap, PackBits(pool_, valid_.data(), count));
  }
  std::shared_ptr<arrow::Buffer> values;
  if (type_->id() == arrow::Type::BOOL) {
    ARROW_ASSIGN_OR_RAISE(values, PackBits(pool_, values_.data(), count));
  } else {
    ARROW_ASSIGN_OR_RAISE(values, values_.Finish(/*shrink_to_fit=*/false));
  }
  return arrow::MakeArray(arrow::ArrayData::Make(type_, count, {std::move(bitmap), std::move(values)}, null_count));
}

}  // namespace cylon
