/// Rows as text, for comparing tables.
#pragma once

#include <arrow/api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cylon/table/table.h"

namespace cylon::testing {

/// One value as text; by value whatever the encoding.
inline std::string ValueText(const arrow::Array& array, int64_t i) {
  using arrow::Type;
  const auto list_text = [](const std::shared_ptr<arrow::Array>& items) {
    std::string text = "[";
    for (int64_t k = 0; k < items->length(); ++k) {
      text += (k == 0 ? "" : ", ") + ValueText(*items, k);
    }
    return text + "]";
  };
  if (array.type_id() == Type::RUN_END_ENCODED) {
    const auto& encoded = static_cast<const arrow::RunEndEncodedArray&>(array);
    const auto slice = std::static_pointer_cast<arrow::RunEndEncodedArray>(encoded.Slice(i, 1));
    return ValueText(*slice->values(), slice->FindPhysicalOffset());
  }
  if (array.IsNull(i)) {
    return "null";
  }
  switch (array.type_id()) {
    case Type::DICTIONARY: {
      const auto& encoded = static_cast<const arrow::DictionaryArray&>(array);
      return ValueText(*encoded.dictionary(), encoded.GetValueIndex(i));
    }
    case Type::EXTENSION:
      return ValueText(*static_cast<const arrow::ExtensionArray&>(array).storage(), i);
    case Type::LIST:
    case Type::MAP:
      return list_text(static_cast<const arrow::ListArray&>(array).value_slice(i));
    case Type::LARGE_LIST:
      return list_text(static_cast<const arrow::LargeListArray&>(array).value_slice(i));
    case Type::LIST_VIEW:
      return list_text(static_cast<const arrow::ListViewArray&>(array).value_slice(i));
    case Type::LARGE_LIST_VIEW:
      return list_text(static_cast<const arrow::LargeListViewArray&>(array).value_slice(i));
    case Type::FIXED_SIZE_LIST:
      return list_text(static_cast<const arrow::FixedSizeListArray&>(array).value_slice(i));
    case Type::STRUCT: {
      const auto& record = static_cast<const arrow::StructArray&>(array);
      std::string text = "{";
      for (int k = 0; k < record.num_fields(); ++k) {
        text += (k == 0 ? "" : ", ") + ValueText(*record.field(k), i);
      }
      return text + "}";
    }
    case Type::SPARSE_UNION: {
      const auto& variant = static_cast<const arrow::SparseUnionArray&>(array);
      return ValueText(*variant.field(variant.child_id(i)), i);
    }
    case Type::DENSE_UNION: {
      const auto& variant = static_cast<const arrow::DenseUnionArray&>(array);
      return ValueText(*variant.field(variant.child_id(i)), variant.value_offset(i));
    }
    case Type::DOUBLE:
    case Type::FLOAT: {
      const double value = array.type_id() == Type::DOUBLE ? static_cast<const arrow::DoubleArray&>(array).Value(i)
                                                           : static_cast<const arrow::FloatArray&>(array).Value(i);
      char text[40];
      std::snprintf(text, sizeof(text), "%.17g", std::isnan(value) ? std::abs(value) : value);
      return text;
    }
    default:
      return array.GetScalar(i).ValueOrDie()->ToString();
  }
}

/// Each row as text, columns separated by '|': for comparing tables, in order or (sorted) as sets.
inline std::vector<std::string> RowsAsStrings(const arrow::RecordBatch& batch) {
  std::vector<std::string> rows(batch.num_rows());
  for (int column = 0; column < batch.num_columns(); ++column) {
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      rows[i] += (column == 0 ? "" : "|") + ValueText(*batch.column(column), i);
    }
  }
  return rows;
}

inline std::vector<std::string> RowsAsStrings(const Table& table) {
  std::vector<std::string> rows;
  const auto status = table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    const auto more = RowsAsStrings(*batch);
    rows.insert(rows.end(), more.begin(), more.end());
    return arrow::Status::OK();
  });
  if (!status.ok()) {
    status.Abort("reading a test table");
  }
  return rows;
}

inline std::vector<std::string> SortedRowsAsStrings(const Table& table) {
  auto rows = RowsAsStrings(table);
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace cylon::testing
