/// Finds the rows of two sides that have equal keys, within one partition.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cylon/kernels/radix_partition.h"

namespace cylon {

/// The keys of a partition's rows: places are counted from the partition's first.
struct PartitionKeys {
  const RadixPartitions* rows = nullptr;
  int64_t first = 0;
  int64_t count = 0;

  static PartitionKeys Of(const RadixPartitions& rows, int64_t partition) {
    return {&rows, rows.begin(partition), rows.rows(partition)};
  }
};

/// A hash table over the rows of one partition. Rows whose hashes agree in the bits above the partition's are chained:
///
///   heads[bits of the hash]  ->  place + 1  ->  next[place]  ->  ...  ->  0
///
/// There are as many heads as rows, up to the next power of two, so that with a partition's keys all of it stays in the
/// second-level cache.
class JoinTable {
 public:
  explicit JoinTable(arrow::MemoryPool* pool) : pool_(pool) {}

  /// Forgets what it had, and takes `keys`.
  arrow::Status Build(const PartitionKeys& keys);

  const PartitionKeys& keys() const { return keys_; }
  const uint32_t* heads() const { return heads_; }
  const uint32_t* next() const { return next_; }
  uint64_t mask() const { return mask_; }
  int shift() const { return shift_; }

 private:
  arrow::MemoryPool* pool_;
  PartitionKeys keys_;
  std::shared_ptr<arrow::Buffer> head_buffer_;
  std::shared_ptr<arrow::Buffer> next_buffer_;
  uint32_t* heads_ = nullptr;
  uint32_t* next_ = nullptr;
  uint64_t mask_ = 0;
  int shift_ = 0;
};

/// Looks rows up in blocks: all heads of a block first, then one step along all its chains at a time. So cache misses
/// overlap, and no branch depends on where a chain ends, which costs more than the steps themselves (mispredicted once
/// a row). The arrays that it works on are kept for the next partition.
class PairFinder {
 public:
  /// Pairs that are handed on at a time, at most.
  static constexpr int64_t kMostPairs = 4096;

  /// Pairs of equal keys: places in the probed partition and in the table's.
  using Sink = std::function<arrow::Status(std::span<const uint32_t> probe, std::span<const uint32_t> build)>;

  struct Options {
    bool compare_keys = false;  ///< whether equal hashes have to be verified by RadixPartitions::SameKey
    bool mark = false;          ///< whether found[place] is set to 1 here; else sink may do it
    bool once = false;          ///< whether a row whose found[place] is set need not be looked up (any further)
    bool emit = true;           ///< whether sink is called
  };

  PairFinder();

  /// Looks up the places [begin, end) of `probe`. `found`: by place; only for `mark` and `once`.
  arrow::Status Find(const JoinTable& table, const PartitionKeys& probe, int64_t begin, int64_t end,
                     const Options& options, uint8_t* found, const Sink& sink);

 private:
  static constexpr int64_t kBlock = 1024;

  template <KeyForm kForm>
  arrow::Status FindByForm(const JoinTable& table, const PartitionKeys& probe, int64_t begin, int64_t end,
                           const Options& options, uint8_t* found, const Sink& sink);
  int64_t KeepSameKeys(const JoinTable& table, const PartitionKeys& probe, int64_t from, int64_t count);

  std::vector<uint32_t> active_rows_;  // of the block: rows whose chains go on, and where they are
  std::vector<uint32_t> active_links_;
  std::vector<uint32_t> probe_places_;
  std::vector<uint32_t> build_places_;
};

}  // namespace cylon
