// Aggregates that need all values of a group at once: quantiles, and numbers of distinct values.
#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/state_array.h"
#include "cylon/kernels/t_digest.h"

namespace cylon::aggregate {

namespace {

/// Values with the numbers of their groups, in any order.
class Collected : public GroupStates {
 public:
  explicit Collected(arrow::MemoryPool* pool) : pool_(pool), groups_(pool), words_(pool) {}

  arrow::Status Resize(int64_t count) override {
    group_count_ = count;
    if (count == 0) {
      ARROW_RETURN_NOT_OK(groups_.Resize(0));
      return words_.Resize(0);
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const ValueBlock>, const uint32_t*) override { return NoStates(); }
  arrow::Status AppendStates(std::span<OutputColumn>) const override { return NoStates(); }
  int64_t group_bytes() const override { return 16 + words_.size() * 12 / std::max<int64_t>(group_count_, 1); }

 protected:
  static arrow::Status NoStates() {
    return arrow::Status::Invalid(
        "quantiles and numbers of distinct values have no partial states; bring the rows of a group together first");
  }

  /// Room for `count` more values, of which `*added` is the first.
  arrow::Status Extend(int64_t count, int64_t* added) {
    *added = words_.size();
    ARROW_RETURN_NOT_OK(groups_.Resize(*added + count));
    return words_.Resize(*added + count);
  }

  /// function(group, words, count) for each group, with its values side by side.
  template <typename Function>
  arrow::Status ForEachGroup(const Function& function) const {
    // A counting sort by group.
    std::vector<int64_t> ends(group_count_ + 1, 0);
    for (int64_t i = 0; i < words_.size(); ++i) {
      ++ends[groups_[i] + 1];
    }
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    StateArray<uint64_t> sorted(pool_);
    ARROW_RETURN_NOT_OK(sorted.Resize(words_.size()));
    std::vector<int64_t> next(ends.begin(), ends.end() - 1);
    for (int64_t i = 0; i < words_.size(); ++i) {
      sorted[next[groups_[i]]++] = words_[i];
    }
    for (int64_t g = 0; g < group_count_; ++g) {
      function(g, sorted.data() + ends[g], ends[g + 1] - ends[g]);
    }
    return arrow::Status::OK();
  }

  arrow::MemoryPool* pool_;
  int64_t group_count_ = 0;
  StateArray<uint32_t> groups_;
  StateArray<uint64_t> words_;
};

/// A word whose order as an unsigned integer is that of the values.
uint64_t OrderedWord(uint64_t word, Source source) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  switch (source) {
    case Source::kSigned:
      return word ^ kSign;
    case Source::kUnsigned:
      return word;
    default:
      return (word & kSign) != 0 ? ~word : word | kSign;
  }
}

double FromOrdered(uint64_t word, Source source) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  switch (source) {
    case Source::kSigned:
      return static_cast<double>(static_cast<int64_t>(word ^ kSign));
    case Source::kUnsigned:
      return static_cast<double>(word);
    default:
      return std::bit_cast<double>((word & kSign) != 0 ? word ^ kSign : ~word);
  }
}

class Quantiles : public Collected {
 public:
  Quantiles(arrow::MemoryPool* pool, Operand operand) : Collected(pool), operand_(std::move(operand)) {}

  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    const uint64_t* words = NumberWords(values, operand_, &converted_);
    int64_t place;
    ARROW_RETURN_NOT_OK(Extend(values.count, &place));
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsMissing(i)) {
        groups_[place] = groups[i];
        words_[place++] = OrderedWord(words[i], operand_.source);
      }
    }
    ARROW_RETURN_NOT_OK(groups_.Resize(place));
    return words_.Resize(place);
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const Quantiles&>(other);
    int64_t place;
    ARROW_RETURN_NOT_OK(Extend(from.words_.size(), &place));
    for (int64_t i = 0; i < from.words_.size(); ++i, ++place) {
      groups_[place] = groups[from.groups_[i]];
      words_[place] = from.words_[i];
    }
    return arrow::Status::OK();
  }
  /// Between the two values nearest to place (count - 1) * quantile of the sorted ones, on a line.
  arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const override {
    ARROW_ASSIGN_OR_RAISE(double* values, out->Extend<double>(group_count_));
    ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(group_count_));
    const double unit = operand_.source == Source::kSigned ? std::pow(10.0, operand_.scale) : 1.0;
    return ForEachGroup([&](int64_t g, uint64_t* words, int64_t count) {
      valid[g] = static_cast<uint8_t>(count > 0);
      values[g] = 0;
      if (count > 0) {
        values[g] = QuantileOf(words, count, output.quantile) / unit;
      }
    });
  }

 private:
  double QuantileOf(uint64_t* words, int64_t count, double quantile) const {
    const double place = static_cast<double>(count - 1) * quantile;
    const int64_t below = std::min(static_cast<int64_t>(place), count - 1);
    std::nth_element(words, words + below, words + count);
    const double low = FromOrdered(words[below], operand_.source);
    const double part = place - static_cast<double>(below);
    if (part == 0 || below == count - 1) {
      return low;
    }
    return Between(low, FromOrdered(*std::min_element(words + below + 1, words + count), operand_.source), part);
  }

  Operand operand_;
  std::vector<uint64_t> converted_;
};

/// Values are words, or stand as the number of the bytes that they are in a list of distinct ones.
class Distinct : public Collected {
 public:
  using Collected::Collected;

  arrow::Status Resize(int64_t count) override {
    if (count == 0) {
      numbers_.clear();
      texts_.clear();
    }
    return Collected::Resize(count);
  }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    int64_t place;
    ARROW_RETURN_NOT_OK(Extend(values.count, &place));
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsMissing(i)) {
        groups_[place] = groups[i];
        words_[place++] = values.column != nullptr ? NumberOf(values.column->Bytes(i)) : Canonical(values, i);
      }
    }
    ARROW_RETURN_NOT_OK(groups_.Resize(place));
    return words_.Resize(place);
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const Distinct&>(other);
    std::vector<uint64_t> numbers;
    for (const auto& text : from.texts_) {
      numbers.push_back(NumberOf(text));
    }
    int64_t place;
    ARROW_RETURN_NOT_OK(Extend(from.words_.size(), &place));
    for (int64_t i = 0; i < from.words_.size(); ++i, ++place) {
      groups_[place] = groups[from.groups_[i]];
      words_[place] = numbers.empty() ? from.words_[i] : numbers[from.words_[i]];
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    ARROW_ASSIGN_OR_RAISE(int64_t* values, out->Extend<int64_t>(group_count_));
    return ForEachGroup([&](int64_t g, uint64_t* words, int64_t count) {
      std::sort(words, words + count);
      values[g] = std::unique(words, words + count) - words;
    });
  }
  int64_t group_bytes() const override {
    return Collected::group_bytes() + text_bytes_ / std::max<int64_t>(group_count_, 1);
  }

 private:
  static uint64_t Canonical(const ValueBlock& values, int64_t i) {
    // -0.0 + 0.0 is 0.0
    return values.floats ? std::bit_cast<uint64_t>(std::bit_cast<double>(values.words[i]) + 0.0) : values.words[i];
  }
  uint64_t NumberOf(std::string_view bytes) {
    const auto found = numbers_.find(bytes);
    if (found != numbers_.end()) {
      return found->second;
    }
    texts_.emplace_back(bytes);
    text_bytes_ += static_cast<int64_t>(bytes.size() + sizeof(std::string) + 64);
    return numbers_.emplace(texts_.back(), texts_.size() - 1).first->second;
  }

  std::unordered_map<std::string_view, uint64_t> numbers_;
  std::deque<std::string> texts_;  // by number; a deque, so that views of them stay
  int64_t text_bytes_ = 0;
};

}  // namespace

std::unique_ptr<GroupStates> MakeQuantiles(arrow::MemoryPool* pool, const Operand& operand) {
  return std::make_unique<Quantiles>(pool, operand);
}

std::unique_ptr<GroupStates> MakeDistinct(arrow::MemoryPool* pool) { return std::make_unique<Distinct>(pool); }

}  // namespace cylon::aggregate
