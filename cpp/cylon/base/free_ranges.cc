// Which parts of a long range are free.
#include "cylon/base/free_ranges.h"

#include <iterator>

namespace cylon {

FreeRanges::Range FreeRanges::Erase(Places::iterator place) {
  const Range range{place->first, place->second};
  by_length_.erase({range.length(), range.begin});
  ends_.erase(place);
  total_ -= range.length();
  return range;
}

void FreeRanges::Insert(Range range) {
  if (range.length() > 0) {
    ends_.emplace(range.begin, range.end);
    by_length_.emplace(range.length(), range.begin);
    total_ += range.length();
  }
}

FreeRanges::Range FreeRanges::Add(Range range) {
  auto after = ends_.lower_bound(range.begin);
  if (after != ends_.begin() && std::prev(after)->second == range.begin) {
    range.begin = Erase(std::prev(after)).begin;
  }
  if (after != ends_.end() && after->first == range.end) {
    range.end = Erase(after).end;
  }
  Insert(range);
  return range;
}

FreeRanges::Range FreeRanges::Take(int64_t length) {
  const auto fit = by_length_.lower_bound({length, 0});
  if (fit == by_length_.end()) {
    return {-1, -1};
  }
  const Range range = Erase(ends_.find(fit->second));
  Insert({range.begin + length, range.end});
  return {range.begin, range.begin + length};
}

FreeRanges::Range FreeRanges::TakeLongest() {
  return by_length_.empty() ? Range{} : Erase(ends_.find(by_length_.rbegin()->second));
}

bool FreeRanges::TakeAt(int64_t begin, int64_t length) {
  auto place = ends_.upper_bound(begin);
  if (place == ends_.begin() || std::prev(place)->second < begin + length) {
    return false;
  }
  const Range range = Erase(std::prev(place));
  Insert({range.begin, begin});
  Insert({begin + length, range.end});
  return true;
}

}  // namespace cylon
