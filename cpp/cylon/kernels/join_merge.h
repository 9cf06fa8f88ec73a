/// Finds the rows of two sides that have equal keys, where both are sorted by them.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cylon/kernels/join_pairs.h"

namespace cylon {

/// Whether the rows of `table` are in ascending order of `keys`, nulls last. Looks at no more rows than it takes to
/// tell. False where the keys have no order.
arrow::Result<bool> IsSortedByKeys(const Table& table, const std::vector<int>& keys);

/// What the keys of one side are compared by. For rows that lie in one partition, in ascending order.
class KeyOrder {
 public:
  static arrow::Result<KeyOrder> Make(const RadixPartitions& rows, const std::vector<int>& keys);

 private:
  friend class MergeFinder;

  /// The keys of one batch, as EncodeSortKeys gives them.
  struct EncodedBatch {
    std::vector<uint8_t> bytes;
    std::vector<int64_t> offsets;
  };

  std::vector<KeyKind> kinds_;         // of keys that are words,
  std::vector<EncodedBatch> encoded_;  // or the bytes of others
};

/// Looks rows up by going through both sides at the same time.
class MergeFinder {
 public:
  MergeFinder();

  /// As PairFinder::Find, for sides whose partitions are in ascending order of their keys.
  arrow::Status Find(const PartitionKeys& build, const KeyOrder& build_order, const PartitionKeys& probe,
                     const KeyOrder& probe_order, int64_t begin, int64_t end, const PairFinder::Options& options,
                     uint8_t* found, const PairFinder::Sink& sink);

 private:
  template <typename Keys>
  arrow::Status Merge(const Keys& build, int64_t build_rows, const Keys& probe, int64_t begin, int64_t end,
                      const PairFinder::Options& options, uint8_t* found, const PairFinder::Sink& sink);

  std::vector<uint32_t> probe_places_;
  std::vector<uint32_t> build_places_;
};

}  // namespace cylon
