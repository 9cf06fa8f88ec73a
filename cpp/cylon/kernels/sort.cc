// One rank's sort: runs that are sorted in memory, and a merge of them where there are several.
#include "cylon/kernels/sort.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/row_locator.h"
#include "cylon/kernels/sort_key.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

/// A row to be sorted: the first 8 bytes of its key and its number, which settles ties so that the sort is stable.
struct Entry {
  uint64_t key;
  uint64_t row;
};

/// Sorts by key alone and keeps the order of equal keys: LSD radix over the bits that vary, 11 a pass (2048 counters
/// stay in L1).
void RadixSort(std::vector<Entry>* entries) {
  constexpr int kBits = 11;
  uint64_t varying = 0;
  for (const Entry& entry : *entries) {
    varying |= entry.key ^ entries->front().key;
  }
  if (varying == 0) {
    return;
  }
  std::vector<Entry> other(entries->size());
  const int top = 64 - std::countl_zero(varying);
  for (int shift = std::countr_zero(varying); shift < top; shift += kBits) {
    const uint64_t mask = (uint64_t{1} << std::min(kBits, top - shift)) - 1;
    std::vector<uint64_t> places(mask + 2, 0);
    for (const Entry& entry : *entries) {
      ++places[((entry.key >> shift) & mask) + 1];
    }
    for (uint64_t k = 1; k <= mask; ++k) {
      places[k] += places[k - 1];
    }
    for (const Entry& entry : *entries) {
      other[places[(entry.key >> shift) & mask]++] = entry;
    }
    entries->swap(other);
  }
}

/// Sorts `entries` in ranges side by side, then merges neighbours.
template <typename Less, typename Sort>
arrow::Status SortSideBySide(Arena& arena, std::vector<Entry>* entries, const Sort& sort, const Less& less) {
  const auto count = static_cast<int64_t>(entries->size());
  const int64_t parts = count < (1 << 16) ? 1 : arena.threads();
  if (parts == 1) {
    sort(entries);
    return arrow::Status::OK();
  }
  const auto bound = [&](int64_t part) { return entries->begin() + count * std::min(part, parts) / parts; };
  ARROW_RETURN_NOT_OK(arena.ParallelFor(parts, [&](int64_t part) {
    std::vector<Entry> range(bound(part), bound(part + 1));
    sort(&range);
    std::copy(range.begin(), range.end(), bound(part));
    return arrow::Status::OK();
  }));
  for (int64_t width = 1; width < parts; width *= 2) {
    ARROW_RETURN_NOT_OK(arena.ParallelFor((parts + 2 * width - 1) / (2 * width), [&](int64_t pair) {
      const int64_t first = pair * 2 * width;
      std::inplace_merge(bound(first), bound(first + width), bound(first + 2 * width), less);
      return arrow::Status::OK();
    }));
  }
  return arrow::Status::OK();
}

/// A part of the input that is sorted in memory.
class Run {
 public:
  Run(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Schema>& schema,
      const std::vector<SortKey>& keys)
      : resources_(resources), schema_(schema), keys_(keys) {}

  /// Rows [offset, offset + length) of `batch`, which stays pinned as long as the run lives.
  void Add(const std::shared_ptr<arrow::RecordBatch>& batch, int64_t offset, int64_t length) {
    locator_.AddBatch(length);
    batches_.push_back(length == batch->num_rows() ? batch : batch->Slice(offset, length));
    pins_.push_back(batch);
  }
  int64_t num_rows() const { return locator_.num_rows(); }

  /// Its rows, sorted, in chunks of at most `piece_rows`.
  arrow::Status SortInto(int64_t piece_rows, TableBuilder* out) {
    ARROW_ASSIGN_OR_RAISE(const bool is_word, AreWordSortKeys(*schema_, keys_));
    std::vector<Entry> order;
    ARROW_RETURN_NOT_OK(is_word ? OrderByWords(&order) : OrderByBytes(&order));
    ARROW_ASSIGN_OR_RAISE(const auto gatherer, RowGatherer::Make(resources_->memory(), schema_, batches_));
    const auto count = static_cast<int64_t>(order.size());
    const int64_t pieces = (count + piece_rows - 1) / piece_rows;
    const int64_t wave = resources_->arena().threads();
    for (int64_t first = 0; first < pieces; first += wave) {
      std::vector<Table> done(std::min(wave, pieces - first));
      ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(static_cast<int64_t>(done.size()), [&](int64_t i) {
        TableBuilder piece(resources_, schema_);
        const int64_t begin = (first + i) * piece_rows;
        ARROW_RETURN_NOT_OK(Emit(gatherer, order, begin, std::min(begin + piece_rows, count), &piece));
        done[i] = piece.Finish();
        return arrow::Status::OK();
      }));
      for (const auto& table : done) {
        for (const auto& chunk : table.chunks()) {
          ARROW_RETURN_NOT_OK(out->Append(chunk));
        }
      }
    }
    return arrow::Status::OK();
  }

 private:
  /// By the last key first: each further sort keeps the order of what is equal to it.
  arrow::Status OrderByWords(std::vector<Entry>* order) {
    order->resize(num_rows());
    for (uint64_t row = 0; row < order->size(); ++row) {
      (*order)[row].row = row;
    }
    std::vector<int64_t> starts;
    int64_t start = 0;
    for (const auto& batch : batches_) {
      starts.push_back(start);
      start += batch->num_rows();
    }
    std::vector<uint64_t> words(order->size());
    std::vector<uint8_t> places(order->size());
    for (auto key = keys_.rbegin(); key != keys_.rend(); ++key) {
      ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(static_cast<int64_t>(batches_.size()), [&](int64_t i) {
        SortKeys encoded;
        ARROW_RETURN_NOT_OK(EncodeWordSortKey(resources_->memory(), *batches_[i], *key, &encoded));
        std::copy(encoded.words.begin(), encoded.words.end(), words.begin() + starts[i]);
        std::copy(encoded.places.begin(), encoded.places.end(), places.begin() + starts[i]);
        return arrow::Status::OK();
      }));
      // Values sort by their words; those that come before and after them keep their order.
      std::vector<Entry> by_place[3];
      const int values = key->nulls == NullPlacement::kFirst ? 2 : 0;
      by_place[values].reserve(order->size());
      for (const Entry& entry : *order) {
        by_place[places[entry.row]].push_back({words[entry.row], entry.row});
      }
      ARROW_RETURN_NOT_OK(SortSideBySide(resources_->arena(), &by_place[values], RadixSort,
                                         [](const Entry& a, const Entry& b) { return a.key < b.key; }));
      order->clear();
      for (const auto& entries : by_place) {
        order->insert(order->end(), entries.begin(), entries.end());
      }
    }
    return arrow::Status::OK();
  }

  arrow::Status OrderByBytes(std::vector<Entry>* order) {
    std::vector<SortKeys> encoded(batches_.size());
    ARROW_RETURN_NOT_OK(resources_->arena().ParallelFor(static_cast<int64_t>(batches_.size()), [&](int64_t i) {
      return EncodeSortKeys(resources_->memory(), *batches_[i], keys_, &encoded[i].bytes, &encoded[i].offsets);
    }));
    const auto key_of = [&](uint64_t row) {
      uint32_t batch;
      int64_t position;
      locator_.Locate(static_cast<int64_t>(row), &batch, &position);
      const SortKeys& keys = encoded[batch];
      return std::string_view(reinterpret_cast<const char*>(keys.bytes.data()) + keys.offsets[position],
                              keys.offsets[position + 1] - keys.offsets[position]);
    };
    order->resize(num_rows());
    for (uint64_t row = 0; row < order->size(); ++row) {
      const std::string_view key = key_of(row);
      uint64_t prefix = 0;
      if (!key.empty()) {
        std::memcpy(&prefix, key.data(), std::min<size_t>(key.size(), 8));
      }
      (*order)[row] = {__builtin_bswap64(prefix), row};
    }
    const auto less = [&](const Entry& a, const Entry& b) {
      if (a.key != b.key) {
        return a.key < b.key;
      }
      const int compared = key_of(a.row).compare(key_of(b.row));
      return compared != 0 ? compared < 0 : a.row < b.row;
    };
    return SortSideBySide(
        resources_->arena(), order,
        [&](std::vector<Entry>* entries) { std::sort(entries->begin(), entries->end(), less); }, less);
  }

  arrow::Status Emit(const RowGatherer& gatherer, const std::vector<Entry>& order, int64_t begin, int64_t end,
                     TableBuilder* out) const {
    std::vector<int64_t> rows(end - begin);
    std::vector<uint32_t> sources(end - begin);
    for (int64_t i = begin; i < end; ++i) {
      locator_.Locate(static_cast<int64_t>(order[i].row), &sources[i - begin], &rows[i - begin]);
    }
    auto batch = gatherer.Gather(RowRefs{rows, sources.data(), false});
    if (batch.status().IsCapacityError() && end - begin > 1) {
      const int64_t middle = begin + (end - begin) / 2;
      ARROW_RETURN_NOT_OK(Emit(gatherer, order, begin, middle, out));
      return Emit(gatherer, order, middle, end, out);
    }
    ARROW_RETURN_NOT_OK(batch.status());
    return out->Append(*std::move(batch));
  }

  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  const std::vector<SortKey>& keys_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> pins_;
  RowLocator locator_;
};

}  // namespace

arrow::Result<Table> SortTable(const std::shared_ptr<Resources>& resources, const Table& input,
                               const std::vector<SortKey>& keys) {
  ARROW_RETURN_NOT_OK(AreWordSortKeys(*input.schema(), keys).status());
  if (keys.empty() || input.num_rows() == 0) {
    return input;
  }
  // Beside a row itself: its encoded key, which may be all of the row, and two entries.
  const int64_t row_bytes = 2 * RowBytes(input) + 32;
  if (!TooLargeForMemory(*resources, input.num_rows() * row_bytes)) {
    Run run(resources, input.schema(), keys);
    for (const auto& chunk : input.chunks()) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
      run.Add(batch, 0, batch->num_rows());
    }
    TableBuilder out(resources, input.schema());
    ARROW_RETURN_NOT_OK(run.SortInto(MorselRows(*resources, RowBytes(input)), &out));
    return out.Finish();
  }
  // Runs of an eighth of the budget; in chunks so small that a merge can hold one of each of its inputs.
  const int64_t limit = resources->memory()->limit();
  const int64_t run_rows = std::max<int64_t>(limit / 8 / row_bytes, 64);
  const int64_t piece_rows = std::clamp<int64_t>(limit / 128 / row_bytes, 16, resources->options().morsel_rows);
  std::vector<Table> runs;
  const auto finish = [&](Run& run) -> arrow::Status {
    TableBuilder out(resources, input.schema());
    ARROW_RETURN_NOT_OK(run.SortInto(piece_rows, &out));
    runs.push_back(out.Finish());
    return arrow::Status::OK();
  };
  auto run = std::make_unique<Run>(resources, input.schema(), keys);
  for (const auto& chunk : input.chunks()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    for (int64_t offset = 0; offset < chunk->num_rows();) {
      const int64_t taken = std::min(batch->num_rows() - offset, run_rows - run->num_rows());
      run->Add(batch, offset, taken);
      offset += taken;
      if (run->num_rows() == run_rows) {
        ARROW_RETURN_NOT_OK(finish(*run));
        run = std::make_unique<Run>(resources, input.schema(), keys);
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
