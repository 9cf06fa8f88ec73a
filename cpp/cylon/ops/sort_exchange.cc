// From locally sorted parts to a global order: parallel sorting by regular sampling (Shi & Schaeffer 1992), with the
// total order (key, rank, row), so that ties are cut like anything else.
#include "cylon/ops/sort_exchange.h"

#include <algorithm>
#include <compare>
#include <cstring>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/partition.h"

namespace cylon::internal {

namespace {

/// Samples per rank, as a multiple of the ranks: a share is off by at most one stride of each rank's samples on either
/// end, so no rank gets more than (1 + 2 / 8) of an even share.
constexpr int64_t kSamplesPerRank = 8;

/// A row's place in the global order.
struct Place {
  std::string_view key;
  Rank rank = 0;
  int64_t row = 0;  // in the rank's sorted part
  friend bool operator<(const Place& a, const Place& b) {
    if (const int order = a.key.compare(b.key); order != 0) {
      return order < 0;
    }
    return a.rank != b.rank ? a.rank < b.rank : a.row < b.row;
  }
};

/// The samples of one rank as they travel:
///
///   0        8          16               16 + 8 n            16 + 16 n
///   +--------+----------+----------------+-------------------+-------------+
///   | n      | bytes b  | n rows (int64) | n lengths (int64) | b key bytes |
///   +--------+----------+----------------+-------------------+-------------+
arrow::Result<std::shared_ptr<arrow::Buffer>> PackSamples(arrow::MemoryPool* pool, const SortSamples& samples) {
  const auto count = static_cast<int64_t>(samples.rows.size());
  const auto key_bytes = static_cast<int64_t>(samples.bytes.size());
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(16 + 16 * count + key_bytes, pool));
  uint8_t* out = buffer->mutable_data();
  std::memcpy(out, &count, 8);
  std::memcpy(out + 8, &key_bytes, 8);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t length = samples.offsets[i + 1] - samples.offsets[i];
    std::memcpy(out + 16 + 8 * i, &samples.rows[i], 8);
    std::memcpy(out + 16 + 8 * (count + i), &length, 8);
  }
  if (key_bytes > 0) {
    std::memcpy(out + 16 + 16 * count, samples.bytes.data(), key_bytes);
  }
  return buffer;
}

/// Appends the places in `buffer`, which they look into.
arrow::Status UnpackSamples(const arrow::Buffer& buffer, Rank rank, std::vector<Place>* places) {
  const auto malformed = [&] {
    return ProtocolError("sort samples of rank " + std::to_string(rank) + " do not have the expected layout (" +
                             std::to_string(buffer.size()) + " bytes); all ranks have to run the same version",
                         rank);
  };
  int64_t count = 0;
  int64_t key_bytes = 0;
  if (buffer.size() < 16) {
    return malformed();
  }
  std::memcpy(&count, buffer.data(), 8);
  std::memcpy(&key_bytes, buffer.data() + 8, 8);
  if (count < 0 || key_bytes < 0 || count > buffer.size() / 16 || 16 + 16 * count + key_bytes != buffer.size()) {
    return malformed();
  }
  const auto* keys = static_cast<const char*>(static_cast<const void*>(buffer.data() + 16 + 16 * count));
  int64_t offset = 0;
  for (int64_t i = 0; i < count; ++i) {
    Place place;
    place.rank = rank;
    int64_t length = 0;
    std::memcpy(&place.row, buffer.data() + 16 + 8 * i, 8);
    std::memcpy(&length, buffer.data() + 16 + 8 * (count + i), 8);
    if (length < 0 || length > key_bytes - offset) {
      return malformed();
    }
    place.key = {keys + offset, static_cast<size_t>(length)};
    offset += length;
    places->push_back(place);
  }
  return arrow::Status::OK();
}

/// One splitter fewer than ranks: rank r gets the rows above splitter r - 1 up to and with splitter r.
std::vector<Place> ChooseSplitters(std::vector<Place> samples, int64_t total, int ranks) {
  // A sample stands for the rows between its predecessor of the same rank and itself.
  std::vector<int64_t> previous(ranks, -1);
  std::sort(samples.begin(), samples.end());
  std::vector<Place> splitters;
  int64_t covered = 0;
  for (const auto& sample : samples) {
    covered += sample.row - previous[sample.rank];
    previous[sample.rank] = sample.row;
    while (static_cast<int>(splitters.size()) < ranks - 1) {
      const auto cut = static_cast<int64_t>(splitters.size()) + 1;
      // total * cut / ranks, without overflow for any total.
      const int64_t wanted = total / ranks * cut + total % ranks * cut / ranks;
      if (covered < wanted || wanted == 0) {
        break;
      }
      splitters.push_back(sample);
    }
  }
  // Fewer rows than ranks: the last ranks get nothing.
  while (static_cast<int>(splitters.size()) < ranks - 1 && !samples.empty()) {
    splitters.push_back(samples.back());
  }
  return splitters;
}

/// Walks a sorted part and cuts it where the splitters fall.
class RangeSource {
 public:
  RangeSource(const Table& sorted, const std::vector<SortKey>& keys, const std::vector<Place>& splitters, Rank rank)
      : sorted_(sorted), keys_(keys), splitters_(splitters), rank_(rank) {}

  arrow::Result<std::optional<std::vector<Outgoing>>> Next() {
    if (chunk_ == sorted_.chunks().size()) {
      return std::nullopt;
    }
    ARROW_ASSIGN_OR_RAISE(auto batch, sorted_.chunks()[chunk_++]->Pin());
    std::vector<Outgoing> out;
    int64_t begin = 0;
    while (begin < batch->num_rows()) {
      int64_t end = batch->num_rows();
      if (destination_ < splitters_.size()) {
        ARROW_ASSIGN_OR_RAISE(end, RowsUpTo(*batch, begin, splitters_[destination_]));
      }
      if (end > begin) {
        out.push_back({static_cast<Rank>(destination_), batch->Slice(begin, end - begin)});
      }
      if (end < batch->num_rows()) {
        ++destination_;
      }
      begin = end;
    }
    rows_before_ += batch->num_rows();
    return out;
  }

 private:
  /// The first row of the batch, from `begin` on, that comes after the splitter. Encodes the few rows that a binary
  /// search looks at, not the whole batch.
  arrow::Result<int64_t> RowsUpTo(const arrow::RecordBatch& batch, int64_t begin, const Place& splitter) {
    int64_t low = begin;
    int64_t high = batch.num_rows();
    // Most batches lie on one side of a splitter: look at the last row first.
    for (int64_t middle = high - 1; low < high; middle = low + (high - low) / 2) {
      ARROW_RETURN_NOT_OK(EncodeSortKeys(*batch.Slice(middle, 1), keys_, &bytes_, &offsets_));
      Place place;
      place.key = {static_cast<const char*>(static_cast<const void*>(bytes_.data())),
                   static_cast<size_t>(offsets_[1] - offsets_[0])};
      place.rank = rank_;
      place.row = rows_before_ + middle;
      if (splitter < place) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  const Table& sorted_;
  const std::vector<SortKey>& keys_;
  const std::vector<Place>& splitters_;
  Rank rank_;
  size_t chunk_ = 0;
  size_t destination_ = 0;
  int64_t rows_before_ = 0;
  std::vector<uint8_t> bytes_;
  std::vector<int64_t> offsets_;
};

arrow::Result<std::vector<Table>> ExchangeRanges(CollectiveOperator& operation, const Table& sorted,
                                                 const std::vector<SortKey>& keys,
                                                 const std::vector<Place>& splitters) {
  Context& context = operation.context();
  std::vector<TableBuilder> builders;
  for (int rank = 0; rank < context.world_size(); ++rank) {
    builders.emplace_back(context.resources(), sorted.schema());
  }
  RangeSource source(sorted, keys, splitters, context.rank());
  ARROW_RETURN_NOT_OK(Exchange(
                          context, operation.name() + ", ranges", sorted.schema(), [&] { return source.Next(); },
                          [&](Incoming incoming) { return builders[incoming.from].Append(std::move(incoming.batch)); })
                          .status());
  std::vector<Table> parts;
  for (auto& builder : builders) {
    parts.push_back(builder.Finish());
  }
  return parts;
}

}  // namespace

arrow::Result<SortSamples> TakeSamples(const std::shared_ptr<Resources>& resources, const Table& sorted,
                                       const std::vector<SortKey>& keys, int64_t count) {
  SortSamples samples;
  samples.offsets.push_back(0);
  const int64_t total = sorted.num_rows();
  count = std::min(count, total);
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets;
  int64_t taken = 0;
  int64_t before = 0;
  for (const auto& chunk : sorted.chunks()) {
    std::vector<int64_t> rows;
    while (taken < count) {
      // The last row of the share: floor((taken + 1) * total / count) - 1, without overflow.
      const int64_t row = total / count * (taken + 1) + total % count * (taken + 1) / count - 1;
      if (row >= before + chunk->num_rows()) {
        break;
      }
      rows.push_back(row - before);
      samples.rows.push_back(row);
      ++taken;
    }
    if (!rows.empty()) {
      ARROW_ASSIGN_OR_RAISE(auto batch, chunk->Pin());
      ARROW_ASSIGN_OR_RAISE(auto chosen, TakeRows(*resources, *batch, rows));
      ARROW_RETURN_NOT_OK(EncodeSortKeys(*chosen, keys, &bytes, &offsets));
      const auto end = static_cast<int64_t>(samples.bytes.size());
      samples.bytes.insert(samples.bytes.end(), bytes.begin() + offsets.front(), bytes.begin() + offsets.back());
      for (size_t i = 1; i < offsets.size(); ++i) {
        samples.offsets.push_back(end + offsets[i] - offsets.front());
      }
    }
    before += chunk->num_rows();
  }
  return samples;
}

arrow::Result<Table> SortAcrossRanks(CollectiveOperator& operation, const std::string& details,
                                     arrow::Result<Table> sorted, const std::vector<SortKey>& keys) {
  Context& context = operation.context();
  if (operation.alone()) {
    return operation.End(std::move(sorted));
  }
  std::shared_ptr<arrow::Buffer> packed;
  const auto sample = [&]() -> arrow::Status {
    ARROW_RETURN_NOT_OK(sorted.status());
    ARROW_ASSIGN_OR_RAISE(const auto samples,
                          TakeSamples(context.resources(), *sorted, keys, kSamplesPerRank * context.world_size()));
    return PackSamples(context.resources()->memory(), samples).Value(&packed);
  };
  const arrow::Status local = sample();
  ARROW_ASSIGN_OR_RAISE(const auto agreement, operation.Begin(details, local, {local.ok() ? sorted->num_rows() : 0}));
  const int64_t total = agreement.Sum(0);
  if (total == 0) {
    return sorted;
  }
  ARROW_ASSIGN_OR_RAISE(const auto all, context.communicator().AllGather(packed));
  std::vector<Place> places;
  arrow::Status unpacked;
  for (size_t rank = 0; rank < all.size() && unpacked.ok(); ++rank) {
    unpacked = UnpackSamples(*all[rank], static_cast<Rank>(rank), &places);
  }
  // Every rank looks at the same bytes, so this fails at all or at none.
  ARROW_RETURN_NOT_OK(unpacked);
  const auto splitters = ChooseSplitters(std::move(places), total, context.world_size());
  ARROW_ASSIGN_OR_RAISE(const auto parts, ExchangeRanges(operation, *sorted, keys, splitters));
  sorted = Table();
  return operation.End(MergeSorted(context.resources(), parts, keys));
}

}  // namespace cylon::internal
