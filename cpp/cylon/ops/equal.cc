// Whether two distributed tables hold the same rows, in order or as multisets.
#include <arrow/compute/api.h>

#include <algorithm>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/group_by.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/encode_values.h"
#include "cylon/ops/rows.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;

/// Whether `type` can be a key as it is; the others are compared by their encoded values.
bool CanBeKey(const std::shared_ptr<arrow::DataType>& type) {
  return internal::CheckKeyTypes(arrow::Schema({arrow::field("value", type)}), {0}, "column").ok();
}

/// Whether equal values of `type` may be stored differently, by dictionaries that differ.
bool HasDictionary(const arrow::DataType& type) {
  return type.id() == arrow::Type::DICTIONARY ||
         std::any_of(type.fields().begin(), type.fields().end(),
                     [](const auto& field) { return HasDictionary(*field->type()); });
}

arrow::Result<std::shared_ptr<arrow::Array>> Comparable(const std::shared_ptr<arrow::Array>& column,
                                                        arrow::MemoryPool* pool) {
  return HasDictionary(*column->type()) ? internal::EncodeValues(column, pool) : column;
}

/// Same names and types in the same order; whether a column may hold nulls is no difference.
bool SameColumns(const arrow::Schema& left, const arrow::Schema& right) {
  return std::equal(
      left.fields().begin(), left.fields().end(), right.fields().begin(), right.fields().end(),
      [](const auto& a, const auto& b) { return a->name() == b->name() && a->type()->Equals(b->type()); });
}

arrow::Result<bool> BatchesEqual(const arrow::RecordBatch& left, const arrow::RecordBatch& right,
                                 arrow::MemoryPool* pool) {
  const auto options = arrow::EqualOptions::Defaults().nans_equal(true).signed_zeros_equal(true);
  for (int i = 0; i < left.num_columns(); ++i) {
    ARROW_ASSIGN_OR_RAISE(const auto left_column, Comparable(left.column(i), pool));
    ARROW_ASSIGN_OR_RAISE(const auto right_column, Comparable(right.column(i), pool));
    if (!left_column->Equals(*right_column, options)) {
      return false;
    }
  }
  return true;
}

/// Row by row, whatever the chunks: both tables have as many rows.
arrow::Result<bool> RowsEqual(Context& context, const Table& left, const Table& right) {
  std::shared_ptr<arrow::RecordBatch> batches[2];
  size_t next[2] = {0, 0};
  const Table* tables[2] = {&left, &right};
  for (int64_t done = 0; done < left.num_rows();) {
    for (int side = 0; side < 2; ++side) {
      while (batches[side] == nullptr || batches[side]->num_rows() == 0) {
        ARROW_ASSIGN_OR_RAISE(batches[side], tables[side]->chunks()[next[side]++]->Pin());
      }
    }
    const int64_t rows = std::min(batches[0]->num_rows(), batches[1]->num_rows());
    ARROW_ASSIGN_OR_RAISE(const bool equal, BatchesEqual(*batches[0]->Slice(0, rows), *batches[1]->Slice(0, rows),
                                                         context.resources()->memory()));
    if (!equal) {
      return false;
    }
    for (auto& batch : batches) {
      batch = batch->Slice(rows);
    }
    done += rows;
  }
  return true;
}

/// `table` with columns that cannot be keys encoded, and with `weight` as one more column.
arrow::Result<Table> Weighted(const std::shared_ptr<Resources>& resources, const Table& table, int64_t weight) {
  arrow::FieldVector fields;
  for (const auto& field : table.schema()->fields()) {
    fields.push_back(CanBeKey(field->type()) ? field->WithNullable(true)
                                             : arrow::field(field->name(), arrow::large_binary()));
  }
  const auto schema = arrow::schema(fields);
  TableBuilder builder(resources, schema);
  ARROW_RETURN_NOT_OK(
      table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) -> arrow::Status {
        auto columns = batch->columns();
        for (auto& column : columns) {
          if (!CanBeKey(column->type())) {
            ARROW_ASSIGN_OR_RAISE(column, internal::EncodeValues(column, resources->memory()));
          }
        }
        return builder.Append(arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns)), /*owned=*/false);
      }));
  return internal::AppendConstant(resources, builder.Finish(), weight, "weight");
}

/// Left rows weigh 1, right ones -1; by distinct row, how much of which side there is.
struct Balance {
  GroupByKernelOptions kernel;
  std::shared_ptr<arrow::Schema> schema;
  Table partials;
};

arrow::Result<Balance> PartialBalance(Context& context, const Table& left, const Table& right) {
  const auto& resources = context.resources();
  ARROW_ASSIGN_OR_RAISE(const auto plus, Weighted(resources, left, 1));
  ARROW_ASSIGN_OR_RAISE(const auto minus, Weighted(resources, right, -1));
  ARROW_ASSIGN_OR_RAISE(const auto both, Table::Concatenate({plus, minus}));
  Balance balance;
  balance.schema = both.schema();
  for (int i = 0; i < left.num_columns(); ++i) {
    balance.kernel.keys.push_back(i);
  }
  AggregateSpec sum;
  sum.column = left.num_columns();
  sum.op = AggregateOp::kSum;
  sum.name = "balance";
  balance.kernel.aggregates.push_back(std::move(sum));
  balance.kernel.drop_null_keys = false;
  ARROW_ASSIGN_OR_RAISE(balance.partials, GroupByPartial(resources, both, balance.kernel));
  return balance;
}

arrow::Result<bool> AllBalanced(Context& context, const Balance& balance, const Table& partials) {
  ARROW_ASSIGN_OR_RAISE(const auto groups, GroupByMerge(context.resources(), partials, balance.schema, balance.kernel));
  bool balanced = true;
  ARROW_RETURN_NOT_OK(groups.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    const auto& sums = static_cast<const arrow::Int64Array&>(*batch->columns().back());
    for (int64_t i = 0; balanced && i < sums.length(); ++i) {
      balanced = sums.Value(i) == 0;
    }
    return arrow::Status::OK();
  }));
  return balanced;
}

/// The answer of all ranks: true where it is true at each.
arrow::Result<bool> Settle(CollectiveOperator& operation, const arrow::Result<bool>& local) {
  ARROW_ASSIGN_OR_RAISE(const auto agreement, operation.End(local.status(), {local.ok() && *local ? 0 : 1}));
  return agreement.Sum(0) == 0;
}

arrow::Result<bool> EqualInOrder(CollectiveOperator& operation, const Agreement& agreement, const Table& left,
                                 Table right) {
  std::vector<int64_t> left_rows;
  bool alike = true;  // spread over the ranks alike
  for (const auto& values : agreement.values) {
    left_rows.push_back(values[0]);
    alike = alike && values[0] == values[1];
  }
  if (!alike) {
    ARROW_ASSIGN_OR_RAISE(right, RepartitionTable(operation.context(), right, left_rows));
  }
  return Settle(operation, RowsEqual(operation.context(), left, right));
}

}  // namespace

arrow::Result<bool> Equal(Context& context, const Table& left, const Table& right, bool ordered,
                          std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "Equal");
  arrow::Status local = internal::CheckTable(left) & internal::CheckTable(right);
  const bool same_schema = local.ok() && SameColumns(*left.schema(), *right.schema());
  const bool count_rows = !ordered && same_schema && left.num_columns() > 0;
  Balance balance;
  if (count_rows) {
    local = PartialBalance(context, left, right).Value(&balance);
  }
  ARROW_ASSIGN_OR_RAISE(const auto agreement,
                        operation.Begin((ordered ? "ordered, " : "as multisets, ") + internal::OneLine(left.schema()) +
                                            ", " + internal::OneLine(right.schema()),
                                        local, {left.num_rows(), right.num_rows()}));
  if (!same_schema || agreement.Sum(0) != agreement.Sum(1)) {
    return false;
  }
  if (left.num_columns() == 0) {
    return true;
  }
  if (ordered) {
    return EqualInOrder(operation, agreement, left, right);
  }
  Table partials = balance.partials;
  if (!operation.alone()) {
    ARROW_ASSIGN_OR_RAISE(partials, ShuffleByHash(context, "Equal, counts", partials, balance.kernel.keys));
  }
  return Settle(operation, AllBalanced(context, balance, partials));
}

}  // namespace cylon
