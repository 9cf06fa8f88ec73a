// Products by group, and whether any or every value is other than zero.
#include <algorithm>
#include <bit>
#include <limits>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/state_array.h"

namespace cylon::aggregate {

namespace {

/// States that one operation puts together, whether they come from a row (Derived::OfRow), from columns of states
/// (Derived::OfStates) or from another table of groups.
template <typename Derived, typename State>
class Folded : public GroupStates {
 public:
  arrow::Status Resize(int64_t count) override { return states_.Resize(count); }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsMissing(i)) {
        Derived::Put(&states_[groups[i]], derived().OfRow(values, i));
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    for (int64_t i = 0; i < states[0].count; ++i) {
      Derived::Put(&states_[groups[i]], Derived::OfStates(states, i));
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const Folded&>(other).states_;
    for (int64_t g = 0; g < from.size(); ++g) {
      Derived::Put(&states_[groups[g]], from[g]);
    }
    return arrow::Status::OK();
  }
  int64_t group_bytes() const override { return sizeof(State); }

 protected:
  /// get(state) of each group into a column of values of type T.
  template <typename T, typename Get>
  arrow::Status Write(OutputColumn* out, const Get& get) const {
    ARROW_ASSIGN_OR_RAISE(T * values, out->Extend<T>(states_.size()));
    std::transform(states_.data(), states_.data() + states_.size(), values, get);
    return arrow::Status::OK();
  }

  StateArray<State> states_;

 private:
  friend Derived;
  explicit Folded(arrow::MemoryPool* pool) : states_(pool) {}

  const Derived& derived() const { return static_cast<const Derived&>(*this); }
};

/// The size and sign of an integer product.
struct SizeAndSign {
  uint64_t size = 1;
  uint8_t flags = 0;
};

/// Integers by size and sign. The size of a product without zeros only grows, so that whether it overflows depends
/// neither on order nor on how the rows are dealt to ranks; with a zero it is zero, whatever else there is.
class IntegerProduct : public Folded<IntegerProduct, SizeAndSign> {
 public:
  IntegerProduct(arrow::MemoryPool* pool, Operand operand) : Folded(pool), operand_(std::move(operand)) {}

  SizeAndSign OfRow(const ValueBlock& values, int64_t i) const {
    const uint64_t word = values.words[i];
    const bool negative = operand_.source == Source::kSigned && static_cast<int64_t>(word) < 0;
    return {negative ? 0 - word : word, static_cast<uint8_t>(negative ? kNegative : 0)};
  }
  static SizeAndSign OfStates(std::span<const ValueBlock> states, int64_t i) {
    return {states[0].words[i], static_cast<uint8_t>(states[1].words[i])};
  }
  static void Put(SizeAndSign* state, const SizeAndSign& by) {
    const bool zero = state->size == 0 || by.size == 0;
    const bool overflow = __builtin_mul_overflow(state->size, by.size, &state->size);
    state->flags = static_cast<uint8_t>((state->flags ^ (by.flags & kNegative)) | (by.flags & kOverflow));
    if (zero) {
      state->size = 0;
    } else if (overflow || (state->flags & kOverflow) != 0) {
      state->size = std::numeric_limits<uint64_t>::max();
      state->flags |= kOverflow;
    }
  }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    ARROW_RETURN_NOT_OK(Write<uint64_t>(&out[0], [](const SizeAndSign& state) { return state.size; }));
    return Write<uint8_t>(&out[1], [](const SizeAndSign& state) { return state.flags; });
  }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    const bool is_unsigned = out->type()->id() == arrow::Type::UINT64;
    constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    for (int64_t g = 0; g < states_.size(); ++g) {
      const SizeAndSign& state = states_[g];
      const bool fits = is_unsigned || state.size <= kLargest + ((state.flags & kNegative) != 0 ? 1 : 0);
      if (state.size != 0 && ((state.flags & kOverflow) != 0 || !fits)) {
        return arrow::Status::Invalid("the product of column '", operand_.column_name, "' does not fit ",
                                      out->type()->ToString(), "; cast the column to float64 first");
      }
    }
    return Write<uint64_t>(
        out, [](const SizeAndSign& state) { return (state.flags & kNegative) != 0 ? 0 - state.size : state.size; });
  }

 private:
  static constexpr uint8_t kNegative = 1;
  static constexpr uint8_t kOverflow = 2;

  Operand operand_;
};

struct Product {
  double value = 1;
};

class FloatProduct : public Folded<FloatProduct, Product> {
 public:
  explicit FloatProduct(arrow::MemoryPool* pool) : Folded(pool) {}

  static Product OfRow(const ValueBlock& values, int64_t i) { return {std::bit_cast<double>(values.words[i])}; }
  static Product OfStates(std::span<const ValueBlock> states, int64_t i) { return OfRow(states[0], i); }
  static void Put(Product* state, const Product& by) { state->value *= by.value; }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override { return AppendResult({}, &out[0]); }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    return Write<double>(out, [](const Product& product) { return product.value; });
  }
};

/// Bits of what was seen: 1 a value other than zero, 2 a zero.
class Truth : public Folded<Truth, uint8_t> {
 public:
  explicit Truth(arrow::MemoryPool* pool) : Folded(pool) {}

  static uint8_t OfRow(const ValueBlock& values, int64_t i) {
    const bool zero = values.floats ? std::bit_cast<double>(values.words[i]) == 0 : values.words[i] == 0;
    return zero ? 2 : 1;
  }
  static uint8_t OfStates(std::span<const ValueBlock> states, int64_t i) {
    return static_cast<uint8_t>(states[0].words[i]);
  }
  static void Put(uint8_t* seen, uint8_t more) { *seen |= more; }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    return Write<uint8_t>(&out[0], [](uint8_t seen) { return seen; });
  }
  arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const override {
    if (output.op == AggregateOp::kAny) {
      return Write<uint8_t>(out, [](uint8_t seen) { return static_cast<uint8_t>(seen & 1u); });
    }
    return Write<uint8_t>(out, [](uint8_t seen) { return static_cast<uint8_t>((seen & 2u) == 0); });
  }
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
