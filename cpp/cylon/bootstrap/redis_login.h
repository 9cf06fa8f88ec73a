/// What comes first on every connection to a Redis server: who we are, which database, and whether it keeps our keys.
#pragma once

#include <memory>
#include <string>

#include "cylon/bootstrap/redis_link.h"

namespace cylon {

struct RedisLogin {
  std::string server;    ///< "host:port", for messages
  std::string user;      ///< empty: the default user
  std::string password;  ///< empty, and the user too: none is proved
  int database = 0;
  std::string job;       ///< whose keys will be asked for
  bool owns_job = true;  ///< only a server that has them will do
};

/// Refuses servers that would drop keys to make room, replicas, and users without the permissions that a store needs.
/// IsPassing where it may go well another time, MoveOf where another server of its cluster has the job's keys.
Co<void> LogIn(std::shared_ptr<RedisLink> link, RedisLogin login);

}  // namespace cylon
