// Tables moved between ranks: by hash or any partitioner, gathered, broadcast, cut evenly.
#include <algorithm>
#include <utility>

#include "cylon/exchange/chunking.h"
#include "cylon/exchange/exchange.h"
#include "cylon/kernels/partition.h"

namespace cylon {

namespace {

/// What came, in the order (source rank, sequence), as chunks that the budget may spill meanwhile.
class Collector {
 public:
  Collector(Context& context, const std::shared_ptr<arrow::Schema>& schema)
      : resources_(context.resources()), schema_(schema) {
    for (int i = 0; i < context.world_size(); ++i) {
      by_source_.emplace_back(resources_, schema_);
    }
  }

  arrow::Status Add(Incoming incoming) { return by_source_[incoming.from].Append(std::move(incoming.batch)); }
  arrow::Status AddOwn(Rank rank, const Table& table) {
    for (const auto& chunk : table.chunks()) {
      ARROW_RETURN_NOT_OK(by_source_[rank].Append(chunk));
    }
    return arrow::Status::OK();
  }
  arrow::Result<Table> Finish(std::vector<int64_t>* rows_from = nullptr) {
    std::vector<Table> tables;
    tables.reserve(by_source_.size());
    for (auto& builder : by_source_) {
      tables.push_back(builder.Finish());
      if (rows_from != nullptr) {
        rows_from->push_back(tables.back().num_rows());
      }
    }
    return Table::Concatenate(tables);
  }

 private:
  std::shared_ptr<Resources> resources_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<TableBuilder> by_source_;
};

/// Cuts a table into morsels whose share for each rank is about a chunk, and those by destination.
class Partitioning {
 public:
  Partitioning(Context& context, const std::string& what, const Table& table, const Partitioner& partitioner)
      : resources_(context.resources()),
        what_(what),
        table_(table),
        partitioner_(partitioner),
        size_(context.world_size()),
        morsel_bytes_(size_ * internal::ChunkBytes(*resources_, size_)) {}

  arrow::Result<std::optional<std::vector<Outgoing>>> Next() {
    if (batch_ == nullptr) {
      if (next_chunk_ == table_.chunks().size()) {
        return std::nullopt;
      }
      ARROW_ASSIGN_OR_RAISE(batch_, table_.chunks()[next_chunk_++]->Pin());
      next_row_ = 0;
      morsel_rows_ = std::min(internal::RowsPerChunk(*batch_, morsel_bytes_), resources_->options().morsel_rows);
    }
    const int64_t rows = std::min(morsel_rows_, batch_->num_rows() - next_row_);
    auto morsel = batch_->Slice(next_row_, rows);
    next_row_ += rows;
    if (next_row_ == batch_->num_rows()) {
      batch_.reset();
    }
    ARROW_RETURN_NOT_OK(partitioner_(*morsel, rows_before_, &destinations_));
    rows_before_ += rows;
    ARROW_ASSIGN_OR_RAISE(const uint32_t furthest, CheckDestinations(rows));
    const auto everywhere = static_cast<uint32_t>(size_) + kEverywhere;
    const auto nowhere = static_cast<uint32_t>(size_) + kNowhere;
    // A few rows that go nowhere are dealt like others and dropped; for many, the others are picked out before.
    uint32_t count = std::max(furthest, everywhere) + 1;
    if (furthest == nowhere && std::count(destinations_.begin(), destinations_.end(), nowhere) > rows / 2) {
      ARROW_ASSIGN_OR_RAISE(morsel, LeaveOut(*morsel));
      count = nowhere;
    }
    ARROW_ASSIGN_OR_RAISE(auto parts, PartitionBatch(*resources_, *morsel, destinations_, count));
    std::vector<Outgoing> out;
    for (Rank to = 0; to < size_; ++to) {
      if (parts[everywhere] != nullptr) {
        out.push_back(Outgoing{to, parts[everywhere]});
      }
      if (parts[to] != nullptr) {
        out.push_back(Outgoing{to, std::move(parts[to])});
      }
    }
    return out;
  }

 private:
  /// The largest of them.
  arrow::Result<uint32_t> CheckDestinations(int64_t rows) const {
    if (static_cast<int64_t>(destinations_.size()) != rows) {
      return arrow::Status::Invalid("the partitioner of '", what_, "' gave ", destinations_.size(),
                                    " destinations for ", rows, " rows; expected one for each row");
    }
    // Not max_element, which compares one after another.
    uint32_t furthest = 0;
    for (const uint32_t destination : destinations_) {
      furthest = std::max(furthest, destination);
    }
    if (furthest > static_cast<uint32_t>(size_) + kNowhere) {
      return arrow::Status::Invalid("the partitioner of '", what_, "' sent a row to rank ", furthest,
                                    ", expected 0 to ", size_ - 1, "; correct the partitioner");
    }
    return furthest;
  }

  /// `morsel` without the rows that go nowhere; their destinations go too.
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> LeaveOut(const arrow::RecordBatch& morsel) {
    const auto nowhere = static_cast<uint32_t>(size_) + kNowhere;
    std::vector<int64_t> kept;
    for (size_t i = 0; i < destinations_.size(); ++i) {
      if (destinations_[i] != nowhere) {
        destinations_[kept.size()] = destinations_[i];
        kept.push_back(static_cast<int64_t>(i));
      }
    }
    destinations_.resize(kept.size());
    return TakeRows(*resources_, morsel, kept);
  }

  const std::shared_ptr<Resources> resources_;
  const std::string& what_;
  const Table& table_;
  const Partitioner& partitioner_;
  const int size_;
  const int64_t morsel_bytes_;
  size_t next_chunk_ = 0;
  std::shared_ptr<arrow::RecordBatch> batch_;  // pinned while it is cut
  int64_t next_row_ = 0;
  int64_t morsel_rows_ = 0;
  int64_t rows_before_ = 0;
  std::vector<uint32_t> destinations_;
};

/// Rows of one table for one rank.
struct Share {
  Rank to;
  Table rows;
};

// Sends `shares` to other ranks, a chunk of each in turn, so that all of them are served at the same time. This rank's
// own rows stay where they are.
arrow::Result<Table> ExchangeShares(Context& context, const std::string& what,
                                    const std::shared_ptr<arrow::Schema>& schema, const std::vector<Share>& shares) {
  Collector collector(context, schema);
  size_t longest = 0;
  for (const Share& share : shares) {
    if (share.to == context.rank()) {
      ARROW_RETURN_NOT_OK(collector.AddOwn(share.to, share.rows));
    } else {
      longest = std::max(longest, share.rows.chunks().size());
    }
  }
  size_t next = 0;
  auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
    if (next == longest) {
      return std::nullopt;
    }
    std::vector<Outgoing> out;
    for (const Share& share : shares) {
      if (share.to != context.rank() && next < share.rows.chunks().size()) {
        ARROW_ASSIGN_OR_RAISE(auto batch, share.rows.chunks()[next]->Pin());
        out.push_back(Outgoing{share.to, std::move(batch)});
      }
    }
    ++next;
    return out;
  };
  ARROW_RETURN_NOT_OK(
      Exchange(context, what, schema, source, [&](Incoming incoming) { return collector.Add(std::move(incoming)); }));
  return collector.Finish();
}

arrow::Status CheckRoot(Context& context, const char* what, Rank root) {
  if (root < 0 || root >= context.world_size()) {
    return arrow::Status::Invalid(what, " has the root ", root, ", expected a rank from 0 to ",
                                  context.world_size() - 1);
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Result<Table> ShuffleTable(Context& context, const std::string& what, const Table& table,
                                  const Partitioner& partitioner, std::vector<int64_t>* rows_from,
                                  std::source_location location) {
  CallSite site(context.communicator(), location);
  if (context.world_size() == 1) {
    if (rows_from != nullptr) {
      rows_from->push_back(table.num_rows());
    }
    return table;
  }
  Partitioning partitioning(context, what, table, partitioner);
  Collector collector(context, table.schema());
  ARROW_RETURN_NOT_OK(Exchange(
      context, what, table.schema(), [&] { return partitioning.Next(); },
      [&](Incoming incoming) { return collector.Add(std::move(incoming)); }));
  return collector.Finish(rows_from);
}

arrow::Result<Table> ShuffleByHash(Context& context, const std::string& what, const Table& table,
                                   const std::vector<int>& keys, std::source_location location) {
  CallSite site(context.communicator(), location);
  const auto count = static_cast<uint32_t>(context.world_size());
  return ShuffleTable(context, what, table,
                      [&](const arrow::RecordBatch& batch, int64_t, std::vector<uint32_t>* destinations) {
                        return HashDestinations(batch, keys, count, destinations);
                      });
}

arrow::Result<Table> AllGatherTable(Context& context, const Table& table, std::source_location location) {
  CallSite site(context.communicator(), location);
  if (context.world_size() == 1) {
    return table;
  }
  std::vector<Share> shares;
  for (Rank to = 0; to < context.world_size(); ++to) {
    shares.push_back(Share{to, table});
  }
  return ExchangeShares(context, "all-gather of a table", table.schema(), shares);
}

arrow::Result<Table> GatherTable(Context& context, const Table& table, Rank root, std::source_location location) {
  CallSite site(context.communicator(), location);
  ARROW_RETURN_NOT_OK(CheckRoot(context, "a gather of a table", root));
  if (context.world_size() == 1) {
    return table;
  }
  return ExchangeShares(context, "gather of a table to rank " + std::to_string(root), table.schema(),
                        {Share{root, table}});
}

arrow::Result<Table> BroadcastTable(Context& context, const Table& table, Rank root, std::source_location location) {
  CallSite site(context.communicator(), location);
  ARROW_RETURN_NOT_OK(CheckRoot(context, "a broadcast of a table", root));
  if (context.world_size() == 1) {
    return table;
  }
  std::vector<Share> shares;
  for (Rank to = 0; to < context.world_size() && context.rank() == root; ++to) {
    shares.push_back(Share{to, table});
  }
  return ExchangeShares(context, "broadcast of a table from rank " + std::to_string(root), table.schema(), shares);
}

arrow::Result<Table> RepartitionTable(Context& context, const Table& table,
                                      const std::optional<std::vector<int64_t>>& rows_per_rank) {
  const int size = context.world_size();
  Proposal proposal;
  proposal.signature = "repartition of a table to ";
  if (rows_per_rank.has_value()) {
    proposal.signature += "row counts";
    for (const int64_t rows : *rows_per_rank) {
      proposal.signature += " " + std::to_string(rows);
    }
  } else {
    proposal.signature += "even sizes";
  }
  proposal.values = {table.num_rows()};
  // On one rank, only the counts are to be checked.
  Agreement agreement;
  agreement.values = {proposal.values};
  if (size > 1) {
    ARROW_ASSIGN_OR_RAISE(agreement, context.communicator().Agree(std::move(proposal)));
  }
  const int64_t total = agreement.Sum(0);
  std::vector<int64_t> wanted(static_cast<size_t>(size));
  for (int rank = 0; rank < size; ++rank) {
    // Without the product total * rank, which could overflow.
    wanted[rank] = total / size + (rank < total % size ? 1 : 0);
  }
  if (rows_per_rank.has_value()) {
    wanted = *rows_per_rank;
    int64_t left = total;
    for (const int64_t rows : wanted) {
      left = rows < 0 || left < 0 ? -1 : left - rows;
    }
    if (static_cast<int>(wanted.size()) != size || left != 0) {
      return arrow::Status::Invalid("a repartition was given ", wanted.size(), " row counts that do not add up to ",
                                    total, "; expected ", size, " counts >= 0 with that sum; correct rows_per_rank");
    }
  }
  if (size == 1) {
    return table;
  }
  // Row numbers are those of the whole table.
  int64_t own_begin = 0;
  for (Rank rank = 0; rank < context.rank(); ++rank) {
    own_begin += agreement.values[rank][0];
  }
  const int64_t own_end = own_begin + table.num_rows();
  std::vector<Share> shares;
  int64_t begin = 0;
  for (Rank to = 0; to < size; ++to) {
    const int64_t end = begin + wanted[to];
    const int64_t from = std::max(begin, own_begin);
    const int64_t until = std::min(end, own_end);
    if (until > from) {
      ARROW_ASSIGN_OR_RAISE(auto rows, table.Slice(from - own_begin, until - from));
      shares.push_back(Share{to, std::move(rows)});
    }
    begin = end;
  }
  return ExchangeShares(context, "repartition of a table", table.schema(), shares);
}

}  // namespace cylon
