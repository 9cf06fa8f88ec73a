// Ordering of words in cache.
#include "cylon/kernels/sort_order.h"

#include <algorithm>
#include <array>
#include <bit>

namespace cylon {

namespace {

/// 2048 counters of 4 bytes leave three quarters of a first-level cache for what is sorted.
constexpr int kLargestDigit = 11;

/// Leading bits that are sorted beyond log2 of the number of words: of evenly spread words, one in 64 then has a
/// neighbour that it is not told apart from.
constexpr int kSpareBits = 6;

/// Up to here moving entries one by one beats counting them.
constexpr size_t kInsertionLimit = 24;

CYLON_CLONES uint64_t VaryingBits(const uint64_t* words, size_t count) {
  uint64_t varying = 0;
  const uint64_t first = words[0];
  for (size_t i = 0; i < count; ++i) {
    varying |= words[i] ^ first;
  }
  return varying;
}

/// Rows that agree in this many words are compared by their keys: no deeper recursion, however long they are.
constexpr int kDeepestLevel = 16;

/// Some bits of an entry, of which there is one for each word:   | bits of the word | position |
struct Digit {
  int shift;
  uint64_t mask;
};

/// Turns counts into the first place of each digit value.
void PlacesOf(uint32_t* counts, uint64_t mask) {
  uint32_t sum = 0;
  for (uint64_t k = 0; k <= mask; ++k) {
    const uint32_t count = counts[k];
    counts[k] = sum;
    sum += count;
  }
}

void InsertionSort(std::span<const uint64_t> words, uint32_t* order, size_t count) {
  for (size_t i = 1; i < count; ++i) {
    const uint32_t moved = order[i];
    const uint64_t word = words[moved];
    size_t place = i;
    for (; place > 0 && words[order[place - 1]] > word; --place) {
      order[place] = order[place - 1];
    }
    order[place] = moved;
  }
}

}  // namespace

arrow::Result<uint64_t*> WordSorter::Entries(size_t count) {
  const auto bytes = static_cast<int64_t>(count * sizeof(uint64_t));
  if (entries_ == nullptr) {
    ARROW_ASSIGN_OR_RAISE(entries_, arrow::AllocateResizableBuffer(bytes, pool_));
  } else if (entries_->size() < bytes) {
    ARROW_RETURN_NOT_OK(entries_->Resize(bytes, /*shrink_to_fit=*/false));
  }
  return entries_->mutable_data_as<uint64_t>();
}

arrow::Status WordSorter::Order(std::span<const uint64_t> words, uint32_t* order) {
  const size_t count = words.size();
  if (count <= kInsertionLimit) {
    for (size_t i = 0; i < count; ++i) {
      order[i] = static_cast<uint32_t>(i);
    }
    InsertionSort(words, order, count);
    return arrow::Status::OK();
  }
  const uint64_t varying = VaryingBits(words.data(), count);
  if (varying == 0) {
    for (size_t i = 0; i < count; ++i) {
      order[i] = static_cast<uint32_t>(i);
    }
    return arrow::Status::OK();
  }
  const int position_bits = std::bit_width(count - 1);
  const int top = std::bit_width(varying);
  const int bits = top - std::countr_zero(varying);
  const int sorted = std::min({bits, position_bits + kSpareBits, 64 - position_bits});
  // Equal digits, so that no pass has more counters than it needs.
  const int passes = (sorted + kLargestDigit - 1) / kLargestDigit;
  std::array<Digit, 6> digits;
  std::array<std::array<uint32_t, 1 << kLargestDigit>, 6> counts;
  for (int pass = 0, shift = 0; pass < passes; ++pass) {
    const int width = (sorted - shift + passes - pass - 1) / (passes - pass);
    digits[pass] = {shift, (uint64_t{1} << width) - 1};
    std::fill_n(counts[pass].begin(), digits[pass].mask + 1, 0);
    shift += width;
  }
  const int down = top - sorted;  // the lowest bit of a word that is sorted by
  const uint64_t mask = sorted == 64 ? ~uint64_t{0} : (uint64_t{1} << sorted) - 1;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t key = (words[i] >> down) & mask;
    for (int pass = 0; pass < passes; ++pass) {
      ++counts[pass][(key >> digits[pass].shift) & digits[pass].mask];
    }
  }
  for (int pass = 0; pass < passes; ++pass) {
    PlacesOf(counts[pass].data(), digits[pass].mask);
  }
  if (passes == 1 && sorted == bits) {
    for (size_t i = 0; i < count; ++i) {
      order[counts[0][(words[i] >> down) & mask]++] = static_cast<uint32_t>(i);
    }
    return arrow::Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(uint64_t* from, Entries(2 * count));
  uint64_t* to = from + count;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t key = (words[i] >> down) & mask;
    from[counts[0][key & digits[0].mask]++] = key << position_bits | i;
  }
  const uint64_t position_mask = (uint64_t{1} << position_bits) - 1;
  for (int pass = 1; pass < passes; ++pass) {
    const int shift = digits[pass].shift + position_bits;
    if (pass == passes - 1 && sorted == bits) {
      for (size_t i = 0; i < count; ++i) {
        order[counts[pass][(from[i] >> shift) & digits[pass].mask]++] = static_cast<uint32_t>(from[i] & position_mask);
      }
      return arrow::Status::OK();
    }
    for (size_t i = 0; i < count; ++i) {
      to[counts[pass][(from[i] >> shift) & digits[pass].mask]++] = from[i];
    }
    std::swap(from, to);
  }
  size_t run = 0;  // first of the entries that agree in what was sorted by
  std::vector<std::pair<uint32_t, uint32_t>> long_runs;
  for (size_t i = 0; i < count; ++i) {
    order[i] = static_cast<uint32_t>(from[i] & position_mask);
    const bool last = i + 1 == count || from[i] >> position_bits != from[i + 1] >> position_bits;
    if (last && i > run) {
      if (i + 1 - run <= kInsertionLimit) {
        InsertionSort(words, order + run, i + 1 - run);
      } else {
        long_runs.emplace_back(run, i + 1 - run);
      }
    }
    run = last ? i + 1 : run;
  }
  for (const auto& [begin, length] : long_runs) {
    ARROW_RETURN_NOT_OK(SortRun(words, order + begin, length));
  }
  return arrow::Status::OK();
}

/// Sorts order[0] to order[count - 1], which are in ascending order, by their words. These vary in fewer bits than the
/// words of the call that it came from, so the depth is bounded.
arrow::Status WordSorter::SortRun(std::span<const uint64_t> words, uint32_t* order, size_t count) {
  ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(static_cast<int64_t>(count) * 16, pool_));
  auto* run_words = buffer->mutable_data_as<uint64_t>();
  auto* run_order = buffer->mutable_data_as<uint32_t>() + 2 * count;
  auto* former = run_order + count;
  for (size_t i = 0; i < count; ++i) {
    run_words[i] = words[order[i]];
  }
  ARROW_RETURN_NOT_OK(Order({run_words, count}, run_order));
  std::copy(order, order + count, former);
  for (size_t i = 0; i < count; ++i) {
    order[i] = former[run_order[i]];
  }
  return arrow::Status::OK();
}

arrow::Status WordSorter::RefineLevel(const SortWords& levels, int level, std::span<const uint64_t> words,
                                      std::span<const uint32_t> rows, uint32_t* order) {
  const size_t count = words.size();
  for (size_t begin = 0, end = 0; begin < count; begin = end) {
    end = begin + 1;
    while (end < count && words[order[end]] == words[order[begin]]) {
      ++end;
    }
    const size_t length = end - begin;
    if (length == 1) {
      continue;
    }
    if (length <= kInsertionLimit || level > kDeepestLevel) {
      std::sort(order + begin, order + end, [&](uint32_t a, uint32_t b) {
        const int compared = levels.Compare(rows[a], rows[b]);
        return compared != 0 ? compared < 0 : a < b;
      });
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(static_cast<int64_t>(length) * 20, pool_));
    auto* run_words = buffer->mutable_data_as<uint64_t>();
    auto* run_rows = buffer->mutable_data_as<uint32_t>() + 2 * length;
    auto* run_order = run_rows + length;
    auto* former = run_order + length;
    for (size_t i = 0; i < length; ++i) {
      run_rows[i] = rows[order[begin + i]];
    }
    if (!levels.LoadNext(level, {run_rows, length}, run_words)) {
      continue;
    }
    ARROW_RETURN_NOT_OK(Order({run_words, length}, run_order));
    ARROW_RETURN_NOT_OK(RefineLevel(levels, level + 1, {run_words, length}, {run_rows, length}, run_order));
    std::copy(order + begin, order + end, former);
    for (size_t i = 0; i < length; ++i) {
      order[begin + i] = former[run_order[i]];
    }
  }
  return arrow::Status::OK();
}

}  // namespace cylon
