// Tables of two columns of int64, a formula of (rank, row, round).
#include "table_operations.h"

#include <functional>
#include <limits>

#include "diary.h"

namespace cylon::chaos {

namespace {

using arrow::Status;
using Formula = std::function<int64_t(int64_t row)>;

constexpr int64_t kGroups = 97;
constexpr int64_t kRowBytes = 16;

/// Rows of each rank for about `bytes`; the same at every rank.
int64_t RowsFor(int64_t bytes) { return std::max<int64_t>(bytes / kRowBytes, 1); }

std::shared_ptr<arrow::Schema> SchemaOf(const std::string& value) {
  return arrow::schema({arrow::field("key", arrow::int64(), false), arrow::field(value, arrow::int64(), false)});
}

arrow::Result<Table> MakeTable(Context& context, const std::string& name, int64_t rows, const Formula& key,
                               const Formula& value) {
  constexpr int64_t kBatchRows = 50'000;
  const auto schema = SchemaOf(name);
  TableBuilder builder(context.resources(), schema);
  for (int64_t begin = 0; begin < rows; begin += kBatchRows) {
    const int64_t count = std::min(kBatchRows, rows - begin);
    arrow::ArrayVector columns;
    for (const Formula& formula : {key, value}) {
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> values,
                            arrow::AllocateBuffer(count * 8, context.resources()->memory()));
      for (int64_t i = 0; i < count; ++i) {
        values->mutable_data_as<int64_t>()[i] = formula(begin + i);
      }
      columns.push_back(std::make_shared<arrow::Int64Array>(count, std::move(values)));
    }
    ARROW_RETURN_NOT_OK(builder.Append(arrow::RecordBatch::Make(schema, count, columns)));
  }
  return builder.Finish();
}

/// check(row of columns) for every row of this rank's part.
Status ForEachRow(const Table& table, const std::vector<std::string>& names,
                  const std::function<Status(const std::vector<int64_t>&)>& check) {
  std::vector<int> indices;
  for (const auto& name : names) {
    ARROW_ASSIGN_OR_RAISE(const int index, table.ColumnIndex(name));
    indices.push_back(index);
  }
  std::vector<int64_t> row(names.size());
  return table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) -> Status {
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      for (size_t column = 0; column < indices.size(); ++column) {
        row[column] = static_cast<const arrow::Int64Array&>(*batch->column(indices[column])).Value(i);
      }
      ARROW_RETURN_NOT_OK(check(row));
    }
    return Status::OK();
  });
}

/// Over all ranks.
Status ExpectSum(Context& context, int64_t own, int64_t expected, const std::string& what) {
  ARROW_ASSIGN_OR_RAISE(const int64_t found, context.communicator().AllReduce(own, ReduceOp::kSum));
  return found == expected ? Status::OK()
                           : WrongAnswer(what + " is " + std::to_string(found) + " over all ranks; expected " +
                                         std::to_string(expected));
}

}  // namespace

Status RunShuffle(Context& context, int64_t round, int64_t bytes) {
  const int64_t ranks = context.world_size();
  const int64_t rows = RowsFor(bytes);
  const auto key = [&](int64_t row) { return (row * ranks + context.rank()) * 3 + round; };
  ARROW_ASSIGN_OR_RAISE(const auto table,
                        MakeTable(context, "value", rows, key, [&](int64_t row) { return key(row) * 5; }));
  ARROW_ASSIGN_OR_RAISE(const auto found, ShuffleByHash(context, "chaos", table, {0}));
  int64_t sum = 0;
  ARROW_RETURN_NOT_OK(ForEachRow(found, {"key", "value"}, [&](const auto& row) {
    sum += row[0];
    return row[1] == row[0] * 5 ? Status::OK() : WrongAnswer("a row of a shuffle has parts of two");
  }));
  const int64_t all = rows * ranks;
  ARROW_RETURN_NOT_OK(ExpectSum(context, found.num_rows(), all, "the number of rows of a shuffle"));
  return ExpectSum(context, sum, 3 * all * (all - 1) / 2 + round * all, "the sum of a shuffle's keys");
}

Status RunJoin(Context& context, int64_t round, int64_t bytes) {
  const int64_t ranks = context.world_size();
  const int64_t rows = RowsFor(bytes);
  const auto left_key = [&](int64_t row) { return row * ranks + context.rank() + round; };
  const auto right_key = [&](int64_t row) { return row * ranks + (context.rank() + 1) % ranks + round; };
  ARROW_ASSIGN_OR_RAISE(const auto left,
                        MakeTable(context, "a", rows, left_key, [&](int64_t row) { return left_key(row) * 3; }));
  ARROW_ASSIGN_OR_RAISE(const auto right,
                        MakeTable(context, "b", rows, right_key, [&](int64_t row) { return right_key(row) * 5; }));
  JoinOptions options;
  options.left_keys = options.right_keys = {"key"};
  ARROW_ASSIGN_OR_RAISE(const auto found, Join(context, left, right, options));
  int64_t sum = 0;
  ARROW_RETURN_NOT_OK(ForEachRow(found, {"key", "a", "b"}, [&](const auto& row) {
    sum += row[0];
    return row[1] == row[0] * 3 && row[2] == row[0] * 5 ? Status::OK()
                                                        : WrongAnswer("a join put rows together that do not belong");
  }));
  const int64_t all = rows * ranks;
  ARROW_RETURN_NOT_OK(ExpectSum(context, found.num_rows(), all, "the number of rows of a join"));
  return ExpectSum(context, sum, all * (all - 1) / 2 + round * all, "the sum of a join's keys");
}

Status RunSort(Context& context, int64_t round, int64_t bytes) {
  const int64_t ranks = context.world_size();
  const int64_t rows = RowsFor(bytes);
  const int64_t all = rows * ranks;
  // Every number below `all` once: 7919 is a prime that `all` is made a neighbour of where it divides it.
  const int64_t step = all % 7919 == 0 ? 7907 : 7919;
  const auto key = [&](int64_t row) { return (row * ranks + context.rank()) * step % all; };
  ARROW_ASSIGN_OR_RAISE(const auto table,
                        MakeTable(context, "value", rows, key, [&](int64_t row) { return key(row) + round; }));
  SortOptions options;
  options.by = {{"key"}};
  ARROW_ASSIGN_OR_RAISE(const auto found, Sort(context, table, options));
  ARROW_ASSIGN_OR_RAISE(const auto sizes,
                        context.communicator().AllGather(arrow::Buffer::FromString(std::to_string(found.num_rows()))));
  int64_t next = 0;
  int64_t total = 0;
  for (Rank rank = 0; rank < ranks; ++rank) {
    const int64_t size = std::stoll(sizes[rank]->ToString());
    next += rank < context.rank() ? size : 0;
    total += size;
  }
  if (total != all) {
    return WrongAnswer("a sort has " + std::to_string(total) + " rows; expected " + std::to_string(all));
  }
  return ForEachRow(found, {"key", "value"}, [&](const auto& row) {
    const int64_t expected = next++;
    return row[0] == expected && row[1] == expected + round
               ? Status::OK()
               : WrongAnswer("a sort has " + std::to_string(row[0]) + " at " + std::to_string(expected));
  });
}

Status RunGroupBy(Context& context, int64_t round, int64_t bytes) {
  const int64_t ranks = context.world_size();
  const int64_t rows = RowsFor(bytes);
  ARROW_ASSIGN_OR_RAISE(const auto table, MakeTable(
                                              context, "value", rows, [](int64_t row) { return row % kGroups; },
                                              [&](int64_t row) { return row + context.rank() + round; }));
  GroupByOptions options;
  options.keys = {"key"};
  options.aggregates = {{"value", AggregateOp::kSum, "sum"}, {"value", AggregateOp::kCount, "count"}};
  ARROW_ASSIGN_OR_RAISE(const auto found, GroupBy(context, table, options));
  ARROW_RETURN_NOT_OK(ForEachRow(found, {"key", "sum", "count"}, [&](const auto& row) -> Status {
    const int64_t count = (rows - row[0] + kGroups - 1) / kGroups;  // rows of the group at each rank
    const int64_t of_rows = count * row[0] + kGroups * count * (count - 1) / 2;
    const int64_t sum = ranks * (of_rows + count * round) + count * ranks * (ranks - 1) / 2;
    return row[1] == sum && row[2] == count * ranks
               ? Status::OK()
               : WrongAnswer("group " + std::to_string(row[0]) + " has sum " + std::to_string(row[1]) + "; expected " +
                             std::to_string(sum));
  }));
  return ExpectSum(context, found.num_rows(), std::min(rows, kGroups), "the number of groups");
}

}  // namespace cylon::chaos
