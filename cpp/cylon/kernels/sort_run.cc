// Rows that are sorted in memory at once.
#include "cylon/kernels/sort_run.h"

#include <algorithm>
#include <array>
#include <functional>
#include <mutex>
#include <numeric>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/gather_internal.h"
#include "cylon/kernels/radix_scatter.h"
#include "cylon/kernels/sort_key.h"
#include "cylon/kernels/sort_order.h"
#include "cylon/kernels/sort_partition.h"

namespace cylon {

namespace {

/// Fewer rows are one partition: they fit the cache as they are.
constexpr int64_t kCacheRows = 16384;

/// Rows that are dealt at a time: their words and partitions stay in the first-level cache beside the write buffers.
constexpr int64_t kBlockRows = 1024;

/// Regular enough for the shares of 2^11 partitions to be seen within a factor of two.
constexpr int64_t kSamples = 8192;

/// Tasks of fewer rows than this cost more than they balance.
constexpr int64_t kLeastTaskRows = 65536;

/// How a column gets into order.
enum class Way : uint8_t {
  kRestore,  ///< computed from the words
  kCarry,    ///< dealt to the partitions with the words
  kGather,   ///< copied by row number
};

struct ColumnPlan {
  Way way = Way::kGather;
  int width = 0;                           // bytes per value; kCarry
  std::vector<const uint8_t*> sources;     // by batch; kCarry
  std::shared_ptr<arrow::Buffer> carried;  // in the order of the partitions
  bool has_nulls = false;                  // kCarry: the null bits are gathered
};

bool CanCarry(const arrow::DataType& type) {
  return arrow::is_primitive(type.id()) && (type.bit_width() == 32 || type.bit_width() == 64);
}

/// A part of the rows that one thread deals.
struct Part {
  int64_t first_row = 0;
  int64_t end_row = 0;
};

/// The rows in the order of the partitions.
struct Dealt {
  std::shared_ptr<arrow::Buffer> words;
  std::shared_ptr<arrow::Buffer> rows;  // nullptr: nobody asks for them
  std::vector<int64_t> bounds;          // first row of each partition, then the number of rows
};

/// One sort of a run.
class Sorting {
 public:
  Sorting(Resources& resources, const std::shared_ptr<arrow::Schema>& schema, const Batches& batches,
          const RowLocator& locator)
      : resources_(resources), schema_(schema), batches_(batches), locator_(locator) {}

  arrow::Status Run(const std::vector<SortKey>& keys, int64_t piece_rows, TableBuilder* out) {
    ARROW_ASSIGN_OR_RAISE(const bool is_word, AreWordSortKeys(*schema_, keys));
    ARROW_ASSIGN_OR_RAISE(words_, is_word ? MakePackedWords(resources_, *schema_, batches_, keys)
                                          : MakeByteWords(resources_, batches_, keys));
    ends_with_first_ = words_->ends_with_first();
    ARROW_ASSIGN_OR_RAISE(gatherer_, RowGatherer::Make(pool(), schema_, batches_));
    PlanColumns();
    ARROW_RETURN_NOT_OK(num_rows() <= kCacheRows || words_->bits() == 0 ? KeepTogether() : Deal());
    return EmitAll(piece_rows, out);
  }

 private:
  arrow::MemoryPool* pool() { return resources_.memory(); }
  int64_t num_rows() const { return locator_.num_rows(); }

  void PlanColumns() {
    const bool carry = num_rows() > kCacheRows;
    bool by_row = !ends_with_first_;
    for (int c = 0; c < schema_->num_fields(); ++c) {
      ColumnPlan plan;
      if (words_->Restores(c)) {
        plan.way = Way::kRestore;
      } else if (carry && CanCarry(*schema_->field(c)->type())) {
        plan.way = Way::kCarry;
        plan.width = schema_->field(c)->type()->byte_width();
        for (const auto& batch : batches_) {
          const auto& data = *batch->column_data(c);
          plan.sources.push_back(data.GetValues<uint8_t>(1, data.offset * plan.width));
          plan.has_nulls = plan.has_nulls || data.MayHaveNulls();
        }
      }
      by_row = by_row || plan.way == Way::kGather || plan.has_nulls;
      columns_.push_back(std::move(plan));
    }
    needs_rows_ = by_row;
  }

  /// function(batch, offset, count, first row) for the rows of a part, a block at a time.
  template <typename Function>
  arrow::Status ForEachBlock(const Part& part, const Function& function) const {
    for (int64_t row = part.first_row; row < part.end_row;) {
      uint32_t batch = 0;
      int64_t offset = 0;
      locator_.Locate(row, &batch, &offset);
      const int64_t count = std::min({kBlockRows, part.end_row - row, batches_[batch]->num_rows() - offset});
      ARROW_RETURN_NOT_OK(function(batch, offset, count, row));
      row += count;
    }
    return arrow::Status::OK();
  }

  /// One partition, as the rows lie.
  arrow::Status KeepTogether() {
    ARROW_ASSIGN_OR_RAISE(dealt_.words, arrow::AllocateBuffer(num_rows() * 8, pool()));
    auto* words = dealt_.words->mutable_data_as<uint64_t>();
    ARROW_RETURN_NOT_OK(ForEachBlock({0, num_rows()}, [&](size_t batch, int64_t offset, int64_t count, int64_t row) {
      words_->LoadFirst(batch, offset, count, words + row);
      return arrow::Status::OK();
    }));
    if (needs_rows_) {
      ARROW_ASSIGN_OR_RAISE(dealt_.rows, arrow::AllocateBuffer(num_rows() * 4, pool()));
      auto* rows = dealt_.rows->mutable_data_as<uint32_t>();
      std::iota(rows, rows + num_rows(), 0);
    }
    dealt_.bounds = {0, num_rows()};
    return arrow::Status::OK();
  }

  WordPartitions ChoosePartitions() const {
    const int64_t count = std::min(kSamples, num_rows() / 8);
    std::vector<uint64_t> samples(count);
    for (int64_t i = 0; i < count; ++i) {
      // Somewhere within each share, lest the rows have a period.
      const int64_t stride = num_rows() / count;
      const auto jitter = static_cast<int64_t>(static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u >> 32) % stride;
      uint32_t batch = 0;
      int64_t offset = 0;
      locator_.Locate(i * stride + jitter, &batch, &offset);
      words_->LoadFirst(batch, offset, 1, &samples[i]);
    }
    return WordPartitions::Choose(std::move(samples), num_rows(), words_->bits());
  }

  arrow::Status Deal() {
    const WordPartitions partitions = ChoosePartitions();
    const int64_t threads = resources_.arena().threads();
    std::vector<Part> parts;
    for (int64_t t = 0; t < threads; ++t) {
      parts.push_back({num_rows() / threads * t, t + 1 == threads ? num_rows() : num_rows() / threads * (t + 1)});
    }
    std::shared_ptr<arrow::Buffer> found;
    if (partitions.searches()) {
      ARROW_ASSIGN_OR_RAISE(found, arrow::AllocateBuffer(num_rows() * 2, pool()));
    }
    std::vector<std::vector<uint64_t>> places(threads, std::vector<uint64_t>(partitions.count(), 0));
    ARROW_RETURN_NOT_OK(resources_.arena().ParallelFor(
        threads, [&](int64_t t) { return Count(partitions, parts[t], found.get(), places[t].data()); }));
    // Rows of one partition lie by thread, which is by row: the sort stays stable.
    uint64_t sum = 0;
    for (uint32_t p = 0; p < partitions.count(); ++p) {
      dealt_.bounds.push_back(static_cast<int64_t>(sum));
      for (auto& of_thread : places) {
        sum += std::exchange(of_thread[p], sum);
      }
    }
    dealt_.bounds.push_back(num_rows());
    ARROW_ASSIGN_OR_RAISE(dealt_.words, arrow::AllocateBuffer(num_rows() * 8, pool()));
    if (needs_rows_) {
      ARROW_ASSIGN_OR_RAISE(dealt_.rows, arrow::AllocateBuffer(num_rows() * 4, pool()));
    }
    for (auto& column : columns_) {
      if (column.way == Way::kCarry) {
        ARROW_ASSIGN_OR_RAISE(column.carried, arrow::AllocateBuffer(num_rows() * column.width, pool()));
      }
    }
    return resources_.arena().ParallelFor(
        threads, [&](int64_t t) { return DealPart(partitions, parts[t], found.get(), places[t]); });
  }

  arrow::Status Count(const WordPartitions& partitions, const Part& part, arrow::Buffer* found,
                      uint64_t* counts) const {
    std::array<uint64_t, kBlockRows> words;
    std::array<uint16_t, kBlockRows> scratch;
    return ForEachBlock(part, [&](size_t batch, int64_t offset, int64_t count, int64_t row) {
      words_->LoadFirst(batch, offset, count, words.data());
      uint16_t* partition_of = found == nullptr ? scratch.data() : found->mutable_data_as<uint16_t>() + row;
      partitions.Find({words.data(), static_cast<size_t>(count)}, partition_of);
      for (int64_t i = 0; i < count; ++i) {
        ++counts[partition_of[i]];
      }
      return arrow::Status::OK();
    });
  }

  /// Columns of values of type T, two at a time.
  template <typename T>
  class Dealer {
   public:
    Dealer(const std::vector<T*>& out, const std::vector<uint64_t>& places) {
      size_t k = 0;
      for (; k + 2 <= out.size(); k += 2) {
        pairs_.emplace_back(std::array<T*, 2>{out[k], out[k + 1]}, places);
      }
      if (k < out.size()) {
        single_.emplace_back(std::array<T*, 1>{out[k]}, places);
      }
    }
    void Add(const uint16_t* partition_of, const std::vector<const T*>& values, int64_t count) {
      for (size_t k = 0; k < pairs_.size(); ++k) {
        pairs_[k].Add(partition_of, {values[2 * k], values[2 * k + 1]}, count);
      }
      if (!single_.empty()) {
        single_[0].Add(partition_of, {values.back()}, count);
      }
    }
    void Finish() {
      for (auto& pair : pairs_) {
        pair.Finish();
      }
      for (auto& single : single_) {
        single.Finish();
      }
    }

   private:
    std::vector<RadixScatter<T, 2>> pairs_;
    std::vector<RadixScatter<T, 1>> single_;
  };

  arrow::Status DealPart(const WordPartitions& partitions, const Part& part, const arrow::Buffer* found,
                         const std::vector<uint64_t>& places) {
    std::array<uint64_t, kBlockRows> words;
    std::array<uint32_t, kBlockRows> rows;
    std::array<uint16_t, kBlockRows> scratch;
    std::vector<const ColumnPlan*> wide;
    std::vector<const ColumnPlan*> narrow;
    std::vector<uint64_t*> wide_out = {dealt_.words->mutable_data_as<uint64_t>()};
    std::vector<uint32_t*> narrow_out;
    if (needs_rows_) {
      narrow_out.push_back(dealt_.rows->mutable_data_as<uint32_t>());
    }
    for (auto& column : columns_) {
      if (column.way == Way::kCarry && column.width == 8) {
        wide.push_back(&column);
        wide_out.push_back(column.carried->mutable_data_as<uint64_t>());
      } else if (column.way == Way::kCarry) {
        narrow.push_back(&column);
        narrow_out.push_back(column.carried->mutable_data_as<uint32_t>());
      }
    }
    Dealer<uint64_t> wide_dealer(wide_out, places);
    Dealer<uint32_t> narrow_dealer(narrow_out, places);
    std::vector<const uint64_t*> wide_values;
    std::vector<const uint32_t*> narrow_values;
    ARROW_RETURN_NOT_OK(ForEachBlock(part, [&](size_t batch, int64_t offset, int64_t count, int64_t row) {
      words_->LoadFirst(batch, offset, count, words.data());
      const uint16_t* partition_of = scratch.data();
      if (found == nullptr) {
        partitions.Find({words.data(), static_cast<size_t>(count)}, scratch.data());
      } else {
        partition_of = found->data_as<uint16_t>() + row;
      }
      wide_values.assign(1, words.data());
      for (const auto* column : wide) {
        const void* values = column->sources[batch] + offset * 8;
        wide_values.push_back(static_cast<const uint64_t*>(values));
      }
      wide_dealer.Add(partition_of, wide_values, count);
      narrow_values.clear();
      if (needs_rows_) {
        std::iota(rows.begin(), rows.begin() + count, static_cast<uint32_t>(row));
        narrow_values.push_back(rows.data());
      }
      for (const auto* column : narrow) {
        const void* values = column->sources[batch] + offset * 4;
        narrow_values.push_back(static_cast<const uint32_t*>(values));
      }
      narrow_dealer.Add(partition_of, narrow_values, count);
      return arrow::Status::OK();
    }));
    wide_dealer.Finish();
    narrow_dealer.Finish();
    return arrow::Status::OK();
  }

  /// Sorts partition after partition and hands the batches to `out` in order.
  arrow::Status EmitAll(int64_t piece_rows, TableBuilder* out) {
    const int64_t threads = resources_.arena().threads();
    const int64_t task_rows =
        threads == 1 ? piece_rows : std::clamp(num_rows() / (4 * threads), kLeastTaskRows, piece_rows + kLeastTaskRows);
    // Each task takes consecutive partitions, the first of which it has whatever its size.
    std::vector<size_t> ends;
    size_t begin = 0;
    const size_t count = dealt_.bounds.size() - 1;
    for (size_t p = 1; p <= count; ++p) {
      if (p == count || dealt_.bounds[p + 1] - dealt_.bounds[begin] > std::min(task_rows, piece_rows)) {
        ends.push_back(p);
        begin = p;
      }
    }
    // What the first unfinished task makes goes out at once, and may spill; what later ones make waits for it.
    std::vector<Batches> waiting(ends.size());
    std::vector<bool> done(ends.size(), false);
    size_t next = 0;
    std::mutex mutex;
    return resources_.arena().ParallelFor(static_cast<int64_t>(ends.size()), [&](int64_t t) -> arrow::Status {
      const auto hand_over = [&](std::shared_ptr<arrow::RecordBatch> batch) -> arrow::Status {
        std::lock_guard<std::mutex> lock(mutex);
        if (next == static_cast<size_t>(t)) {
          return out->Append(std::move(batch));
        }
        waiting[t].push_back(std::move(batch));
        return arrow::Status::OK();
      };
      ARROW_RETURN_NOT_OK(Emit(t == 0 ? 0 : ends[t - 1], ends[t], piece_rows, hand_over));
      std::lock_guard<std::mutex> lock(mutex);
      done[t] = true;
      while (next < done.size() && done[next]) {
        ++next;
        for (size_t k = 0; next < waiting.size() && k < waiting[next].size(); ++k) {
          ARROW_RETURN_NOT_OK(out->Append(std::move(waiting[next][k])));
        }
        if (next < waiting.size()) {
          waiting[next].clear();
        }
      }
      return arrow::Status::OK();
    });
  }

  using HandOver = std::function<arrow::Status(std::shared_ptr<arrow::RecordBatch>)>;

  /// Hands over the rows of partitions [first, end), sorted.
  arrow::Status Emit(size_t first, size_t end, int64_t piece_rows, const HandOver& hand_over) {
    const int64_t start = dealt_.bounds[first];
    const int64_t count = dealt_.bounds[end] - start;
    ARROW_ASSIGN_OR_RAISE(auto order_buffer, arrow::AllocateBuffer(count * 4, pool()));
    auto* order = order_buffer->mutable_data_as<uint32_t>();
    const auto* words = dealt_.words->data_as<uint64_t>();
    const auto* rows = dealt_.rows == nullptr ? nullptr : dealt_.rows->data_as<uint32_t>();
    WordSorter sorter(pool());
    for (int64_t piece = 0; piece < count; piece += piece_rows) {
      const int64_t piece_end = std::min(piece + piece_rows, count);
      std::vector<std::shared_ptr<arrow::Buffer>> values(columns_.size());
      for (size_t c = 0; c < columns_.size(); ++c) {
        if (columns_[c].way != Way::kGather) {
          const auto width = schema_->field(static_cast<int>(c))->type()->byte_width();
          ARROW_ASSIGN_OR_RAISE(values[c], arrow::AllocateBuffer((piece_end - piece) * width, pool()));
        }
      }
      // A partition is sorted when its first piece is, and copied while it is in the cache.
      for (int64_t at = piece; at < piece_end;) {
        while (dealt_.bounds[first + 1] - start <= at) {
          ++first;
        }
        const int64_t begin = dealt_.bounds[first] - start;
        const int64_t length = dealt_.bounds[first + 1] - dealt_.bounds[first];
        if (begin == at) {
          const std::span<const uint64_t> of_partition(words + start + begin, length);
          ARROW_RETURN_NOT_OK(sorter.Order(of_partition, order + begin));
          if (!ends_with_first_) {
            ARROW_RETURN_NOT_OK(sorter.Refine(*words_, of_partition,
                                              {rows + start + begin, static_cast<size_t>(length)}, order + begin));
          }
          for (int64_t i = begin; i < begin + length; ++i) {
            order[i] += static_cast<uint32_t>(start + begin);
          }
        }
        const int64_t copied = std::min(begin + length, piece_end) - at;
        for (size_t c = 0; c < columns_.size(); ++c) {
          Copy(static_cast<int>(c), {order + at, static_cast<size_t>(copied)}, at - piece, values[c].get());
        }
        at += copied;
      }
      ARROW_RETURN_NOT_OK(Finish({order + piece, static_cast<size_t>(piece_end - piece)}, 0, values, hand_over));
    }
    return arrow::Status::OK();
  }

  /// Values number `at` and following of a column in a piece.
  void Copy(int column, std::span<const uint32_t> order, int64_t at, arrow::Buffer* out) const {
    const ColumnPlan& plan = columns_[column];
    if (plan.way == Way::kRestore) {
      words_->Restore(column, dealt_.words->data_as<uint64_t>(), order, at, out);
    } else if (plan.way == Way::kCarry && plan.width == 8) {
      CopyValues(plan.carried->data_as<uint64_t>(), order, out->mutable_data_as<uint64_t>() + at);
    } else if (plan.way == Way::kCarry) {
      CopyValues(plan.carried->data_as<uint32_t>(), order, out->mutable_data_as<uint32_t>() + at);
    }
  }

  template <typename T>
  static void CopyValues(const T* from, std::span<const uint32_t> order, T* out) {
    for (size_t i = 0; i < order.size(); ++i) {
      out[i] = from[order[i]];
    }
  }

  /// Batches of a piece's rows `order`, of which `values` has those from number `at` on: two or more where the strings
  /// do not fit one array.
  arrow::Status Finish(std::span<const uint32_t> order, int64_t at,
                       const std::vector<std::shared_ptr<arrow::Buffer>>& values, const HandOver& hand_over) const {
    const auto count = static_cast<int64_t>(order.size());
    std::vector<int64_t> rows;
    std::vector<uint32_t> sources;
    if (needs_rows_) {
      rows.resize(count);
      sources.resize(count);
      const auto* numbers = dealt_.rows->data_as<uint32_t>();
      for (int64_t i = 0; i < count; ++i) {
        locator_.Locate(numbers[order[i]], &sources[i], &rows[i]);
      }
    }
    const RowRefs refs{rows, batches_.size() == 1 ? nullptr : sources.data(), false};
    std::vector<std::shared_ptr<arrow::Array>> arrays;
    for (int c = 0; c < schema_->num_fields(); ++c) {
      auto array = FinishColumn(c, order, at, values[c], refs);
      if (array.status().IsCapacityError() && count > 1) {
        ARROW_RETURN_NOT_OK(Finish(order.first(count / 2), at, values, hand_over));
        return Finish(order.subspan(count / 2), at + count / 2, values, hand_over);
      }
      ARROW_RETURN_NOT_OK(array.status());
      arrays.push_back(*std::move(array));
    }
    return hand_over(arrow::RecordBatch::Make(schema_, count, std::move(arrays)));
  }

  arrow::Result<std::shared_ptr<arrow::Array>> FinishColumn(int column, std::span<const uint32_t> order, int64_t at,
                                                            const std::shared_ptr<arrow::Buffer>& values,
                                                            const RowRefs& refs) const {
    const ColumnPlan& plan = columns_[column];
    if (plan.way == Way::kGather) {
      return gatherer_.GatherColumn(column, refs);
    }
    const auto count = static_cast<int64_t>(order.size());
    const auto& type = schema_->field(column)->type();
    gather::Validity validity;
    if (plan.way == Way::kRestore) {
      ARROW_ASSIGN_OR_RAISE(validity.bitmap,
                            words_->RestoreValidity(resources_.memory(), column, dealt_.words->data_as<uint64_t>(),
                                                    order, &validity.null_count));
    } else if (plan.has_nulls) {
      ARROW_ASSIGN_OR_RAISE(validity, gather::GatherValidity(resources_.memory(), gatherer_.sources(column), refs));
    }
    const int64_t width = type->byte_width();
    auto shown = count * width == values->size() ? values : arrow::SliceBuffer(values, at * width, count * width);
    return arrow::MakeArray(
        arrow::ArrayData::Make(type, count, {std::move(validity.bitmap), std::move(shown)}, validity.null_count));
  }

  Resources& resources_;
  const std::shared_ptr<arrow::Schema>& schema_;
  const Batches& batches_;
  const RowLocator& locator_;
  std::unique_ptr<SortWords> words_;
  bool ends_with_first_ = false;  // rows that agree in their first word are equal
  RowGatherer gatherer_;
  std::vector<ColumnPlan> columns_;
  bool needs_rows_ = false;
  Dealt dealt_;
};

}  // namespace

void SortRun::Add(const std::shared_ptr<arrow::RecordBatch>& batch, int64_t offset, int64_t length) {
  locator_.AddBatch(length);
  batches_.push_back(length == batch->num_rows() ? batch : batch->Slice(offset, length));
  pins_.push_back(batch);
}

arrow::Status SortRun::SortInto(int64_t piece_rows, TableBuilder* out) const {
  return Sorting(*resources_, schema_, batches_, locator_).Run(keys_, piece_rows, out);
}

}  // namespace cylon
