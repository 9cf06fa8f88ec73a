/// Hashing of key columns that are already in plain form.
#pragma once

#include <cstdint>
#include <vector>

#include "cylon/kernels/key_column.h"

namespace cylon {

/// As HashRows. Of a single column that is a word, the hash of a value (not of a null) is one to one: equal hashes mean
/// equal values.
void HashColumns(const std::vector<KeyColumn>& columns, int64_t num_rows, std::vector<uint64_t>* hashes);

/// Another hash of the same key, for partitioning what was already partitioned by its hash.
uint64_t RehashForLevel(uint64_t hash, int level);

}  // namespace cylon
