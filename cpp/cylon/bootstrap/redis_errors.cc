// Error replies of Redis servers as statuses.
#include "cylon/bootstrap/redis_errors.h"

#include "cylon/base/error.h"
#include "cylon/bootstrap/redis_cluster.h"

namespace cylon {

namespace {

constexpr char kPassingId[] = "cylon::PassingTrouble";
/// Of a server's own words, so much is repeated.
constexpr size_t kMostQuoted = 200;

std::string Quote(std::string_view text) {
  std::string out(text.substr(0, kMostQuoted));
  for (char& c : out) {
    c = c >= 0x20 && c < 0x7f ? c : '?';
  }
  return "'" + out + (text.size() > kMostQuoted ? "...'" : "'");
}

bool Says(const std::string& text, std::string_view what) { return text.find(what) != std::string::npos; }

}  // namespace

const char* PassingDetail::type_id() const { return kPassingId; }
std::string PassingDetail::ToString() const { return "may pass"; }

arrow::Status PassingTrouble(const std::string& message) {
  return {arrow::StatusCode::IOError, message, std::make_shared<PassingDetail>()};
}

bool IsPassing(const arrow::Status& status) {
  return status.detail() != nullptr && std::string_view(status.detail()->type_id()) == kPassingId;
}

arrow::Status RedisRefusal(const std::string& server, const std::string& command, const std::string& text) {
  const std::string who = "the Redis server at " + server + " ";
  const std::string_view code = std::string_view(text).substr(0, text.find(' '));
  // UNBLOCKED: it has become another's replica under a read that waited; what it is now, the next connection is told.
  if (code == "LOADING" || code == "BUSY" || code == "TRYAGAIN" || code == "UNBLOCKED" || code == "CLUSTERDOWN") {
    return PassingTrouble("it answers " + Quote(text));
  }
  if (Says(text, "max number of clients")) {
    return PassingTrouble("it has as many clients as its maxclients allows");
  }
  if (code == "NOAUTH") {
    return AuthenticationError(who + "asks for a password; set CYLON_STORE to redis://user:password@" + server +
                               ", or redis://:password@" + server);
  }
  if (code == "DENIED") {
    return AuthenticationError(who +
                               "is in protected mode and takes connections of its own host only; give it a password "
                               "and set CYLON_STORE to redis://:password@" +
                               server);
  }
  if (code == "NOPERM") {
    return AuthenticationError(who + "does not let this user run " + command + " (" + Quote(text) +
                               "); a store needs the ACL rules ~cylon:* +get +set +del +incrby +pexpire +multi +exec "
                               "+select and +config|get or +info, the transport redis also +xadd +xread +xdel +mget");
  }
  if (code == "OOM") {
    return arrow::Status::CapacityError(who, "has no memory left for ", command, " (", Quote(text),
                                        "); raise its maxmemory, or use one for fewer jobs");
  }
  if (code == "READONLY" || code == "MASTERDOWN") {
    return arrow::Status::IOError(who, "is a read-only replica, and refuses ", command,
                                  "; name its primary in CYLON_STORE");
  }
  if (code == "MOVED" || code == "ASK") {
    return RedisMoved(server, text);
  }
  if (Says(text, "cluster mode")) {
    return arrow::Status::Invalid(who, "is part of a cluster, which has one database, and refuses ", command, " (",
                                  Quote(text), "); leave the number of a database out of its URL");
  }
  if (code == "WRONGTYPE") {
    return arrow::Status::Invalid(who, "holds something else under the key of this ", command, " (", Quote(text),
                                  "); leave keys that begin with cylon: to this library");
  }
  return arrow::Status::IOError(who, "refused ", command, ": ", Quote(text), "; see its log and its documentation");
}

arrow::Status RedisAuthRefusal(const std::string& server, const std::string& user, const std::string& text) {
  const std::string_view code = std::string_view(text).substr(0, text.find(' '));
  if (code == "LOADING" || Says(text, "max number of clients")) {
    return RedisRefusal(server, "AUTH", text);
  }
  if (code == "DENIED") {
    return RedisRefusal(server, "AUTH", "DENIED");
  }
  const std::string who = "the Redis server at " + server + " ";
  const std::string set = "; set CYLON_STORE to redis://user:password@" + server;
  if (code == "WRONGPASS" || Says(text, "invalid password")) {
    const std::string whom = user.empty() ? "" : " for the user '" + user + "'";
    return AuthenticationError(who + "refused the password" + whom + set + ", with those that it knows");
  }
  if (Says(text, "without any password") || Says(text, "no password is set")) {
    return AuthenticationError(who + "has no password, but one is given for it; set CYLON_STORE to redis://" + server +
                               ", or give the server that password");
  }
  if (Says(text, "wrong number of arguments")) {
    return AuthenticationError(who + "knows no users, as before Redis 6; set CYLON_STORE to redis://:password@" +
                               server);
  }
  return AuthenticationError(who + "does not take AUTH with a password" + set + " of a server that does");
}

arrow::Status UnexpectedReply(const std::string& server, const std::string& command, const RespValue& reply) {
  return ProtocolError("the server at " + server + " answered " + command + " with " + RespKindName(reply.kind) +
                       ", which Redis never does; name a Redis server in CYLON_STORE");
}

arrow::Status FirstRefusal(const std::string& server, const std::vector<RedisCommand>& commands,
                           const RedisReplies& replies) {
  for (size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].kind == RespValue::Kind::kError) {
      return RedisRefusal(server, commands[i].front(), replies[i].text);
    }
  }
  return arrow::Status::OK();
}

}  // namespace cylon
