// One rank's sort: runs that are sorted in memory, and a merge of them where there are several.
#include "cylon/kernels/sort.h"

#include <algorithm>
#include <string>

#include "cylon/kernels/sort_key.h"
#include "cylon/kernels/sort_run.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

/// Rows that are compared at a time.
constexpr int64_t kCheckedRows = 4096;

/// Whether each row of a table comes after the one before it: the first pair that does not ends the search, so that it
/// costs nothing where there is something to sort.
class OrderCheck {
 public:
  OrderCheck(Resources& resources, const std::vector<SortKey>& keys, bool is_word)
      : resources_(resources), keys_(keys), is_word_(is_word), words_(keys.size()) {}

  arrow::Result<bool> Holds(const Table& table) {
    for (const auto& chunk : table.chunks()) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
      for (int64_t begin = 0; begin < batch->num_rows(); begin += kCheckedRows) {
        const auto block = batch->Slice(begin, kCheckedRows);
        ARROW_ASSIGN_OR_RAISE(const bool holds, is_word_ ? WordsHold(*block) : BytesHold(*block));
        if (!holds) {
          return false;
        }
      }
    }
    return true;
  }

 private:
  arrow::Result<bool> WordsHold(const arrow::RecordBatch& block) {
    const auto count = static_cast<size_t>(block.num_rows());
    for (size_t k = 0; k < keys_.size(); ++k) {
      ARROW_RETURN_NOT_OK(EncodeWordKey(resources_.memory(), block, keys_[k], &words_[k]));
    }
    std::vector<std::pair<uint8_t, uint64_t>> last;
    for (const auto& key : words_) {
      last.emplace_back(key.places[count - 1], key.words[count - 1]);
    }
    bool holds = last_.empty() || last_ <= RowOf(0);
    if (keys_.size() == 1) {
      const auto& [words, places] = words_[0];
      for (size_t i = 1; i < count; ++i) {
        holds &= places[i - 1] != places[i] ? places[i - 1] < places[i] : words[i - 1] <= words[i];
      }
    } else {
      for (size_t i = 1; i < count && holds; ++i) {
        holds = InOrder(i);
      }
    }
    last_ = std::move(last);
    return holds;
  }

  bool InOrder(size_t i) const {
    for (const auto& [words, places] : words_) {
      if (places[i - 1] != places[i]) {
        return places[i - 1] < places[i];
      }
      if (words[i - 1] != words[i]) {
        return words[i - 1] < words[i];
      }
    }
    return true;
  }

  std::vector<std::pair<uint8_t, uint64_t>> RowOf(size_t i) const {
    std::vector<std::pair<uint8_t, uint64_t>> row;
    for (const auto& key : words_) {
      row.emplace_back(key.places[i], key.words[i]);
    }
    return row;
  }

  arrow::Result<bool> BytesHold(const arrow::RecordBatch& block) {
    ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeByteKeys(resources_.memory(), block, keys_));
    for (int64_t i = 0; i < block.num_rows(); ++i) {
      if (i == 0 ? encoded.key(i) < last_key_ : encoded.key(i) < encoded.key(i - 1)) {
        return false;
      }
    }
    last_key_ = encoded.key(block.num_rows() - 1);
    return true;
  }

  Resources& resources_;
  const std::vector<SortKey>& keys_;
  bool is_word_;
  std::vector<WordKeys> words_;                     // by key
  std::vector<std::pair<uint8_t, uint64_t>> last_;  // the last row so far: place and word of each key
  std::string last_key_;                            // the same as bytes
};

}  // namespace

arrow::Result<Table> SortTable(const std::shared_ptr<Resources>& resources, const Table& input,
                               const std::vector<SortKey>& keys) {
  ARROW_ASSIGN_OR_RAISE(const bool is_word, AreWordSortKeys(*input.schema(), keys));
  if (keys.empty() || input.num_rows() == 0) {
    return input;
  }
  ARROW_ASSIGN_OR_RAISE(const bool sorted, OrderCheck(*resources, keys, is_word).Holds(input));
  if (sorted) {
    return input;
  }
  // Beside a row itself: its words, its number and place in the order, a copy on the way, and one in the result.
  const int64_t row_bytes = 2 * RowBytes(input) + (is_word ? 16 : 96);
  // That is all there is, so it may be half of the budget, where other kernels, which grow, begin to cut at a quarter.
  const int64_t limit = resources->memory()->limit();
  if (input.num_rows() * row_bytes <= limit / 2 && input.num_rows() <= kMostRunRows) {
    SortRun run(resources, input.schema(), keys);
    for (const auto& chunk : input.chunks()) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
      run.Add(batch, 0, batch->num_rows());
    }
    TableBuilder out(resources, input.schema());
    ARROW_RETURN_NOT_OK(run.SortInto(MorselRows(*resources, RowBytes(input)), &out));
    return out.Finish();
  }
  // Runs that take a quarter of the budget to sort; in chunks so small that a merge holds one of each of 64 runs in an
  // eighth. So four times the budget, of 32 bytes a row, goes to disk twice and not three times.
  const int64_t run_rows = std::clamp<int64_t>(limit / 4 / row_bytes, 64, kMostRunRows);
  const int64_t piece_rows = std::clamp<int64_t>(limit / 512 / RowBytes(input), 16, resources->options().morsel_rows);
  std::vector<Table> runs;
  const auto finish = [&](SortRun& run) -> arrow::Status {
    TableBuilder out(resources, input.schema());
    ARROW_RETURN_NOT_OK(run.SortInto(piece_rows, &out));
    runs.push_back(out.Finish());
    return arrow::Status::OK();
  };
  auto run = std::make_unique<SortRun>(resources, input.schema(), keys);
  for (const auto& chunk : input.chunks()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    for (int64_t offset = 0; offset < chunk->num_rows();) {
      const int64_t taken = std::min(batch->num_rows() - offset, run_rows - run->num_rows());
      run->Add(batch, offset, taken);
      offset += taken;
      if (run->num_rows() == run_rows) {
        ARROW_RETURN_NOT_OK(finish(*run));
        run = std::make_unique<SortRun>(resources, input.schema(), keys);
      }
    }
  }
  if (run->num_rows() > 0) {
    ARROW_RETURN_NOT_OK(finish(*run));
  }
  run.reset();
  return MergeSorted(resources, runs, keys);
}

}  // namespace cylon
