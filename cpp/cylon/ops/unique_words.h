/// Which rows are unique by one column whose values are words: the words travel once, and bits come back.
#pragma once

#include <memory>
#include <vector>

#include "cylon/comm/context.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon::internal {

/// What the ranks have to know of each other to choose MarkUniqueWords.
struct WordsShare {
  int64_t rows = 0;
  bool in_memory = false;
  int64_t budget = 0;
};

/// This rank's.
WordsShare WordsShareOf(Context& context, const Table& table);

/// Whether MarkUniqueWords is the way for column `key`: words, which fit every rank's memory, and so few of them that
/// the partitions that ranks are sent fit their caches.
bool CanMarkUniqueWords(const Table& table, int key, const std::vector<WordsShare>& ranks);

/// One byte per row of `table`, 1 where the row is the first, the last or the only one of the distributed table with
/// its value in column `key`. Rows are dealt by hash, in one pass, into partitions that fit a cache, and each rank is
/// sent the words of a range of partitions as they lie:
///
///   at rank 0    | partition 0 | 1 | 2 | ... |  at rank 1    | partition 0 | 1 | 2 | ... |
///                 `--- to rank 0 ---´ `- to rank 1 -´         `--- to rank 0 ---´ ...
///
/// which marks them partition by partition, first those of rank 0, then those of rank 1, and answers with a bit for
/// each. So neither the numbers of the rows nor the kept keys travel. Where the words of a partition repeat so much
/// that it pays, only those are sent that can be kept. Collective; `ranks` is the same everywhere.
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkUniqueWords(Context& context, const Table& table, int key, Keep keep,
                                                              const std::vector<WordsShare>& ranks);

}  // namespace cylon::internal
