// Counts, sums, means and variances by group.
#include <arrow/util/decimal.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "cylon/kernels/aggregate_states.h"

namespace cylon::aggregate {

namespace {

__extension__ typedef __int128 Int128;

class Count : public AggregateState {
 public:
  explicit Count(bool all_rows) : all_rows_(all_rows) {}
  void Resize(int64_t count) override { counts_.resize(count, 0); }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    if (all_rows_) {
      for (int64_t i = 0; i < rows.count; ++i) {
        ++counts_[rows.groups[i]];
      }
    } else {
      ForEachValue(input, rows, [&](int64_t, uint32_t group) { ++counts_[group]; });
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) override {
    ForEachValue(states[0], rows,
                 [&](int64_t row, uint32_t group) { counts_[group] += static_cast<int64_t>(states[0].words[row]); });
    return arrow::Status::OK();
  }
  arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto counts, Result(pool));
    return arrow::ArrayVector{counts};
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    return FixedArray(pool, arrow::int64(), counts_.data(), 8, static_cast<int64_t>(counts_.size()), nullptr);
  }
  int64_t num_bytes() const override { return static_cast<int64_t>(counts_.capacity() * sizeof(int64_t)); }
  int64_t at(size_t group) const { return counts_[group]; }
  size_t size() const { return counts_.size(); }

 private:
  bool all_rows_;
  std::vector<int64_t> counts_;
};

/// A sum that can also be asked for as a double, for means.
class Sum : public AggregateState {
 public:
  virtual double AsDouble(size_t group) const = 0;
};

/// Integers, booleans, durations and decimals of up to 128 bits, in 128 bits: integers cannot overflow on the way, so
/// whether the result does depends neither on order nor on how the rows are dealt to ranks.
class WideSum : public Sum {
 public:
  WideSum(Operand operand, std::shared_ptr<arrow::DataType> result)
      : operand_(std::move(operand)), result_(std::move(result)) {}

  void Resize(int64_t count) override { sums_.resize(count, 0); }

  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    const uint64_t* words = input.words.data();
    switch (operand_.source) {
      case Source::kSigned:
        ForEachValue(input, rows,
                     [&](int64_t row, uint32_t group) { sums_[group] += static_cast<int64_t>(words[row]); });
        return arrow::Status::OK();
      case Source::kUnsigned:
        ForEachValue(input, rows, [&](int64_t row, uint32_t group) { sums_[group] += words[row]; });
        return arrow::Status::OK();
      case Source::kDecimal128:
        return AddDecimals(input, rows);
      default:
        return arrow::Status::OK();
    }
  }

  arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) override {
    return AddDecimals(states[0], rows);
  }

  arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto sums, Decimals(pool, arrow::decimal128(38, operand_.scale)));
    return arrow::ArrayVector{sums};
  }

  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    if (result_->id() == arrow::Type::DECIMAL128) {
      return Decimals(pool, result_);
    }
    const bool is_unsigned = result_->id() == arrow::Type::UINT64;
    std::vector<uint64_t> values(sums_.size());
    for (size_t i = 0; i < sums_.size(); ++i) {
      const bool fits = is_unsigned ? sums_[i] <= static_cast<Int128>(std::numeric_limits<uint64_t>::max())
                                    : sums_[i] <= std::numeric_limits<int64_t>::max() &&
                                          sums_[i] >= std::numeric_limits<int64_t>::min();
      if (!fits) {
        return arrow::Status::Invalid("the sum of column '", operand_.column_name, "' is ",
                                      ToDecimal(sums_[i]).ToIntegerString(), ", which does not fit ",
                                      result_->ToString(), "; cast the column to float64 or decimal first");
      }
      values[i] = static_cast<uint64_t>(sums_[i]);
    }
    return FixedArray(pool, result_, values.data(), 8, static_cast<int64_t>(values.size()), nullptr);
  }

  int64_t num_bytes() const override { return static_cast<int64_t>(sums_.capacity() * sizeof(Int128)); }
  double AsDouble(size_t group) const override {
    return operand_.scale == 0 ? static_cast<double>(sums_[group]) : ToDecimal(sums_[group]).ToDouble(operand_.scale);
  }

 private:
  static arrow::Decimal128 ToDecimal(Int128 value) {
    return arrow::Decimal128(static_cast<int64_t>(value >> 64), static_cast<uint64_t>(value));
  }

  arrow::Status Overflow() const {
    return arrow::Status::Invalid("the sum of column '", operand_.column_name,
                                  "' has more than the 38 digits of decimal128; cast the column to decimal256 or "
                                  "float64 first");
  }

  arrow::Status AddDecimals(const AggregateInput& input, const GroupedRows& rows) {
    bool overflow = false;
    if (input.column->length() > 0) {
      const uint8_t* base = input.column->data()->GetValues<uint8_t>(1, input.column->data()->offset * 16);
      ForEachValue(input, rows, [&](int64_t row, uint32_t group) {
        Int128 value;
        std::memcpy(&value, base + row * 16, 16);
        overflow = __builtin_add_overflow(sums_[group], value, &sums_[group]) || overflow;
      });
    }
    return overflow ? Overflow() : arrow::Status::OK();
  }

  arrow::Result<std::shared_ptr<arrow::Array>> Decimals(arrow::MemoryPool* pool,
                                                        const std::shared_ptr<arrow::DataType>& type) const {
    for (const Int128& sum : sums_) {
      if (!ToDecimal(sum).FitsInPrecision(38)) {
        return Overflow();
      }
    }
    return FixedArray(pool, type, sums_.data(), 16, static_cast<int64_t>(sums_.size()), nullptr);
  }

  Operand operand_;
  std::shared_ptr<arrow::DataType> result_;
  std::vector<Int128> sums_;
};

/// Decimals of 256 bits, summed by Arrow's arithmetic.
class Decimal256Sum : public Sum {
 public:
  Decimal256Sum(Operand operand, std::shared_ptr<arrow::DataType>) : operand_(std::move(operand)) {}
  void Resize(int64_t count) override { sums_.resize(count); }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    bool overflow = false;
    if (input.column->length() > 0) {
      const uint8_t* base = input.column->data()->GetValues<uint8_t>(1, input.column->data()->offset * 32);
      ForEachValue(input, rows, [&](int64_t row, uint32_t group) {
        sums_[group] += arrow::Decimal256(base + row * 32);
        // 76 digits leave room for one addition, so that this is seen before it wraps.
        overflow = overflow || !sums_[group].FitsInPrecision(76);
      });
    }
    return overflow ? arrow::Status::Invalid("the sum of column '", operand_.column_name,
                                             "' has more than the 76 digits of decimal256; cast the column to float64 "
                                             "first")
                    : arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) override {
    return Update(states[0], rows);
  }
  arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto sums, Result(pool));
    return arrow::ArrayVector{sums};
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    std::vector<uint8_t> bytes(sums_.size() * 32);
    for (size_t i = 0; i < sums_.size(); ++i) {
      sums_[i].ToBytes(bytes.data() + i * 32);
    }
    return FixedArray(pool, arrow::decimal256(76, operand_.scale), bytes.data(), 32, static_cast<int64_t>(sums_.size()),
                      nullptr);
  }
  int64_t num_bytes() const override { return static_cast<int64_t>(sums_.capacity() * 32); }
  double AsDouble(size_t group) const override { return sums_[group].ToDouble(operand_.scale); }

 private:
  Operand operand_;
  std::vector<arrow::Decimal256> sums_;
};

/// Floats with Neumaier's compensation (Rundungsfehleranalyse, 1974): rows come group by group in no order that would
/// let neighbours be paired, and the error does not grow with their number. Sum and compensation travel apart, so that
/// cutting the rows between ranks loses nothing.
class FloatSum : public Sum {
 public:
  void Resize(int64_t count) override { sums_.resize(count); }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    const uint64_t* words = input.words.data();
    ForEachValue(input, rows,
                 [&](int64_t row, uint32_t group) { Add(sums_[group], std::bit_cast<double>(words[row])); });
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) override {
    for (int64_t i = 0; i < rows.count; ++i) {
      const int64_t row = rows.rows == nullptr ? i : rows.rows[i];
      Entry& entry = sums_[rows.groups[i]];
      Add(entry, std::bit_cast<double>(states[0].words[row]));
      entry.compensation += std::bit_cast<double>(states[1].words[row]);
    }
    return arrow::Status::OK();
  }
  arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) override {
    arrow::ArrayVector arrays;
    for (const auto member : {&Entry::sum, &Entry::compensation}) {
      std::vector<double> values;
      values.reserve(sums_.size());
      for (const Entry& entry : sums_) {
        values.push_back(entry.*member);
      }
      ARROW_ASSIGN_OR_RAISE(auto array, FixedArray(pool, arrow::float64(), values.data(), 8,
                                                   static_cast<int64_t>(values.size()), nullptr));
      arrays.push_back(std::move(array));
    }
    return arrays;
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    std::vector<double> values(sums_.size());
    for (size_t i = 0; i < sums_.size(); ++i) {
      values[i] = AsDouble(i);
    }
    return FixedArray(pool, arrow::float64(), values.data(), 8, static_cast<int64_t>(values.size()), nullptr);
  }
  int64_t num_bytes() const override { return static_cast<int64_t>(sums_.capacity() * sizeof(Entry)); }
  double AsDouble(size_t group) const override { return sums_[group].sum + sums_[group].compensation; }

 private:
  struct Entry {
    double sum = 0;
    double compensation = 0;
  };
  static void Add(Entry& entry, double value) {
    const double total = entry.sum + value;
    if (std::isfinite(total)) {  // beyond infinity there is nothing to compensate
      entry.compensation +=
          std::abs(entry.sum) >= std::abs(value) ? (entry.sum - total) + value : (value - total) + entry.sum;
    }
    entry.sum = total;
  }
  std::vector<Entry> sums_;
};

std::unique_ptr<Sum> NewSum(const Operand& operand, const std::shared_ptr<arrow::DataType>& result) {
  switch (operand.source) {
    case Source::kDouble:
      return std::make_unique<FloatSum>();
    case Source::kDecimal256:
      return std::make_unique<Decimal256Sum>(operand, result);
    default:
      return std::make_unique<WideSum>(operand, result);
  }
}

/// Count and sum: integers are added exactly and divided once.
class Mean : public AggregateState {
 public:
  explicit Mean(std::unique_ptr<Sum> sum) : count_(false), sum_(std::move(sum)) {}
  void Resize(int64_t count) override {
    count_.Resize(count);
    sum_->Resize(count);
  }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    ARROW_RETURN_NOT_OK(count_.Update(input, rows));
    return sum_->Update(input, rows);
  }
  arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) override {
    ARROW_RETURN_NOT_OK(count_.Merge(states, rows));
    return sum_->Merge(states.subspan(1), rows);
  }
  arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto arrays, count_.StateArrays(pool));
    ARROW_ASSIGN_OR_RAISE(auto sums, sum_->StateArrays(pool));
    arrays.insert(arrays.end(), sums.begin(), sums.end());
    return arrays;
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    std::vector<double> values(count_.size(), 0);
    std::vector<uint8_t> present(count_.size(), 0);
    for (size_t i = 0; i < count_.size(); ++i) {
      if (count_.at(i) > 0) {
        values[i] = sum_->AsDouble(i) / static_cast<double>(count_.at(i));
        present[i] = 1;
      }
    }
    return FixedArray(pool, arrow::float64(), values.data(), 8, static_cast<int64_t>(values.size()), &present);
  }
  int64_t num_bytes() const override { return count_.num_bytes() + sum_->num_bytes(); }

 private:
  Count count_;
  std::unique_ptr<Sum> sum_;
};

/// Welford's update (Technometrics 1962) and Chan, Golub and LeVeque's merge (1979) of count, mean and the sum of
/// squared distances from the mean.
class Variance : public AggregateState {
 public:
  Variance(const Operand& operand, int ddof, bool root) : operand_(operand), ddof_(ddof), root_(root) {}
  void Resize(int64_t count) override { entries_.resize(count); }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    const uint64_t* words = input.words.data();
    const auto add = [&](const auto& load) {
      ForEachValue(input, rows, [&](int64_t row, uint32_t group) {
        Entry& entry = entries_[group];
        const double value = load(row);
        const double distance = value - entry.mean;
        entry.mean += distance / static_cast<double>(++entry.count);
        entry.squares += distance * (value - entry.mean);
      });
    };
    // A decimal's scale divides: 0.3 comes out as the double nearest to it.
    const double unit = std::pow(10.0, operand_.scale);
    const auto decimal = [&](int64_t row) { return input.column->Bytes(row); };
    switch (operand_.source) {
      case Source::kSigned:
        add([&](int64_t row) { return static_cast<double>(static_cast<int64_t>(words[row])) / unit; });
        break;
      case Source::kUnsigned:
        add([&](int64_t row) { return static_cast<double>(words[row]); });
        break;
      case Source::kDouble:
        add([&](int64_t row) { return std::bit_cast<double>(words[row]); });
        break;
      case Source::kDecimal128:
        add([&](int64_t row) {
          return arrow::Decimal128(reinterpret_cast<const uint8_t*>(decimal(row).data())).ToDouble(operand_.scale);
        });
        break;
      case Source::kDecimal256:
        add([&](int64_t row) {
          return arrow::Decimal256(reinterpret_cast<const uint8_t*>(decimal(row).data())).ToDouble(operand_.scale);
        });
        break;
      case Source::kNothing:
        break;
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) override {
    for (int64_t i = 0; i < rows.count; ++i) {
      const int64_t row = rows.rows == nullptr ? i : rows.rows[i];
      Entry& entry = entries_[rows.groups[i]];
      const auto count = static_cast<int64_t>(states[0].words[row]);
      if (count == 0) {
        continue;
      }
      const double mean = std::bit_cast<double>(states[1].words[row]);
      const double squares = std::bit_cast<double>(states[2].words[row]);
      const auto total = static_cast<double>(entry.count + count);
      const double distance = mean - entry.mean;
      entry.squares +=
          squares + distance * distance * (static_cast<double>(entry.count) * (static_cast<double>(count) / total));
      entry.mean += distance * (static_cast<double>(count) / total);
      entry.count += count;
    }
    return arrow::Status::OK();
  }
  arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) override {
    const auto size = static_cast<int64_t>(entries_.size());
    std::vector<int64_t> counts;
    std::vector<double> means;
    std::vector<double> squares;
    for (const Entry& entry : entries_) {
      counts.push_back(entry.count);
      means.push_back(entry.mean);
      squares.push_back(entry.squares);
    }
    arrow::ArrayVector arrays(3);
    ARROW_ASSIGN_OR_RAISE(arrays[0], FixedArray(pool, arrow::int64(), counts.data(), 8, size, nullptr));
    ARROW_ASSIGN_OR_RAISE(arrays[1], FixedArray(pool, arrow::float64(), means.data(), 8, size, nullptr));
    ARROW_ASSIGN_OR_RAISE(arrays[2], FixedArray(pool, arrow::float64(), squares.data(), 8, size, nullptr));
    return arrays;
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    std::vector<double> values(entries_.size(), 0);
    std::vector<uint8_t> present(entries_.size(), 0);
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].count > ddof_) {
        const double variance = entries_[i].squares / static_cast<double>(entries_[i].count - ddof_);
        values[i] = root_ ? std::sqrt(variance) : variance;
        present[i] = 1;
      }
    }
    return FixedArray(pool, arrow::float64(), values.data(), 8, static_cast<int64_t>(values.size()), &present);
  }
  int64_t num_bytes() const override { return static_cast<int64_t>(entries_.capacity() * sizeof(Entry)); }

 private:
  struct Entry {
    int64_t count = 0;
    double mean = 0;
    double squares = 0;
  };
  Operand operand_;
  int ddof_;
  bool root_;
  std::vector<Entry> entries_;
};

}  // namespace

arrow::Result<std::shared_ptr<arrow::Array>> FixedArray(arrow::MemoryPool* pool,
                                                        const std::shared_ptr<arrow::DataType>& type,
                                                        const void* values, int64_t width, int64_t count,
                                                        const std::vector<uint8_t>* present) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(count * width, pool));
  if (count > 0) {
    std::memcpy(buffer->mutable_data(), values, count * width);
  }
  std::shared_ptr<arrow::Buffer> bitmap;
  if (present != nullptr) {
    ARROW_ASSIGN_OR_RAISE(bitmap, arrow::AllocateEmptyBitmap(count, pool));
    for (int64_t i = 0; i < count; ++i) {
      arrow::bit_util::SetBitTo(bitmap->mutable_data(), i, (*present)[i] != 0);
    }
  }
  return arrow::MakeArray(arrow::ArrayData::Make(type, count, {std::move(bitmap), std::move(buffer)}));
}

std::unique_ptr<AggregateState> MakeCount(bool all_rows) { return std::make_unique<Count>(all_rows); }

std::unique_ptr<AggregateState> MakeSum(const Operand& operand, const std::shared_ptr<arrow::DataType>& result) {
  return NewSum(operand, result);
}

std::unique_ptr<AggregateState> MakeMean(const Operand& operand, const std::shared_ptr<arrow::DataType>& result) {
  return std::make_unique<Mean>(NewSum(operand, result));
}

std::unique_ptr<AggregateState> MakeVariance(const Operand& operand, int ddof, bool root) {
  return std::make_unique<Variance>(operand, ddof, root);
}

}  // namespace cylon::aggregate
