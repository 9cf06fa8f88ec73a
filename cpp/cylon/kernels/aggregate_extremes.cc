// One value of each group: its smallest or largest (of decimals of 128 and 256 bits, text and opaque bytes), its first
// or last (of any type that is not nested).
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/state_array.h"

namespace cylon::aggregate {

namespace {

/// What all of them have in common: the state is the result so far, null where no value came. Rows come in the order of
/// the table, and states in the order of the rows that they stand for, so that first and last need no row numbers.
class Extreme : public GroupStates {
 public:
  Extreme(arrow::MemoryPool* pool, std::shared_ptr<arrow::DataType> type, Choice choice)
      : type_(std::move(type)), choice_(choice), present_(pool) {}

  arrow::Status Resize(int64_t count) override { return present_.Resize(count); }
  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    return Update(states[0], groups);
  }
  arrow::Status AppendStates(std::span<OutputColumn> out) const override { return AppendResult({}, &out[0]); }

 protected:
  int64_t count() const { return present_.size(); }

  /// Whether `value` takes the place of `current`, if there is one.
  template <typename Value, typename Less>
  bool Replaces(uint32_t group, const Value& value, const Value& current, const Less& less) const {
    if (present_[group] == 0) {
      return true;
    }
    switch (choice_) {
      case Choice::kSmallest:
        return less(value, current);
      case Choice::kLargest:
        return less(current, value);
      case Choice::kFirst:
        return false;
      case Choice::kLast:
        return true;
    }
    return false;
  }

  std::shared_ptr<arrow::DataType> type_;
  Choice choice_;
  StateArray<uint8_t> present_;
};

/// Columns of type null.
class NullExtreme : public Extreme {
 public:
  using Extreme::Extreme;
  arrow::Status Update(const ValueBlock&, const uint32_t*) override { return arrow::Status::OK(); }
  arrow::Status MergeFrom(const GroupStates&, const uint32_t*) override { return arrow::Status::OK(); }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    out->Append(std::make_shared<arrow::NullArray>(count()));
    return arrow::Status::OK();
  }
  int64_t group_bytes() const override { return 1; }
};

/// One value per group. `Values` keeps them and knows how they are read from a column, compared and written.
template <typename Values>
class ExtremeOf : public Extreme {
 public:
  ExtremeOf(arrow::MemoryPool* pool, const std::shared_ptr<arrow::DataType>& type, Choice choice)
      : Extreme(pool, type, choice), values_(pool) {}

  arrow::Status Resize(int64_t count) override {
    ARROW_RETURN_NOT_OK(Extreme::Resize(count));
    return values_.Resize(count);
  }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsMissing(i)) {
        Take(groups[i], Values::Read(values, i));
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const ExtremeOf&>(other);
    for (int64_t g = 0; g < from.count(); ++g) {
      if (from.present_[g] != 0) {
        Take(groups[g], from.values_.Get(g));
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    return values_.Append(type_, present_, out);
  }
  int64_t group_bytes() const override { return 1 + values_.group_bytes(); }

 private:
  template <typename Value>
  void Take(uint32_t group, const Value& value) {
    if (Replaces(group, value, values_.Get(group), Values::Less)) {
      values_.Set(group, value);
      present_[group] = 1;
    }
  }

  Values values_;
};

arrow::Status AppendPresent(const StateArray<uint8_t>& present, OutputColumn* out) {
  ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(present.size()));
  std::copy(present.data(), present.data() + present.size(), valid);
  return arrow::Status::OK();
}

/// Values of a fixed width.
template <typename Value>
class FixedValues {
 public:
  explicit FixedValues(arrow::MemoryPool* pool) : values_(pool) {}

  arrow::Status Resize(int64_t count) { return values_.Resize(count); }
  const Value& Get(int64_t group) const { return values_[group]; }
  void Set(int64_t group, const Value& value) { values_[group] = value; }
  int64_t group_bytes() const { return sizeof(Value); }

 protected:
  StateArray<Value> values_;
};

/// Decimals of 128 and 256 bits: little-endian words of which the last is signed.
template <size_t kWords>
struct WideDecimal {
  uint64_t words[kWords] = {};
};

template <size_t kWords>
class DecimalValues : public FixedValues<WideDecimal<kWords>> {
 public:
  using Value = WideDecimal<kWords>;
  using FixedValues<Value>::FixedValues;

  static Value Read(const ValueBlock& values, int64_t i) {
    const std::string_view bytes = values.column->Bytes(i);  // as wide as Value
    Value value;
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  static bool Less(const Value& a, const Value& b) {
    if (a.words[kWords - 1] != b.words[kWords - 1]) {
      return static_cast<int64_t>(a.words[kWords - 1]) < static_cast<int64_t>(b.words[kWords - 1]);
    }
    for (size_t k = kWords - 1; k-- > 0;) {
      if (a.words[k] != b.words[k]) {
        return a.words[k] < b.words[k];
      }
    }
    return false;
  }
  arrow::Status Append(const std::shared_ptr<arrow::DataType>&, const StateArray<uint8_t>& present,
                       OutputColumn* out) const {
    ARROW_ASSIGN_OR_RAISE(Value * values, out->Extend<Value>(present.size()));
    std::copy(this->values_.data(), this->values_.data() + present.size(), values);
    return AppendPresent(present, out);
  }
};

/// What is a word: numbers, booleans, dates and times, of which first and last are asked for alone. Floats keep the
/// bits that they came with.
class WordValues : public FixedValues<uint64_t> {
 public:
  using FixedValues<uint64_t>::FixedValues;

  static uint64_t Read(const ValueBlock& values, int64_t i) { return values.words[i]; }
  static bool Less(uint64_t a, uint64_t b) { return a < b; }
  arrow::Status Append(const std::shared_ptr<arrow::DataType>&, const StateArray<uint8_t>& present,
                       OutputColumn* out) const {
    ARROW_RETURN_NOT_OK(AppendPresent(present, out));
    return AppendWords(values_.data(), present.size(), out);
  }
};

/// Strings and binaries, in the order of their bytes (which is that of the code points in UTF-8).
class TextValues {
 public:
  explicit TextValues(arrow::MemoryPool*) {}

  arrow::Status Resize(int64_t count) {
    values_.resize(count);
    return arrow::Status::OK();
  }
  static std::string_view Read(const ValueBlock& values, int64_t i) { return values.column->Bytes(i); }
  static bool Less(std::string_view a, std::string_view b) { return a < b; }
  std::string_view Get(int64_t group) const { return values_[group]; }
  void Set(int64_t group, std::string_view value) {
    std::string& current = values_[group];
    heap_bytes_ += std::max<int64_t>(0, static_cast<int64_t>(value.size()) - static_cast<int64_t>(current.capacity()));
    current.assign(value);
  }
  arrow::Status Append(const std::shared_ptr<arrow::DataType>& type, const StateArray<uint8_t>& present,
                       OutputColumn* out) const {
    switch (type->id()) {
      case arrow::Type::STRING:
      case arrow::Type::BINARY:
        return Build<arrow::BinaryBuilder>(type, present, out);
      case arrow::Type::LARGE_STRING:
      case arrow::Type::LARGE_BINARY:
        return Build<arrow::LargeBinaryBuilder>(type, present, out);
      case arrow::Type::STRING_VIEW:
      case arrow::Type::BINARY_VIEW:
        return Build<arrow::BinaryViewBuilder>(type, present, out);
      default:
        return Build<arrow::FixedSizeBinaryBuilder>(type, present, out);
    }
  }
  int64_t group_bytes() const {
    const auto groups = std::max<int64_t>(static_cast<int64_t>(values_.size()), 1);
    return static_cast<int64_t>(sizeof(std::string)) + heap_bytes_ / groups;
  }

 private:
  template <typename Builder>
  arrow::Status Build(const std::shared_ptr<arrow::DataType>& type, const StateArray<uint8_t>& present,
                      OutputColumn* out) const {
    ARROW_ASSIGN_OR_RAISE(auto builder, arrow::MakeBuilder(type, out->pool()));
    auto& typed = static_cast<Builder&>(*builder);
    ARROW_RETURN_NOT_OK(typed.Reserve(present.size()));
    for (int64_t i = 0; i < present.size(); ++i) {
      ARROW_RETURN_NOT_OK(present[i] != 0 ? typed.Append(Get(i)) : typed.AppendNull());
    }
    ARROW_ASSIGN_OR_RAISE(auto array, builder->Finish());
    out->Append(std::move(array));
    return arrow::Status::OK();
  }

  std::vector<std::string> values_;
  int64_t heap_bytes_ = 0;
};

}  // namespace

std::unique_ptr<GroupStates> MakeChoice(arrow::MemoryPool* pool, const std::shared_ptr<arrow::DataType>& type,
                                        Choice choice) {
  switch (type->id()) {
    case arrow::Type::NA:
      return std::make_unique<NullExtreme>(pool, type, choice);
    case arrow::Type::DECIMAL128:
      return std::make_unique<ExtremeOf<DecimalValues<2>>>(pool, type, choice);
    case arrow::Type::DECIMAL256:
      return std::make_unique<ExtremeOf<DecimalValues<4>>>(pool, type, choice);
    default:
      break;
  }
  const auto plain = KeyColumn::OfType(type, "");
  if (plain.ok() && plain->is_word()) {
    return std::make_unique<ExtremeOf<WordValues>>(pool, type, choice);
  }
  return std::make_unique<ExtremeOf<TextValues>>(pool, type, choice);
}

}  // namespace cylon::aggregate
