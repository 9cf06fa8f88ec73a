// Grouping of rows that were dealt into cache-sized partitions by the hash of their keys.
#include <algorithm>
#include <bit>
#include <cmath>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/group_rows.h"
#include "cylon/kernels/word_table.h"

namespace cylon::grouping {

namespace {

/// Rows that one task takes on, at least. What it gives out is a chunk of up to 2 MiB per column: the allocator keeps
/// freed buffers of that size for the next, while many small ones cost the first touch of their pages each time.
constexpr int64_t kTaskRows = 1 << 18;

/// Groups that room is made for, over those that the sample lets expect.
constexpr double kReserved = 1.05;

/// What all tasks share.
class PartitionGrouping {
 public:
  PartitionGrouping(std::shared_ptr<Resources> resources, const GroupingPlan& plan, const Table& input,
                    const KeyLayout& layout)
      : resources_(std::move(resources)), plan_(plan), schema_(*input.schema()), layout_(layout) {}

  arrow::Result<Table> Run(const Table& input, int64_t expected_groups);

 private:
  friend class PartitionTask;

  arrow::Status Deal(const Table& input, int64_t expected_groups);
  /// Whether the key of `row` has a NaN: of hashed keys, whose words do not tell.
  arrow::Result<bool> HasNaN(uint32_t row) const;

  std::shared_ptr<Resources> resources_;
  const GroupingPlan& plan_;
  const arrow::Schema& schema_;
  const KeyLayout& layout_;
  bool keys_are_words_ = false;
  bool null_keys_ = false;         // come out
  std::vector<int> carried_;       // columns of the input, in the order of RadixPartitions::column
  std::vector<bool> float_words_;  // by word: whether it is a double
  std::vector<int> gathered_;      // columns of the input that are read by row number
  std::unique_ptr<RadixPartitions> partitions_;
  std::optional<RowGatherer> keys_;                 // where words will not do
  std::optional<RowGatherer> values_;               // of gathered_
  std::vector<std::vector<KeyColumn>> float_keys_;  // kHash: by float key and batch
};

/// Consecutive partitions, by one thread.
class PartitionTask {
 public:
  explicit PartitionTask(const PartitionGrouping& all)
      : all_(all),
        pool_(all.resources_->memory()),
        partitions_(*all.partitions_),
        table_(pool_, all.layout_.form() == KeyForm::kTwoWords ? 2 : 1),
        states_(pool_, all.plan_),
        columns_(states_.MakeColumns(pool_)) {
    if (all.keys_are_words_ && all.layout_.packed()) {
      key_columns_.emplace_back(pool_, arrow::uint64());
      if (all.layout_.form() == KeyForm::kTwoWords) {
        key_columns_.emplace_back(pool_, arrow::uint64());
      }
    } else if (all.keys_are_words_) {
      for (int key : all.plan_.keys) {
        key_columns_.emplace_back(pool_, all.schema_.field(key)->type());
      }
    }
  }

  /// Makes room for `groups`, about, in what comes out.
  arrow::Status Start(int64_t groups);
  arrow::Status Run(int64_t partition);
  arrow::Status Finish(std::vector<std::shared_ptr<Chunk>>* out);

 private:
  arrow::Status Open(int64_t begin, int64_t rows);
  arrow::Result<ValueReader> ReaderOf(int column, int64_t begin, int64_t rows);
  arrow::Status FindGroups(int64_t begin, int64_t count, bool null_keys, uint32_t* numbers);
  arrow::Status AddGroup(int64_t place, bool null_keys);
  arrow::Status AppendKeys(bool null_keys);

  const PartitionGrouping& all_;
  arrow::MemoryPool* pool_;
  const RadixPartitions& partitions_;
  WordTable table_;
  StateSet states_;
  std::vector<OutputColumn> columns_;
  std::vector<OutputColumn> key_columns_;  // where words will do: of the keys' types, or the packed words
  int64_t groups_ = 0;                     // that were written
  std::vector<uint32_t> first_rows_;       // by group of this task, where keys are gathered
  std::vector<uint32_t> new_places_;
  std::vector<uint8_t> dropped_;                  // by group of this partition; empty: none
  std::vector<uint8_t> task_dropped_;             // by group of this task; empty: none
  std::shared_ptr<arrow::RecordBatch> gathered_;  // of this partition
};

arrow::Status PartitionTask::Start(int64_t groups) {
  for (auto* columns : {&columns_, &key_columns_}) {
    for (auto& column : *columns) {
      ARROW_RETURN_NOT_OK(column.Reserve(groups));
    }
  }
  return arrow::Status::OK();
}

arrow::Result<ValueReader> PartitionTask::ReaderOf(int column, int64_t begin, int64_t rows) {
  const auto& name = all_.schema_.field(column)->name();
  const auto carried = std::find(all_.carried_.begin(), all_.carried_.end(), column);
  if (carried != all_.carried_.end()) {
    return ValueReader::OfCarried(pool_, partitions_.column(carried - all_.carried_.begin()), begin, rows, name);
  }
  const auto place = std::find(all_.gathered_.begin(), all_.gathered_.end(), column) - all_.gathered_.begin();
  return ValueReader::Make(pool_, gathered_->column_data(static_cast<int>(place)), name);
}

arrow::Status PartitionTask::Open(int64_t begin, int64_t rows) {
  if (!all_.gathered_.empty()) {
    std::vector<int64_t> positions(rows);
    std::vector<uint32_t> sources(rows);
    for (int64_t i = 0; i < rows; ++i) {
      partitions_.locator().Locate(partitions_.row_numbers()[begin + i], &sources[i], &positions[i]);
    }
    ARROW_ASSIGN_OR_RAISE(gathered_, all_.values_->Gather(RowRefs{positions, sources.data(), false}));
  }
  for (size_t s = 0; s < all_.plan_.inputs.size(); ++s) {
    auto& readers = states_.readers(s);
    readers.clear();
    for (int column : all_.plan_.inputs[s]) {
      ARROW_ASSIGN_OR_RAISE(auto reader, ReaderOf(column, begin, rows));
      readers.push_back(std::move(reader));
    }
  }
  return arrow::Status::OK();
}

arrow::Status PartitionTask::AddGroup(int64_t place, bool null_keys) {
  if (!all_.keys_are_words_) {
    first_rows_.push_back(partitions_.row_numbers()[place]);
  }
  bool drops = false;
  if (all_.plan_.drop_null_keys && !null_keys) {
    if (all_.layout_.form() == KeyForm::kHash) {
      ARROW_ASSIGN_OR_RAISE(drops, all_.HasNaN(partitions_.row_numbers()[place]));
    } else if (!all_.layout_.packed()) {
      for (size_t k = 0; k < all_.float_words_.size(); ++k) {
        const uint64_t word = (k == 0 ? partitions_.words() : partitions_.second_words())[place];
        drops = drops || (all_.float_words_[k] && std::isnan(std::bit_cast<double>(word)));
      }
    }
  }
  if (drops) {
    dropped_.resize(table_.size(), 0);
    dropped_.back() = 1;
  }
  return arrow::Status::OK();
}

arrow::Status PartitionTask::FindGroups(int64_t begin, int64_t count, bool null_keys, uint32_t* numbers) {
  const uint64_t* first = partitions_.words() + begin;
  const uint64_t* second = partitions_.second_words() == nullptr ? nullptr : partitions_.second_words() + begin;
  const bool asks_floats =
      std::find(all_.float_words_.begin(), all_.float_words_.end(), true) != all_.float_words_.end();
  const int64_t known = table_.size();
  const auto drop_missing = [&] {
    if (all_.layout_.packed() && all_.layout_.may_be_missing() && all_.plan_.drop_null_keys) {
      DropMissing(all_.layout_, table_.keys(0), table_.keys(1), known, table_.size(), &dropped_);
    }
  };
  if (all_.keys_are_words_ && !asks_floats) {
    ARROW_RETURN_NOT_OK(table_.Find(first, second, nullptr, count, numbers));
    drop_missing();
    return arrow::Status::OK();
  }
  arrow::Status status;
  const auto add = [&](int64_t i) {
    if (status.ok()) {
      status = AddGroup(begin + i, null_keys);
    }
  };
  if (all_.layout_.form() != KeyForm::kHash) {
    ARROW_RETURN_NOT_OK(
        table_.Find(first, second, nullptr, count, numbers, [](uint32_t, int64_t) { return true; }, add));
  } else {
    const int64_t before = groups_;
    const auto same = [&](uint32_t number, int64_t i) {
      return partitions_.SameKey(first_rows_[before + number], partitions_, partitions_.row_numbers()[begin + i]);
    };
    ARROW_RETURN_NOT_OK(table_.Find(first, second, nullptr, count, numbers, same, add));
  }
  drop_missing();
  if (!dropped_.empty()) {
    dropped_.resize(table_.size(), 0);
  }
  return status;
}

arrow::Status PartitionTask::AppendKeys(bool null_keys) {
  for (size_t k = 0; k < key_columns_.size(); ++k) {
    ARROW_RETURN_NOT_OK(AppendWords(table_.keys(static_cast<int>(k)), table_.size(), &key_columns_[k]));
    if (all_.null_keys_ && !all_.layout_.packed()) {
      ARROW_ASSIGN_OR_RAISE(uint8_t* valid, key_columns_[k].ExtendValid(table_.size()));
      std::fill(valid, valid + table_.size(), static_cast<uint8_t>(null_keys ? 0 : 1));
    }
  }
  return arrow::Status::OK();
}

arrow::Status PartitionTask::Run(int64_t partition) {
  const int64_t first = partitions_.begin(partition);
  const int64_t rows = partitions_.rows(partition);
  const bool null_keys = partition == partitions_.count();
  if (rows == 0) {
    return arrow::Status::OK();
  }
  ARROW_RETURN_NOT_OK(table_.Clear(std::min<int64_t>(rows, int64_t{1} << 16)));
  ARROW_RETURN_NOT_OK(states_.Resize(0));
  ARROW_RETURN_NOT_OK(Open(first, rows));
  dropped_.clear();
  uint32_t numbers[kValueBlockRows];
  for (int64_t begin = 0; begin < rows; begin += kValueBlockRows) {
    const int64_t count = std::min(kValueBlockRows, rows - begin);
    ARROW_RETURN_NOT_OK(FindGroups(first + begin, count, null_keys, numbers));
    ARROW_RETURN_NOT_OK(states_.Add(begin, count, numbers, table_.size(), dropped_));
  }
  ARROW_RETURN_NOT_OK(AppendKeys(null_keys));
  ARROW_RETURN_NOT_OK(states_.Append(columns_));
  groups_ += table_.size();
  if (!dropped_.empty() || !task_dropped_.empty()) {
    task_dropped_.resize(groups_ - table_.size(), 0);
    task_dropped_.insert(task_dropped_.end(), dropped_.begin(), dropped_.end());
    task_dropped_.resize(groups_, 0);
  }
  return arrow::Status::OK();
}

arrow::Status PartitionTask::Finish(std::vector<std::shared_ptr<Chunk>>* out) {
  KeySource source;
  arrow::ArrayVector keys;
  if (all_.keys_are_words_) {
    for (auto& column : key_columns_) {
      ARROW_ASSIGN_OR_RAISE(auto array, column.Finish(groups_));
      keys.push_back(std::move(array));
    }
    source = [&](int64_t begin, int64_t count) -> arrow::Result<arrow::ArrayVector> {
      if (all_.layout_.packed()) {
        const auto words = [&](size_t k) { return keys[k]->data()->GetValues<uint64_t>(1) + begin; };
        return UnpackKeys(pool_, all_.layout_, KeyFields(all_.schema_, all_.plan_), words(0),
                          keys.size() == 2 ? words(1) : nullptr, count);
      }
      arrow::ArrayVector slices;
      for (const auto& key : keys) {
        slices.push_back(count == key->length() ? key : key->Slice(begin, count));
      }
      return slices;
    };
  } else {
    source = [&](int64_t begin, int64_t count) -> arrow::Result<arrow::ArrayVector> {
      std::vector<int64_t> rows(count);
      std::vector<uint32_t> sources(count);
      for (int64_t i = 0; i < count; ++i) {
        partitions_.locator().Locate(first_rows_[begin + i], &sources[i], &rows[i]);
      }
      ARROW_ASSIGN_OR_RAISE(const auto batch, all_.keys_->Gather(RowRefs{rows, sources.data(), false}));
      return batch->columns();
    };
  }
  return AppendGroups(all_.resources_, all_.plan_.output_schema, source, &columns_, groups_, task_dropped_, out);
}

arrow::Result<bool> PartitionGrouping::HasNaN(uint32_t row) const {
  uint32_t batch;
  int64_t position;
  partitions_->locator().Locate(row, &batch, &position);
  for (const auto& columns : float_keys_) {
    uint64_t word = 0;
    columns[batch].Slice(position, 1).LoadWords(&word);
    if (std::isnan(std::bit_cast<double>(word))) {
      return true;
    }
  }
  return false;
}

arrow::Status PartitionGrouping::Deal(const Table& input, int64_t expected_groups) {
  auto* pool = resources_->memory();
  keys_are_words_ = KeysAreTheirWords(schema_, plan_.keys, layout_);
  RadixPlan radix;
  radix.keys = plan_.keys;
  radix.layout = layout_;
  int64_t row_bytes = layout_.form() == KeyForm::kTwoWords ? 16 : 8;
  for (const auto& columns : plan_.inputs) {
    for (int column : columns) {
      const auto& type = *schema_.field(column)->type();
      auto& list = CanCarry(type) ? carried_ : gathered_;
      if (std::find(list.begin(), list.end(), column) == list.end()) {
        list.push_back(column);
        row_bytes += 8;
      }
    }
  }
  radix.carried = carried_;
  radix.row_numbers = !keys_are_words_ || !gathered_.empty();
  // In the cache at once: a partition's rows, and its groups with their states, keys and twice as many slots.
  const int64_t rows = input.num_rows();
  const int64_t group_bytes = StateSet(pool, plan_).group_bytes() + 16;
  row_bytes += group_bytes * std::min(expected_groups, rows) / std::max<int64_t>(rows, 1);
  radix.bits = RadixBits(rows, row_bytes);
  ARROW_ASSIGN_OR_RAISE(partitions_, RadixPartitions::Make(resources_, input, radix));
  null_keys_ = !plan_.drop_null_keys && partitions_->rows(partitions_->count()) > 0;
  const auto gatherer = [&](const std::vector<int>& columns) -> arrow::Result<RowGatherer> {
    arrow::FieldVector fields;
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    for (int column : columns) {
      fields.push_back(schema_.field(column));
    }
    for (const auto& batch : partitions_->batches()) {
      ARROW_ASSIGN_OR_RAISE(auto some, batch->SelectColumns(columns));
      batches.push_back(std::move(some));
    }
    return RowGatherer::Make(pool, arrow::schema(std::move(fields)), batches);
  };
  if (!keys_are_words_) {
    ARROW_ASSIGN_OR_RAISE(keys_, gatherer(plan_.keys));
  }
  if (!gathered_.empty()) {
    ARROW_ASSIGN_OR_RAISE(values_, gatherer(gathered_));
  }
  for (int key : plan_.keys) {
    const auto& field = *schema_.field(key);
    ARROW_ASSIGN_OR_RAISE(const auto plain, KeyColumn::OfType(field.type(), field.name()));
    const bool is_float =
        plain.kind() == KeyKind::kHalf || plain.kind() == KeyKind::kFloat || plain.kind() == KeyKind::kDouble;
    if (layout_.form() != KeyForm::kHash) {
      float_words_.push_back(is_float);
    } else if (is_float && plan_.drop_null_keys) {
      auto& columns = float_keys_.emplace_back();
      for (const auto& batch : partitions_->batches()) {
        ARROW_ASSIGN_OR_RAISE(auto column, KeyColumn::Make(pool, batch->column_data(key), field.name()));
        columns.push_back(std::move(column));
      }
    }
  }
  return arrow::Status::OK();
}

arrow::Result<Table> PartitionGrouping::Run(const Table& input, int64_t expected_groups) {
  ARROW_RETURN_NOT_OK(Deal(input, expected_groups));
  const int64_t partitions = partitions_->count() + (null_keys_ ? 1 : 0);
  std::vector<int64_t> task_begins = {0};
  int64_t rows = 0;
  for (int64_t p = 0; p < partitions; ++p) {
    rows += partitions_->rows(p);
    if (rows >= kTaskRows) {
      task_begins.push_back(p + 1);
      rows = 0;
    }
  }
  if (task_begins.back() != partitions) {
    task_begins.push_back(partitions);
  }
  const auto tasks = static_cast<int64_t>(task_begins.size()) - 1;
  std::vector<std::vector<std::shared_ptr<Chunk>>> chunks(tasks);
  ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(tasks, [&](int64_t t) {
    PartitionTask task(*this);
    // A little more than its share: partitions differ by the root of their size.
    const int64_t task_rows = partitions_->begin(task_begins[t + 1]) - partitions_->begin(task_begins[t]);
    const auto share = static_cast<double>(task_rows) / static_cast<double>(std::max<int64_t>(input.num_rows(), 1));
    ARROW_RETURN_NOT_OK(task.Start(
        std::min(task_rows, static_cast<int64_t>(share * static_cast<double>(expected_groups) * kReserved) + 64)));
    for (int64_t p = task_begins[t]; p < task_begins[t + 1]; ++p) {
      ARROW_RETURN_NOT_OK(task.Run(p));
    }
    return task.Finish(&chunks[t]);
  }));
  std::vector<std::shared_ptr<Chunk>> all;
  for (auto& some : chunks) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return Table(resources_, plan_.output_schema, std::move(all));
}

}  // namespace

arrow::Result<Table> GroupInPartitions(const std::shared_ptr<Resources>& resources, const Table& input,
                                       const GroupingPlan& plan, const KeyLayout& layout, int64_t expected_groups) {
  return PartitionGrouping(resources, plan, input, layout).Run(input, expected_groups);
}

}  // namespace cylon::grouping
