/// What a rank calls, as its peers are told: every message of a collective begins with it.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <string>

#include "cylon/comm/communicator.h"

namespace cylon::internal {

enum class CallKind : uint8_t {
  kBarrier = 1,
  kAllReduce,
  kReduce,
  kBroadcast,
  kAllGather,
  kGather,
  kScatter,
  kAllToAll,
  kAgree,
  kSplit,
};
inline constexpr int kCallKinds = 10;

/// One collective call. All of it but `within` and `site` has to be the same at every rank; fields that do not apply
/// keep their defaults.
struct Call {
  CallKind kind = CallKind::kBarrier;
  ElementType type = arrow::Type::NA;
  ReduceOp reduce = ReduceOp::kSum;
  Rank root = -1;
  int64_t bytes = -1;
  bool invalid = false;  ///< refused by the rank that called it; its peers have to refuse it too
  std::string within{};  ///< the operator that makes the call, for messages; cut to fit
  std::string site{};    ///< where the program makes it, "analysis.py:42", for messages; cut to fit
};

/// True where two ranks made the same call.
bool SameCall(const Call& left, const Call& right);

/// "AllReduce(4 x int64, sum)", with the operator it belongs to and where it was made: "Join: AllReduce(…) at a.py:9".
std::string ToText(const Call& call);

/// Begins every message of a collective.
///
///   0         1      2      3        4       5        6      7      8      12        16      24         32
///   +---------+------+------+--------+-------+--------+------+------+------+---------+-------+----------+-------~-----~
///   | version | kind | type | reduce | flags | within | site | zero | root | (zero)  | bytes | sequence | within |
///   site
///   +---------+------+------+--------+-------+--------+------+------+------+---------+-------+----------+-------~-----~
///
/// Bytes 5 and 6 are the lengths of `within` and `site`; flags: 1 invalid, 2 announcement.
struct CallHeader {
  Call call;
  uint64_t sequence = 0;
  bool announcement = false;  ///< says only that its sender has made the call: no data
};
InlineBytes Encode(const CallHeader& header);
/// ProtocolError (without a peer) where the bytes are no header.
arrow::Result<CallHeader> DecodeCallHeader(const InlineBytes& bytes);

}  // namespace cylon::internal
