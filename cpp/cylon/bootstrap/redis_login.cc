// The first commands on a connection to a Redis server.
#include "cylon/bootstrap/redis_login.h"

#include <optional>

#include "cylon/base/error.h"
#include "cylon/bootstrap/redis_cluster.h"
#include "cylon/bootstrap/redis_errors.h"

namespace cylon {

namespace {

using Kind = RespValue::Kind;

RedisCommand AuthCommand(const RedisLogin& login) {
  return login.user.empty() ? RedisCommand{"AUTH", login.password} : RedisCommand{"AUTH", login.user, login.password};
}
RedisCommand SelectCommand(const RedisLogin& login) { return {"SELECT", std::to_string(login.database)}; }
RedisCommand ConfigCommand() { return {"CONFIG", "GET", "maxmemory*"}; }
RedisCommand InfoCommand() { return {"INFO", "memory"}; }
/// Of a key that no store has: changes nothing, and is refused where a store's commands would be.
RedisCommand ProbeCommand(const RedisLogin& login) { return {"DEL", RedisKey(login.job + "/")}; }

/// One command's one reply.
Co<RespValue> AskOne(std::shared_ptr<RedisLink> link, RedisCommand command) {
  const std::vector<RedisCommand> commands(1, command);
  auto done = link->Ask(commands)->done;
  auto replies = co_await done;
  if (!replies.ok()) {
    co_return replies.status();
  }
  co_return std::move((*replies)[0]);
}

/// When a server drops keys, as it says itself.
struct Eviction {
  std::optional<std::string> policy;
  std::optional<std::string> limit;

  void Take(const std::string& name, const std::string& value) {
    if (name == "maxmemory-policy" || name == "maxmemory_policy") {
      policy = value;
    } else if (name == "maxmemory") {
      limit = value;
    }
  }
  bool known() const { return policy.has_value() && limit.has_value(); }
};

/// Names and values by turns.
Eviction FromConfig(const RespValue& reply) {
  Eviction out;
  for (size_t i = 0; i + 1 < reply.elements.size(); i += 2) {
    out.Take(reply.elements[i].text, reply.elements[i + 1].text);
  }
  return out;
}

/// Lines "name:value".
Eviction FromInfo(const RespValue& reply) {
  Eviction out;
  std::string_view rest = reply.text;
  while (!rest.empty()) {
    const size_t end = rest.find("\r\n");
    const std::string line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 2);
    const size_t colon = line.find(':');
    if (colon != std::string::npos) {
      out.Take(line.substr(0, colon), line.substr(colon + 1));
    }
  }
  return out;
}

/// A server that evicts acknowledges keys and drops them: of 40 with a time to live, one with volatile-lru kept 18.
arrow::Status CheckEviction(const std::string& server, const Eviction& eviction) {
  if (*eviction.limit == "0" || *eviction.policy == "noeviction") {
    return arrow::Status::OK();
  }
  return arrow::Status::Invalid("the Redis server at ", server, " drops keys when its memory is full: it has ",
                                "maxmemory-policy ", *eviction.policy, " and maxmemory ", *eviction.limit,
                                "; a store must lose nothing, so set maxmemory-policy noeviction there, or use a ",
                                "server of its own");
}

/// True where an error reply says more than that the command is not for this user, or not known.
bool IsDecisive(const RespValue& reply) {
  return reply.kind == Kind::kError && !reply.text.starts_with("NOPERM") &&
         (!reply.text.starts_with("ERR") || IsPassing(RedisRefusal("", "", reply.text)));
}

Co<void> CheckMemory(std::shared_ptr<RedisLink> link, std::string server) {
  auto asking = AskOne(link, ConfigCommand());
  CYLON_CO_ASSIGN_OR_RETURN(const RespValue config, co_await asking);
  if (IsDecisive(config)) {
    co_return RedisRefusal(server, "CONFIG GET", config.text);
  }
  if (config.kind != Kind::kError && config.kind != Kind::kArray) {
    co_return UnexpectedReply(server, "CONFIG GET", config);
  }
  Eviction eviction = FromConfig(config);
  if (!eviction.known()) {
    // Not permitted to this user, or renamed, as where others run the server.
    auto asking_info = AskOne(link, InfoCommand());
    CYLON_CO_ASSIGN_OR_RETURN(const RespValue info, co_await asking_info);
    if (IsDecisive(info)) {
      co_return RedisRefusal(server, "INFO", info.text);
    }
    eviction = FromInfo(info);
  }
  if (!eviction.known()) {
    co_return AuthenticationError("cannot see whether the Redis server at " + server +
                                  " drops keys when its memory is full: this user may run neither CONFIG GET nor INFO, "
                                  "or they do not tell; permit one of them, by the ACL rule +config|get or +info");
  }
  co_return CheckEviction(server, eviction);
}

}  // namespace

Co<void> LogIn(std::shared_ptr<RedisLink> link, RedisLogin login) {
  if (!login.user.empty() || !login.password.empty()) {
    auto asking = AskOne(link, AuthCommand(login));
    CYLON_CO_ASSIGN_OR_RETURN(const RespValue reply, co_await asking);
    if (reply.kind == Kind::kError) {
      // A user without a password may be a password in the wrong place.
      co_return RedisAuthRefusal(login.server, login.password.empty() ? "" : login.user, reply.text);
    }
    if (reply.kind != Kind::kSimple) {
      co_return UnexpectedReply(login.server, "AUTH", reply);
    }
  }
  if (login.database != 0) {
    auto asking = AskOne(link, SelectCommand(login));
    CYLON_CO_ASSIGN_OR_RETURN(const RespValue reply, co_await asking);
    if (reply.kind == Kind::kError && reply.text.find("out of range") != std::string::npos) {
      co_return arrow::Status::Invalid("the Redis server at ", login.server, " has no database ", login.database,
                                       "; name one that it has, or raise `databases` in its configuration");
    }
    if (reply.kind != Kind::kSimple) {
      co_return reply.kind == Kind::kError ? RedisRefusal(login.server, "SELECT", reply.text)
                                           : UnexpectedReply(login.server, "SELECT", reply);
    }
  }
  auto checking = CheckMemory(link, login.server);
  const arrow::Status kept = co_await checking;
  CYLON_CO_RETURN_NOT_OK(kept);
  if (!login.owns_job) {
    co_return arrow::Status::OK();
  }
  auto probing = AskOne(link, ProbeCommand(login));
  CYLON_CO_ASSIGN_OR_RETURN(const RespValue probe, co_await probing);
  if (probe.kind != Kind::kInteger) {
    co_return probe.kind == Kind::kError ? RedisRefusal(login.server, "DEL", probe.text)
                                         : UnexpectedReply(login.server, "DEL", probe);
  }
  co_return arrow::Status::OK();
}

}  // namespace cylon
