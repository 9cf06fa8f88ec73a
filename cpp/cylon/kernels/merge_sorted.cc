// Merging of sorted tables, one chunk of each in memory at a time.
#include <algorithm>
#include <limits>
#include <string>

#include "cylon/kernels/sort.h"
#include "cylon/kernels/sort_key.h"
#include "cylon/kernels/sort_run.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

int64_t LargestChunk(const Table& table) {
  int64_t largest = 0;
  for (const auto& chunk : table.chunks()) {
    largest = std::max(largest, chunk->num_bytes());
  }
  return largest;
}

/// How many of the tables from `begin` on are merged at a time: as many as have room for a chunk each in an eighth of
/// the budget (the sort of a band, what it gives out and what spills need room as well), but at least two.
size_t GroupEnd(const std::vector<Table>& tables, size_t begin, int64_t limit) {
  int64_t held = 0;
  size_t end = begin;
  for (; end < tables.size(); ++end) {
    held += LargestChunk(tables[end]);
    if (held > limit / 8 && end >= begin + 2) {
      break;
    }
  }
  return end;
}

/// Merges by bands of keys. Of the chunks that are in memory, one of each input, the one whose last row comes first
/// bounds the band: no row that is still to be read comes before it. The band's rows are sorted together, by radix,
/// which is several times as fast as comparing the inputs' next rows with each other, and stable, so that equal rows
/// stay in the order of the inputs.
class Merge {
 public:
  Merge(const std::shared_ptr<Resources>& resources, const std::vector<Table>& inputs, const std::vector<SortKey>& keys)
      : resources_(resources), schema_(inputs[0].schema()), keys_(keys), out_(resources, schema_) {
    int64_t row_bytes = 0;
    for (const auto& input : inputs) {
      cursors_.push_back(Cursor{&input, 0, nullptr, 0, {}});
      row_bytes = std::max(row_bytes, RowBytes(input));
    }
    piece_rows_ = MorselRows(*resources, row_bytes);
  }

  arrow::Result<Table> Run() {
    for (auto& cursor : cursors_) {
      ARROW_RETURN_NOT_OK(Load(cursor));
    }
    while (true) {
      const Cursor* bound = nullptr;
      for (const auto& cursor : cursors_) {
        if (cursor.batch != nullptr && (bound == nullptr || cursor.last_key < bound->last_key)) {
          bound = &cursor;  // of equal ones the first
        }
      }
      if (bound == nullptr) {
        return out_.Finish();
      }
      ARROW_RETURN_NOT_OK(EmitBand(bound));
    }
  }

 private:
  /// The rows of an input that are in memory and not given out.
  struct Cursor {
    const Table* table = nullptr;
    size_t next_chunk = 0;
    std::shared_ptr<arrow::RecordBatch> batch;
    int64_t row = 0;
    std::string last_key;
  };

  arrow::Result<std::string> KeyOf(const arrow::RecordBatch& batch, int64_t row) const {
    ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeByteKeys(resources_->memory(), *batch.Slice(row, 1), keys_));
    return std::string(encoded.key(0));
  }

  /// Moves `cursor` to its next chunk that has rows; no batch where there is none.
  arrow::Status Load(Cursor& cursor) const {
    cursor.batch = nullptr;
    cursor.row = 0;
    const auto& chunks = cursor.table->chunks();
    while (cursor.batch == nullptr && cursor.next_chunk < chunks.size()) {
      ARROW_ASSIGN_OR_RAISE(auto batch, chunks[cursor.next_chunk++]->Pin());
      if (batch->num_rows() > 0) {
        ARROW_ASSIGN_OR_RAISE(cursor.last_key, KeyOf(*batch, batch->num_rows() - 1));
        cursor.batch = std::move(batch);
      }
    }
    return arrow::Status::OK();
  }

  /// The first of a cursor's rows that come after `key`, or with it where not `past_equal`.
  arrow::Result<int64_t> RowsUpTo(const Cursor& cursor, const std::string& key, bool past_equal) const {
    int64_t low = cursor.row;
    for (int64_t high = cursor.batch->num_rows(); low < high;) {
      const int64_t middle = low + (high - low) / 2;
      ARROW_ASSIGN_OR_RAISE(const auto found, KeyOf(*cursor.batch, middle));
      const bool below = past_equal ? found <= key : found < key;
      low = below ? middle + 1 : low;
      high = below ? high : middle;
    }
    return low;
  }

  arrow::Status EmitBand(const Cursor* bound) {
    SortRun run(resources_, schema_, keys_);
    const std::string key = bound->last_key;
    for (auto& cursor : cursors_) {
      if (cursor.batch == nullptr) {
        continue;
      }
      // Rows that equal the bound wait in later inputs: the bound's own input may have more of them to come.
      int64_t end = cursor.batch->num_rows();
      if (&cursor != bound) {
        ARROW_ASSIGN_OR_RAISE(end, RowsUpTo(cursor, key, /*past_equal=*/&cursor < bound));
      }
      if (end > cursor.row) {
        run.Add(cursor.batch, cursor.row, end - cursor.row);
        cursor.row = end;
      }
    }
    ARROW_RETURN_NOT_OK(run.SortInto(piece_rows_, &out_));
    for (auto& cursor : cursors_) {
      if (cursor.batch != nullptr && cursor.row == cursor.batch->num_rows()) {
        ARROW_RETURN_NOT_OK(Load(cursor));
      }
    }
    return arrow::Status::OK();
  }

  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  const std::vector<SortKey>& keys_;
  TableBuilder out_;
  int64_t piece_rows_ = 0;
  std::vector<Cursor> cursors_;
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
  const int64_t limit =
      TooLargeForMemory(*resources, bytes) ? resources->memory()->limit() : std::numeric_limits<int64_t>::max();
  while (true) {
    std::vector<Table> merged;
    for (size_t begin = 0; begin < tables.size();) {
      const size_t end = GroupEnd(tables, begin, limit);
      const std::vector<Table> group(tables.begin() + static_cast<int64_t>(begin),
                                     tables.begin() + static_cast<int64_t>(end));
      std::fill(tables.begin() + static_cast<int64_t>(begin), tables.begin() + static_cast<int64_t>(end), Table());
      ARROW_ASSIGN_OR_RAISE(auto table,
                            group.size() == 1 ? arrow::Result<Table>(group[0]) : Merge(resources, group, keys).Run());
      merged.push_back(std::move(table));
      begin = end;
    }
    if (merged.size() == 1) {
      return merged[0];
    }
    tables = std::move(merged);
  }
}

}  // namespace cylon
