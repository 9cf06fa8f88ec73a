/// Redis servers that share their keys out among each other: where a key is.
#pragma once

#include <arrow/status.h>

#include <string>
#include <string_view>

#include "cylon/wire/stream.h"

namespace cylon {

/// All keys begin so in the server.
inline constexpr char kRedisKeyPrefix[] = "cylon:";

/// "job/…" as "cylon:{job}/…". A cluster looks at what is in braces to decide which of its servers has a key, so one of
/// them has all of a job, and a command may name several of its keys.
std::string RedisKey(std::string_view key);

/// Another server of the cluster is to be asked: from now on, or (`once`) for this command alone, as the keys of its
/// slot are on their way there.
struct RedisMove {
  HostPort to;
  bool once = false;
};

/// The status for the error reply `text` ("MOVED 866 10.0.0.7:6379", "ASK …") of `server`, one that MoveOf knows and
/// that IsPassing; ProtocolError where `text` names no server, or one that nobody can mean.
arrow::Status RedisMoved(const std::string& server, std::string_view text);
/// Null where `status` is none of RedisMoved.
const RedisMove* MoveOf(const arrow::Status& status);

}  // namespace cylon
