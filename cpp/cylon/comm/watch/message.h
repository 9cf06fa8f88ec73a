/// What watches say to each other, as bytes.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cylon/base/error.h"
#include "cylon/base/executor.h"
#include "cylon/comm/watch/judge.h"

namespace cylon::internal {

/// What a rank says of itself with each beat.
struct Report {
  bool waits = false;      ///< for others; else it computes
  Duration since{};        ///< for so long
  uint64_t sequence = 0;   ///< of the operation
  std::string operation;   ///< that it is in, or was in last; "" before the first
  int64_t bytes_sent = 0;  ///< so far
  int64_t bytes_received = 0;
  bool operator==(const Report&) const = default;
};

/// A watch's message is a header of 4 bytes and a body; all numbers are little-endian.
///
///   0      1      2        4
///   +------+------+--------+----------~
///   | 'W'  | type | length | body
///   +------+------+--------+----------~
///
///   beat       counter 8, report
///   question   about 4, stamp 8
///   answer     about 4, stamp 8, testimony 1, age in us 8, has report 1, report
///   flood      text: what Endpoint floods
///   goodbye    nothing
///   report     waits 1, since in us 8, sequence 8, bytes sent 8, bytes received 8, operation (length 4, text)
struct WatchMessage {
  enum class Type : uint8_t { kBeat = 1, kQuestion = 2, kAnswer = 3, kFlood = 4, kGoodbye = 5 };
  Type type = Type::kBeat;
  uint64_t counter = 0;                      ///< kBeat
  Rank about = -1;                           ///< kQuestion, kAnswer
  TimePoint stamp{};                         ///< when it was asked, on the asker's clock
  Testimony testimony = Testimony::kUnsure;  ///< kAnswer
  Duration age{};                            ///< how long ago the rank was heard
  bool has_report = false;                   ///< kAnswer: what the rank last said of itself is there
  Report report;                             ///< kBeat, kAnswer
  std::string text;                          ///< kFlood
};

inline constexpr size_t kWatchHeaderBytes = 4;
inline constexpr size_t kMaxWatchBody = 60 << 10;
inline constexpr size_t kMaxOperationText = 160;

std::string Encode(const WatchMessage& message);

/// What follows a header: its type and how long its body is. ProtocolError where it is none.
struct WatchHeader {
  WatchMessage::Type type;
  size_t length;
};
arrow::Result<WatchHeader> DecodeWatchHeader(std::span<const uint8_t, kWatchHeaderBytes> bytes);
arrow::Result<WatchMessage> DecodeWatchBody(WatchMessage::Type type, std::string_view body);

}  // namespace cylon::internal
