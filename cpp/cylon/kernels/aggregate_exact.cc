// Sums, means and variances that have the same bits for any order of the rows.
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/exact_sum.h"
#include "cylon/kernels/state_array.h"

namespace cylon::aggregate {

namespace {

struct SumState {
  int64_t count = 0;
  ExactSum sum;
};
struct MomentState {
  int64_t count = 0;
  ExactSum sum;
  ExactSum squares;
};

template <typename State>
class ExactNumbers : public GroupStates {
  static constexpr bool kMoments = std::is_same_v<State, MomentState>;

 public:
  ExactNumbers(arrow::MemoryPool* pool, Operand operand) : operand_(std::move(operand)), states_(pool) {}

  arrow::Status Resize(int64_t count) override { return states_.Resize(count); }

  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    const uint64_t* words = NumberWords(values, operand_, &converted_);
    for (int64_t i = 0; i < values.count; ++i) {
      if (values.IsMissing(i)) {
        continue;
      }
      State& state = states_[groups[i]];
      ++state.count;
      switch (operand_.source) {
        case Source::kSigned: {
          const bool negative = static_cast<int64_t>(words[i]) < 0;
          AddInteger(&state, negative ? 0 - words[i] : words[i], negative);
          break;
        }
        case Source::kUnsigned:
          AddInteger(&state, words[i], false);
          break;
        default:
          AddDouble(&state, std::bit_cast<double>(words[i]));
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status Merge(std::span<const ValueBlock> columns, const uint32_t* groups) override {
    for (int64_t i = 0; i < columns[0].count; ++i) {
      State from;
      from.count = static_cast<int64_t>(columns[0].words[i]);
      ReadSum(columns[1], i, &from.sum);
      if constexpr (kMoments) {
        ReadSum(columns[2], i, &from.squares);
      }
      MergeOne(&states_[groups[i]], from);
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const ExactNumbers&>(other).states_;
    for (int64_t g = 0; g < from.size(); ++g) {
      MergeOne(&states_[groups[g]], from[g]);
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    ARROW_RETURN_NOT_OK(Write<int64_t>(&out[0], [](const State& state) { return state.count; }));
    ARROW_RETURN_NOT_OK(Write<ExactSum>(&out[1], [](const State& state) { return state.sum; }));
    if constexpr (kMoments) {
      ARROW_RETURN_NOT_OK(Write<ExactSum>(&out[2], [](const State& state) { return state.squares; }));
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const override {
    if (output.op == AggregateOp::kCount) {
      return Write<int64_t>(out, [](const State& state) { return state.count; });
    }
    if (output.op == AggregateOp::kSum) {
      return Write<double>(out, [](const State& state) { return state.sum.Round(); });
    }
    const bool mean = output.op == AggregateOp::kMean;
    ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(states_.size()));
    for (int64_t g = 0; g < states_.size(); ++g) {
      valid[g] = static_cast<uint8_t>(states_[g].count > (mean ? 0 : std::max(output.ddof, 0)));
    }
    // Sums of small decimals are of their integers, which the scale divides.
    const double unit = operand_.source == Source::kSigned ? std::pow(10.0, operand_.scale) : 1.0;
    if (mean) {
      return Write<double>(
          out, [&](const State& state) { return state.sum.Round() / static_cast<double>(state.count) / unit; });
    }
    if constexpr (kMoments) {
      return Write<double>(out, [&](const State& state) {
        const auto count = static_cast<double>(state.count);
        const double variance =
            ExactSquares(state.count, state.sum, state.squares) / count / (count - output.ddof) / unit / unit;
        return output.op == AggregateOp::kStd ? std::sqrt(variance) : variance;
      });
    }
    return arrow::Status::OK();
  }

  int64_t group_bytes() const override { return sizeof(State); }

 private:
  static void ReadSum(const ValueBlock& values, int64_t i, ExactSum* sum) {
    const auto bytes = values.column->Bytes(i);
    std::memcpy(sum, bytes.data(), bytes.size());
  }
  static void AddInteger(State* state, uint64_t size, bool negative) {
    state->sum.AddInteger(size, negative);
    if constexpr (kMoments) {
      state->squares.AddInteger(static_cast<Uint128>(size) * size, false);
    }
  }
  static void AddDouble(State* state, double value) {
    state->sum.Add(value);
    if constexpr (kMoments) {
      const DoubleDouble square = TwoSquare(value);
      state->squares.Add(square.high);
      if (std::isfinite(square.low)) {
        state->squares.Add(square.low);
      }
    }
  }
  static void MergeOne(State* into, const State& from) {
    into->count += from.count;
    into->sum.Add(from.sum);
    if constexpr (kMoments) {
      into->squares.Add(from.squares);
    }
  }
  template <typename Out, typename Get>
  arrow::Status Write(OutputColumn* out, const Get& get) const {
    ARROW_ASSIGN_OR_RAISE(Out * values, out->Extend<Out>(states_.size()));
    for (int64_t g = 0; g < states_.size(); ++g) {
      values[g] = get(states_[g]);
    }
    return arrow::Status::OK();
  }

  Operand operand_;
  StateArray<State> states_;
  std::vector<uint64_t> converted_;
};

}  // namespace

int32_t ExactSumBytes() { return sizeof(ExactSum); }

std::unique_ptr<GroupStates> MakeExactNumbers(arrow::MemoryPool* pool, const Operand& operand,
                                              const NumberNeeds& needs) {
  if (needs.moments) {
    return std::make_unique<ExactNumbers<MomentState>>(pool, operand);
  }
  return std::make_unique<ExactNumbers<SumState>>(pool, operand);
}

}  // namespace cylon::aggregate
