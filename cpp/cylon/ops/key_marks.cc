// One byte for each row of a distributed table, told where all rows with its key meet.
#include "cylon/ops/key_marks.h"

#include <algorithm>
#include <numeric>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/unique.h"

namespace cylon::internal {

namespace {

/// A row's origin in one number: the rank above 40 bits of row number (a trillion rows a rank, eight million ranks).
constexpr int kRowBits = 40;
constexpr int64_t kRowMask = (int64_t{1} << kRowBits) - 1;

/// Calls function(origin) for each row of a table whose last column has the origins, in their order.
template <typename Function>
arrow::Status ForEachOrigin(const Table& table, const Function& function) {
  return table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    const auto& origins = static_cast<const arrow::Int64Array&>(*batch->column(batch->num_columns() - 1));
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      function(origins.Value(i));
    }
    return arrow::Status::OK();
  });
}

/// The keys with the origins of their rows, of those rows that are sent.
arrow::Result<Table> KeysAndOrigins(Context& context, const Table& keys, const std::shared_ptr<arrow::Buffer>& sent) {
  if (keys.num_rows() > kRowMask) {
    return arrow::Status::CapacityError("rows are marked by their keys, and one rank has ", keys.num_rows(),
                                        "; at most ", kRowMask, " can be numbered; use more ranks");
  }
  const int64_t first = static_cast<int64_t>(context.rank()) << kRowBits;
  ARROW_ASSIGN_OR_RAISE(auto numbered, AppendRowNumbers(context.resources(), keys, first, "origin"));
  return sent == nullptr ? numbered : KeepRows(context.resources(), numbered, sent->data());
}

/// The origins of the rows of `met` that `mark` keeps.
arrow::Result<Table> KeptOrigins(Context& context, const Table& met, const KeyMarker& mark) {
  const int origin = met.num_columns() - 1;
  std::vector<int> all(origin);
  std::iota(all.begin(), all.end(), 0);
  ARROW_ASSIGN_OR_RAISE(const auto keys, met.SelectColumns(all));
  ARROW_ASSIGN_OR_RAISE(const auto marks, mark(keys));
  ARROW_ASSIGN_OR_RAISE(const auto origins, met.SelectColumns({origin}));
  return KeepRows(context.resources(), origins, marks->data());
}

}  // namespace

arrow::Result<std::shared_ptr<arrow::Buffer>> MarkWhereKeysMeet(CollectiveOperator& operation, const Table& keys,
                                                                const std::shared_ptr<arrow::Buffer>& sent,
                                                                const KeyMarker& mark) {
  Context& context = operation.context();
  auto travelling = KeysAndOrigins(context, keys, sent);
  ARROW_RETURN_NOT_OK(operation.Begin("keys to send", travelling.status()).status());
  std::vector<int> all(keys.num_columns());
  std::iota(all.begin(), all.end(), 0);
  ARROW_ASSIGN_OR_RAISE(auto met, ShuffleByHash(context, operation.name() + ", keys", *travelling, all));
  travelling = Table();
  // The shuffle keeps the order (source rank, row), so what comes first here is first of the whole table.
  auto kept = KeptOrigins(context, met, mark);
  met = Table();
  ARROW_RETURN_NOT_OK(operation.Begin("rows to keep", kept.status()).status());
  ARROW_ASSIGN_OR_RAISE(const auto home,
                        ShuffleTable(context, operation.name() + ", rows to keep", *kept,
                                     [](const arrow::RecordBatch& batch, int64_t, std::vector<uint32_t>* destinations) {
                                       const auto& origins = static_cast<const arrow::Int64Array&>(*batch.column(0));
                                       destinations->resize(batch.num_rows());
                                       for (int64_t i = 0; i < batch.num_rows(); ++i) {
                                         (*destinations)[i] = static_cast<uint32_t>(origins.Value(i) >> kRowBits);
                                       }
                                       return arrow::Status::OK();
                                     }));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> marked,
                        arrow::AllocateBuffer(keys.num_rows(), context.resources()->memory()));
  std::fill_n(marked->mutable_data(), keys.num_rows(), uint8_t{0});
  ARROW_RETURN_NOT_OK(ForEachOrigin(home, [&](int64_t origin) { marked->mutable_data()[origin & kRowMask] = 1; }));
  return marked;
}

}  // namespace cylon::internal
