// Smallest and largest values by group, for every type that has an order.
#include <arrow/util/float16.h>

#include <bit>
#include <cstring>

#include "cylon/kernels/aggregate_states.h"

namespace cylon::aggregate {

namespace {

/// What all of them have in common: the state is the result so far, null where no value came.
class Extreme : public AggregateState {
 public:
  Extreme(std::shared_ptr<arrow::DataType> type, bool largest) : type_(std::move(type)), largest_(largest) {}
  void Resize(int64_t count) override { present_.resize(count, 0); }
  arrow::Status Merge(std::span<const AggregateInput> states, const GroupedRows& rows) override {
    return Update(states[0], rows);
  }
  arrow::Result<arrow::ArrayVector> StateArrays(arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto values, Result(pool));
    return arrow::ArrayVector{values};
  }

 protected:
  int64_t count() const { return static_cast<int64_t>(present_.size()); }

  std::shared_ptr<arrow::DataType> type_;
  bool largest_;
  std::vector<uint8_t> present_;
};

class NullExtreme : public Extreme {
 public:
  using Extreme::Extreme;
  arrow::Status Update(const AggregateInput&, const GroupedRows&) override { return arrow::Status::OK(); }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool*) override {
    return std::make_shared<arrow::NullArray>(count());
  }
  int64_t num_bytes() const override { return count(); }
};

/// Values that are one canonical word.
class WordExtreme : public Extreme {
 public:
  using Extreme::Extreme;
  void Resize(int64_t count) override {
    Extreme::Resize(count);
    values_.resize(count, 0);
  }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    switch (input.column->kind()) {
      case KeyKind::kSigned:
        Add(input, rows, [](uint64_t word) { return static_cast<int64_t>(word); });
        break;
      case KeyKind::kBool:
      case KeyKind::kUnsigned:
        Add(input, rows, [](uint64_t word) { return word; });
        break;
      default:
        Add(input, rows, [](uint64_t word) { return std::bit_cast<double>(word); });
    }
    return arrow::Status::OK();
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    if (type_->id() == arrow::Type::BOOL) {
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(count(), pool));
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> valid, arrow::AllocateEmptyBitmap(count(), pool));
      for (int64_t i = 0; i < count(); ++i) {
        arrow::bit_util::SetBitTo(bits->mutable_data(), i, values_[i] != 0);
        arrow::bit_util::SetBitTo(valid->mutable_data(), i, present_[i] != 0);
      }
      return std::make_shared<arrow::BooleanArray>(count(), bits, valid);
    }
    const int64_t width = type_->byte_width();
    std::vector<uint8_t> bytes(values_.size() * width);
    for (size_t i = 0; i < values_.size(); ++i) {
      uint64_t word = values_[i];
      if (type_->id() == arrow::Type::FLOAT) {
        word = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(word)));
      } else if (type_->id() == arrow::Type::HALF_FLOAT) {
        word = arrow::util::Float16::FromDouble(std::bit_cast<double>(word)).bits();
      }
      std::memcpy(bytes.data() + i * width, &word, width);
    }
    return FixedArray(pool, type_, bytes.data(), width, count(), &present_);
  }
  int64_t num_bytes() const override { return count() * 9; }

 private:
  template <typename Load>
  void Add(const AggregateInput& input, const GroupedRows& rows, const Load& load) {
    const uint64_t* words = input.words.data();
    ForEachValue(input, rows, [&](int64_t row, uint32_t group) {
      const auto value = load(words[row]);
      const auto current = load(values_[group]);
      if (present_[group] == 0 || (largest_ ? current < value : value < current)) {
        values_[group] = words[row];
        present_[group] = 1;
      }
    });
  }
  std::vector<uint64_t> values_;
};

/// Decimals of 128 and 256 bits: little-endian words of which the last is signed.
class DecimalExtreme : public Extreme {
 public:
  DecimalExtreme(std::shared_ptr<arrow::DataType> type, bool largest)
      : Extreme(type, largest), words_(type->byte_width() / 8) {}
  void Resize(int64_t count) override {
    Extreme::Resize(count);
    values_.resize(count * words_, 0);
  }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    ForEachValue(input, rows, [&](int64_t row, uint32_t group) {
      uint64_t value[4];
      std::memcpy(value, input.column->Bytes(row).data(), words_ * 8);
      uint64_t* current = values_.data() + group * words_;
      if (present_[group] == 0 || (largest_ ? Less(current, value) : Less(value, current))) {
        std::memcpy(current, value, words_ * 8);
        present_[group] = 1;
      }
    });
    return arrow::Status::OK();
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    return FixedArray(pool, type_, values_.data(), words_ * 8, count(), &present_);
  }
  int64_t num_bytes() const override { return count() * (words_ * 8 + 1); }

 private:
  bool Less(const uint64_t* a, const uint64_t* b) const {
    if (a[words_ - 1] != b[words_ - 1]) {
      return static_cast<int64_t>(a[words_ - 1]) < static_cast<int64_t>(b[words_ - 1]);
    }
    for (int64_t k = words_ - 2; k >= 0; --k) {
      if (a[k] != b[k]) {
        return a[k] < b[k];
      }
    }
    return false;
  }
  int64_t words_;
  std::vector<uint64_t> values_;
};

/// Strings and binaries, in the order of their bytes (which is that of the code points in UTF-8).
class TextExtreme : public Extreme {
 public:
  using Extreme::Extreme;
  void Resize(int64_t count) override {
    Extreme::Resize(count);
    values_.resize(count);
  }
  arrow::Status Update(const AggregateInput& input, const GroupedRows& rows) override {
    ForEachValue(input, rows, [&](int64_t row, uint32_t group) {
      const std::string_view value = input.column->Bytes(row);
      std::string& current = values_[group];
      if (present_[group] == 0 || (largest_ ? current < value : value < current)) {
        heap_bytes_ +=
            std::max<int64_t>(0, static_cast<int64_t>(value.size()) - static_cast<int64_t>(current.capacity()));
        current.assign(value);
        present_[group] = 1;
      }
    });
    return arrow::Status::OK();
  }
  arrow::Result<std::shared_ptr<arrow::Array>> Result(arrow::MemoryPool* pool) override {
    switch (type_->id()) {
      case arrow::Type::STRING:
      case arrow::Type::BINARY:
        return Build<arrow::BinaryBuilder>(pool);
      case arrow::Type::LARGE_STRING:
      case arrow::Type::LARGE_BINARY:
        return Build<arrow::LargeBinaryBuilder>(pool);
      case arrow::Type::STRING_VIEW:
      case arrow::Type::BINARY_VIEW:
        return Build<arrow::BinaryViewBuilder>(pool);
      default:
        return Build<arrow::FixedSizeBinaryBuilder>(pool);
    }
  }
  int64_t num_bytes() const override { return count() * static_cast<int64_t>(sizeof(std::string) + 1) + heap_bytes_; }

 private:
  template <typename Builder>
  arrow::Result<std::shared_ptr<arrow::Array>> Build(arrow::MemoryPool* pool) {
    ARROW_ASSIGN_OR_RAISE(auto builder, arrow::MakeBuilder(type_, pool));
    auto& typed = static_cast<Builder&>(*builder);
    ARROW_RETURN_NOT_OK(typed.Reserve(count()));
    for (int64_t i = 0; i < count(); ++i) {
      ARROW_RETURN_NOT_OK(present_[i] != 0 ? typed.Append(std::string_view(values_[i])) : typed.AppendNull());
    }
    return builder->Finish();
  }
  std::vector<std::string> values_;
  int64_t heap_bytes_ = 0;
};

}  // namespace

std::unique_ptr<AggregateState> MakeExtreme(const std::shared_ptr<arrow::DataType>& type, bool largest) {
  switch (type->id()) {
    case arrow::Type::NA:
      return std::make_unique<NullExtreme>(type, largest);
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
      return std::make_unique<DecimalExtreme>(type, largest);
    default:
      break;
  }
  if (arrow::is_base_binary_like(type->id()) || arrow::is_binary_view_like(type->id()) ||
      type->id() == arrow::Type::FIXED_SIZE_BINARY) {
    return std::make_unique<TextExtreme>(type, largest);
  }
  return std::make_unique<WordExtreme>(type, largest);
}

}  // namespace cylon::aggregate
