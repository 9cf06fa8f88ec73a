// Rows of both sides of a join brought to one rank by their keys.
#include "cylon/ops/join_shuffle.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/hash.h"
#include "cylon/kernels/partition.h"
#include "cylon/ops/key_bounds.h"
#include "cylon/ops/key_filter.h"

namespace cylon::internal {

namespace {

/// Keys sampled of a side at each rank at most, and over all ranks: a key that matters (kHeavyShare) is then seen some
/// hundred times.
constexpr int64_t kSampleOfRank = 2048;
constexpr int64_t kSampleOfAll = 1 << 16;
constexpr int64_t kLeastSample = 64;

/// A key is heavy from a quarter of a rank's even share on: with less, the rank that it hashes to has at most a quarter
/// more to do than the others.
constexpr double kHeavyShare = 0.25;

/// Where keys are few in a sample, their number is mostly chance.
constexpr int64_t kLeastSeen = 8;

/// A filter is considered where the side that it keeps back has this many times the rows of the other, and worth it
/// where it keeps back this share of them: looking every row up costs about a fifth of what sending it does.
constexpr int64_t kFilterRatio = 4;
constexpr double kFilterLeastShare = 0.3;
constexpr int64_t kFilterBudgetShare = 16;

/// Bounds are worth it where they keep back this share: looking at every key costs about a fortieth of what sending its
/// row and joining it does.
constexpr double kBoundsLeastShare = 0.1;

/// A side's rows without a match are part of the result.
bool Keeps(JoinType type, bool left) {
  return type == JoinType::kFull || type == (left ? JoinType::kLeft : JoinType::kRight) ||
         (left && type == JoinType::kAnti);
}

/// A few hashes, found quickly among many others.
class HashSet {
 public:
  void Insert(uint64_t hash) {
    hashes_.insert(hash);
    seen_.set(hash % kBits);
  }
  bool Contains(uint64_t hash) const { return seen_[hash % kBits] && hashes_.contains(hash); }
  bool empty() const { return hashes_.empty(); }

 private:
  static constexpr size_t kBits = 4096;  // few of which are set, so that nearly all others are told by them
  std::unordered_set<uint64_t> hashes_;
  std::bitset<kBits> seen_;
};

/// Keys of which the rows of one side are dealt to all ranks, and those of the other copied to all.
struct HeavyKeys {
  HashSet spread_left;
  HashSet spread_right;
};

/// Estimated rows by key, of one side.
using Weights = std::unordered_map<uint64_t, double>;

struct Sampled {
  Weights weights;
  std::unordered_map<uint64_t, int64_t> seen;
};

KeyBounds BoundsOfSample(const KeySample& sample) {
  KeyBounds bounds;
  std::for_each(sample.numbers.begin(), sample.numbers.end(), [&](int64_t number) { bounds.Add(number); });
  return bounds;
}

/// A rank's samples as they travel, in words:
///
///   0      1            2           3             4            5               5 + l
///   +------+------------+-----------+-------------+------------+---------------+----------------+
///   |  l   | left least | left most | right least | right most | l left hashes | right hashes   |
///   +------+------------+-----------+-------------+------------+---------------+----------------+
constexpr int64_t kSampleHeader = 5;

arrow::Result<Buffers> GatherSamples(Context& context, const KeySamples& samples) {
  const auto& left = samples.left.hashes;
  const auto& right = samples.right.hashes;
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> mine,
                        arrow::AllocateBuffer((kSampleHeader + static_cast<int64_t>(left.size() + right.size())) * 8));
  auto* out = mine->mutable_data_as<uint64_t>();
  *out++ = left.size();
  for (const KeySample* side : {&samples.left, &samples.right}) {
    const KeyBounds bounds = BoundsOfSample(*side);
    *out++ = static_cast<uint64_t>(bounds.least);
    *out++ = static_cast<uint64_t>(bounds.most);
  }
  out = std::copy(left.begin(), left.end(), out);
  std::copy(right.begin(), right.end(), out);
  return context.communicator().AllGather(std::move(mine));
}

/// Of the left side and of the right one, over all ranks.
std::array<KeyBounds, 2> SampledBounds(const Buffers& samples) {
  std::array<KeyBounds, 2> bounds;
  for (const auto& sample : samples) {
    const auto* words = sample->data_as<int64_t>();
    bounds[0].Add(KeyBounds{words[1], words[2]});
    bounds[1].Add(KeyBounds{words[3], words[4]});
  }
  return bounds;
}

/// All ranks' samples of a side, each standing for that rank's rows.
Sampled Weigh(const Buffers& samples, size_t side, const std::vector<std::vector<int64_t>>& rows) {
  Sampled result;
  for (size_t rank = 0; rank < samples.size(); ++rank) {
    const auto* words = samples[rank]->data_as<uint64_t>();
    const auto left = static_cast<int64_t>(words[0]);
    const int64_t all = samples[rank]->size() / 8 - kSampleHeader;
    const int64_t count = side == 0 ? left : all - left;
    const uint64_t* hashes = words + kSampleHeader + (side == 0 ? 0 : left);
    for (int64_t i = 0; i < count; ++i) {
      result.weights[hashes[i]] += static_cast<double>(rows[rank][side]) / static_cast<double>(count);
      ++result.seen[hashes[i]];
    }
  }
  return result;
}

/// The same at every rank: all have the same samples.
HeavyKeys FindHeavyKeys(JoinType type, const Buffers& samples, const std::vector<std::vector<int64_t>>& rows) {
  const std::array<Sampled, 2> sides = {Weigh(samples, 0, rows), Weigh(samples, 1, rows)};
  const auto ranks = static_cast<double>(samples.size());
  double total = 0;
  for (const auto& of_rank : rows) {
    total += static_cast<double>(of_rank[0] + of_rank[1]);
  }
  HeavyKeys heavy;
  const auto find = [&](size_t side, HashSet* spread) {
    for (const auto& [hash, weight] : sides[side].weights) {
      const auto other = sides[1 - side].weights.find(hash);
      const double copied = other == sides[1 - side].weights.end() ? 0 : other->second * ranks;
      if (weight > kHeavyShare * total / ranks && weight > copied && sides[side].seen.at(hash) >= kLeastSeen) {
        spread->Insert(hash);
      }
    }
  };
  // The side that is copied to all ranks must not show what has no match there.
  if (!Keeps(type, /*left=*/false)) {
    find(0, &heavy.spread_left);
  }
  if (!Keeps(type, /*left=*/true) && type != JoinType::kSemi) {
    find(1, &heavy.spread_right);
  }
  return heavy;
}

/// OK at every rank, or an error at every rank.
arrow::Result<Agreement> AgreeOn(Context& context, const char* moment, const arrow::Status& local,
                                 std::vector<int64_t> values) {
  Proposal proposal;
  proposal.signature = std::string("join filter ") + moment;
  proposal.status = local;
  proposal.values = std::move(values);
  return context.communicator().Agree(std::move(proposal));
}

arrow::Result<KeyFilter> FillFilter(Context& context, const Table& table, const std::vector<int>& keys,
                                    int64_t all_rows) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits,
                        arrow::AllocateBuffer(KeyFilter::NumBytes(all_rows), context.resources()->memory()));
  std::memset(bits->mutable_data(), 0, bits->size());
  KeyFilter filter(std::move(bits));
  std::vector<uint64_t> hashes;
  ARROW_RETURN_NOT_OK(
      table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) -> arrow::Status {
        const int64_t rows = context.resources()->options().morsel_rows;
        for (int64_t offset = 0; offset < batch->num_rows(); offset += rows) {
          ARROW_RETURN_NOT_OK(HashRows(*batch->Slice(offset, rows), keys, &hashes));
          for (const uint64_t hash : hashes) {
            filter.Add(hash);
          }
        }
        return arrow::Status::OK();
      }));
  return filter;
}

/// The filter of the keys of `table` over all ranks, or none where it would keep back too few of `sample`.
arrow::Result<std::optional<KeyFilter>> MakeFilter(Context& context, const Table& table, const std::vector<int>& keys,
                                                   int64_t all_rows, const std::vector<uint64_t>& sample) {
  auto own = FillFilter(context, table, keys, all_rows);
  ARROW_RETURN_NOT_OK(AgreeOn(context, "is filled", own.status(), {}).status());
  ARROW_ASSIGN_OR_RAISE(auto bits,
                        context.communicator().AllReduce(own->bits(), arrow::Type::UINT64, ReduceOp::kBitOr));
  KeyFilter filter(std::move(bits));
  const auto passing = static_cast<int64_t>(
      std::count_if(sample.begin(), sample.end(), [&](uint64_t hash) { return filter.MayHave(hash); }));
  ARROW_ASSIGN_OR_RAISE(const auto agreement, AgreeOn(context, "was tried", arrow::Status::OK(),
                                                      {passing, static_cast<int64_t>(sample.size())}));
  const auto kept_back = static_cast<double>(agreement.Sum(1) - agreement.Sum(0));
  if (agreement.Sum(1) == 0 || kept_back < kFilterLeastShare * static_cast<double>(agreement.Sum(1))) {
    return std::nullopt;
  }
  return filter;
}

/// The bounds of the keys of `table` over all ranks, or none where they would keep back too few of the other side, of
/// which `sample` is one. Whether to look is settled by the samples' bounds, which come with the first agreement.
arrow::Result<std::optional<KeyBounds>> MakeBounds(Context& context, const Table& table, int key,
                                                   const std::vector<int64_t>& sample) {
  auto own = BoundsOf(table, key);
  const KeyBounds bounds = own.ok() ? *own : KeyBounds();
  ARROW_ASSIGN_OR_RAISE(const auto found,
                        AgreeOn(context, "bounds are known", own.status(), {bounds.least, bounds.most}));
  KeyBounds all;
  for (const auto& values : found.values) {
    all.Add(KeyBounds{values[0], values[1]});
  }
  const auto beyond = static_cast<int64_t>(
      std::count_if(sample.begin(), sample.end(), [&](int64_t number) { return !all.Contain(number); }));
  ARROW_ASSIGN_OR_RAISE(const auto agreement, AgreeOn(context, "bounds were tried", arrow::Status::OK(),
                                                      {beyond, static_cast<int64_t>(sample.size())}));
  if (static_cast<double>(agreement.Sum(0)) <= kBoundsLeastShare * static_cast<double>(agreement.Sum(1))) {
    return std::nullopt;
  }
  return all;
}

/// Which rows of a side do not go to the rank of their hash alone.
struct Exceptions {
  HashSet spread;
  HashSet copied;
  std::optional<KeyFilter> filter;
  std::optional<KeyBounds> bounds;
  bool nulls_match = false;
};

/// Sends the rows of one side.
arrow::Result<Table> Send(Context& context, const char* what, const Table& table, const std::vector<int>& keys,
                          const Exceptions& exceptions) {
  const auto& [spread, copied, filter, bounds, nulls_match] = exceptions;
  const bool by_hash_alone = spread.empty() && copied.empty() && !filter.has_value();
  if (by_hash_alone && !bounds.has_value()) {
    return ShuffleByHash(context, what, table, keys);
  }
  const auto ranks = static_cast<uint32_t>(context.world_size());
  auto turn = static_cast<uint32_t>(context.rank());
  std::vector<uint64_t> hashes;
  const auto partitioner = [&](const arrow::RecordBatch& batch, int64_t, std::vector<uint32_t>* destinations) {
    if (by_hash_alone) {
      ARROW_RETURN_NOT_OK(HashDestinations(batch, keys, ranks, destinations));
    } else {
      ARROW_RETURN_NOT_OK(HashRows(batch, keys, &hashes));
      destinations->resize(hashes.size());
      for (size_t i = 0; i < hashes.size(); ++i) {
        const uint64_t hash = hashes[i];
        uint32_t to = PartitionOf(hash, ranks);
        if (filter.has_value() && !filter->MayHave(hash)) {
          to = ranks + kNowhere;
        } else if (spread.Contains(hash)) {
          to = turn++ % ranks;
        } else if (copied.Contains(hash)) {
          to = ranks + kEverywhere;
        }
        (*destinations)[i] = to;
      }
    }
    return bounds.has_value() ? LeaveOutBeyond(*bounds, batch, keys[0], nulls_match, ranks + kNowhere, *destinations)
                              : arrow::Status::OK();
  };
  return ShuffleTable(context, what, table, partitioner);
}

}  // namespace

int64_t SampleSize(int ranks) { return std::clamp(kSampleOfAll / ranks, kLeastSample, kSampleOfRank); }

arrow::Result<KeySample> SampleKeys(const Table& table, const std::vector<int>& keys, int64_t count) {
  std::vector<std::shared_ptr<Chunk>> chunks;
  int64_t rows = 0;
  for (const auto& chunk : table.chunks()) {
    // What is on disk would have to be read whole for a few of its rows.
    if (!chunk->spilled() || table.resources()->options().spill_always) {
      chunks.push_back(chunk);
      rows += chunk->num_rows();
    }
  }
  KeySample result;
  const bool bounded = keys.size() == 1 && CanBound(*table.schema()->field(keys[0])->type());
  const int64_t step = std::max<int64_t>(1, rows / count);
  int64_t next = 0;  // within the chunk
  for (const auto& chunk : chunks) {
    std::vector<int64_t> chosen;
    for (; next < chunk->num_rows(); next += step) {
      chosen.push_back(next);
    }
    next -= chunk->num_rows();
    if (chosen.empty()) {
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    ARROW_ASSIGN_OR_RAISE(const auto key_columns, batch->SelectColumns(keys));
    ARROW_ASSIGN_OR_RAISE(const auto taken, TakeRows(*table.resources(), *key_columns, chosen));
    std::vector<int> all(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      all[i] = static_cast<int>(i);
    }
    std::vector<uint64_t> hashes;
    ARROW_RETURN_NOT_OK(HashRows(*taken, all, &hashes));
    result.hashes.insert(result.hashes.end(), hashes.begin(), hashes.end());
    if (bounded) {
      std::vector<int64_t> numbers;
      ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::Make(table.resources()->memory(), taken->column_data(0), ""));
      LoadBoundable(column, &numbers);
      for (size_t i = 0; i < numbers.size(); ++i) {
        if (!column.IsNull(static_cast<int64_t>(i))) {
          result.numbers.push_back(numbers[i]);
        }
      }
    }
  }
  return result;
}

arrow::Result<JoinSides> ShuffleForJoin(Context& context, const JoinKernelOptions& join, const JoinSides& sides,
                                        const KeySamples& samples, const std::vector<std::vector<int64_t>>& rows,
                                        int64_t budget, int64_t least_rows) {
  std::array<int64_t, 2> total = {0, 0};
  for (const auto& of_rank : rows) {
    total[0] += of_rank[0];
    total[1] += of_rank[1];
  }
  std::array<Exceptions, 2> exceptions;
  auto& [left, right] = exceptions;
  left.nulls_match = right.nulls_match = join.null_keys == NullKeys::kMatch;
  if (total[0] + total[1] >= least_rows && !join.left_keys.empty()) {
    ARROW_ASSIGN_OR_RAISE(const auto all, GatherSamples(context, samples));
    auto heavy = FindHeavyKeys(join.type, all, rows);
    left.spread = right.copied = std::move(heavy.spread_left);
    right.spread = left.copied = std::move(heavy.spread_right);
    const bool left_may = !Keeps(join.type, /*left=*/true);  // lose rows that match nothing
    const bool right_may = !Keeps(join.type, /*left=*/false);
    const auto [left_bounds, right_bounds] = SampledBounds(all);
    if (left_may && left_bounds.ReachBeyond(right_bounds)) {
      ARROW_ASSIGN_OR_RAISE(left.bounds, MakeBounds(context, sides.right, join.right_keys[0], samples.left.numbers));
    }
    if (right_may && right_bounds.ReachBeyond(left_bounds)) {
      ARROW_ASSIGN_OR_RAISE(right.bounds, MakeBounds(context, sides.left, join.left_keys[0], samples.right.numbers));
    }
    const auto pays = [&](int64_t small, int64_t large) {
      return small * kFilterRatio <= large && KeyFilter::NumBytes(small) <= budget / kFilterBudgetShare;
    };
    if (left_may && pays(total[1], total[0])) {
      ARROW_ASSIGN_OR_RAISE(left.filter,
                            MakeFilter(context, sides.right, join.right_keys, total[1], samples.left.hashes));
    } else if (right_may && pays(total[0], total[1])) {
      ARROW_ASSIGN_OR_RAISE(right.filter,
                            MakeFilter(context, sides.left, join.left_keys, total[0], samples.right.hashes));
    }
  }
  JoinSides result;
  ARROW_ASSIGN_OR_RAISE(result.right, Send(context, "Join, right side", sides.right, join.right_keys, right));
  ARROW_ASSIGN_OR_RAISE(result.left, Send(context, "Join, left side", sides.left, join.left_keys, left));
  return result;
}

}  // namespace cylon::internal
