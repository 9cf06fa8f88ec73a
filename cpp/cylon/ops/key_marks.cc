// One byte for each row of a distributed table, told where all rows with its key meet.
#include "cylon/ops/key_marks.h"

#include <algorithm>
#include <numeric>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/partition.h"
#include "cylon/kernels/unique.h"
#include "cylon/ops/unique_marks.h"

namespace cylon::internal {

arrow::Result<std::shared_ptr<arrow::Buffer>> MarkWhereKeysMeet(CollectiveOperator& operation, const Table& keys,
                                                                const RowsToSend& thin, const KeyMarker& mark) {
  Context& context = operation.context();
  const auto& resources = context.resources();
  const auto ranks = static_cast<uint32_t>(context.world_size());
  std::vector<int> all(keys.num_columns());
  std::iota(all.begin(), all.end(), 0);
  std::shared_ptr<arrow::Buffer> sent;  // by row of `keys`; nullptr: all are
  Table travelling = keys;
  std::shared_ptr<arrow::Buffer> destinations;  // by row of `travelling`, and one more
  const auto prepare = [&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(sent, thin());
    if (sent != nullptr) {
      ARROW_ASSIGN_OR_RAISE(travelling, KeepRows(resources, keys, sent->data()));
    }
    ARROW_ASSIGN_OR_RAISE(destinations, arrow::AllocateBuffer((travelling.num_rows() + 1) * 4, resources->memory()));
    destinations->mutable_data_as<uint32_t>()[travelling.num_rows()] = 0;
    return arrow::Status::OK();
  };
  ARROW_RETURN_NOT_OK(operation.Begin("rows to send", prepare()).status());

  std::vector<int64_t> sent_to(ranks, 0);
  std::vector<int64_t> rows_from;
  ARROW_ASSIGN_OR_RAISE(
      auto met, ShuffleTable(
                    context, operation.name() + ", keys", travelling,
                    [&](const arrow::RecordBatch& batch, int64_t rows_before, std::vector<uint32_t>* to) {
                      ARROW_RETURN_NOT_OK(HashDestinations(batch, all, ranks, to));
                      std::copy(to->begin(), to->end(), destinations->mutable_data_as<uint32_t>() + rows_before);
                      std::for_each(to->begin(), to->end(), [&](uint32_t rank) { ++sent_to[rank]; });
                      return arrow::Status::OK();
                    },
                    &rows_from));
  travelling = Table();
  const auto answer = [&]() -> arrow::Result<Buffers> {
    // The shuffle keeps the order (source rank, row), so first and last are those of the whole table.
    ARROW_ASSIGN_OR_RAISE(const auto marks, mark(met));
    met = Table();
    Buffers by_source;
    int64_t begin = 0;
    for (const int64_t rows : rows_from) {
      by_source.push_back(arrow::SliceBuffer(marks, begin, rows));
      begin += rows;
    }
    return by_source;
  };
  ARROW_ASSIGN_OR_RAISE(const auto answers,
                        ExchangeMarks(context, operation.name() + ", rows to keep", answer, sent_to));
  std::vector<const uint8_t*> next(ranks);
  std::transform(answers.begin(), answers.end(), next.begin(), [](const auto& buffer) { return buffer->data(); });
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> kept,
                        arrow::AllocateBuffer(keys.num_rows(), resources->memory()));
  const auto* to = destinations->data_as<uint32_t>();
  for (int64_t row = 0; row < keys.num_rows(); ++row) {
    // Without a branch: after a row that was not sent, the same answer is looked at again.
    const uint8_t was_sent = sent == nullptr ? 1 : sent->data()[row];
    const uint8_t*& answered = next[*to];
    kept->mutable_data()[row] = was_sent & *answered;
    answered += was_sent;
    to += was_sent;
  }
  return kept;
}

}  // namespace cylon::internal
