// Quantiles by t-digests: states of bounded size that can be merged.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "cylon/kernels/aggregate_states.h"
#include "cylon/kernels/state_array.h"
#include "cylon/kernels/t_digest.h"

namespace cylon::aggregate {

namespace {

/// Pieces of memory for doubles, their numbers a power of two from kSmallest on: what grows gives its piece to another.
class DoublePieces {
 public:
  static constexpr int32_t kSmallest = 4;

  explicit DoublePieces(arrow::MemoryPool* pool) : pool_(pool) {}

  arrow::Result<double*> Take(int32_t count) {
    double*& free = free_[std::countr_zero(static_cast<uint32_t>(count))];
    if (free != nullptr) {
      double* piece = free;
      std::memcpy(static_cast<void*>(&free), piece, sizeof(free));
      return piece;
    }
    while (block_ < blocks_.size() && used_ + count > BlockSize(block_)) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) {
      const int64_t size = std::max<int64_t>(count, std::clamp(taken_, kFirstBlock, kLargestBlock));
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> block,
                            arrow::AllocateBuffer(size * static_cast<int64_t>(sizeof(double)), pool_));
      blocks_.push_back(std::move(block));
      used_ = 0;
    }
    double* piece = blocks_[block_]->mutable_data_as<double>() + used_;
    used_ += count;
    taken_ += count;
    return piece;
  }
  /// A free piece holds the address of the next.
  void GiveBack(double* piece, int32_t count) {
    double*& free = free_[std::countr_zero(static_cast<uint32_t>(count))];
    std::memcpy(piece, static_cast<const void*>(&free), sizeof(free));
    free = piece;
  }
  /// All pieces are gone; their memory stays for others.
  void Clear() {
    std::fill(std::begin(free_), std::end(free_), nullptr);
    block_ = 0;
    used_ = 0;
    taken_ = 0;
  }
  /// Bytes that pieces have been cut from.
  int64_t num_bytes() const { return taken_ * static_cast<int64_t>(sizeof(double)); }

 private:
  static constexpr int64_t kFirstBlock = 1 << 9;     // 4 KiB: most columns have few groups
  static constexpr int64_t kLargestBlock = 1 << 17;  // 1 MiB

  int64_t BlockSize(size_t block) const { return blocks_[block]->size() / static_cast<int64_t>(sizeof(double)); }

  arrow::MemoryPool* pool_;
  std::vector<std::shared_ptr<arrow::Buffer>> blocks_;
  size_t block_ = 0;  // that is cut now
  int64_t used_ = 0;  // of it, doubles
  int64_t taken_ = 0;
  double* free_[32] = {};
};

/// One group: centroids (mean, weight), sorted by mean, then values that have not been merged into them:
///
///   | mean | weight | ... | mean | weight | value | ... | value |
///
/// While all of it are values, quantiles are exact. A digest of the largest capacity that is full is merged; with 100
/// centroids that is 4 KiB, of which more than half is left for values, so that each is sorted among 300 others once.
struct Digest {
  double* data = nullptr;
  int32_t centroids = 0;
  int32_t values = 0;
  int32_t capacity = 0;

  int32_t size() const { return 2 * centroids + values; }
  int64_t num_bytes() const { return int64_t{size()} * static_cast<int64_t>(sizeof(double)); }
};

class Digests : public GroupStates {
 public:
  Digests(arrow::MemoryPool* pool, Operand operand, int compression)
      : operand_(std::move(operand)),
        compression_(compression),
        capacity_(static_cast<int32_t>(std::bit_ceil(static_cast<uint64_t>(4 * MostCentroids(compression))))),
        pieces_(pool),
        digests_(pool) {}

  arrow::Status Resize(int64_t count) override {
    if (count == 0) {
      pieces_.Clear();
    }
    return digests_.Resize(count);
  }

  arrow::Status Update(const ValueBlock& values, const uint32_t* groups) override {
    const uint64_t* words = NumberWords(values, operand_, &converted_);
    for (int64_t i = 0; i < values.count; ++i) {
      if (!values.IsMissing(i)) {
        ARROW_RETURN_NOT_OK(Add(&digests_[groups[i]], NumberOf(words[i])));
      }
    }
    return arrow::Status::OK();
  }

  /// A state is the number of centroids and the digest's doubles, 8 bytes each.
  arrow::Status Merge(std::span<const ValueBlock> states, const uint32_t* groups) override {
    for (int64_t i = 0; i < states[0].count; ++i) {
      const std::string_view bytes = states[0].column->Bytes(i);
      int64_t centroids;
      std::memcpy(&centroids, bytes.data(), sizeof(centroids));
      const std::string_view rest = bytes.substr(sizeof(centroids));
      arrived_.resize(rest.size() / sizeof(double));
      if (!rest.empty()) {
        std::memcpy(arrived_.data(), rest.data(), rest.size());
      }
      const auto size = static_cast<int32_t>(arrived_.size());
      const auto means = static_cast<int32_t>(centroids);
      ARROW_RETURN_NOT_OK(MergeOne(&digests_[groups[i]], {arrived_.data(), means, size - 2 * means, size}));
    }
    return arrow::Status::OK();
  }
  arrow::Status MergeFrom(const GroupStates& other, const uint32_t* groups) override {
    const auto& from = static_cast<const Digests&>(other).digests_;
    for (int64_t g = 0; g < from.size(); ++g) {
      ARROW_RETURN_NOT_OK(MergeOne(&digests_[groups[g]], from[g]));
    }
    return arrow::Status::OK();
  }

  arrow::Status AppendStates(std::span<OutputColumn> out) const override {
    int64_t bytes = 0;
    for (int64_t g = 0; g < digests_.size(); ++g) {
      bytes += digests_[g].num_bytes() + static_cast<int64_t>(sizeof(int64_t));
    }
    arrow::LargeBinaryBuilder builder(out[0].type(), out[0].pool());
    ARROW_RETURN_NOT_OK(builder.Reserve(digests_.size()));
    ARROW_RETURN_NOT_OK(builder.ReserveData(bytes));
    std::string state;
    std::vector<Centroid> merged;
    for (int64_t g = 0; g < digests_.size(); ++g) {
      const Digest& digest = digests_[g];
      int64_t centroids = 0;
      const void* data = digest.data;
      int64_t size = digest.num_bytes();
      if (digest.centroids > 0) {
        // What is not exact any more travels as small as it can be.
        Sort(digest, &merged);
        MergeCentroids(&merged, compression_);
        centroids = static_cast<int64_t>(merged.size());
        data = merged.data();
        size = centroids * static_cast<int64_t>(sizeof(Centroid));
      }
      state.resize(sizeof(centroids) + size);
      std::memcpy(state.data(), &centroids, sizeof(centroids));
      if (size > 0) {
        std::memcpy(state.data() + sizeof(centroids), data, size);
      }
      ARROW_RETURN_NOT_OK(builder.Append(state));
    }
    ARROW_ASSIGN_OR_RAISE(auto array, builder.Finish());
    out[0].Append(std::move(array));
    return arrow::Status::OK();
  }

  arrow::Status AppendResult(const AggregateOutput& output, OutputColumn* out) const override {
    ARROW_ASSIGN_OR_RAISE(double* values, out->Extend<double>(digests_.size()));
    ARROW_ASSIGN_OR_RAISE(uint8_t* valid, out->ExtendValid(digests_.size()));
    const double unit = operand_.source == Source::kSigned ? std::pow(10.0, operand_.scale) : 1.0;
    std::vector<Centroid> sorted;
    for (int64_t g = 0; g < digests_.size(); ++g) {
      valid[g] = static_cast<uint8_t>(digests_[g].size() > 0);
      values[g] = 0;
      if (digests_[g].size() > 0) {
        Sort(digests_[g], &sorted);
        values[g] = QuantileOfCentroids(sorted, output.quantile) / unit;
      }
    }
    return arrow::Status::OK();
  }

  /// Of a group without values that of its first ones.
  int64_t group_bytes() const override {
    const int64_t pieces = digests_.size() == 0 ? DoublePieces::kSmallest * static_cast<int64_t>(sizeof(double))
                                                : pieces_.num_bytes() / digests_.size();
    return static_cast<int64_t>(sizeof(Digest)) + pieces;
  }

 private:
  double NumberOf(uint64_t word) const {
    switch (operand_.source) {
      case Source::kSigned:
        return static_cast<double>(static_cast<int64_t>(word));
      case Source::kUnsigned:
        return static_cast<double>(word);
      default:
        return std::bit_cast<double>(word);
    }
  }

  arrow::Status Add(Digest* digest, double value) {
    if (digest->size() == digest->capacity) {
      if (digest->capacity < capacity_) {
        ARROW_RETURN_NOT_OK(Grow(digest, digest->capacity + 1));
      } else {
        Sort(*digest, &sorted_);
        ARROW_RETURN_NOT_OK(SetMerged(digest));
      }
    }
    digest->data[digest->size()] = value;
    ++digest->values;
    return arrow::Status::OK();
  }

  arrow::Status MergeOne(Digest* into, const Digest& from) {
    if (from.centroids == 0) {
      for (int32_t i = 0; i < from.values; ++i) {
        ARROW_RETURN_NOT_OK(Add(into, from.data[i]));
      }
      return arrow::Status::OK();
    }
    Sort(*into, &ours_);
    Sort(from, &theirs_);
    sorted_.resize(ours_.size() + theirs_.size());
    std::merge(ours_.begin(), ours_.end(), theirs_.begin(), theirs_.end(), sorted_.begin(), Before);
    return SetMerged(into);
  }

  /// `digest` becomes what is left of sorted_ when it is merged.
  arrow::Status SetMerged(Digest* digest) {
    MergeCentroids(&sorted_, compression_);
    digest->centroids = 0;
    digest->values = 0;
    ARROW_RETURN_NOT_OK(Grow(digest, static_cast<int32_t>(2 * sorted_.size())));
    digest->centroids = static_cast<int32_t>(sorted_.size());
    double* out = digest->data;
    for (const auto& centroid : sorted_) {
      *out++ = centroid.mean;
      *out++ = centroid.weight;
    }
    return arrow::Status::OK();
  }

  /// Room for `size` doubles in all.
  arrow::Status Grow(Digest* digest, int32_t size) {
    if (size <= digest->capacity) {
      return arrow::Status::OK();
    }
    const auto capacity =
        static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(std::max(size, DoublePieces::kSmallest))));
    ARROW_ASSIGN_OR_RAISE(double* data, pieces_.Take(capacity));
    if (digest->capacity > 0) {
      std::copy(digest->data, digest->data + digest->size(), data);
      pieces_.GiveBack(digest->data, digest->capacity);
    }
    digest->data = data;
    digest->capacity = capacity;
    return arrow::Status::OK();
  }

  static bool Before(const Centroid& a, const Centroid& b) { return a.mean < b.mean; }

  /// All of it as centroids in the order of their means.
  static void Sort(const Digest& digest, std::vector<Centroid>* sorted) {
    sorted->clear();
    const double* values = digest.data + int64_t{2} * digest.centroids;
    for (const double* centroid = digest.data; centroid != values; centroid += 2) {
      sorted->push_back({centroid[0], centroid[1]});
    }
    std::vector<double> added(values, values + digest.values);
    std::sort(added.begin(), added.end());
    for (const double value : added) {
      sorted->push_back({value, 1});
    }
    std::inplace_merge(sorted->begin(), sorted->begin() + digest.centroids, sorted->end(), Before);
  }

  Operand operand_;
  int compression_;
  int32_t capacity_;
  DoublePieces pieces_;
  StateArray<Digest> digests_;
  std::vector<uint64_t> converted_;
  std::vector<double> arrived_;
  std::vector<Centroid> sorted_;  // what SetMerged reads
  std::vector<Centroid> ours_;
  std::vector<Centroid> theirs_;
};

}  // namespace

std::unique_ptr<GroupStates> MakeDigests(arrow::MemoryPool* pool, const Operand& operand, int compression) {
  return std::make_unique<Digests>(pool, operand, compression);
}

}  // namespace cylon::aggregate
