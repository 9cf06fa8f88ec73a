// Unique rows: only keys and row numbers travel, and row numbers come back, so that kept rows stay where they are.
#include <arrow/util/bit_util.h>

#include <cstring>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/unique.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/rows.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;

/// A row's origin in one number: the rank above 40 bits of row number (a trillion rows a rank, eight million ranks).
constexpr int kRowBits = 40;
constexpr int64_t kRowMask = (int64_t{1} << kRowBits) - 1;

/// What this rank sends: the key columns, then the origin of each row. Rows that cannot be kept are left out: a later
/// (earlier) one of equal rows of one rank is never the first (last) of all. Where only single rows are kept, copies
/// have to be seen.
arrow::Result<Table> KeysAndOrigins(Context& context, const Table& table, const std::vector<int>& keys, Keep keep) {
  if (table.num_rows() > kRowMask) {
    return arrow::Status::CapacityError("Unique was given ", table.num_rows(), " rows on one rank; at most ", kRowMask,
                                        " can be numbered; use more ranks");
  }
  const auto& resources = context.resources();
  ARROW_ASSIGN_OR_RAISE(auto columns, table.SelectColumns(keys));
  const int64_t first = static_cast<int64_t>(context.rank()) << kRowBits;
  ARROW_ASSIGN_OR_RAISE(columns, internal::AppendRowNumbers(resources, columns, first, "origin"));
  if (keep == Keep::kNone) {
    return columns;
  }
  std::vector<int> indices(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    indices[i] = static_cast<int>(i);
  }
  return UniqueRows(resources, columns, indices, keep);
}

arrow::Status DestinationsOf(const arrow::RecordBatch& batch, std::vector<uint32_t>* destinations) {
  const auto& origins = static_cast<const arrow::Int64Array&>(*batch.column(0));
  destinations->resize(batch.num_rows());
  for (int64_t i = 0; i < batch.num_rows(); ++i) {
    (*destinations)[i] = static_cast<uint32_t>(origins.Value(i) >> kRowBits);
  }
  return arrow::Status::OK();
}

/// The rows of `table` whose origins are in `kept`, in their order.
arrow::Result<Table> RowsOf(Context& context, const Table& table, const Table& kept) {
  const int64_t rows = table.num_rows();
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits,
                        arrow::AllocateBuffer(arrow::bit_util::BytesForBits(rows), context.resources()->memory()));
  std::memset(bits->mutable_data(), 0, bits->size());
  ARROW_RETURN_NOT_OK(kept.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    const auto& origins = static_cast<const arrow::Int64Array&>(*batch->column(0));
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      arrow::bit_util::SetBit(bits->mutable_data(), origins.Value(i) & kRowMask);
    }
    return arrow::Status::OK();
  }));
  const arrow::ChunkedArray mask(std::make_shared<arrow::BooleanArray>(rows, std::move(bits)));
  return FilterRows(context.resources(), table, mask);
}

const char* KeepName(Keep keep) {
  return keep == Keep::kFirst ? "first" : keep == Keep::kLast ? "last" : "only single rows";
}

}  // namespace

arrow::Result<Table> Unique(Context& context, const Table& table, const std::vector<std::string>& columns, Keep keep) {
  CollectiveOperator operation(context, "Unique");
  std::vector<int> keys;
  const auto prepare = [&]() -> arrow::Result<Table> {
    ARROW_RETURN_NOT_OK(internal::CheckTable(table));
    ARROW_ASSIGN_OR_RAISE(keys, internal::FindColumnsOrAll(*table.schema(), columns, "column", "the table"));
    ARROW_RETURN_NOT_OK(internal::CheckKeyTypes(*table.schema(), keys, "column"));
    if (keys.empty()) {
      return table;  // rows without columns are not compared, as in pandas
    }
    return operation.alone() ? UniqueRows(context.resources(), table, keys, keep)
                             : KeysAndOrigins(context, table, keys, keep);
  };
  auto prepared = prepare();
  const std::string details = std::string("keep ") + KeepName(keep) + ", columns " + internal::OneLine(columns) + ", " +
                              internal::OneLine(table.schema());
  ARROW_RETURN_NOT_OK(operation.Begin(details, prepared.status()).status());
  if (operation.alone() || keys.empty()) {
    return prepared;
  }
  std::vector<int> indices(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    indices[i] = static_cast<int>(i);
  }
  ARROW_ASSIGN_OR_RAISE(auto met, ShuffleByHash(context, "Unique, keys", *prepared, indices));
  prepared = Table();
  // The shuffle keeps the order (source rank, row), so first and last are those of the whole table.
  auto kept = UniqueRows(context.resources(), met, indices, keep);
  met = Table();
  if (kept.ok()) {
    kept = kept->SelectColumns({static_cast<int>(keys.size())});
  }
  ARROW_RETURN_NOT_OK(operation.End(kept.status()).status());
  ARROW_ASSIGN_OR_RAISE(const auto home,
                        ShuffleTable(context, "Unique, rows to keep", *kept,
                                     [](const arrow::RecordBatch& batch, int64_t, std::vector<uint32_t>* destinations) {
                                       return DestinationsOf(batch, destinations);
                                     }));
  return operation.End(RowsOf(context, table, home));
}

}  // namespace cylon
