// Unique rows: keys travel to where equal ones meet, bits come back, and kept rows stay where they are.
#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "cylon/kernels/group_by.h"
#include "cylon/kernels/unique.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/join_shuffle.h"
#include "cylon/ops/key_marks.h"
#include "cylon/ops/rows.h"
#include "cylon/ops/unique_words.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;

/// Whether the keys of this rank's rows, `keys` by themselves, repeat so much that it pays to leave out those that
/// cannot be kept.
arrow::Result<bool> PaysToThin(Context& context, const Table& keys, const std::vector<int>& all) {
  // Only keys that can be kept are sent where a rank has at most this share of different ones, since finding them takes
  // about as long as what it spares, or where one key has so large a share of a rank's that the one that it goes to
  // would be late.
  constexpr double kMostDifferent = 0.6;
  constexpr double kHeavyKey = 0.25;
  constexpr int64_t kLeastOfHeavy = 8;
  ARROW_ASSIGN_OR_RAISE(const int64_t distinct, EstimateGroups(keys, all));
  if (static_cast<double>(distinct) <= kMostDifferent * static_cast<double>(keys.num_rows())) {
    return true;
  }
  const int ranks = context.world_size();
  ARROW_ASSIGN_OR_RAISE(const auto sample, internal::SampleKeys(keys, all, internal::SampleSize(ranks)));
  std::unordered_map<uint64_t, int64_t> seen;
  int64_t most = 0;
  for (const uint64_t hash : sample.hashes) {
    most = std::max(most, ++seen[hash]);
  }
  return most >= kLeastOfHeavy &&
         static_cast<double>(most * ranks) > kHeavyKey * static_cast<double>(sample.hashes.size());
}

/// The bytes of the rows that are to be sent, 1 where they can be kept: an earlier (later) one of equal rows of one
/// rank is never the last (first) of all. Where only single rows are kept, two of equal ones tell that they are not.
arrow::Result<std::shared_ptr<arrow::Buffer>> Thin(Context& context, const Table& keys, const std::vector<int>& all,
                                                   Keep keep) {
  const auto& resources = context.resources();
  ARROW_ASSIGN_OR_RAISE(auto sent,
                        MarkUniqueRows(resources, keys, all, keep == Keep::kLast ? Keep::kLast : Keep::kFirst));
  if (keep == Keep::kNone) {
    ARROW_ASSIGN_OR_RAISE(const auto last, MarkUniqueRows(resources, keys, all, Keep::kLast));
    std::transform(last->data(), last->data() + last->size(), sent->data(), sent->mutable_data(),
                   [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a | b); });
  }
  return sent;
}

/// One byte per row of `keys`, 1 where the row is kept.
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkByKeys(CollectiveOperator& operation, const Table& keys, Keep keep) {
  Context& context = operation.context();
  std::vector<int> all(keys.num_columns());
  std::iota(all.begin(), all.end(), 0);
  const auto thin = [&]() -> arrow::Result<std::shared_ptr<arrow::Buffer>> {
    ARROW_ASSIGN_OR_RAISE(const bool pays, PaysToThin(context, keys, all));
    return pays ? Thin(context, keys, all, keep) : nullptr;
  };
  return internal::MarkWhereKeysMeet(
      operation, keys, thin, [&](const Table& met) { return MarkUniqueRows(context.resources(), met, all, keep); });
}

const char* KeepName(Keep keep) {
  return keep == Keep::kFirst ? "first" : keep == Keep::kLast ? "last" : "only single rows";
}

}  // namespace

arrow::Result<Table> Unique(Context& context, const Table& table, const std::vector<std::string>& columns, Keep keep,
                            std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "Unique");
  std::vector<int> keys;
  const auto prepare = [&]() -> arrow::Result<Table> {
    ARROW_RETURN_NOT_OK(internal::CheckTable(table));
    ARROW_ASSIGN_OR_RAISE(keys, internal::FindColumnsOrAll(*table.schema(), columns, "column", "the table"));
    ARROW_RETURN_NOT_OK(internal::CheckKeyTypes(*table.schema(), keys, "column"));
    // Rows without columns are not compared, as in pandas.
    return operation.alone() && !keys.empty() ? UniqueRows(context.resources(), table, keys, keep) : table;
  };
  const auto prepared = prepare();
  const auto share = prepared.ok() ? internal::WordsShareOf(context, table) : internal::WordsShare();
  const std::string details = std::string("keep ") + KeepName(keep) + ", columns " + internal::OneLine(columns) + ", " +
                              internal::OneLine(table.schema());
  ARROW_ASSIGN_OR_RAISE(const auto agreement,
                        operation.Begin(details, prepared.status(), {share.rows, share.in_memory, share.budget}));
  if (operation.alone() || keys.empty()) {
    return prepared;
  }
  std::vector<internal::WordsShare> shares;
  for (const auto& values : agreement.values) {
    shares.push_back({values[0], values[1] != 0, values[2]});
  }
  const auto mark = [&]() -> arrow::Result<Table> {
    std::shared_ptr<arrow::Buffer> kept;
    if (keys.size() == 1 && internal::CanMarkUniqueWords(table, keys[0], shares)) {
      ARROW_ASSIGN_OR_RAISE(kept, internal::MarkUniqueWords(context, table, keys[0], keep, shares));
    } else {
      // Every rank has the same schema, so this fails at all or at none.
      ARROW_ASSIGN_OR_RAISE(const auto key_columns, table.SelectColumns(keys));
      ARROW_ASSIGN_OR_RAISE(kept, MarkByKeys(operation, key_columns, keep));
    }
    return KeepRows(context.resources(), table, kept->data());
  };
  return operation.End(mark());
}

}  // namespace cylon
