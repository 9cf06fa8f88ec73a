// From parts in any order to a global order: rows go to the rank that has their range of the total order (key, rank,
// row), so that ties are cut like anything else, and are sorted there. The ranges come from a sample of every rank's
// rows (Blelloch et al., A comparison of sorting algorithms for the Connection Machine CM-2, SPAA 1991). Sorting before
// the exchange as well, as regular sampling does, would cost as much again as the sort after it: the merge of what came
// is no faster than a radix sort.
#include "cylon/ops/sort_exchange.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/partition.h"
#include "cylon/kernels/sort_range.h"

namespace cylon::internal {

namespace {

/// Samples of each rank, which is how many fall into each rank's range too: a range's rows are then off by 3 %, one in
/// a thousand by 10 %.
constexpr int64_t kSamplesPerRank = 1024;

/// Rows of one rank.
struct Samples {
  std::vector<uint8_t> bytes;          // keys of EncodeRangeKeys, one after another
  std::vector<int64_t> offsets = {0};  // count + 1 entries into bytes
  std::vector<int64_t> rows;           // position of each in its part
};

/// A row's place in the global order.
struct Place {
  std::string_view key;
  Rank rank = 0;
  int64_t row = 0;    // in the rank's part
  double weight = 0;  // rows that a sample stands for
  friend bool operator<(const Place& a, const Place& b) {
    if (const int order = a.key.compare(b.key); order != 0) {
      return order < 0;
    }
    return a.rank != b.rank ? a.rank < b.rank : a.row < b.row;
  }
};

/// Rows of `part` spread over all of it (every row where it has no more than `count`).
arrow::Result<Samples> TakeSamples(const std::shared_ptr<Resources>& resources, const Table& part,
                                   const std::vector<SortKey>& keys, int64_t count) {
  Samples samples;
  std::vector<int> columns;
  std::vector<SortKey> renumbered = keys;
  for (size_t k = 0; k < keys.size(); ++k) {
    columns.push_back(keys[k].column);
    renumbered[k].column = static_cast<int>(k);
  }
  ARROW_ASSIGN_OR_RAISE(const auto key_columns, part.SelectColumns(columns));
  const int64_t total = part.num_rows();
  count = std::min(count, total);
  const auto row_of = [&](int64_t sample) {
    // Somewhere in each share of total / count rows, lest the rows have a period.
    const int64_t begin = total / count * sample + total % count * sample / count;
    const int64_t end = total / count * (sample + 1) + total % count * (sample + 1) / count;
    const auto jitter = static_cast<uint64_t>(sample) * 0x9E3779B97F4A7C15u >> 32;
    return begin + static_cast<int64_t>(jitter) % (end - begin);
  };
  int64_t taken = 0;
  int64_t before = 0;
  for (const auto& chunk : key_columns.chunks()) {
    std::vector<int64_t> rows;
    for (; taken < count && row_of(taken) < before + chunk->num_rows(); ++taken) {
      rows.push_back(row_of(taken) - before);
      samples.rows.push_back(row_of(taken));
    }
    if (!rows.empty()) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
      ARROW_ASSIGN_OR_RAISE(const auto chosen, TakeRows(*resources, *batch, rows));
      ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeRangeKeys(resources->memory(), *chosen, renumbered));
      for (int64_t i = 0; i < chosen->num_rows(); ++i) {
        const std::string_view key = encoded.key(i);
        samples.bytes.insert(samples.bytes.end(), key.begin(), key.end());
        samples.offsets.push_back(static_cast<int64_t>(samples.bytes.size()));
      }
    }
    before += chunk->num_rows();
  }
  return samples;
}

/// The samples of one rank as they travel:
///
///   0        8          16               16 + 8 n            16 + 16 n
///   +--------+----------+----------------+-------------------+-------------+
///   | n      | bytes b  | n rows (int64) | n lengths (int64) | b key bytes |
///   +--------+----------+----------------+-------------------+-------------+
arrow::Result<std::shared_ptr<arrow::Buffer>> PackSamples(arrow::MemoryPool* pool, const Samples& samples) {
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
  std::sort(samples.begin(), samples.end());
  std::vector<Place> splitters;
  double covered = 0;
  for (const auto& sample : samples) {
    covered += sample.weight;
    while (static_cast<int>(splitters.size()) < ranks - 1) {
      const double wanted = static_cast<double>(total) * static_cast<double>(splitters.size() + 1) / ranks;
      if (covered < wanted) {
        break;
      }
      splitters.push_back(sample);
    }
  }
  // Where rounding left the last ones out.
  while (static_cast<int>(splitters.size()) < ranks - 1 && !samples.empty()) {
    splitters.push_back(samples.back());
  }
  return splitters;
}

/// The splitters as rank `rank` sees them: of rows that equal a splitter, those of earlier ranks lie below it.
std::vector<RangeCut> CutsFor(const std::vector<Place>& splitters, Rank rank) {
  std::vector<RangeCut> cuts;
  for (const Place& splitter : splitters) {
    const int64_t last = rank < splitter.rank   ? std::numeric_limits<int64_t>::max()
                         : rank > splitter.rank ? -1
                                                : splitter.row;
    cuts.push_back({splitter.key, last});
  }
  return cuts;
}

}  // namespace

arrow::Result<Table> SortAcrossRanks(CollectiveOperator& operation, const std::string& details,
                                     arrow::Result<Table> part, const std::vector<SortKey>& keys) {
  Context& context = operation.context();
  const auto& resources = context.resources();
  if (operation.alone()) {
    return operation.End(part.ok() ? SortTable(resources, *part, keys) : std::move(part));
  }
  std::shared_ptr<arrow::Buffer> packed;
  const auto sample = [&]() -> arrow::Status {
    ARROW_RETURN_NOT_OK(part.status());
    ARROW_ASSIGN_OR_RAISE(const auto samples, TakeSamples(resources, *part, keys, kSamplesPerRank));
    return PackSamples(resources->memory(), samples).Value(&packed);
  };
  const arrow::Status local = sample();
  ARROW_ASSIGN_OR_RAISE(const auto agreement, operation.Begin(details, local, {local.ok() ? part->num_rows() : 0}));
  const int64_t total = agreement.Sum(0);
  if (total == 0) {
    return part;
  }
  ARROW_ASSIGN_OR_RAISE(const auto all, context.communicator().AllGather(packed));
  std::vector<Place> places;
  arrow::Status unpacked;
  for (size_t rank = 0; rank < all.size() && unpacked.ok(); ++rank) {
    const size_t before = places.size();
    unpacked = UnpackSamples(*all[rank], static_cast<Rank>(rank), &places);
    const double weight = static_cast<double>(agreement.values[rank][0]) /
                          static_cast<double>(std::max<size_t>(places.size() - before, 1));
    std::for_each(places.begin() + static_cast<int64_t>(before), places.end(),
                  [weight](Place& place) { place.weight = weight; });
  }
  // Every rank looks at the same bytes, so this fails at all or at none.
  ARROW_RETURN_NOT_OK(unpacked);
  const auto splitters = ChooseSplitters(std::move(places), total, context.world_size());
  ARROW_ASSIGN_OR_RAISE(const auto ranges, SortRanges::Make(*part->schema(), keys, CutsFor(splitters, context.rank())));
  ARROW_ASSIGN_OR_RAISE(
      auto met,
      ShuffleTable(context, operation.name() + ", ranges", *part,
                   [&](const arrow::RecordBatch& batch, int64_t rows_before, std::vector<uint32_t>* destinations) {
                     return ranges.Find(resources->memory(), batch, rows_before, destinations);
                   }));
  part = Table();
  // What came is in the order (source rank, row), so equal rows keep it.
  return operation.End(SortTable(resources, met, keys));
}

}  // namespace cylon::internal
