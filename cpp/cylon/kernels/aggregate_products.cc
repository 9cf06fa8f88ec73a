// Products by group, and whether any or every value is other than zero.
#include <bit>
#include <limits>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/state_array.h"

namespace cylon::aggregate {

namespace {

/// Integers by size and sign. The size of a product without zeros only grows, so that whether it overflows depends
/// neither on order nor on how the rows are dealt to ranks; with a zero it is zero, whatever else there is.
class IntegerProduct : public GroupStates {
 public:
  IntegerProduct(arrow::MemoryPool* pool, Operand operand) : operand_(std::move(operand)), states_(pool) {}

  arrow::Status Resize(int64_t count) override { return states_.Resize(count); }

  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    const bool is_signed = operand_.source == Source::kSigned;
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsNull(i)) {
        const uint64_t word = values.words[i];
        const bool negative = is_signed && static_cast<int64_t>(word) < 0;
        Multiply(groups[i], State{negative ? 0 - word : word, static_cast<uint8_t>(negative ? kNegative : 0)});
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    for (int64_t i = 0; i < states[0].count; ++i) {
      Multiply(groups[i], State{states[0].words[i], static_cast<uint8_t>(states[1].words[i])});
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const IntegerProduct&>(other).states_;
    for (int64_t g = 0; g < from.size(); ++g) {
      Multiply(groups[g], from[g]);
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    ARROW_ASSIGN_OR_RAISE(uint64_t* sizes, out[0].Extend<uint64_t>(states_.size()));
    ARROW_ASSIGN_OR_RAISE(uint8_t* flags, out[1].Extend<uint8_t>(states_.size()));
    for (int64_t g = 0; g < states_.size(); ++g) {
      sizes[g] = states_[g].size;
      flags[g] = states_[g].flags;
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    ARROW_ASSIGN_OR_RAISE(uint64_t* values, out->Extend<uint64_t>(states_.size()));
    const bool is_unsigned = out->type()->id() == arrow::Type::UINT64;
    constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    for (int64_t g = 0; g < states_.size(); ++g) {
      const State& state = states_[g];
      const bool negative = (state.flags & kNegative) != 0;
      const bool fits = is_unsigned || state.size <= kLargest + (negative ? 1 : 0);
      if (state.size != 0 && ((state.flags & kOverflow) != 0 || !fits)) {
        return arrow::Status::Invalid("the product of column '", operand_.column_name, "' does not fit ",
                                      out->type()->ToString(), "; cast the column to float64 first");
      }
      values[g] = negative ? 0 - state.size : state.size;
    }
    return arrow::Status::OK();
  }
  int64_t group_bytes() const override { return sizeof(State); }

 private:
  static constexpr uint8_t kNegative = 1;
  static constexpr uint8_t kOverflow = 2;
  struct State {
    uint64_t size = 1;
    uint8_t flags = 0;
  };

  void Multiply(uint32_t group, const State& by) {
    State& state = states_[group];
    const bool zero = state.size == 0 || by.size == 0;
    const bool overflow = __builtin_mul_overflow(state.size, by.size, &state.size);
    state.flags = static_cast<uint8_t>((state.flags ^ (by.flags & kNegative)) | (by.flags & kOverflow));
    if (zero) {
      state.size = 0;
    } else if (overflow || (state.flags & kOverflow) != 0) {
      state.size = std::numeric_limits<uint64_t>::max();
      state.flags |= kOverflow;
    }
  }

  Operand operand_;
  StateArray<State> states_;
};

class FloatProduct : public GroupStates {
 public:
  explicit FloatProduct(arrow::MemoryPool* pool) : states_(pool) {}

  arrow::Status Resize(int64_t count) override { return states_.Resize(count); }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsMissing(i)) {
        states_[groups[i]].product *= std::bit_cast<double>(values.words[i]);
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    for (int64_t i = 0; i < states[0].count; ++i) {
      states_[groups[i]].product *= std::bit_cast<double>(states[0].words[i]);
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const FloatProduct&>(other).states_;
    for (int64_t g = 0; g < from.size(); ++g) {
      states_[groups[g]].product *= from[g].product;
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendStates(std::span<OutputColumn> out) const override { return AppendResult({}, &out[0]); }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    ARROW_ASSIGN_OR_RAISE(double* values, out->Extend<double>(states_.size()));
    for (int64_t g = 0; g < states_.size(); ++g) {
      values[g] = states_[g].product;
    }
    return arrow::Status::OK();
  }
  int64_t group_bytes() const override { return sizeof(State); }

 private:
  struct State {
    double product = 1;
  };
  StateArray<State> states_;
};

/// Bits of what was seen: 1 a value other than zero, 2 a zero.
class Truth : public GroupStates {
 public:
  explicit Truth(arrow::MemoryPool* pool) : seen_(pool) {}

  arrow::Status Resize(int64_t count) override { return seen_.Resize(count); }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsMissing(i)) {
        const bool zero = values.floats ? std::bit_cast<double>(values.words[i]) == 0 : values.words[i] == 0;
        seen_[groups[i]] |= zero ? 2 : 1;
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    for (int64_t i = 0; i < states[0].count; ++i) {
      seen_[groups[i]] |= static_cast<uint8_t>(states[0].words[i]);
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const Truth&>(other).seen_;
    for (int64_t g = 0; g < from.size(); ++g) {
      seen_[groups[g]] |= from[g];
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    return Write(&out[0], [](uint8_t seen) { return seen; });
  }
  arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const override {
    if (output.op == AggregateOp::kAny) {
      return Write(out, [](uint8_t seen) { return static_cast<uint8_t>(seen & 1u); });
    }
    return Write(out, [](uint8_t seen) { return static_cast<uint8_t>((seen & 2u) == 0); });
  }
  int64_t group_bytes() const override { return 1; }

 private:
  template <typename Get>
  arrow::Status Write(OutputColumn* out, const Get& get) const {
    ARROW_ASSIGN_OR_RAISE(uint8_t* values, out->Extend<uint8_t>(seen_.size()));
    for (int64_t g = 0; g < seen_.size(); ++g) {
      values[g] = get(seen_[g]);
    }
    return arrow::Status::OK();
  }

  StateArray<uint8_t> seen_;
};

}  // namespace

std::unique_ptr<GroupStates> MakeProduct(arrow::MemoryPool* pool, const Operand& operand) {
  if (operand.source == Source::kDouble) {
    return std::make_unique<FloatProduct>(pool);
  }
  return std::make_unique<IntegerProduct>(pool, operand);
}

std::unique_ptr<GroupStates> MakeTruth(arrow::MemoryPool* pool) { return std::make_unique<Truth>(pool); }

}  // namespace cylon::aggregate
