/// The order of two values of an array, found the simple way.
#pragma once

#include <arrow/api.h>
#include <arrow/util/float16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

namespace cylon::testing {

/// -1, 0 or 1 as the values of two rows compare, not for nulls and NaN.
inline int CompareValues(const arrow::Array& array, int64_t a, int64_t b) {
  using arrow::Type;
  const auto three_way = [](const auto& x, const auto& y) { return x < y ? -1 : (y < x ? 1 : 0); };
  switch (array.type_id()) {
    case Type::DICTIONARY: {
      const auto& encoded = static_cast<const arrow::DictionaryArray&>(array);
      return CompareValues(*encoded.dictionary(), encoded.GetValueIndex(a), encoded.GetValueIndex(b));
    }
    case Type::RUN_END_ENCODED: {
      const auto& encoded = static_cast<const arrow::RunEndEncodedArray&>(array);
      const auto run = [&](int64_t i) {
        return std::static_pointer_cast<arrow::RunEndEncodedArray>(encoded.Slice(i, 1))->FindPhysicalOffset();
      };
      return CompareValues(*encoded.values(), run(a), run(b));
    }
    case Type::BOOL:
      return three_way(static_cast<const arrow::BooleanArray&>(array).Value(a),
                       static_cast<const arrow::BooleanArray&>(array).Value(b));
    case Type::HALF_FLOAT: {
      const auto value = [&](int64_t i) {
        return arrow::util::Float16::FromBits(static_cast<const arrow::HalfFloatArray&>(array).Value(i)).ToDouble();
      };
      return three_way(value(a), value(b));
    }
    case Type::FLOAT:
      return three_way(static_cast<const arrow::FloatArray&>(array).Value(a),
                       static_cast<const arrow::FloatArray&>(array).Value(b));
    case Type::DOUBLE:
      return three_way(static_cast<const arrow::DoubleArray&>(array).Value(a),
                       static_cast<const arrow::DoubleArray&>(array).Value(b));
    case Type::STRING:
    case Type::BINARY:
      return three_way(static_cast<const arrow::BinaryArray&>(array).GetView(a),
                       static_cast<const arrow::BinaryArray&>(array).GetView(b));
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return three_way(static_cast<const arrow::LargeBinaryArray&>(array).GetView(a),
                       static_cast<const arrow::LargeBinaryArray&>(array).GetView(b));
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return three_way(static_cast<const arrow::BinaryViewArray&>(array).GetView(a),
                       static_cast<const arrow::BinaryViewArray&>(array).GetView(b));
    case Type::FIXED_SIZE_BINARY:
      return three_way(static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(a),
                       static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(b));
    default: {
      // Integers and decimals: the generated ones fit 64 bits.
      const int width = array.type()->byte_width();
      const auto value = [&](int64_t i) {
        int64_t word = 0;
        const uint8_t* bytes = array.data()->GetValues<uint8_t>(1, 0) + (array.offset() + i) * width;
        std::memcpy(&word, bytes, std::min(width, 8));
        const int bits = 8 * std::min(width, 8);
        return arrow::is_unsigned_integer(array.type_id()) ? word : (word << (64 - bits)) >> (64 - bits);
      };
      return arrow::is_unsigned_integer(array.type_id())
                 ? three_way(static_cast<uint64_t>(value(a)), static_cast<uint64_t>(value(b)))
                 : three_way(value(a), value(b));
    }
  }
}

}  // namespace cylon::testing
