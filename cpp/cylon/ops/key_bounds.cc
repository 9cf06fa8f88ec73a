// The least and the most key of a side of a join.
#include "cylon/ops/key_bounds.h"

#include <algorithm>

namespace cylon::internal {

namespace {

/// Rows that are looked at together: their words stay in the first-level cache.
constexpr int64_t kBlockRows = 2048;

/// visit(keys, block, first row) for blocks of the column.
template <typename Visit>
void ForEachBlock(const KeyColumn& column, const Visit& visit) {
  std::vector<int64_t> keys;
  for (int64_t begin = 0; begin < column.length(); begin += kBlockRows) {
    const auto block = column.Slice(begin, std::min(kBlockRows, column.length() - begin));
    LoadBoundable(block, &keys);
    visit(keys, block, begin);
  }
}

}  // namespace

bool CanBound(const arrow::DataType& type) {
  const auto column = KeyColumn::OfType(type.GetSharedPtr(), "");
  return column.ok() && (column->kind() == KeyKind::kSigned || column->kind() == KeyKind::kUnsigned);
}

bool KeyBounds::ReachBeyond(const KeyBounds& other) const {
  constexpr double kShare = 0.05;
  if (empty() || other.empty()) {
    return !empty();
  }
  const auto distance = [](int64_t from, int64_t to) {
    return to > from ? static_cast<double>(to) - static_cast<double>(from) : 0;
  };
  return distance(least, other.least) + distance(other.most, most) > kShare * distance(least, most);
}

void LoadBoundable(const KeyColumn& column, std::vector<int64_t>* keys) {
  keys->resize(column.length());
  // The same bits; signed and unsigned forms of a type may be read as each other.
  auto* words = static_cast<uint64_t*>(static_cast<void*>(keys->data()));
  column.LoadWords(words);
  if (column.kind() == KeyKind::kUnsigned) {
    std::for_each(keys->begin(), keys->end(), [](int64_t& key) { key ^= std::numeric_limits<int64_t>::min(); });
  }
}

arrow::Result<KeyBounds> BoundsOf(const Table& table, int key) {
  KeyBounds bounds;
  ARROW_RETURN_NOT_OK(table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch,
                                             int64_t) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::Make(table.resources()->memory(), batch->column_data(key), ""));
    ForEachBlock(column, [&](const std::vector<int64_t>& keys, const KeyColumn& block, int64_t) {
      KeyBounds own;
      if (!block.may_have_nulls()) {
        std::for_each(keys.begin(), keys.end(), [&](int64_t value) { own.Add(value); });
      } else {
        for (size_t i = 0; i < keys.size(); ++i) {
          if (!block.IsNull(static_cast<int64_t>(i))) {
            own.Add(keys[i]);
          }
        }
      }
      bounds.Add(own);
    });
    return arrow::Status::OK();
  }));
  return bounds;
}

arrow::Status LeaveOutBeyond(const KeyBounds& bounds, const arrow::RecordBatch& batch, int key, bool nulls_match,
                             uint32_t nowhere, std::span<uint32_t> destinations) {
  ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::Make(arrow::default_memory_pool(), batch.column_data(key), ""));
  ForEachBlock(column, [&](const std::vector<int64_t>& keys, const KeyColumn& block, int64_t begin) {
    const auto out = destinations.subspan(begin, keys.size());
    const bool nullable = block.may_have_nulls();
    for (size_t i = 0; i < keys.size(); ++i) {
      const bool stays = nullable && block.IsNull(static_cast<int64_t>(i)) ? nulls_match : bounds.Contain(keys[i]);
      out[i] = stays ? out[i] : nowhere;
    }
  });
  return arrow::Status::OK();
}

}  // namespace cylon::internal
