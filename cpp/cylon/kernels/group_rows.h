/// What both ways of grouping share: feeding rows to states, and writing groups out.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cylon/kernels/grouping.h"

namespace cylon::grouping {

/// The states of some groups, and the readers of the columns that they take in.
class StateSet {
 public:
  StateSet(arrow::MemoryPool* pool, const GroupingPlan& plan)
      : plan_(plan), states_(plan.aggregates.MakeStates(pool)), readers_(states_.size()) {}

  /// Reads columns of `batch` from now on.
  arrow::Status Open(arrow::MemoryPool* pool, const arrow::RecordBatch& batch);
  /// The readers of the columns of states number `states`, to be filled.
  std::vector<ValueReader>& readers(size_t states) { return readers_[states]; }

  /// Adds rows [offset, offset + count) of what is open, at most kValueBlockRows; `numbers` are their groups, of
  /// `groups` in all. Values of groups that are `dropped` (by number; empty: none is) are not looked at, so that they
  /// cannot overflow.
  arrow::Status Add(int64_t offset, int64_t count, const uint32_t* numbers, int64_t groups,
                    const std::vector<uint8_t>& dropped);
  arrow::Status Resize(int64_t groups);
  arrow::Status MergeFrom(const StateSet& other, const uint32_t* numbers, int64_t groups);

  /// Columns for what comes out, as the plan says.
  std::vector<OutputColumn> MakeColumns(arrow::MemoryPool* pool) const;
  /// Writes all groups to the end of `columns`.
  arrow::Status Append(std::span<OutputColumn> columns) const;
  int64_t group_bytes() const;

 private:
  const GroupingPlan& plan_;
  std::vector<std::unique_ptr<GroupStates>> states_;
  std::vector<std::vector<ValueReader>> readers_;
  std::vector<ValueBlock> blocks_;
  std::vector<uint8_t> valid_;
};

/// The fields of the key columns.
arrow::FieldVector KeyFields(const arrow::Schema& schema, const GroupingPlan& plan);

/// Whether key columns can be written back from their words; floats (-0.0, NaN) and encoded ones cannot.
bool KeysAreTheirWords(const arrow::Schema& schema, const std::vector<int>& keys, const KeyLayout& layout);

/// Rows of `input` that are grouped in one table before it is merged with the others: by the budget, not by its share
/// for a thread, so that the bits of float sums are the same for any number of threads.
int64_t RangeRows(Resources& resources, const Table& input, int64_t expected_groups);

/// Where the packed keys are such small numbers that each can have a slot of a table of groups (WordTable), and a table
/// that takes in `rows` has not many more slots: how many bits they have. Else -1.
int DirectBits(const KeyLayout& layout, int64_t rows);

/// Sets dropped[number] for those of the packed keys [from, count) of which a part is null or NaN.
void DropMissing(const KeyLayout& layout, const uint64_t* first, const uint64_t* second, int64_t from, int64_t count,
                 std::vector<uint8_t>* dropped);

/// Bytes that are 1 for groups with a null or NaN among their keys; empty where none has.
arrow::Result<std::vector<uint8_t>> MissingKeys(arrow::MemoryPool* pool, const arrow::RecordBatch& keys);

/// Key columns of groups [begin, begin + count); CapacityError asks for fewer.
using KeySource = std::function<arrow::Result<arrow::ArrayVector>(int64_t begin, int64_t count)>;

/// Groups as chunks of `schema`, without those that are `dropped`; as many chunks as the keys' offsets ask for.
arrow::Status AppendGroups(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Schema>& schema,
                           const KeySource& keys, std::vector<OutputColumn>* columns, int64_t groups,
                           const std::vector<uint8_t>& dropped, std::vector<std::shared_ptr<Chunk>>* out);

}  // namespace cylon::grouping
