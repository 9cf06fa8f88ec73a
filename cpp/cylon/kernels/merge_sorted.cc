// Merging of sorted tables, one chunk of each in memory at a time.
#include <algorithm>
#include <string_view>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/sort_key.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

/// More inputs than this are merged in groups first where memory is short: every input has a chunk in memory.
constexpr size_t kFanIn = 16;

/// The next row of one input.
struct Cursor {
  const Table* table = nullptr;
  size_t next_chunk = 0;
  std::shared_ptr<arrow::RecordBatch> batch;
  uint32_t batch_number = 0;  // among those that the rows to be given out lie in
  ByteKeys keys;
  int64_t row = 0;

  std::string_view key() const { return keys.key(row); }
};

class Merge {
 public:
  Merge(const std::shared_ptr<Resources>& resources, const std::vector<Table>& inputs, const std::vector<SortKey>& keys)
      : resources_(resources), schema_(inputs[0].schema()), keys_(keys), out_(resources, schema_) {
    int64_t row_bytes = 0;
    for (const auto& input : inputs) {
      cursors_.push_back(Cursor{&input, 0, nullptr, 0, {}, 0});
      row_bytes = std::max(row_bytes, RowBytes(input));
    }
    piece_rows_ = MorselRows(*resources, row_bytes);
  }

  arrow::Result<Table> Run() {
    // A heap of inputs by their next row; the earlier input wins a tie.
    std::vector<uint32_t> heap;
    const auto later = [this](uint32_t a, uint32_t b) {
      const int compared = cursors_[a].key().compare(cursors_[b].key());
      return compared != 0 ? compared > 0 : a > b;
    };
    for (uint32_t i = 0; i < cursors_.size(); ++i) {
      ARROW_ASSIGN_OR_RAISE(const bool more, Load(cursors_[i]));
      if (more) {
        heap.push_back(i);
      }
    }
    std::make_heap(heap.begin(), heap.end(), later);
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), later);
      Cursor& cursor = cursors_[heap.back()];
      rows_.push_back(cursor.row++);
      sources_.push_back(cursor.batch_number);
      bool more = true;
      if (cursor.row == cursor.batch->num_rows()) {
        if (batches_.size() > 2 * cursors_.size() + 16) {
          ARROW_RETURN_NOT_OK(Flush());
        }
        ARROW_ASSIGN_OR_RAISE(more, Load(cursor));
      }
      if (more) {
        std::push_heap(heap.begin(), heap.end(), later);
      } else {
        heap.pop_back();
      }
      if (static_cast<int64_t>(rows_.size()) >= piece_rows_) {
        ARROW_RETURN_NOT_OK(Flush());
      }
    }
    ARROW_RETURN_NOT_OK(Flush());
    return out_.Finish();
  }

 private:
  /// Moves `cursor` to its next chunk that has rows; false where there is none.
  arrow::Result<bool> Load(Cursor& cursor) {
    cursor.batch = nullptr;
    cursor.row = 0;
    const auto& chunks = cursor.table->chunks();
    while (cursor.next_chunk < chunks.size()) {
      ARROW_ASSIGN_OR_RAISE(auto batch, chunks[cursor.next_chunk++]->Pin());
      if (batch->num_rows() == 0) {
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(cursor.keys, EncodeByteKeys(resources_->memory(), *batch, keys_));
      cursor.batch = std::move(batch);
      cursor.batch_number = static_cast<uint32_t>(batches_.size());
      batches_.push_back(cursor.batch);
      return true;
    }
    return false;
  }

  /// Gives out the rows chosen so far and forgets the batches that are done with.
  arrow::Status Flush() {
    if (!rows_.empty()) {
      ARROW_ASSIGN_OR_RAISE(const auto gatherer, RowGatherer::Make(resources_->memory(), schema_, batches_));
      ARROW_RETURN_NOT_OK(Emit(gatherer, 0, static_cast<int64_t>(rows_.size())));
    }
    rows_.clear();
    sources_.clear();
    batches_.clear();
    for (auto& cursor : cursors_) {
      if (cursor.batch != nullptr) {
        cursor.batch_number = static_cast<uint32_t>(batches_.size());
        batches_.push_back(cursor.batch);
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status Emit(const RowGatherer& gatherer, int64_t begin, int64_t count) {
    auto batch = gatherer.Gather(RowRefs{std::span(rows_).subspan(begin, count), sources_.data() + begin, false});
    if (batch.status().IsCapacityError() && count > 1) {
      ARROW_RETURN_NOT_OK(Emit(gatherer, begin, count / 2));
      return Emit(gatherer, begin + count / 2, count - count / 2);
    }
    ARROW_RETURN_NOT_OK(batch.status());
    return out_.Append(*std::move(batch));
  }

  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  const std::vector<SortKey>& keys_;
  TableBuilder out_;
  int64_t piece_rows_ = 0;
  std::vector<Cursor> cursors_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  std::vector<int64_t> rows_;
  std::vector<uint32_t> sources_;
};

}  // namespace

arrow::Result<Table> MergeSorted(const std::shared_ptr<Resources>& resources, const std::vector<Table>& inputs,
                                 const std::vector<SortKey>& keys) {
  if (inputs.empty()) {
    return arrow::Status::Invalid("no tables were given to merge; give at least one, which may be empty");
  }
  ARROW_RETURN_NOT_OK(AreWordSortKeys(*inputs[0].schema(), keys).status());
  int64_t bytes = 0;
  for (const auto& input : inputs) {
    if (!input.schema()->Equals(*inputs[0].schema(), /*check_metadata=*/false)) {
      return arrow::Status::TypeError("tables to be merged have the schemas ", inputs[0].schema()->ToString(), " and ",
                                      input.schema()->ToString(), "; they must be the same");
    }
    bytes += input.num_bytes();
  }
  if (inputs.size() == 1) {
    return inputs[0];
  }
  if (keys.empty()) {
    return Table::Concatenate(inputs);
  }
  std::vector<Table> tables = inputs;
  while (tables.size() > kFanIn && TooLargeForMemory(*resources, bytes)) {
    std::vector<Table> merged;
    for (size_t begin = 0; begin < tables.size(); begin += kFanIn) {
      const std::vector<Table> group(tables.begin() + static_cast<int64_t>(begin),
                                     tables.begin() + static_cast<int64_t>(std::min(begin + kFanIn, tables.size())));
      for (size_t i = begin; i < begin + group.size(); ++i) {
        tables[i] = Table();
      }
      ARROW_ASSIGN_OR_RAISE(auto table,
                            group.size() == 1 ? arrow::Result<Table>(group[0]) : Merge(resources, group, keys).Run());
      merged.push_back(std::move(table));
    }
    tables = std::move(merged);
  }
  return Merge(resources, tables, keys).Run();
}

}  // namespace cylon
