/// The least and the most key of a side of a join: what the other side has beyond them matches nothing.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "cylon/kernels/key_column.h"
#include "cylon/table/table.h"

namespace cylon::internal {

/// Whether keys of `type` can be bounded: whole numbers, dates, times and the like.
bool CanBound(const arrow::DataType& type);

/// Bounds of keys, as int64 whose order is that of the keys: those of unsigned numbers have their highest bit turned.
struct KeyBounds {
  int64_t least = std::numeric_limits<int64_t>::max();
  int64_t most = std::numeric_limits<int64_t>::min();

  bool empty() const { return least > most; }
  bool Contain(int64_t key) const { return key >= least && key <= most; }
  void Add(int64_t key) {
    least = key < least ? key : least;
    most = key > most ? key : most;
  }
  void Add(const KeyBounds& other) {
    least = other.least < least ? other.least : least;
    most = other.most > most ? other.most : most;
  }
  /// Whether much of what lies within these bounds may lie beyond `other`: a twentieth of their width.
  bool ReachBeyond(const KeyBounds& other) const;
};

/// Keys of `column`, for which CanBound, as KeyBounds has them; anything under nulls.
void LoadBoundable(const KeyColumn& column, std::vector<int64_t>* keys);

/// Of column `key` of `table`, for which CanBound; nulls do not count.
arrow::Result<KeyBounds> BoundsOf(const Table& table, int key);

/// Sets to `nowhere` the destinations of the rows of `batch` whose key lies beyond `bounds`, and those of nulls too
/// unless they may match.
arrow::Status LeaveOutBeyond(const KeyBounds& bounds, const arrow::RecordBatch& batch, int key, bool nulls_match,
                             uint32_t nowhere, std::span<uint32_t> destinations);

}  // namespace cylon::internal
