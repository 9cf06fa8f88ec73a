/// Values out of tables for naive references in tests: compared one by one, by nothing but their meaning.
#pragma once

#include <arrow/api.h>
#include <arrow/util/float16.h>

#include <algorithm>
#include <cmath>
#include <compare>
#include <ostream>
#include <string>
#include <vector>

#include "cylon/kernels/testing/random_table.h"
#include "cylon/table/table.h"

namespace cylon::testing {

/// One value. NaN equals NaN and is the largest number; -0.0 equals 0.0; null equals null and comes after everything.
struct Cell {
  enum class Kind : uint8_t { kNumber, kText, kNull };
  Kind kind = Kind::kNull;
  long double number = 0;  // 64 bits of mantissa: every integer of 64 bits is exact
  std::string text;

  std::strong_ordering operator<=>(const Cell& other) const {
    if (kind != other.kind) {
      return kind <=> other.kind;
    }
    if (kind == Kind::kText) {
      return text.compare(other.text) <=> 0;
    }
    if (std::isnan(number) || std::isnan(other.number)) {
      return std::isnan(number) <=> std::isnan(other.number);
    }
    return number < other.number   ? std::strong_ordering::less
           : number > other.number ? std::strong_ordering::greater
                                   : std::strong_ordering::equal;
  }
  bool operator==(const Cell& other) const { return (*this <=> other) == 0; }
  bool is_null() const { return kind == Kind::kNull; }
  bool is_missing() const { return is_null() || (kind == Kind::kNumber && std::isnan(number)); }
};

inline std::ostream& operator<<(std::ostream& out, const Cell& cell) {
  switch (cell.kind) {
    case Cell::Kind::kNull:
      return out << "null";
    case Cell::Kind::kNumber:
      return out << static_cast<double>(cell.number);
    default:
      return out << '"' << cell.text << '"';
  }
}

using Row = std::vector<Cell>;
using Rows = std::vector<Row>;

inline Cell NumberCell(long double number) { return {Cell::Kind::kNumber, number, ""}; }
inline Cell TextCell(std::string text) { return {Cell::Kind::kText, 0, std::move(text)}; }

inline Cell CellOf(const arrow::Array& array, int64_t i) {
  using arrow::Type;
  if (array.type_id() == Type::RUN_END_ENCODED) {
    const auto slice = std::static_pointer_cast<arrow::RunEndEncodedArray>(array.Slice(i, 1));
    return CellOf(*slice->values(), slice->FindPhysicalOffset());
  }
  if (array.IsNull(i)) {
    return {};
  }
  switch (array.type_id()) {
    case Type::DICTIONARY: {
      const auto& encoded = static_cast<const arrow::DictionaryArray&>(array);
      return CellOf(*encoded.dictionary(), encoded.GetValueIndex(i));
    }
    case Type::DOUBLE:
      return NumberCell(static_cast<const arrow::DoubleArray&>(array).Value(i));
    case Type::FLOAT:
      return NumberCell(static_cast<const arrow::FloatArray&>(array).Value(i));
    case Type::HALF_FLOAT:
      return NumberCell(
          arrow::util::Float16::FromBits(static_cast<const arrow::HalfFloatArray&>(array).Value(i)).ToDouble());
    case Type::BOOL:
      return NumberCell(static_cast<const arrow::BooleanArray&>(array).Value(i) ? 1 : 0);
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL128:
    case Type::DECIMAL256:
      return NumberCell(std::stold(array.GetScalar(i).ValueOrDie()->ToString()));
    case Type::UINT64:
      return NumberCell(static_cast<const arrow::UInt64Array&>(array).Value(i));
    case Type::INT8:
      return NumberCell(static_cast<const arrow::Int8Array&>(array).Value(i));
    case Type::INT16:
      return NumberCell(static_cast<const arrow::Int16Array&>(array).Value(i));
    case Type::UINT8:
      return NumberCell(static_cast<const arrow::UInt8Array&>(array).Value(i));
    case Type::UINT16:
      return NumberCell(static_cast<const arrow::UInt16Array&>(array).Value(i));
    case Type::UINT32:
      return NumberCell(static_cast<const arrow::UInt32Array&>(array).Value(i));
    case Type::INT32:
    case Type::DATE32:
    case Type::TIME32:
      return NumberCell(array.data()->GetValues<int32_t>(1)[i]);
    case Type::INT64:
    case Type::DATE64:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
      return NumberCell(static_cast<long double>(array.data()->GetValues<int64_t>(1)[i]));
    case Type::STRING:
    case Type::BINARY:
      return TextCell(std::string(static_cast<const arrow::BinaryArray&>(array).GetView(i)));
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return TextCell(std::string(static_cast<const arrow::LargeBinaryArray&>(array).GetView(i)));
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return TextCell(std::string(static_cast<const arrow::BinaryViewArray&>(array).GetView(i)));
    case Type::FIXED_SIZE_BINARY:
      return TextCell(std::string(static_cast<const arrow::FixedSizeBinaryArray&>(array).GetView(i)));
    default:
      return TextCell(ValueText(array, i));
  }
}

/// Every row of this rank's part.
inline Rows RowsOf(const Table& table) {
  Rows rows;
  const auto status = table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      Row row;
      for (const auto& column : batch->columns()) {
        row.push_back(CellOf(*column, i));
      }
      rows.push_back(std::move(row));
    }
    return arrow::Status::OK();
  });
  if (!status.ok()) {
    status.Abort("reading a test table");
  }
  return rows;
}

inline Rows Sorted(Rows rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

/// The cells of `row` in `columns`.
inline Row Pick(const Row& row, const std::vector<int>& columns) {
  Row picked;
  for (const int column : columns) {
    picked.push_back(row[column]);
  }
  return picked;
}

/// Equal, numbers to within 1e-9 of their size (sums of floats depend on their order).
inline bool Near(const Row& a, const Row& b) {
  if (a.size() != b.size()) {
    return false;
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) {
      continue;
    }
    const bool numbers = a[i].kind == Cell::Kind::kNumber && b[i].kind == Cell::Kind::kNumber;
    const long double size = std::max<long double>(1, std::max(std::abs(a[i].number), std::abs(b[i].number)));
    if (!numbers || !(std::abs(a[i].number - b[i].number) <= 1e-9L * size)) {
      return false;
    }
  }
  return true;
}

}  // namespace cylon::testing
