/// Numbers that were seen, kept as ranges: what is mostly consecutive takes almost nothing.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>

namespace cylon::internal {

class IntervalSet {
 public:
  bool Contains(uint64_t value) const {
    auto after = ranges_.upper_bound(value);
    return after != ranges_.begin() && value <= std::prev(after)->second;
  }

  void Insert(uint64_t value) {
    if (Contains(value)) {
      return;
    }
    uint64_t first = value;
    uint64_t last = value;
    auto after = ranges_.upper_bound(value);
    if (after != ranges_.end() && after->first == value + 1) {
      last = after->second;
      after = ranges_.erase(after);
    }
    if (after != ranges_.begin() && std::prev(after)->second + 1 == value) {
      first = std::prev(after)->first;
    }
    ranges_[first] = last;
  }

  size_t ranges() const { return ranges_.size(); }

 private:
  std::map<uint64_t, uint64_t> ranges_;  // first to last, both in
};

}  // namespace cylon::internal
