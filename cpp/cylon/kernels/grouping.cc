// Grouping of rows with running aggregates: which way to go.
#include "cylon/kernels/grouping.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "cylon/kernels/group_rows.h"
#include "cylon/kernels/hash.h"
#include "cylon/kernels/word_table.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

constexpr int kDeepestLevel = 3;  // of cutting to disk: 64^3 parts are more than any table needs

/// Rows of the sample, in stripes spread over the table: 2^15 tell 20 thousand groups from a million.
constexpr int64_t kStripes = 64;
constexpr int64_t kStripeRows = 512;

/// Groups whose table and states (some 80 bytes each) leave room in a second-level cache of 1 MiB: beyond, partitions
/// are faster.
constexpr int64_t kFewGroups = 1 << 13;

/// The same where keys are slots of the table themselves: the sum by two text keys, 10,000 groups of 10 million rows,
/// took 0.16 s so and 0.23 s by dealing the rows.
constexpr int64_t kFewDirectGroups = 1 << 14;

/// Below this, one table of groups is quickest whatever they are.
constexpr int64_t kFewRows = 1 << 15;

/// Rows whose groups are in the hands of tasks at a time, about.
constexpr int64_t kRowsUnderWay = 1 << 19;

/// Bytes that RadixPartitions takes per row: key, row number, hash and partition, and what it carries.
int64_t DealtRowBytes(const Table& input, const GroupingPlan& plan, const KeyLayout& layout) {
  const bool hashed = layout.form() == KeyForm::kHash;
  const int64_t words = layout.form() == KeyForm::kTwoWords ? 16 : 8;
  // What is dear to make is kept by row as well, until it is dealt.
  int64_t bytes = 2 + 4 + words + (hashed || layout.packed() ? words : 0) + (hashed ? RowBytes(input) : 0);
  for (const auto& columns : plan.inputs) {
    for (int column : columns) {
      const auto& type = *input.schema()->field(column)->type();
      bytes += CanCarry(type) ? 1 + (type.id() == arrow::Type::BOOL ? 1 : type.byte_width()) : 0;
    }
  }
  return bytes;
}

/// Whether the dealt rows fit beside the input, and a few tasks with the states and results of their groups: half of
/// the budget is left for what comes out, and for others.
bool FitsMemory(Resources& resources, const Table& input, const GroupingPlan& plan, const KeyLayout& layout) {
  const int64_t group_bytes = grouping::StateSet(resources.memory(), plan).group_bytes() * 2 + RowBytes(input);
  const int64_t bytes = input.num_bytes() + input.num_rows() * DealtRowBytes(input, plan, layout) +
                        std::min<int64_t>(input.num_rows(), kRowsUnderWay) * group_bytes;
  return bytes <= resources.memory()->limit() / 2;
}

arrow::Result<Table> GroupAtLevel(const std::shared_ptr<Resources>& resources, const Table& input,
                                  const GroupingPlan& plan, int level) {
  ARROW_ASSIGN_OR_RAISE(const auto layout, KeyLayout::Packed(*resources, input, plan.keys));
  int64_t expected = 0;
  if (input.num_rows() > kFewRows) {
    ARROW_ASSIGN_OR_RAISE(expected, grouping::SampleGroups(input, plan.keys));
  }
  // Values that are collected for each group are better read when they have been dealt.
  const int64_t table_rows = std::min(grouping::RangeRows(*resources, input, expected), input.num_rows());
  const bool direct = grouping::DirectBits(layout, table_rows) >= 0 && !plan.aggregates.needs_rows();
  if (expected <= (direct ? kFewDirectGroups : kFewGroups)) {
    ARROW_ASSIGN_OR_RAISE(auto groups,
                          grouping::GroupInOrder(resources, input, plan, layout, expected, level < kDeepestLevel));
    if (groups.has_value()) {
      return *std::move(groups);
    }
    expected = input.num_rows();
  }
  if (FitsMemory(*resources, input, plan, layout)) {
    return grouping::GroupInPartitions(resources, input, plan, layout, expected);
  }
  if (level == kDeepestLevel) {
    ARROW_ASSIGN_OR_RAISE(auto groups, grouping::GroupInOrder(resources, input, plan, layout, expected, false));
    return *std::move(groups);
  }
  const uint32_t count = PartitionsFor(*resources, input.num_bytes() + input.num_rows() * 64);
  ARROW_ASSIGN_OR_RAISE(auto parts, PartitionTable(resources, input, plan.keys, level + 1, count));
  for (auto& part : parts) {
    ARROW_ASSIGN_OR_RAISE(auto groups, GroupAtLevel(resources, part, plan, level + 1));
    part = std::move(groups);
  }
  return Table::Concatenate(parts);
}

}  // namespace

void GroupingPlan::SetOutput(const arrow::Schema& input_schema) {
  arrow::FieldVector fields;
  for (int key : keys) {
    fields.push_back(input_schema.field(key));
  }
  const auto rest = finishes ? aggregates.ResultFields() : aggregates.StateFields();
  fields.insert(fields.end(), rest.begin(), rest.end());
  output_schema = arrow::schema(std::move(fields));
}

arrow::Result<Table> GroupRows(const std::shared_ptr<Resources>& resources, const Table& input,
                               const GroupingPlan& plan) {
  // Only what is read, each column once.
  std::vector<int> columns = plan.keys;
  for (const auto& some : plan.inputs) {
    columns.insert(columns.end(), some.begin(), some.end());
  }
  std::sort(columns.begin(), columns.end());
  columns.erase(std::unique(columns.begin(), columns.end()), columns.end());
  if (static_cast<int>(columns.size()) == input.num_columns()) {
    return GroupAtLevel(resources, input, plan, 0);
  }
  ARROW_ASSIGN_OR_RAISE(const auto narrow, input.SelectColumns(columns));
  const auto place = [&](int column) {
    return static_cast<int>(std::lower_bound(columns.begin(), columns.end(), column) - columns.begin());
  };
  GroupingPlan narrow_plan = plan;
  std::transform(plan.keys.begin(), plan.keys.end(), narrow_plan.keys.begin(), place);
  for (auto& some : narrow_plan.inputs) {
    std::transform(some.begin(), some.end(), some.begin(), place);
  }
  return GroupAtLevel(resources, narrow, narrow_plan, 0);
}

namespace grouping {

arrow::Result<int64_t> SampleGroups(const Table& input, const std::vector<int>& keys) {
  const int64_t rows = input.num_rows();
  const auto in_memory = [](const auto& chunk) { return !chunk->spilled(); };
  const bool any_in_memory = std::any_of(input.chunks().begin(), input.chunks().end(), in_memory);
  WordTable table(input.resources()->memory(), 1);
  ARROW_RETURN_NOT_OK(table.Clear(kStripes * kStripeRows));
  std::vector<uint64_t> hashes;
  std::vector<uint32_t> numbers(kStripeRows);
  int64_t sampled = 0;
  int64_t chunk_begin = 0;
  const int64_t step = std::max(rows / kStripes, kStripeRows);
  for (const auto& chunk : input.chunks()) {
    const int64_t chunk_end = chunk_begin + chunk->num_rows();
    // Stripes begin at multiples of the step; the first of a chunk on disk is all that is read where all are there.
    int64_t stripe = (chunk_begin + step - 1) / step * step;
    if (stripe < chunk_end && (in_memory(chunk) || !any_in_memory)) {
      ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
      for (; stripe < chunk_end; stripe += step) {
        const auto piece = batch->Slice(stripe - chunk_begin, kStripeRows);
        ARROW_RETURN_NOT_OK(HashRows(*piece, keys, &hashes));
        ARROW_RETURN_NOT_OK(table.Find(hashes.data(), nullptr, nullptr, piece->num_rows(), numbers.data()));
        sampled += piece->num_rows();
      }
      if (!any_in_memory && sampled > 0) {
        break;
      }
    }
    chunk_begin = chunk_end;
  }
  const auto distinct = static_cast<double>(table.size());
  if (sampled == 0 || table.size() == sampled) {
    return rows;
  }
  // Of G equally likely groups, n draws meet G (1 - exp(-n / G)): the G that meets as many as were met.
  double low = distinct;
  double high = static_cast<double>(std::max<int64_t>(rows, 1)) * 4;
  for (int i = 0; i < 50; ++i) {
    const double middle = std::sqrt(low * high);
    const double met = -middle * std::expm1(-static_cast<double>(sampled) / middle);
    (met < distinct ? low : high) = middle;
  }
  return std::min(rows, static_cast<int64_t>(low * -std::expm1(-static_cast<double>(rows) / low)));
}

}  // namespace grouping

}  // namespace cylon
