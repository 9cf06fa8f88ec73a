/// Rows of both sides of a join brought to one rank by their keys: heavy keys spread, rows that match nothing left out.
#pragma once

#include <memory>
#include <vector>

#include "cylon/kernels/join.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/table/table.h"

namespace cylon::internal {

/// The tables, as JoinTables takes them at each rank.
struct JoinSides {
  Table left;
  Table right;
};

/// Some rows' keys, evenly over what is in memory: what each rank tells of its side before the first row moves.
struct KeySample {
  std::vector<uint64_t> hashes;
  std::vector<int64_t> numbers;  ///< of those that are not null, where there is one key and CanBound it; unsorted
};
arrow::Result<KeySample> SampleKeys(const Table& table, const std::vector<int>& keys, int64_t count);

/// How many keys each of `ranks` ranks samples of a side.
int64_t SampleSize(int ranks);

/// What SampleKeys gave of both sides at this rank.
struct KeySamples {
  KeySample left;
  KeySample right;
};

/// Sends every row to the rank of its key's hash, with these exceptions, which are agreed by all ranks:
///
/// - Heavy keys (Rödiger, Idicula, Kemper, Neumann: Flow-Join, ICDE 2016): where a sample says that one key has so many
///   rows of a side that the rank that it hashes to would be late, these are dealt to all ranks in turn, and the other
///   side's rows of that key go to every rank. Only where the other side's rows without a match are not shown, since
///   each rank would show them.
/// - Bounds: where the key is one whole number (or date, time), and samples say that a side whose rows without a match
///   are not shown has many beyond the other's least and most key, these are not sent.
/// - Filters (Bloom: Space/time trade-offs in hash coding with allowable errors, 1970): where one side is much smaller
///   than the other, whose rows without a match are not shown, all ranks get the bits of the smaller side's keys, and
///   rows that cannot match are not sent, if a sample says that this is so of enough of them.
///
/// Collective. `rows`: by rank, then by side (left, right). `budget`: of the rank that has least. All ranks' the same.
/// Fewer rows than `least_rows` are not looked at before: the messages that it takes would cost more than they save.
arrow::Result<JoinSides> ShuffleForJoin(Context& context, const JoinKernelOptions& join, const JoinSides& sides,
                                        const KeySamples& samples, const std::vector<std::vector<int64_t>>& rows,
                                        int64_t budget, int64_t least_rows);

}  // namespace cylon::internal
