/// Moving tables between ranks, chunk by chunk, in bounded memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/table/table.h"

namespace cylon {

/// Rows on their way to one rank.
struct Outgoing {
  Rank to = 0;
  std::shared_ptr<arrow::RecordBatch> batch;
};

/// Rows that came. (from, sequence) orders them: sequence counts what `from` sent to this rank.
struct Incoming {
  Rank from = 0;
  int64_t sequence = 0;
  std::shared_ptr<arrow::RecordBatch> batch;
};

/// Called on the thread that calls Exchange, between sends: the next batches to send, or nothing when there are no
/// more.
using ExchangeSource = std::function<arrow::Result<std::optional<std::vector<Outgoing>>>()>;
/// Called on the same thread for every chunk that came, in order of arrival.
using ExchangeTarget = std::function<arrow::Status(Incoming)>;

struct ExchangeStats {
  int64_t bytes_sent = 0;      ///< to other ranks
  int64_t bytes_received = 0;  ///< from other ranks
  int64_t rows_received = 0;   ///< from all, this rank too
};

/// Streams: produces, sends, receives and consumes at the same time, nobody waits for a whole table. Buffers travel as
/// they lie (Arrow IPC encapsulated messages with 64-byte alignment; the schema once a pair, dictionaries when they
/// change), chunks of at most min(chunk_bytes, budget / (8 * world size)). What arrives while this thread computes
/// waits within a credit; a full budget spills. A local error (of source or target) reaches all: end-of-stream markers
/// carry a status, and every rank returns RemoteError of the lowest failing rank. Collective; `schema` and `what` (a
/// name for errors and traces) are equal at all ranks, which is checked first. An empty batch is not sent.
CYLON_EXPORT arrow::Result<ExchangeStats> Exchange(Context& context, const std::string& what,
                                                   const std::shared_ptr<arrow::Schema>& schema,
                                                   const ExchangeSource& source, const ExchangeTarget& target);

/// Destinations beside ranks: the number of ranks, and one of these.
inline constexpr uint32_t kEverywhere = 0;  ///< the row goes to every rank
inline constexpr uint32_t kNowhere = 1;     ///< the row is left out

/// Destination of each row of a batch; index of the batch within the table, its rows before it.
using Partitioner = std::function<arrow::Status(const arrow::RecordBatch& batch, int64_t rows_before,
                                                std::vector<uint32_t>* destinations)>;

/// All collective, results ordered by (source rank, row). On one rank none of them touches a network.

/// Every row to where `partitioner` says. `rows_from`: how many of the result's rows each rank sent.
CYLON_EXPORT arrow::Result<Table> ShuffleTable(Context& context, const std::string& what, const Table& table,
                                               const Partitioner& partitioner,
                                               std::vector<int64_t>* rows_from = nullptr,
                                               std::source_location location = std::source_location::current());
/// Rows to the rank that the hash of `keys` names.
CYLON_EXPORT arrow::Result<Table> ShuffleByHash(Context& context, const std::string& what, const Table& table,
                                                const std::vector<int>& keys,
                                                std::source_location location = std::source_location::current());
/// The whole distributed table at every rank.
CYLON_EXPORT arrow::Result<Table> AllGatherTable(Context& context, const Table& table,
                                                 std::source_location location = std::source_location::current());
/// The whole distributed table at `root`, no rows elsewhere.
CYLON_EXPORT arrow::Result<Table> GatherTable(Context& context, const Table& table, Rank root,
                                              std::source_location location = std::source_location::current());
/// The table of `root` at every rank. Other ranks pass a table with the same schema; its rows are ignored.
CYLON_EXPORT arrow::Result<Table> BroadcastTable(Context& context, const Table& table, Rank root,
                                                 std::source_location location = std::source_location::current());
/// The same rows in the same order, sizes even to within one row; or `rows_per_rank`, by rank, adding up to the total
/// (the same at every rank).
CYLON_EXPORT arrow::Result<Table> RepartitionTable(
    Context& context, const Table& table, const std::optional<std::vector<int64_t>>& rows_per_rank = std::nullopt);

}  // namespace cylon
