// Counts, sums, variances and ranges of numbers of up to 64 bits: one pass over the rows for all of them.
#include <arrow/util/decimal.h>
#include <arrow/util/float16.h>

#include <cstring>

#include "cylon/base/export.h"
#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/number_state.h"
#include "cylon/kernels/state_array.h"

namespace cylon::aggregate {

namespace {

arrow::Decimal128 ToDecimal(Int128 value) {
  return arrow::Decimal128(static_cast<int64_t>(value >> 64), static_cast<uint64_t>(value));
}

template <typename T>
inline T Load(uint64_t word) {
  // -0.0 + 0.0 is 0.0, the one that stands for both.
  return std::is_same_v<T, double> ? std::bit_cast<T>(word) + T{} : std::bit_cast<T>(word);
}

/// The loop that all rows go through. Inlined, so that it is compiled for the CPU that its caller is compiled for.
template <typename T, bool kSum, bool kMoments, bool kRange, bool kNullable>
[[gnu::always_inline]] inline void AddRows(NumberState<T, kSum, kMoments, kRange>* states, const ValueBlock& values,
                                           const uint32_t* groups) {
  const uint64_t* words = values.words;
  const uint8_t* valid = values.valid;
  const int64_t count = values.count;
  for (int64_t i = 0; i < count; ++i) {
    if (kNullable && valid[i] == 0) {
      continue;
    }
    const T value = Load<T>(words[i]);
    if constexpr (std::is_same_v<T, double>) {
      if (std::isnan(value)) [[unlikely]] {
        continue;
      }
    }
    auto& state = states[groups[i]];
    if constexpr (kMoments) {
      const T shift = state.count == 0 ? value : state.moments.shift;
      state.moments.shift = shift;
      const DoubleDouble square = TwoSquare(Distance(value, shift));
      state.moments.Add(square.high, square.low);
    }
    ++state.count;
    if constexpr (kSum) {
      state.sum.Add(value);
    }
    if constexpr (kRange) {
      state.range.low = value < state.range.low ? value : state.range.low;
      state.range.high = state.range.high < value ? value : state.range.high;
    }
  }
}

template <typename T, bool kSum, bool kMoments, bool kRange>
[[gnu::always_inline]] inline void AddBlock(NumberState<T, kSum, kMoments, kRange>* states, const ValueBlock& values,
                                            const uint32_t* groups) {
  if (values.valid == nullptr) {
    AddRows<T, kSum, kMoments, kRange, false>(states, values, groups);
  } else {
    AddRows<T, kSum, kMoments, kRange, true>(states, values, groups);
  }
}

// Squares are exact by fused multiplication, which the oldest CPUs can only do by a call.
CYLON_CLONES void AddAll(NumberState<int64_t, true, true, true>* states, const ValueBlock& values,
                         const uint32_t* groups) {
  AddBlock(states, values, groups);
}
CYLON_CLONES void AddAll(NumberState<uint64_t, true, true, true>* states, const ValueBlock& values,
                         const uint32_t* groups) {
  AddBlock(states, values, groups);
}
CYLON_CLONES void AddAll(NumberState<double, true, true, true>* states, const ValueBlock& values,
                         const uint32_t* groups) {
  AddBlock(states, values, groups);
}

/// Groups whose moments lie side by side while they are put into variances: 10 KiB.
constexpr int64_t kMomentGroups = 256;

/// Sums and squares of distances from the groups' shifts, column by column, for arithmetic on several at once.
struct MomentColumns {
  double counts[kMomentGroups];
  double sums[kMomentGroups];
  double sum_errors[kMomentGroups];
  double squares[kMomentGroups];
  double square_errors[kMomentGroups];
};

CYLON_CLONES void SquaresFromMeans(const MomentColumns& moments, int64_t count, double* out) {
  for (int64_t i = 0; i < count; ++i) {
    const DoubleDouble squares = SquaresFromMean(moments.counts[i], {moments.sums[i], moments.sum_errors[i]},
                                                 {moments.squares[i], moments.square_errors[i]});
    out[i] = squares.high + squares.low;
  }
}

/// Values of a wide decimal column as the nearest doubles.
template <typename Decimal>
void WideToDoubles(const ValueBlock& values, int scale, uint64_t* out) {
  for (int64_t i = 0; i < values.count; ++i) {
    out[i] = 0;
    if (!values.IsNull(i)) {
      const auto bytes = values.column->Bytes(i);
      const Decimal decimal(reinterpret_cast<const uint8_t*>(bytes.data()));
      out[i] = std::bit_cast<uint64_t>(decimal.ToDouble(scale));
    }
  }
}

/// kMoments comes with all the rest: a state of a cache line.
template <typename T, bool kSum, bool kMoments, bool kRange>
class Numbers : public GroupStates {
  using State = NumberState<T, kSum, kMoments, kRange>;

 public:
  Numbers(arrow::MemoryPool* pool, Operand operand, NumberNeeds needs)
      : operand_(std::move(operand)), needs_(needs), states_(pool) {}

  arrow::Status Resize(int64_t count) override { return states_.Resize(count); }

  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    ValueBlock numbers = values;
    numbers.words = NumberWords(values, operand_, &converted_);
    if constexpr (kMoments) {
      AddAll(states_.data(), numbers, groups);
    } else {
      AddBlock(states_.data(), numbers, groups);
    }
    return arrow::Status::OK();
  }

  arrow::Status Merge(std::span<const ValueBlock> columns, const uint32_t* groups) override {
    const int64_t count = columns[0].count;
    for (int64_t i = 0; i < count; ++i) {
      State from;
      from.count = static_cast<int64_t>(columns[0].words[i]);
      if (from.count == 0) {
        continue;
      }
      size_t column = 1;
      if constexpr (kSum) {
        if (needs_.sum) {
          ReadSum(columns, i, &column, &from.sum);
        }
      }
      double squares = 0;
      if constexpr (kMoments) {
        squares = std::bit_cast<double>(columns[column++].words[i]);
      }
      if constexpr (kRange) {
        if (needs_.range) {
          from.range.low = Load<T>(columns[column++].words[i]);
          from.range.high = Load<T>(columns[column++].words[i]);
        }
      }
      MergeOne(&states_[groups[i]], from, {squares, 0});
    }
    return arrow::Status::OK();
  }

  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const Numbers&>(other).states_;
    for (int64_t g = 0; g < from.size(); ++g) {
      if (from[g].count == 0) {
        continue;
      }
      DoubleDouble squares;
      if constexpr (kMoments) {
        squares = SquaresFromMean(from[g]);
      }
      MergeOne(&states_[groups[g]], from[g], squares);
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    size_t column = 0;
    ARROW_RETURN_NOT_OK(Write<int64_t>(&out[column++], [](const State& state) { return state.count; }));
    if constexpr (kSum && std::is_same_v<T, double>) {
      if (needs_.sum) {
        ARROW_RETURN_NOT_OK(Write<double>(&out[column++], [](const State& state) { return state.sum.sum; }));
        ARROW_RETURN_NOT_OK(Write<double>(&out[column++], [](const State& state) { return state.sum.error; }));
      }
    } else if constexpr (kSum) {
      if (needs_.sum) {
        ARROW_RETURN_NOT_OK(Write<IntegerSum>(&out[column++], [](const State& state) { return state.sum; }));
      }
    }
    if constexpr (kMoments) {
      ARROW_RETURN_NOT_OK(Write<double>(&out[column++], [](const State& state) {
        const DoubleDouble squares = SquaresFromMean(state);
        return state.count == 0 ? 0.0 : squares.high + squares.low;
      }));
    }
    if constexpr (kRange) {
      if (needs_.range) {
        ARROW_RETURN_NOT_OK(AppendExtreme(&out[column++], [](const State& state) { return state.range.low; }));
        ARROW_RETURN_NOT_OK(AppendExtreme(&out[column++], [](const State& state) { return state.range.high; }));
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const override {
    switch (output.op) {
      case AggregateOp::kCount:
        return Write<int64_t>(out, [](const State& state) { return state.count; });
      case AggregateOp::kSum:
        return AppendSum(out);
      case AggregateOp::kMean:
        return AppendMean(out);
      case AggregateOp::kMin:
        if constexpr (kRange) {
          return AppendExtreme(out, [](const State& state) { return state.range.low; });
        }
        break;
      case AggregateOp::kMax:
        if constexpr (kRange) {
          return AppendExtreme(out, [](const State& state) { return state.range.high; });
        }
        break;
      case AggregateOp::kVar:
      case AggregateOp::kStd:
        return AppendVariance(output, out);
      default:
        break;
    }
    return arrow::Status::Invalid("states of column '", operand_.column_name, "' have no ", AggregateName(output.op),
                                  "; this is a mistake in the plan of the group-by");
  }

  int64_t group_bytes() const override { return sizeof(State); }

 private:
  static void ReadSum(std::span<const ValueBlock> columns, int64_t row, size_t* column, SumOf<T>* sum) {
    if constexpr (std::is_same_v<T, double>) {
      sum->sum = std::bit_cast<double>(columns[(*column)++].words[row]);
      sum->error = std::bit_cast<double>(columns[(*column)++].words[row]);
    } else {
      const auto bytes = columns[(*column)++].column->Bytes(row);
      std::memcpy(sum, bytes.data(), bytes.size());  // 16, as of any decimal128
    }
  }

  /// Adds `from`, whose squares from its own mean are `squares`.
  static void MergeOne(State* into, const State& from, const DoubleDouble& squares) {
    if constexpr (kMoments) {
      if (into->count == 0) {
        // Its mean, rounded, serves as well as one of its values.
        if constexpr (std::is_same_v<T, double>) {
          into->moments.shift = from.sum.AsDouble() / static_cast<double>(from.count);
        } else {
          into->moments.shift = static_cast<T>(from.sum.value() / from.count);
        }
      }
      const DoubleDouble apart =
          SquareOver(SumFromShift(from.count, from.sum, into->moments.shift), static_cast<double>(from.count));
      into->moments.Add(squares.high, squares.low);
      into->moments.Add(apart.high, apart.low);
    }
    into->count += from.count;
    if constexpr (kSum && std::is_same_v<T, double>) {
      into->sum.Add(from.sum.sum);
      into->sum.error += from.sum.error;
    } else if constexpr (kSum) {
      into->sum.Add(from.sum.value());
    }
    if constexpr (kRange) {
      into->range.low = std::min(into->range.low, from.range.low);
      into->range.high = std::max(into->range.high, from.range.high);
    }
  }

  template <typename Out, typename Get>
  arrow::Status Write(OutputColumn* out, const Get& get) const {
    ARROW_ASSIGN_OR_RAISE(Out * values, out->Extend<Out>(states_.size()));
    for (int64_t g = 0; g < states_.size(); ++g) {
      values[g] = static_cast<Out>(get(states_[g]));
    }
    return arrow::Status::OK();
  }

  /// Null where the group has no value.
  arrow::Status MarkPresent(OutputColumn* out) const {
    ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(states_.size()));
    for (int64_t g = 0; g < states_.size(); ++g) {
      valid[g] = static_cast<uint8_t>(states_[g].count != 0);
    }
    return arrow::Status::OK();
  }

  template <typename Get>
  arrow::Status AppendExtreme(OutputColumn* out, const Get& get) const {
    ARROW_RETURN_NOT_OK(MarkPresent(out));
    if constexpr (std::is_same_v<T, double>) {
      switch (out->type()->id()) {
        case arrow::Type::HALF_FLOAT:
          return Write<uint16_t>(out, [&](const State& s) { return arrow::util::Float16::FromDouble(get(s)).bits(); });
        case arrow::Type::FLOAT:
          return Write<float>(out, get);
        default:
          return Write<double>(out, get);
      }
    }
    // An integer's low bytes are the integer of that width.
    switch (out->type()->id() == arrow::Type::BOOL ? 1 : out->type()->byte_width()) {
      case 1:
        return Write<uint8_t>(out, get);
      case 2:
        return Write<uint16_t>(out, get);
      case 4:
        return Write<uint32_t>(out, get);
      default:
        return Write<uint64_t>(out, get);
    }
  }

  arrow::Status AppendSum(OutputColumn* out) const {
    if constexpr (kSum && std::is_same_v<T, double>) {
      return Write<double>(out, [](const State& state) { return state.sum.AsDouble(); });
    } else if constexpr (kSum) {
      if (out->type()->id() == arrow::Type::DECIMAL128) {
        return Write<IntegerSum>(out, [](const State& state) { return state.sum; });
      }
      const bool is_unsigned = out->type()->id() == arrow::Type::UINT64;
      for (int64_t g = 0; g < states_.size(); ++g) {
        const Int128 sum = states_[g].sum.value();
        const bool fits =
            is_unsigned ? states_[g].sum.high == 0 : sum == static_cast<Int128>(static_cast<int64_t>(sum));
        if (!fits) [[unlikely]] {
          return arrow::Status::Invalid("the sum of column '", operand_.column_name, "' is ",
                                        ToDecimal(sum).ToIntegerString(), ", which does not fit ",
                                        out->type()->ToString(), "; cast the column to float64 or decimal first");
        }
      }
      return Write<uint64_t>(out, [](const State& state) { return state.sum.low; });
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendMean(OutputColumn* out) const {
    ARROW_RETURN_NOT_OK(MarkPresent(out));
    if constexpr (kSum) {
      if constexpr (!std::is_same_v<T, double>) {
        if (operand_.scale != 0) {
          return Write<double>(out, [&](const State& state) {
            return ToDecimal(state.sum.value()).ToDouble(operand_.scale) / static_cast<double>(state.count);
          });
        }
      }
      return Write<double>(out,
                           [](const State& state) { return state.sum.AsDouble() / static_cast<double>(state.count); });
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendVariance(const AggregateOutput& output, OutputColumn* out) const {
    if constexpr (kMoments) {
      ARROW_ASSIGN_OR_RAISE(double* values, out->Extend<double>(states_.size()));
      ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(states_.size()));
      const bool root = output.op == AggregateOp::kStd;
      const double unit = std::is_same_v<T, double> ? 1.0 : std::pow(10.0, operand_.scale * (root ? 1 : 2));
      MomentColumns moments;
      for (int64_t begin = 0; begin < states_.size(); begin += kMomentGroups) {
        const int64_t count = std::min(kMomentGroups, states_.size() - begin);
        for (int64_t i = 0; i < count; ++i) {
          const State& state = states_[begin + i];
          const DoubleDouble sum = SumFromShift(state.count, state.sum, state.moments.shift);
          moments.counts[i] = static_cast<double>(state.count);
          moments.sums[i] = sum.high;
          moments.sum_errors[i] = sum.low;
          moments.squares[i] = state.moments.squares;
          moments.square_errors[i] = state.moments.squares_error;
          valid[begin + i] = static_cast<uint8_t>(state.count > output.ddof && state.count > 0);
        }
        SquaresFromMeans(moments, count, values + begin);
        for (int64_t i = begin; i < begin + count; ++i) {
          const double variance = values[i] / (moments.counts[i - begin] - output.ddof);
          values[i] = (root ? std::sqrt(variance) : variance) / unit;
        }
      }
    }
    return arrow::Status::OK();
  }

  Operand operand_;
  NumberNeeds needs_;
  StateArray<State> states_;
  std::vector<uint64_t> converted_;
};

template <typename T>
std::unique_ptr<GroupStates> MakeNumbersOf(arrow::MemoryPool* pool, const Operand& operand, const NumberNeeds& needs) {
  if (needs.moments) {
    return std::make_unique<Numbers<T, true, true, true>>(pool, operand, needs);
  }
  if (needs.sum && needs.range) {
    return std::make_unique<Numbers<T, true, false, true>>(pool, operand, needs);
  }
  if (needs.range) {
    return std::make_unique<Numbers<T, false, false, true>>(pool, operand, needs);
  }
  return std::make_unique<Numbers<T, true, false, false>>(pool, operand, needs);
}

}  // namespace

const uint64_t* NumberWords(const ValueBlock& values, const Operand& operand, std::vector<uint64_t>* scratch) {
  if (operand.source != Source::kDecimal128 && operand.source != Source::kDecimal256) {
    return values.words;
  }
  scratch->resize(values.count);
  if (operand.source == Source::kDecimal128) {
    WideToDoubles<arrow::Decimal128>(values, operand.scale, scratch->data());
  } else {
    WideToDoubles<arrow::Decimal256>(values, operand.scale, scratch->data());
  }
  return scratch->data();
}

std::unique_ptr<GroupStates> MakeNumbers(arrow::MemoryPool* pool, const Operand& operand, const NumberNeeds& needs) {
  switch (operand.source) {
    case Source::kDouble:
    case Source::kDecimal128:
    case Source::kDecimal256:
      return MakeNumbersOf<double>(pool, operand, needs);
    case Source::kUnsigned:
      return MakeNumbersOf<uint64_t>(pool, operand, needs);
    default:
      return MakeNumbersOf<int64_t>(pool, operand, needs);
  }
}

}  // namespace cylon::aggregate
