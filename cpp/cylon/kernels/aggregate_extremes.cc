// One value of each group: its smallest or largest (of decimals of 128 and 256 bits, text and opaque bytes), its first
// or last (of any type that is not nested).
#include <cstring>
#include <functional>
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

/// Decimals of 128 and 256 bits: little-endian words of which the last is signed.
template <size_t kWords>
class DecimalExtreme : public Extreme {
 public:
  DecimalExtreme(arrow::MemoryPool* pool, const std::shared_ptr<arrow::DataType>& type, Choice choice)
      : Extreme(pool, type, choice), values_(pool) {}

  arrow::Status Resize(int64_t count) override {
    ARROW_RETURN_NOT_OK(Extreme::Resize(count));
    return values_.Resize(count);
  }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsNull(i)) {
        const std::string_view bytes = values.column->Bytes(i);  // as wide as Value
        Value value;
        std::memcpy(&value, bytes.data(), bytes.size());
        Take(groups[i], value);
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const DecimalExtreme&>(other);
    for (int64_t g = 0; g < from.count(); ++g) {
      if (from.present_[g] != 0) {
        Take(groups[g], from.values_[g]);
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    ARROW_ASSIGN_OR_RAISE(Value * values, out->Extend<Value>(count()));
    std::copy(values_.data(), values_.data() + count(), values);
    ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(count()));
    std::copy(present_.data(), present_.data() + count(), valid);
    return arrow::Status::OK();
  }
  int64_t group_bytes() const override { return sizeof(Value) + 1; }

 private:
  struct Value {
    uint64_t words[kWords] = {};
  };

  void Take(uint32_t group, const Value& value) {
    Value& current = values_[group];
    if (Replaces(group, value, current, Less)) {
      current = value;
      present_[group] = 1;
    }
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

  StateArray<Value> values_;
};

/// First and last of what is a word: numbers, booleans, dates and times. Floats keep the bits that they came with.
class WordChoice : public Extreme {
 public:
  WordChoice(arrow::MemoryPool* pool, const std::shared_ptr<arrow::DataType>& type, Choice choice)
      : Extreme(pool, type, choice), values_(pool) {}

  arrow::Status Resize(int64_t count) override {
    ARROW_RETURN_NOT_OK(Extreme::Resize(count));
    return values_.Resize(count);
  }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      const uint32_t group = groups[i];
      if (!values.IsMissing(i) && (choice_ == Choice::kLast || present_[group] == 0)) {
        values_[group] = values.words[i];
        present_[group] = 1;
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const WordChoice&>(other);
    for (int64_t g = 0; g < from.count(); ++g) {
      if (from.present_[g] != 0 && (choice_ == Choice::kLast || present_[groups[g]] == 0)) {
        values_[groups[g]] = from.values_[g];
        present_[groups[g]] = 1;
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(count()));
    std::copy(present_.data(), present_.data() + count(), valid);
    return AppendWords(values_.data(), count(), out);
  }
  int64_t group_bytes() const override { return 9; }

 private:
  StateArray<uint64_t> values_;
};

/// Strings and binaries, in the order of their bytes (which is that of the code points in UTF-8).
class TextExtreme : public Extreme {
 public:
  using Extreme::Extreme;

  arrow::Status Resize(int64_t count) override {
    ARROW_RETURN_NOT_OK(Extreme::Resize(count));
    values_.resize(count);
    return arrow::Status::OK();
  }
  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsNull(i)) {
        Take(groups[i], values.column->Bytes(i));
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const TextExtreme&>(other);
    for (int64_t g = 0; g < from.count(); ++g) {
      if (from.present_[g] != 0) {
        Take(groups[g], from.values_[g]);
      }
    }
    return arrow::Status::OK();
  }
  arrow::Status AppendResult(const AggregateOutput&, OutputColumn* out) const override {
    switch (type_->id()) {
      case arrow::Type::STRING:
      case arrow::Type::BINARY:
        return Build<arrow::BinaryBuilder>(out);
      case arrow::Type::LARGE_STRING:
      case arrow::Type::LARGE_BINARY:
        return Build<arrow::LargeBinaryBuilder>(out);
      case arrow::Type::STRING_VIEW:
      case arrow::Type::BINARY_VIEW:
        return Build<arrow::BinaryViewBuilder>(out);
      default:
        return Build<arrow::FixedSizeBinaryBuilder>(out);
    }
  }
  int64_t group_bytes() const override {
    return static_cast<int64_t>(sizeof(std::string)) + 1 + heap_bytes_ / std::max<int64_t>(count(), 1);
  }

 private:
  void Take(uint32_t group, std::string_view value) {
    std::string& current = values_[group];
    if (Replaces(group, value, std::string_view(current), std::less<std::string_view>())) {
      heap_bytes_ +=
          std::max<int64_t>(0, static_cast<int64_t>(value.size()) - static_cast<int64_t>(current.capacity()));
      current.assign(value);
      present_[group] = 1;
    }
  }
  template <typename Builder>
  arrow::Status Build(OutputColumn* out) const {
    ARROW_ASSIGN_OR_RAISE(auto builder, arrow::MakeBuilder(type_, out->pool()));
    auto& typed = static_cast<Builder&>(*builder);
    ARROW_RETURN_NOT_OK(typed.Reserve(count()));
    for (int64_t i = 0; i < count(); ++i) {
      ARROW_RETURN_NOT_OK(present_[i] != 0 ? typed.Append(std::string_view(values_[i])) : typed.AppendNull());
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
      return std::make_unique<DecimalExtreme<2>>(pool, type, choice);
    case arrow::Type::DECIMAL256:
      return std::make_unique<DecimalExtreme<4>>(pool, type, choice);
    default:
      break;
  }
  const auto plain = KeyColumn::OfType(type, "");
  if (plain.ok() && plain->is_word()) {
    return std::make_unique<WordChoice>(pool, type, choice);
  }
  return std::make_unique<TextExtreme>(pool, type, choice);
}

}  // namespace cylon::aggregate
