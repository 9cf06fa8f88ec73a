/// What goes wrong with a Redis server, and what to do about it.
#pragma once

#include <arrow/status.h>

#include <string>

#include "cylon/bootstrap/redis_link.h"

namespace cylon {

/// Of a status that IsPassing knows.
class PassingDetail : public arrow::StatusDetail {
 public:
  const char* type_id() const override;
  std::string ToString() const override;
};

/// IOError that IsPassing knows: a server that is gone, restarts or loads may answer soon.
arrow::Status PassingTrouble(const std::string& message);
bool IsPassing(const arrow::Status& status);

/// The status for the error reply `text` to `command` ("SET"), with what to do. PassingTrouble where it may go away,
/// RedisMoved where another server has the key.
arrow::Status RedisRefusal(const std::string& server, const std::string& command, const std::string& text);

/// Why AUTH failed, in words of our own: a server that does not know the command repeats the password.
arrow::Status RedisAuthRefusal(const std::string& server, const std::string& user, const std::string& text);

/// ProtocolError for a reply of a kind that `command` does not have.
arrow::Status UnexpectedReply(const std::string& server, const std::string& command, const RespValue& reply);

/// The first error among `replies` as a status, or OK.
arrow::Status FirstRefusal(const std::string& server, const std::vector<RedisCommand>& commands,
                           const RedisReplies& replies);

}  // namespace cylon
