// Counts by group, and sums of decimals of 128 and 256 bits.
#include <arrow/util/decimal.h>

#include <cstring>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/state_array.h"

namespace cylon::aggregate {

namespace {

class Count : public GroupStates {
 public:
  Count(arrow::MemoryPool* pool, bool all_rows) : all_rows_(all_rows), counts_(pool) {}

  arrow::Status Resize(int64_t count) override { return counts_.Resize(count); }

  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    int64_t* counts = counts_.data();
    if (all_rows_ || (values.valid == nullptr && !values.floats)) {
      for (int64_t i = 0; i < values.count; ++i) {
        ++counts[groups[i]];
      }
      return arrow::Status::OK();
    }
    for (int64_t i = 0; i < values.count; ++i) {
      counts[groups[i]] += values.IsMissing(i) ? 0 : 1;
    }
    return arrow::Status::OK();
  }

  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    for (int64_t i = 0; i < states[0].count; ++i) {
      counts_[groups[i]] += static_cast<int64_t>(states[0].words[i]);
    }
    return arrow::Status::OK();
  }

  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const Count&>(other).counts_;
    for (int64_t g = 0; g < from.size(); ++g) {
      counts_[groups[g]] += from[g];
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override { return Write(&out[0]); }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override { return Write(out); }
  int64_t group_bytes() const override { return sizeof(int64_t); }

 private:
  arrow::Status Write(OutputColumn* out) const {
    ARROW_ASSIGN_OR_RAISE(int64_t* values, out->Extend<int64_t>(counts_.size()));
    std::copy(counts_.data(), counts_.data() + counts_.size(), values);
    return arrow::Status::OK();
  }

  bool all_rows_;
  StateArray<int64_t> counts_;
};

/// Adds decimals; each step is checked, so that no digit is lost to wrapping.
template <typename Decimal, int kDigits>
class DecimalSum : public GroupStates {
 public:
  DecimalSum(arrow::MemoryPool* pool, Operand operand) : operand_(std::move(operand)), states_(pool) {}

  arrow::Status Resize(int64_t count) override { return states_.Resize(count); }

  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsNull(i)) {
        ARROW_RETURN_NOT_OK(Add(groups[i], 1, ValueAt(values, i)));
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    for (int64_t i = 0; i < states[0].count; ++i) {
      ARROW_RETURN_NOT_OK(Add(groups[i], static_cast<int64_t>(states[0].words[i]), ValueAt(states[1], i)));
    }
    return arrow::Status::OK();
  }

  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const DecimalSum&>(other).states_;
    for (int64_t g = 0; g < from.size(); ++g) {
      ARROW_RETURN_NOT_OK(Add(groups[g], from[g].count, SumOf(from[g])));
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    ARROW_RETURN_NOT_OK(AppendResult({AggregateOp::kCount}, &out[0]));
    return AppendResult({AggregateOp::kSum}, &out[1]);
  }

  arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const override {
    const int64_t groups = states_.size();
    if (output.op == AggregateOp::kCount) {
      ARROW_ASSIGN_OR_RAISE(int64_t* values, out->Extend<int64_t>(groups));
      for (int64_t g = 0; g < groups; ++g) {
        values[g] = states_[g].count;
      }
      return arrow::Status::OK();
    }
    if (output.op == AggregateOp::kSum) {
      ARROW_ASSIGN_OR_RAISE(Bytes * values, out->Extend<Bytes>(groups));
      for (int64_t g = 0; g < groups; ++g) {
        values[g] = states_[g].sum;
      }
      return arrow::Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(double* values, out->Extend<double>(groups));
    ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(groups));
    for (int64_t g = 0; g < groups; ++g) {
      values[g] = SumOf(states_[g]).ToDouble(operand_.scale) / static_cast<double>(states_[g].count);
      valid[g] = static_cast<uint8_t>(states_[g].count != 0);
    }
    return arrow::Status::OK();
  }

  int64_t group_bytes() const override { return sizeof(State); }

 private:
  struct Bytes {
    uint8_t bytes[sizeof(Decimal)] = {};
  };
  struct State {
    int64_t count = 0;
    Bytes sum;
  };

  static Decimal ValueAt(const ValueBlock& values, int64_t i) {
    return Decimal(reinterpret_cast<const uint8_t*>(values.column->Bytes(i).data()));
  }
  static Decimal SumOf(const State& state) { return Decimal(state.sum.bytes); }

  arrow::Status Add(uint32_t group, int64_t count, const Decimal& value) {
    State& state = states_[group];
    state.count += count;
    const Decimal sum = SumOf(state) + value;
    // The digits that are promised leave room for one addition, so that this is seen before it wraps.
    if (!sum.FitsInPrecision(kDigits)) [[unlikely]] {
      return arrow::Status::Invalid("the sum of column '", operand_.column_name, "' has more than the ", kDigits,
                                    " digits of decimal", sizeof(Decimal) * 8, "; cast the column to ",
                                    sizeof(Decimal) == 16 ? "decimal256 or float64" : "float64", " first");
    }
    sum.ToBytes(state.sum.bytes);
    return arrow::Status::OK();
  }

  Operand operand_;
  StateArray<State> states_;
};

}  // namespace

std::unique_ptr<GroupStates> MakeCount(arrow::MemoryPool* pool, bool all_rows) {
  return std::make_unique<Count>(pool, all_rows);
}

std::unique_ptr<GroupStates> MakeDecimalSum(arrow::MemoryPool* pool, const Operand& operand) {
  if (operand.source == Source::kDecimal256) {
    return std::make_unique<DecimalSum<arrow::Decimal256, 76>>(pool, operand);
  }
  return std::make_unique<DecimalSum<arrow::Decimal128, 38>>(pool, operand);
}

}  // namespace cylon::aggregate
