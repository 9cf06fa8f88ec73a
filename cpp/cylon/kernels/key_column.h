/// Key columns in plain form: the one table of what can be a key, and how its values become canonical words or bytes.
#pragma once

#include <arrow/api.h>
#include <arrow/util/bit_util.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "cylon/base/export.h"

namespace cylon {

/// How the values of a key column lie in memory.
enum class KeyKind : uint8_t {
  kNull,  ///< no values, all rows null
  kBool,
  kSigned,    ///< 1 to 8 bytes: integers, dates, times, timestamps, durations, small decimals
  kUnsigned,  ///< 1 to 8 bytes
  kHalf,
  kFloat,
  kDouble,
  kDecimal,  ///< 16 or 32 bytes, little-endian two's complement
  kBytes,    ///< a fixed number of opaque bytes: fixed-size binary, intervals
  kBinary,   ///< bytes by 32-bit offsets
  kLargeBinary,
  kView,
};

/// A key column whose dictionary, run-end encoding and extension type have been taken off.
class CYLON_EXPORT KeyColumn {
 public:
  /// NotImplemented names column and type where it cannot be a key (nested types). Memory for decoding out of `pool`.
  static arrow::Result<KeyColumn> Make(arrow::MemoryPool* pool, std::shared_ptr<arrow::ArrayData> data,
                                       std::string_view name);
  static arrow::Result<std::vector<KeyColumn>> MakeAll(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                                       const std::vector<int>& keys);
  /// Kind and bytes per value of the columns of `type`: 0 bytes where they vary.
  static arrow::Result<KeyColumn> OfType(const std::shared_ptr<arrow::DataType>& type, std::string_view name);

  KeyKind kind() const { return kind_; }
  int64_t width() const { return width_; }
  const std::shared_ptr<arrow::ArrayData>& data() const { return data_; }
  int64_t length() const { return data_->length; }
  bool may_have_nulls() const { return kind_ == KeyKind::kNull || data_->MayHaveNulls(); }
  bool IsNull(int64_t i) const {
    return kind_ == KeyKind::kNull ||
           (data_->MayHaveNulls() && !arrow::bit_util::GetBit(data_->buffers[0]->data(), data_->offset + i));
  }

  /// Whether a value is one canonical 64-bit word.
  bool is_word() const { return kind_ <= KeyKind::kDouble && kind_ != KeyKind::kNull; }
  bool is_fixed() const { return kind_ < KeyKind::kBinary; }

  /// Words that are equal where the values are: sign-extended integers, floats as doubles with one NaN and one zero.
  /// Only for words; under nulls is anything.
  void LoadWords(uint64_t* out) const;
  /// Those of rows [offset, offset + count): where they lie, if values are words as they are, else in `scratch`.
  const uint64_t* Words(int64_t offset, int64_t count, std::vector<uint64_t>* scratch) const;
  bool words_are_values() const { return width_ == 8 && (kind_ == KeyKind::kSigned || kind_ == KeyKind::kUnsigned); }

  /// Rows [offset, offset + length), without a copy.
  KeyColumn Slice(int64_t offset, int64_t length) const {
    KeyColumn result = *this;
    result.data_ = data_->Slice(offset, length);
    return result;
  }

  /// The bytes of value i; only for kinds from kDecimal on, and not for a null.
  std::string_view Bytes(int64_t i) const;

  /// function(i, bytes) for every row that is not null, kinds from kDecimal on.
  template <typename Function>
  void VisitBytes(const Function& function) const;

 private:
  KeyKind kind_ = KeyKind::kNull;
  int64_t width_ = 0;
  std::shared_ptr<arrow::ArrayData> data_;
};

template <typename Function>
void KeyColumn::VisitBytes(const Function& function) const {
  const bool nullable = may_have_nulls();
  const auto visit = [&](const auto& get) {
    for (int64_t i = 0; i < length(); ++i) {
      if (!nullable || !IsNull(i)) {
        function(i, get(i));
      }
    }
  };
  const auto text = [](const uint8_t* begin, int64_t size) {
    return std::string_view(reinterpret_cast<const char*>(begin), static_cast<size_t>(size));
  };
  if (length() == 0) {
    return;
  }
  const auto bytes_of = [&](int buffer) {
    return data_->buffers[buffer] == nullptr ? nullptr : data_->buffers[buffer]->data();
  };
  switch (kind_) {
    case KeyKind::kBinary:
      visit([&, offsets = data_->GetValues<int32_t>(1), bytes = bytes_of(2)](int64_t i) {
        return text(bytes + offsets[i], offsets[i + 1] - offsets[i]);
      });
      break;
    case KeyKind::kLargeBinary:
      visit([&, offsets = data_->GetValues<int64_t>(1), bytes = bytes_of(2)](int64_t i) {
        return text(bytes + offsets[i], offsets[i + 1] - offsets[i]);
      });
      break;
    case KeyKind::kView:
      visit([&](int64_t i) { return Bytes(i); });
      break;
    default:
      visit([&, base = bytes_of(1) + data_->offset * width_](int64_t i) { return text(base + i * width_, width_); });
  }
}

}  // namespace cylon
