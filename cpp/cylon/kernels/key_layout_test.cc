// Tests of packing keys into words.
#include "cylon/kernels/key_layout.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "cylon/kernels/key_bytes.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using Words = std::pair<uint64_t, uint64_t>;

Table TableOf(const std::shared_ptr<Resources>& resources, const arrow::ArrayVector& columns, int64_t chunk_rows) {
  arrow::FieldVector fields;
  for (size_t k = 0; k < columns.size(); ++k) {
    fields.push_back(arrow::field("k" + std::to_string(k), columns[k]->type()));
  }
  const auto schema = arrow::schema(fields);
  const auto whole = arrow::RecordBatch::Make(schema, columns[0]->length(), columns);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int64_t row = 0; row < whole->num_rows(); row += chunk_rows) {
    batches.push_back(whole->Slice(row, chunk_rows));
  }
  return Table::FromBatches(resources, schema, batches).ValueOrDie();
}

std::vector<int> AllColumns(const Table& table) {
  std::vector<int> keys(table.num_columns());
  std::iota(keys.begin(), keys.end(), 0);
  return keys;
}

std::vector<Words> Pack(const KeyLayout& layout, const Table& table) {
  std::vector<Words> packed;
  for (const auto& chunk : table.chunks()) {
    const auto batch = chunk->Pin().ValueOrDie();
    auto words = KeyWords::Make(arrow::default_memory_pool(), layout, *batch, AllColumns(table)).ValueOrDie();
    for (int64_t begin = 0; begin < batch->num_rows(); begin += 1000) {
      const int64_t count = std::min<int64_t>(1000, batch->num_rows() - begin);
      const auto block = words.Read(begin, count);
      for (int64_t i = 0; i < count; ++i) {
        packed.emplace_back(block.first[i], block.second == nullptr ? 0 : block.second[i]);
      }
    }
  }
  return packed;
}

/// A column of `rows` values drawn from about `distinct`, every ninth of them null where `nulls`.
std::shared_ptr<arrow::Array> Draw(const std::shared_ptr<arrow::DataType>& type, int64_t rows, int distinct, bool nulls,
                                   uint64_t seed) {
  std::mt19937_64 random(seed);
  auto builder = arrow::MakeBuilder(type).ValueOrDie();
  for (int64_t i = 0; i < rows; ++i) {
    const auto k = static_cast<int64_t>(random() % distinct);
    if (nulls && random() % 9 == 0) {
      EXPECT_TRUE(builder->AppendNull().ok());
      continue;
    }
    std::shared_ptr<arrow::Scalar> value;
    if (type->id() == arrow::Type::DICTIONARY) {
      const auto text = "value " + std::string(static_cast<size_t>(k % 50), 'x') + std::to_string(k);
      const auto& values = static_cast<const arrow::DictionaryType&>(*type).value_type();
      EXPECT_TRUE(values->Equals(arrow::utf8()));
      EXPECT_TRUE(static_cast<arrow::StringDictionaryBuilder&>(*builder).Append(text).ok());
      continue;
    }
    if (arrow::is_base_binary_like(type->id()) || arrow::is_binary_view_like(type->id())) {
      // Lengths from 0 on, bytes of which only some differ, and a null character that is none of the padding.
      std::string text = "n" + std::to_string(k * 7919 % distinct);
      text = k == 0 ? "" : (k == 1 ? std::string("n\0", 2) : (k == 2 ? "n" : text));
      if (arrow::is_binary_view_like(type->id())) {
        EXPECT_TRUE(static_cast<arrow::BinaryViewBuilder&>(*builder).Append(text).ok());
        continue;
      }
      value = arrow::MakeScalar(text)->CastTo(type).ValueOrDie();
    } else if (type->id() == arrow::Type::FIXED_SIZE_BINARY) {
      std::string text(static_cast<size_t>(type->byte_width()), 'a');
      text[1] = static_cast<char>('a' + k % 26);
      text.back() = static_cast<char>(k / 26);
      value = std::make_shared<arrow::FixedSizeBinaryScalar>(arrow::Buffer::FromString(text), type);
    } else if (type->id() == arrow::Type::DECIMAL128) {
      value = std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(k - distinct / 2), type);
    } else {
      value =
          arrow::MakeScalar(k - (arrow::is_signed_integer(type->id()) ? distinct / 2 : 0))->CastTo(type).ValueOrDie();
    }
    EXPECT_TRUE(builder->AppendScalar(*value).ok());
  }
  return builder->Finish().ValueOrDie();
}

struct Case {
  std::string name;
  arrow::DataTypeVector types;
  int distinct;
};

class KeyLayoutTest : public ::testing::TestWithParam<Case> {};

TEST_P(KeyLayoutTest, EqualKeysAndNoOthersHaveEqualWordsAndComeBack) {
  for (const bool nulls : {false, true}) {
    auto resources = testing::MakeResources({.threads = 2});
    arrow::ArrayVector columns;
    for (size_t k = 0; k < GetParam().types.size(); ++k) {
      columns.push_back(Draw(GetParam().types[k], 5000, GetParam().distinct, nulls, k));
    }
    const Table table = TableOf(resources, columns, 1700);
    const auto layout = KeyLayout::Packed(*resources, table, AllColumns(table)).ValueOrDie();
    ASSERT_NE(layout.form(), KeyForm::kHash);
    ASSERT_TRUE(layout.packed());
    const auto packed = Pack(layout, table);
    std::map<std::string, Words> words_of;
    std::map<Words, std::string> text_of;
    std::vector<uint64_t> words[2];
    for (size_t row = 0; row < packed.size(); ++row) {
      std::string text;
      bool any_null = false;
      for (const auto& column : columns) {
        text += column->GetScalar(static_cast<int64_t>(row)).ValueOrDie()->ToString() + "|";
        any_null = any_null || column->IsNull(static_cast<int64_t>(row));
      }
      ASSERT_EQ(words_of.emplace(text, packed[row]).first->second, packed[row]) << text;
      ASSERT_EQ(text_of.emplace(packed[row], text).first->second, text);
      ASSERT_EQ(layout.IsMissing(packed[row].first, packed[row].second), any_null) << text;
      words[0].push_back(packed[row].first);
      words[1].push_back(packed[row].second);
    }
    ASSERT_GT(words_of.size(), 10u);
    const auto back = UnpackKeys(arrow::default_memory_pool(), layout, table.schema()->fields(), words[0].data(),
                                 words[1].data(), static_cast<int64_t>(packed.size()))
                          .ValueOrDie();
    for (size_t k = 0; k < columns.size(); ++k) {
      ASSERT_TRUE(back[k]->ValidateFull().ok()) << back[k]->ValidateFull();
      ASSERT_TRUE(back[k]->Equals(columns[k])) << back[k]->ToString() << columns[k]->ToString();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, KeyLayoutTest,
    ::testing::Values(Case{"text", {arrow::utf8()}, 3000}, Case{"large_text", {arrow::large_utf8()}, 100},
                      Case{"two_texts", {arrow::utf8(), arrow::binary()}, 900},
                      Case{"text_and_numbers", {arrow::int8(), arrow::utf8(), arrow::int64()}, 100},
                      Case{"fixed_bytes", {arrow::fixed_size_binary(20)}, 600},
                      Case{"decimal", {arrow::decimal128(30, 2)}, 500}, Case{"text_view", {arrow::utf8_view()}, 300},
                      Case{"dictionary", {arrow::dictionary(arrow::int16(), arrow::utf8()), arrow::int32()}, 300},
                      Case{"small_numbers", {arrow::int64(), arrow::uint32(), arrow::int16(), arrow::uint8()}, 200},
                      Case{
                          "times", {arrow::timestamp(arrow::TimeUnit::NANO), arrow::date32(), arrow::boolean()}, 1000}),
    [](const auto& named) { return named.param.name; });

TEST(KeyLayoutFormTest, SmallNumbersFitOneWordAndLargeOnesTwo) {
  auto resources = testing::MakeResources();
  const auto numbers = Draw(arrow::int64(), 1000, 1000, false, 1);
  const Table small = TableOf(resources, {numbers, numbers, numbers}, 1000);
  const auto layout = KeyLayout::Packed(*resources, small, {0, 1, 2}).ValueOrDie();
  EXPECT_EQ(layout.form(), KeyForm::kWord);
  EXPECT_TRUE(layout.packed());
  arrow::Int64Builder builder;
  ASSERT_TRUE(builder.AppendValues({INT64_MIN, 0, INT64_MAX, -1}).ok());
  const auto all = builder.Finish().ValueOrDie();
  const Table large = TableOf(resources, {all, all}, 4);
  const auto two = KeyLayout::Packed(*resources, large, {0, 1}).ValueOrDie();
  EXPECT_EQ(two.form(), KeyForm::kTwoWords);
  EXPECT_EQ(KeyLayout::Packed(*resources, TableOf(resources, {all, all, all}, 4), {0, 1, 2}).ValueOrDie().form(),
            KeyForm::kHash);
  // One more value than a word has: null beside all of 64 bits.
  ASSERT_TRUE(builder.AppendValues({INT64_MIN, 0, INT64_MAX}).ok());
  ASSERT_TRUE(builder.AppendNull().ok());
  const Table full = TableOf(resources, {builder.Finish().ValueOrDie(), all}, 4);
  EXPECT_EQ(KeyLayout::Packed(*resources, full, {0, 1}).ValueOrDie().form(), KeyForm::kHash);
}

TEST(KeyLayoutFormTest, WordsOfOneColumnAreTakenAsTheyAre) {
  auto resources = testing::MakeResources();
  const Table table = TableOf(resources, {Draw(arrow::int32(), 100, 10, true, 1)}, 100);
  const auto layout = KeyLayout::Packed(*resources, table, {0}).ValueOrDie();
  EXPECT_EQ(layout.form(), KeyForm::kWord);
  EXPECT_FALSE(layout.packed());
}

TEST(KeyLayoutFormTest, LongTextIsHashedWhereverItComes) {
  auto resources = testing::MakeResources();
  for (const int64_t place : {int64_t{0}, int64_t{9000}}) {
    arrow::StringBuilder builder;
    for (int64_t i = 0; i < 10000; ++i) {
      ASSERT_TRUE(builder.Append(i == place ? std::string(40, 'x') : "short").ok());
    }
    const Table table = TableOf(resources, {builder.Finish().ValueOrDie()}, 10000);
    EXPECT_EQ(KeyLayout::Packed(*resources, table, {0}).ValueOrDie().form(), KeyForm::kHash);
  }
}

TEST(KeyLayoutFormTest, SidesShareOneLayout) {
  auto resources = testing::MakeResources();
  const Table left = TableOf(resources, {Draw(arrow::utf8(), 1000, 50, false, 1)}, 1000);
  const Table right = TableOf(resources, {Draw(arrow::utf8(), 1000, 3000, true, 2)}, 300);
  const std::vector<int> keys = {0};
  const std::vector<KeyLayout::Side> sides = {{&left, &keys}, {&right, &keys}};
  const auto layout = KeyLayout::Packed(*resources, sides).ValueOrDie();
  ASSERT_TRUE(layout.packed());
  std::map<std::string, Words> words_of;
  for (const Table* table : {&left, &right}) {
    const auto packed = Pack(layout, *table);
    const auto batch = table->ToBatch().ValueOrDie();
    for (size_t row = 0; row < packed.size(); ++row) {
      const auto text = batch->column(0)->GetScalar(static_cast<int64_t>(row)).ValueOrDie()->ToString();
      ASSERT_EQ(words_of.emplace(text, packed[row]).first->second, packed[row]) << text;
    }
  }
}

TEST(KeyLayoutFormTest, DictionariesThatDifferOrRepeatThemselvesAreReadByTheirValues) {
  auto resources = testing::MakeResources();
  const auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  const auto coded = [&](const std::vector<int8_t>& codes, const std::vector<std::string>& values) {
    arrow::StringBuilder texts;
    arrow::Int8Builder numbers;
    EXPECT_TRUE(texts.AppendValues(values).ok() && numbers.AppendValues(codes).ok());
    return std::make_shared<arrow::DictionaryArray>(type, numbers.Finish().ValueOrDie(), texts.Finish().ValueOrDie());
  };
  const std::vector<int> keys = {0};
  const Table same = TableOf(resources, {coded({0, 1, 0}, {"a", "b"})}, 3);
  const Table other = TableOf(resources, {coded({1, 0, 1}, {"b", "a"})}, 3);
  const Table twice = TableOf(resources, {coded({0, 1, 2}, {"a", "b", "a"})}, 3);
  EXPECT_NE(KeyLayout::Packed(*resources, same, keys).ValueOrDie().dictionary(0), nullptr);
  const std::vector<KeyLayout::Side> differ = {{&same, &keys}, {&other, &keys}};
  const auto layout = KeyLayout::Packed(*resources, differ).ValueOrDie();
  EXPECT_EQ(layout.dictionary(0), nullptr);
  EXPECT_EQ(Pack(layout, same), Pack(layout, other));
  const auto repeated = KeyLayout::Packed(*resources, twice, keys).ValueOrDie();
  EXPECT_EQ(repeated.dictionary(0), nullptr);
  const auto packed = Pack(repeated, twice);
  EXPECT_EQ(packed[0], packed[2]);
}

TEST(KeyLayoutFormTest, NaNIsMissingAndZerosAreOne) {
  auto resources = testing::MakeResources();
  arrow::DoubleBuilder doubles;
  ASSERT_TRUE(doubles.AppendValues({0.0, -0.0, std::nan(""), -std::nan("1"), 1.0}).ok());
  arrow::Int8Builder numbers;
  ASSERT_TRUE(numbers.AppendValues({1, 1, 1, 1, 1}).ok());
  const Table table = TableOf(resources, {doubles.Finish().ValueOrDie(), numbers.Finish().ValueOrDie()}, 5);
  const auto layout = KeyLayout::Packed(*resources, table, {0, 1}).ValueOrDie();
  const auto packed = Pack(layout, table);
  EXPECT_EQ(packed[0], packed[1]);
  EXPECT_EQ(packed[2], packed[3]);
  EXPECT_NE(packed[0], packed[4]);
  EXPECT_TRUE(layout.IsMissing(packed[2].first, packed[2].second));
  EXPECT_FALSE(layout.IsMissing(packed[4].first, packed[4].second));
}

TEST(KeyBytesTest, EightBytesReadsNoMoreThanTheValue) {
  const std::string text = "abcdefghijklmnop";
  for (size_t length = 0; length <= text.size(); ++length) {
    const std::string value = text.substr(0, length);  // of its own memory, so that a sanitizer sees reads beyond
    for (int64_t byte : {0, 8}) {
      uint64_t expected = 0;
      for (int64_t b = 7; b >= 0; --b) {
        const int64_t at = byte + b;
        expected = expected << 8 | (at < static_cast<int64_t>(length) ? static_cast<uint8_t>(value[at]) : 0);
      }
      ASSERT_EQ(EightBytes(value, byte), expected) << length << " " << byte;
    }
  }
}

}  // namespace
}  // namespace cylon
