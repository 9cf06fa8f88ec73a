/// Hashing of key columns that are already in plain form.
#pragma once

#include <cstdint>
#include <vector>

#include "cylon/kernels/key_column.h"

namespace cylon {

/// splitmix64's step (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014). One to one, so
/// that one word's hash stands for the word itself.
inline uint64_t HashOfWord(uint64_t word) {
  word += 0x9E3779B97F4A7C15u;
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
  return word ^ (word >> 31);
}

/// The hash of the columns so far, and of the next one.
inline uint64_t ChainHash(uint64_t hash, uint64_t next) { return HashOfWord((hash << 5 | hash >> 59) ^ next); }

/// The hash of a key of two words, none of them null.
inline uint64_t HashOfWords(uint64_t first, uint64_t second) {
  return ChainHash(HashOfWord(first), HashOfWord(second));
}

/// As HashRows. Of a single column that is a word, the hash of a value (not of a null) is one to one: equal hashes mean
/// equal values.
void HashColumns(const std::vector<KeyColumn>& columns, int64_t num_rows, std::vector<uint64_t>* hashes);

/// Another hash of the same key, for partitioning what was already partitioned by its hash.
uint64_t RehashForLevel(uint64_t hash, int level);

}  // namespace cylon
