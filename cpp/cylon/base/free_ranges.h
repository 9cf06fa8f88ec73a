/// Which parts of a long range are free.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "cylon/base/export.h"

namespace cylon {

/// Free ranges of numbers, neighbours merged. Every call takes time of the logarithm of their number. Not thread-safe.
class CYLON_EXPORT FreeRanges {
 public:
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
    int64_t length() const { return end - begin; }
  };

  /// Frees `range`, of which nothing is free; returns the free range that it is a part of now.
  Range Add(Range range);
  /// The first `length` > 0 numbers of the shortest range that has as many: begins at -1 where none has.
  Range Take(int64_t length);
  /// The longest range, whole; empty where there is none.
  Range TakeLongest();
  /// Takes [begin, begin + length); false where not all of it is free.
  bool TakeAt(int64_t begin, int64_t length);

  /// How many numbers are free.
  int64_t total() const { return total_; }

 private:
  using Places = std::map<int64_t, int64_t>;
  Range Erase(Places::iterator place);
  void Insert(Range range);

  Places ends_;                                      // by begin
  std::set<std::pair<int64_t, int64_t>> by_length_;  // length and begin
  int64_t total_ = 0;
};

}  // namespace cylon
