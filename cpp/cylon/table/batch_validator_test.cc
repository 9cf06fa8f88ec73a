// The check of what arrives is as strict as Arrow's own in full, and no stricter.
#include "cylon/table/batch_validator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "cylon/table/testing/all_types.h"

namespace cylon {
namespace {

using cylon::testing::AllTypesSchema;
using cylon::testing::RandomBatch;

std::shared_ptr<arrow::RecordBatch> OneColumn(const std::shared_ptr<arrow::DataType>& type, int64_t rows,
                                              std::vector<std::shared_ptr<arrow::Buffer>> buffers) {
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("c", type)}), rows,
                                  {arrow::ArrayData::Make(type, rows, std::move(buffers))});
}

std::shared_ptr<arrow::RecordBatch> Text(const std::vector<std::string>& values) {
  std::vector<int32_t> offsets{0};
  std::string bytes;
  for (const auto& value : values) {
    bytes += value;
    offsets.push_back(static_cast<int32_t>(bytes.size()));
  }
  return OneColumn(arrow::utf8(), static_cast<int64_t>(values.size()),
                   {nullptr, arrow::Buffer::FromVector(offsets), arrow::Buffer::FromString(bytes)});
}

void ExpectSameAsArrow(const arrow::RecordBatch& batch) {
  const auto own = BatchValidator().Check(batch);
  const auto arrows = batch.ValidateFull();
  EXPECT_EQ(own.ok(), arrows.ok()) << "own: " << own << "\narrow: " << arrows;
}

TEST(BatchValidatorTest, TextIsRefusedWhereACharacterIsCutOrBroken) {
  const std::vector<std::pair<std::vector<std::string>, bool>> cases = {
      {{}, true},
      {{"", "a", ""}, true},
      {{"caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}, true},
      {{"caf\xc3", "\xa9"}, false},  // whole as a run, and cut between values
      {{"a", "\xff"}, false},
      {{"\xc0\x80"}, false},              // longer than it has to be
      {{"\xed\xa0\x80"}, false},          // half of a UTF-16 pair
      {{"aaaaaaaaaaaaaaaa\x80"}, false},  // beyond whole words
      {{"\xf0\x9f\x98"}, false}};
  for (const auto& [values, valid] : cases) {
    auto batch = Text(values);
    EXPECT_EQ(BatchValidator().Check(*batch).ok(), valid) << ::testing::PrintToString(values);
    ExpectSameAsArrow(*batch);
  }
  EXPECT_THAT(BatchValidator().Check(*Text({"a", "\xff"})).message(),
              ::testing::HasSubstr("in column 0: the text of row 1 is not UTF-8"));
}

TEST(BatchValidatorTest, BytesUnderNullsMayBeAnything) {
  auto batch = Text({"ok", "\xff\xfe", "\xc3\xa9"});
  auto data = batch->column_data(0)->Copy();
  data->buffers[0] = arrow::Buffer::FromVector(std::vector<uint8_t>{0b101});
  data->null_count = 1;
  auto nulls = arrow::RecordBatch::Make(batch->schema(), 3, {std::move(data)});
  EXPECT_TRUE(BatchValidator().Check(*nulls).ok());
  ExpectSameAsArrow(*nulls);
}

TEST(BatchValidatorTest, ADictionaryIsLookedAtOnceButEveryCodeIs) {
  auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  auto schema = arrow::schema({arrow::field("d", type)});
  auto with = [&](std::vector<int8_t> codes, const std::shared_ptr<arrow::ArrayData>& dictionary) {
    const auto rows = static_cast<int64_t>(codes.size());
    auto data = arrow::ArrayData::Make(type, rows, {nullptr, arrow::Buffer::FromVector(std::move(codes))}, 0);
    data->dictionary = dictionary;
    return arrow::RecordBatch::Make(schema, rows, {std::move(data)});
  };
  auto good = Text({"x", "y"})->column_data(0);
  auto bad = Text({"x", "\xff"})->column_data(0);
  BatchValidator validator;
  EXPECT_TRUE(validator.Check(*with({0, 1}, good)).ok());
  EXPECT_TRUE(validator.Check(*with({1, 1}, good)).ok());
  for (const int8_t code : {2, -1}) {
    auto status = validator.Check(*with({0, code}, good));
    EXPECT_THAT(status.message(), ::testing::HasSubstr("out of bounds")) << static_cast<int>(code);
  }
  EXPECT_FALSE(validator.Check(*with({0, 1}, bad)).ok());
  EXPECT_FALSE(validator.Check(*with({0, 1}, bad)).ok()) << "one that was refused is not known";
  EXPECT_TRUE(validator.Check(*with({0, 1}, good)).ok());
}

// Random bytes of random buffers are changed: offsets, codes, lengths, text, bitmaps.
TEST(BatchValidatorTest, RefusesWhatArrowRefusesOnBrokenBatches) {
  std::mt19937_64 random(7);
  int refused = 0;
  int passed = 0;
  for (int round = 0; round < 300; ++round) {
    const auto whole = RandomBatch(AllTypesSchema(), 1 + static_cast<int64_t>(random() % 60), random());
    for (int i = 0; i < whole->num_columns(); ++i) {
      auto batch = whole->SelectColumns({i}).ValueOrDie();
      std::vector<std::shared_ptr<arrow::ArrayData>*> places;
      std::function<void(std::shared_ptr<arrow::ArrayData>&)> copy = [&](std::shared_ptr<arrow::ArrayData>& data) {
        data = data->Copy();
        for (auto& child : data->child_data) {
          copy(child);
        }
        if (data->dictionary != nullptr) {
          copy(data->dictionary);
        }
        places.push_back(&data);
      };
      auto column = batch->column_data(0);
      copy(column);
      auto& data = **places[random() % places.size()];
      std::vector<std::shared_ptr<arrow::Buffer>*> buffers;
      for (auto& buffer : data.buffers) {
        if (buffer != nullptr && buffer->size() > 0) {
          buffers.push_back(&buffer);
        }
      }
      if (!buffers.empty()) {
        auto& buffer = *buffers[random() % buffers.size()];
        std::shared_ptr<arrow::Buffer> changed = *arrow::AllocateBuffer(buffer->size());
        std::memcpy(changed->mutable_data(), buffer->data(), static_cast<size_t>(buffer->size()));
        changed->mutable_data()[random() % static_cast<uint64_t>(buffer->size())] ^= static_cast<uint8_t>(random());
        buffer = random() % 8 == 0 ? arrow::SliceBuffer(changed, 0, buffer->size() / 2) : changed;
      }
      if (random() % 2 == 0) {
        data.null_count = random() % 4 == 0 ? static_cast<int64_t>(random() % 3) : data.GetNullCount();
      }
      auto broken = arrow::RecordBatch::Make(batch->schema(), batch->num_rows(), {column});
      const auto own = BatchValidator().Check(*broken);
      const auto arrows = broken->ValidateFull();
      ASSERT_EQ(own.ok(), arrows.ok()) << batch->schema()->ToString() << "\nown: " << own << "\narrow: " << arrows;
      ++(own.ok() ? passed : refused);
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(passed, 500);
}

}  // namespace
}  // namespace cylon
