// Counting calls.
#include "cylon/comm/tally.h"

#include <bit>

namespace cylon::internal {

namespace {

/// Of a tree or of doubling distances.
double Rounds(int size) { return size <= 1 ? 0 : std::bit_width(static_cast<unsigned>(size - 1)); }

double Foretell(const std::optional<ChannelRates>& rates, const CallShape& shape) {
  return rates ? shape.rounds * rates->latency_s + shape.bytes / rates->bytes_per_s : 0;
}

/// Of the largest message of a call in which a rank brings or gets `bytes`.
int64_t LargestMessage(CallKind kind, int size, int64_t bytes) {
  const bool one_for_each = kind == CallKind::kAllToAll || kind == CallKind::kScatter;
  return one_for_each ? bytes / size : kind == CallKind::kAllGather ? bytes / 2 : bytes;
}

double SecondsOf(Duration time) { return std::chrono::duration<double>(time).count(); }

std::string NameOf(CallKind kind) {
  const std::string text = ToText(Call{.kind = kind});
  return text.substr(0, text.find('('));
}

}  // namespace

CallShape ShapeOf(CallKind kind, int size, double bytes) {
  const double rounds = Rounds(size);
  switch (kind) {
    case CallKind::kBarrier:
      return {rounds, 0};
    case CallKind::kAllReduce:
    case CallKind::kReduce:
    case CallKind::kBroadcast:
      return {rounds, rounds * bytes};
    case CallKind::kAllGather:
    case CallKind::kAgree:
    case CallKind::kSplit:
      return {rounds, bytes};
    case CallKind::kGather:
    case CallKind::kScatter:
    case CallKind::kAllToAll:
      return {1, bytes};  // straight to each peer, all under way at once
  }
  return {};
}

void CallTally::SetRates(const ChannelRates& calls, const ChannelRates& tables, int64_t large_from) {
  const std::lock_guard<std::mutex> lock(mutex_);
  calls_ = calls;
  tables_ = tables;
  large_from_ = large_from;
}

void CallTally::AddCall(CallKind kind, int size, int64_t bytes, Duration time) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& row = rows_[static_cast<size_t>(kind)];
  ++row.calls;
  row.bytes += bytes;
  row.seconds += SecondsOf(time);
  const bool large = LargestMessage(kind, size, bytes) >= large_from_;
  row.large_calls += large ? 1 : 0;
  row.large_bytes += large ? bytes : 0;
  row.predicted_seconds += Foretell(large ? tables_ : calls_, ShapeOf(kind, size, static_cast<double>(bytes)));
}

void CallTally::AddExchange(int size, int64_t bytes_sent, Duration time) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& row = rows_[0];
  ++row.calls;
  row.bytes += bytes_sent;
  row.seconds += SecondsOf(time);
  // It begins and ends with an agreement.
  row.predicted_seconds += Foretell(tables_, {1, static_cast<double>(bytes_sent)}) +
                           2 * Foretell(calls_, ShapeOf(CallKind::kAgree, size, 0));
}

std::vector<CallTally::Row> CallTally::Rows() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Row> rows;
  for (size_t kind = 0; kind < rows_.size(); ++kind) {
    if (rows_[kind].calls > 0) {
      rows.push_back(rows_[kind]);
      rows.back().name = kind == 0 ? kExchangeName : NameOf(static_cast<CallKind>(kind));
    }
  }
  return rows;
}

}  // namespace cylon::internal
