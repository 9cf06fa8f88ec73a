// Eight bytes of values at a time, against one value after the other.
#include "cylon/kernels/key_bytes.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>

namespace cylon {
namespace {

constexpr uint64_t kUntouched = 0xABABABABABABABAB;

KeyColumn ColumnOf(const std::shared_ptr<arrow::DataType>& type, int64_t rows, bool nulls,
                   const std::function<std::string(int64_t)>& value) {
  auto builder = arrow::MakeBuilder(type).ValueOrDie();
  for (int64_t i = 0; i < rows; ++i) {
    const bool null = nulls && i % 5 == 2;
    const auto scalar = arrow::MakeScalar(value(i))->CastTo(type).ValueOrDie();
    EXPECT_TRUE((null ? builder->AppendNull() : builder->AppendScalar(*scalar)).ok());
  }
  const auto array = builder->Finish().ValueOrDie();
  // The text ends where the last value does: what is read beyond it is not ours.
  auto data = array->data()->Copy();
  const auto bytes = static_cast<size_t>(data->buffers.back()->size());
  std::string text(reinterpret_cast<const char*>(data->buffers.back()->data()), bytes);
  data->buffers.back() = arrow::Buffer::FromString(std::move(text));
  return KeyColumn::Make(arrow::default_memory_pool(), data, "k").ValueOrDie();
}

void Check(const KeyColumn& column) {
  LengthBounds expected;
  for (const int64_t byte : {0, 3, 8, 16}) {
    std::vector<uint64_t> words(column.length(), kUntouched);
    ReadEightBytes(column, byte, words.data());
    expected = LengthBounds();
    for (int64_t i = 0; i < column.length(); ++i) {
      if (column.IsNull(i)) {
        EXPECT_EQ(words[i], kUntouched);
        continue;
      }
      const auto bytes = column.Bytes(i);
      EXPECT_EQ(words[i], EightBytes(bytes, byte)) << "row " << i << " from byte " << byte;
      expected.least = std::min<int64_t>(expected.least, static_cast<int64_t>(bytes.size()));
      expected.most = std::max<int64_t>(expected.most, static_cast<int64_t>(bytes.size()));
      ++expected.values;
    }
  }
  const LengthBounds bounds = FindLengthBounds(column);
  EXPECT_EQ(bounds.values, expected.values);
  if (expected.values > 0) {
    EXPECT_EQ(bounds.least, expected.least);
    EXPECT_EQ(bounds.most, expected.most);
  }
}

TEST(KeyBytesTest, AllRowsAsOneByOne) {
  const std::function<std::string(int64_t)> kinds[] = {
      [](int64_t i) { return "id" + std::to_string(100 + i); },                       // one length
      [](int64_t i) { return std::string(static_cast<size_t>(i * 7 % 30), 'x'); },    // many, none among them
      [](int64_t) { return std::string(); },                                          // nothing at all
      [](int64_t i) { return "a text of many bytes, " + std::to_string(1000 + i); },  // beyond 16
      [](int64_t i) { return std::string(1, static_cast<char>('a' + i % 26)); }};     // fewer than eight to the end
  for (const auto& type : {arrow::utf8(), arrow::large_utf8(), arrow::binary(), arrow::utf8_view()}) {
    for (const auto& value : kinds) {
      for (const bool nulls : {false, true}) {
        if (type->id() == arrow::Type::STRING_VIEW) {
          const auto column = ColumnOf(arrow::utf8(), 50, nulls, value);
          arrow::StringViewBuilder builder;
          for (int64_t i = 0; i < column.length(); ++i) {
            EXPECT_TRUE((column.IsNull(i) ? builder.AppendNull() : builder.Append(std::string(column.Bytes(i)))).ok());
          }
          const auto views = builder.Finish().ValueOrDie();
          Check(KeyColumn::Make(arrow::default_memory_pool(), views->data(), "k").ValueOrDie());
          continue;
        }
        const auto column = ColumnOf(type, 50, nulls, value);
        Check(column);
        Check(column.Slice(0, 0));
        Check(column.Slice(7, 20));
        Check(column.Slice(49, 1));
      }
    }
  }
}

TEST(KeyBytesTest, TextOfNothingNeedsNoBuffer) {
  const std::vector<int32_t> offsets(11, 0);
  const auto data =
      arrow::ArrayData::Make(arrow::utf8(), 10, {nullptr, arrow::Buffer::FromVector(offsets), nullptr}, 0);
  Check(KeyColumn::Make(arrow::default_memory_pool(), data, "k").ValueOrDie());
}

}  // namespace
}  // namespace cylon
