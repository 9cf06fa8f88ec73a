/// A join by nested loops, for tests.
#pragma once

#include <map>

#include "cylon/ops/join.h"
#include "cylon/ops/testing/cells.h"

namespace cylon::testing {

/// What Join gives, by definition, for keys at the given columns; a pair of keys at `shared` positions is one column of
/// the result.
inline Rows NaiveJoin(const Rows& left, const Rows& right, size_t left_width, size_t right_width,
                      const std::vector<int>& left_keys, const std::vector<int>& right_keys,
                      const std::vector<bool>& shared, JoinType type, NullKeys null_keys) {
  const auto matchable = [&](const Row& key) {
    return null_keys == NullKeys::kMatch ||
           std::none_of(key.begin(), key.end(), [](const Cell& cell) { return cell.is_null(); });
  };
  std::multimap<Row, size_t> index;
  for (size_t j = 0; j < right.size(); ++j) {
    index.emplace(Pick(right[j], right_keys), j);
  }
  const auto emit = [&](const Row* a, const Row* b) {
    Row out;
    for (size_t i = 0; i < left_width; ++i) {
      Cell cell = a != nullptr ? (*a)[i] : Cell();
      for (size_t k = 0; k < left_keys.size(); ++k) {
        if (a == nullptr && shared[k] && left_keys[k] == static_cast<int>(i)) {
          cell = (*b)[right_keys[k]];
        }
      }
      out.push_back(std::move(cell));
    }
    if (type == JoinType::kSemi || type == JoinType::kAnti) {
      return out;
    }
    for (size_t j = 0; j < right_width; ++j) {
      bool hidden = false;
      for (size_t k = 0; k < right_keys.size(); ++k) {
        hidden = hidden || (shared[k] && right_keys[k] == static_cast<int>(j));
      }
      if (!hidden) {
        out.push_back(b != nullptr ? (*b)[j] : Cell());
      }
    }
    return out;
  };
  Rows out;
  std::vector<bool> right_matched(right.size(), false);
  for (const auto& row : left) {
    const Row key = Pick(row, left_keys);
    const auto [begin, end] = index.equal_range(key);
    const bool matches = matchable(key) && begin != end;
    if (type == JoinType::kSemi || type == JoinType::kAnti) {
      if (matches == (type == JoinType::kSemi)) {
        out.push_back(emit(&row, nullptr));
      }
      continue;
    }
    if (!matches) {
      if (type == JoinType::kLeft || type == JoinType::kFull) {
        out.push_back(emit(&row, nullptr));
      }
      continue;
    }
    for (auto it = begin; it != end; ++it) {
      right_matched[it->second] = true;
      out.push_back(emit(&row, &right[it->second]));
    }
  }
  if (type == JoinType::kRight || type == JoinType::kFull) {
    for (size_t j = 0; j < right.size(); ++j) {
      if (!right_matched[j]) {
        out.push_back(emit(nullptr, &right[j]));
      }
    }
  }
  return out;
}

}  // namespace cylon::testing
