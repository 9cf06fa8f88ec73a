// Grouping by one table of groups that rows are added to in their order.
#include <algorithm>
#include <numeric>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/group_rows.h"
#include "cylon/kernels/partition.h"
#include "cylon/kernels/word_table.h"
#include "cylon/kernels/working_set.h"

namespace cylon::grouping {

namespace {

/// More groups than this are dealt into partitions instead, unless most rows are done.
constexpr int64_t kMostGroups = 1 << 16;

/// The groups of some rows, with their states.
class GroupTable {
 public:
  GroupTable(std::shared_ptr<Resources> resources, const GroupingPlan& plan, const arrow::Schema& schema,
             const KeyLayout& layout, int direct_bits, const KeyEncoder& encoder)
      : resources_(std::move(resources)),
        plan_(plan),
        layout_(layout),
        encoder_(encoder),
        keys_are_words_(KeysAreTheirWords(schema, plan.keys, layout)),
        words_(resources_->memory(), layout.form() == KeyForm::kTwoWords ? 2 : 1, direct_bits),
        map_(resources_->memory(), encoder),
        states_(resources_->memory(), plan) {}

  arrow::Status Start() { return hashed() ? arrow::Status::OK() : words_.Clear(kValueBlockRows); }

  arrow::Status Add(const std::shared_ptr<arrow::RecordBatch>& batch);
  /// Adds the groups of `other`, which come after those here.
  arrow::Status MergeFrom(const GroupTable& other);
  arrow::Status Emit(const arrow::Schema& schema, std::vector<std::shared_ptr<Chunk>>* out);

  int64_t num_groups() const { return hashed() ? map_.size() : words_.size(); }
  int64_t num_bytes() const {
    return num_groups() * states_.group_bytes() + key_bytes_ + (hashed() ? map_.num_bytes() : words_.num_bytes());
  }

 private:
  bool hashed() const { return layout_.form() == KeyForm::kHash; }
  arrow::Status AddWords(const arrow::RecordBatch& batch);
  /// Keeps the keys of new groups: rows `added` of `keys`, a batch of key columns.
  arrow::Status KeepKeys(const arrow::RecordBatch& keys, const std::vector<uint32_t>& added);
  /// Marks what new groups, from number `from` on, have to be dropped, where words are all that is kept of keys.
  void Drop(int64_t from);

  std::shared_ptr<Resources> resources_;
  const GroupingPlan& plan_;
  const KeyLayout& layout_;
  KeyEncoder encoder_;
  bool keys_are_words_;
  WordTable words_;
  GroupMap map_;  // kHash
  StateSet states_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> key_batches_;  // in the order of the groups, unless words will do
  int64_t key_bytes_ = 0;
  std::vector<uint8_t> dropped_;  // by group; empty: none
};

arrow::Status GroupTable::KeepKeys(const arrow::RecordBatch& keys, const std::vector<uint32_t>& added) {
  if (added.empty()) {
    return arrow::Status::OK();
  }
  const std::vector<int64_t> rows(added.begin(), added.end());
  ARROW_ASSIGN_OR_RAISE(auto taken, TakeRows(*resources_, keys, rows));
  if (plan_.drop_null_keys) {
    ARROW_ASSIGN_OR_RAISE(const auto missing, MissingKeys(resources_->memory(), *taken));
    if (!missing.empty() || !dropped_.empty()) {
      dropped_.resize(num_groups() - taken->num_rows(), 0);
      dropped_.insert(dropped_.end(), missing.begin(), missing.end());
      dropped_.resize(num_groups(), 0);
    }
  }
  for (const auto& column : taken->column_data()) {
    for (const auto& buffer : column->buffers) {
      key_bytes_ += buffer == nullptr ? 0 : buffer->size();
    }
  }
  key_batches_.push_back(std::move(taken));
  return arrow::Status::OK();
}

void GroupTable::Drop(int64_t from) {
  if (plan_.drop_null_keys && layout_.packed()) {
    if (layout_.may_be_missing()) {
      DropMissing(layout_, words_.keys(0), words_.keys(1), from, num_groups(), &dropped_);
    }
    return;
  }
  const bool drops = plan_.drop_null_keys && words_.null_number() != WordTable::kNone;
  if (drops || !dropped_.empty()) {
    dropped_.resize(num_groups(), 0);
  }
  if (drops) {
    dropped_[words_.null_number()] = 1;
  }
}

arrow::Status GroupTable::AddWords(const arrow::RecordBatch& batch) {
  ARROW_ASSIGN_OR_RAISE(auto key_words, KeyWords::Make(resources_->memory(), layout_, batch, plan_.keys));
  std::shared_ptr<arrow::RecordBatch> keys;
  if (!keys_are_words_) {
    ARROW_ASSIGN_OR_RAISE(keys, batch.SelectColumns(plan_.keys));
  }
  uint32_t numbers[kValueBlockRows];
  std::vector<uint32_t> added;
  for (int64_t begin = 0; begin < batch.num_rows(); begin += kValueBlockRows) {
    const int64_t count = std::min(kValueBlockRows, batch.num_rows() - begin);
    const int64_t before = words_.size();
    const auto block = key_words.Read(begin, count);
    const uint8_t* valid = layout_.packed() ? nullptr : block.valid;  // packed words tell nulls apart by themselves
    if (keys_are_words_) {
      ARROW_RETURN_NOT_OK(words_.Find(block.first, block.second, valid, count, numbers));
      Drop(before);
    } else {
      added.clear();
      ARROW_RETURN_NOT_OK(words_.Find(
          block.first, block.second, valid, count, numbers, [](uint32_t, int64_t) { return true; },
          [&](int64_t i) { added.push_back(static_cast<uint32_t>(begin + i)); }));
      ARROW_RETURN_NOT_OK(KeepKeys(*keys, added));
    }
    ARROW_RETURN_NOT_OK(states_.Add(begin, count, numbers, words_.size(), dropped_));
  }
  return arrow::Status::OK();
}

arrow::Status GroupTable::Add(const std::shared_ptr<arrow::RecordBatch>& batch) {
  ARROW_RETURN_NOT_OK(states_.Open(resources_->memory(), *batch));
  if (!hashed()) {
    return AddWords(*batch);
  }
  ARROW_ASSIGN_OR_RAISE(const auto encoded, encoder_.Encode(resources_->memory(), *batch));
  ARROW_ASSIGN_OR_RAISE(const auto keys, batch->SelectColumns(plan_.keys));
  std::vector<uint32_t> numbers(batch->num_rows());
  std::vector<uint32_t> added;
  ARROW_RETURN_NOT_OK(map_.FindOrInsert(encoded, nullptr, batch->num_rows(), numbers.data(), &added));
  ARROW_RETURN_NOT_OK(KeepKeys(*keys, added));
  for (int64_t begin = 0; begin < batch->num_rows(); begin += kValueBlockRows) {
    const int64_t count = std::min(kValueBlockRows, batch->num_rows() - begin);
    ARROW_RETURN_NOT_OK(states_.Add(begin, count, numbers.data() + begin, map_.size(), dropped_));
  }
  return arrow::Status::OK();
}

arrow::Status GroupTable::MergeFrom(const GroupTable& other) {
  std::vector<uint32_t> numbers(other.num_groups());
  std::vector<uint8_t> valid;
  if (!hashed() && other.words_.null_number() != WordTable::kNone) {
    valid.assign(numbers.size(), 1);
    valid[other.words_.null_number()] = 0;
  }
  if (keys_are_words_) {
    const int64_t before = num_groups();
    ARROW_RETURN_NOT_OK(words_.Find(other.words_.keys(0), other.words_.keys(1), valid.empty() ? nullptr : valid.data(),
                                    other.num_groups(), numbers.data()));
    Drop(before);
    return states_.MergeFrom(other.states_, numbers.data(), num_groups());
  }
  int64_t begin = 0;
  std::vector<uint32_t> added;
  const std::vector<int> all_columns = [&] {
    std::vector<int> columns(plan_.keys.size());
    std::iota(columns.begin(), columns.end(), 0);
    return columns;
  }();
  for (const auto& keys : other.key_batches_) {
    const int64_t count = keys->num_rows();
    added.clear();
    if (hashed()) {
      ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*keys->schema(), all_columns));
      ARROW_ASSIGN_OR_RAISE(const auto encoded, encoder.Encode(resources_->memory(), *keys));
      ARROW_RETURN_NOT_OK(map_.FindOrInsert(encoded, nullptr, count, numbers.data() + begin, &added));
    } else {
      const uint64_t* second = other.words_.keys(1);
      ARROW_RETURN_NOT_OK(words_.Find(
          other.words_.keys(0) + begin, second == nullptr ? nullptr : second + begin,
          valid.empty() ? nullptr : valid.data() + begin, count, numbers.data() + begin,
          [](uint32_t, int64_t) { return true; }, [&](int64_t i) { added.push_back(static_cast<uint32_t>(i)); }));
    }
    ARROW_RETURN_NOT_OK(KeepKeys(*keys, added));
    begin += count;
  }
  return states_.MergeFrom(other.states_, numbers.data(), num_groups());
}

arrow::Status GroupTable::Emit(const arrow::Schema& schema, std::vector<std::shared_ptr<Chunk>>* out) {
  auto columns = states_.MakeColumns(resources_->memory());
  ARROW_RETURN_NOT_OK(states_.Resize(num_groups()));
  ARROW_RETURN_NOT_OK(states_.Append(columns));
  if (layout_.packed() && keys_are_words_) {
    const auto source = [&](int64_t begin, int64_t count) {
      const uint64_t* second = words_.keys(1);
      return UnpackKeys(resources_->memory(), layout_, KeyFields(schema, plan_), words_.keys(0) + begin,
                        second == nullptr ? nullptr : second + begin, count);
    };
    return AppendGroups(resources_, plan_.output_schema, source, &columns, num_groups(), dropped_, out);
  }
  if (keys_are_words_) {
    arrow::ArrayVector keys;
    for (size_t k = 0; k < plan_.keys.size(); ++k) {
      OutputColumn column(resources_->memory(), schema.field(plan_.keys[k])->type());
      ARROW_RETURN_NOT_OK(AppendWords(words_.keys(static_cast<int>(k)), num_groups(), &column));
      if (words_.null_number() != WordTable::kNone) {
        ARROW_ASSIGN_OR_RAISE(uint8_t* valid, column.ExtendValid(num_groups()));
        std::fill(valid, valid + num_groups(), uint8_t{1});
        valid[words_.null_number()] = 0;
      }
      ARROW_ASSIGN_OR_RAISE(auto array, column.Finish(num_groups()));
      keys.push_back(std::move(array));
    }
    const auto source = [&](int64_t begin, int64_t count) -> arrow::Result<arrow::ArrayVector> {
      arrow::ArrayVector slices;
      for (const auto& key : keys) {
        slices.push_back(key->Slice(begin, count));
      }
      return slices;
    };
    return AppendGroups(resources_, plan_.output_schema, source, &columns, num_groups(), dropped_, out);
  }
  const auto key_schema = arrow::schema(KeyFields(schema, plan_));
  ARROW_ASSIGN_OR_RAISE(const auto gatherer, RowGatherer::Make(resources_->memory(), key_schema, key_batches_));
  RowLocator locator;
  for (const auto& batch : key_batches_) {
    locator.AddBatch(batch->num_rows());
  }
  const auto source = [&](int64_t begin, int64_t count) -> arrow::Result<arrow::ArrayVector> {
    std::vector<int64_t> rows(count);
    std::vector<uint32_t> sources(count);
    for (int64_t i = 0; i < count; ++i) {
      locator.Locate(begin + i, &sources[i], &rows[i]);
    }
    ARROW_ASSIGN_OR_RAISE(const auto batch, gatherer.Gather(RowRefs{rows, sources.data(), false}));
    return batch->columns();
  };
  return AppendGroups(resources_, plan_.output_schema, source, &columns, num_groups(), dropped_, out);
}

/// Consecutive rows of one chunk.
struct Piece {
  std::shared_ptr<Chunk> chunk;
  int64_t offset;
  int64_t length;
};

/// The rows in ranges of `range_rows`, wherever chunks end.
std::vector<std::vector<Piece>> CutRanges(const Table& table, int64_t range_rows) {
  std::vector<std::vector<Piece>> ranges;
  int64_t left = 0;  // in the last range
  for (const auto& chunk : table.chunks()) {
    for (int64_t offset = 0; offset < chunk->num_rows();) {
      if (left == 0) {
        ranges.emplace_back();
        left = range_rows;
      }
      const int64_t length = std::min(left, chunk->num_rows() - offset);
      ranges.back().push_back({chunk, offset, length});
      offset += length;
      left -= length;
    }
  }
  return ranges;
}

}  // namespace

arrow::Result<std::optional<Table>> GroupInOrder(const std::shared_ptr<Resources>& resources, const Table& input,
                                                 const GroupingPlan& plan, const KeyLayout& layout,
                                                 int64_t expected_groups, bool may_give_up) {
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*input.schema(), plan.keys));
  const int64_t range_rows = RangeRows(*resources, input, expected_groups);
  const int direct_bits = DirectBits(layout, std::min(range_rows, input.num_rows()));
  const auto make = [&] {
    return std::make_unique<GroupTable>(resources, plan, *input.schema(), layout, direct_bits, encoder);
  };
  const auto ranges = CutRanges(input, range_rows);
  const auto count = static_cast<int64_t>(ranges.size());
  auto all = make();
  ARROW_RETURN_NOT_OK(all->Start());
  const int64_t wave = resources->arena().threads();
  std::vector<std::unique_ptr<GroupTable>> tables;
  for (int64_t begin = 0; begin < count; begin += wave) {
    tables.clear();
    tables.resize(std::min(wave, count - begin));
    ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(static_cast<int64_t>(tables.size()), [&](int64_t i) {
      tables[i] = make();
      ARROW_RETURN_NOT_OK(tables[i]->Start());
      for (const auto& piece : ranges[begin + i]) {
        ARROW_ASSIGN_OR_RAISE(const auto batch, piece.chunk->Pin());
        ARROW_RETURN_NOT_OK(tables[i]->Add(batch->Slice(piece.offset, piece.length)));
      }
      return arrow::Status::OK();
    }));
    for (auto& table : tables) {
      if (all->num_groups() == 0) {
        all = std::move(table);
      } else {
        ARROW_RETURN_NOT_OK(all->MergeFrom(*table));
        table.reset();
      }
    }
    const bool most_is_done = (begin + wave) * 2 > count;
    if (may_give_up && ((all->num_groups() > kMostGroups && !most_is_done) ||
                        (all->num_groups() > 256 && TooLargeForMemory(*resources, all->num_bytes())))) {
      return std::nullopt;
    }
  }
  std::vector<std::shared_ptr<Chunk>> chunks;
  ARROW_RETURN_NOT_OK(all->Emit(*input.schema(), &chunks));
  return Table(resources, plan.output_schema, std::move(chunks));
}

}  // namespace cylon::grouping
