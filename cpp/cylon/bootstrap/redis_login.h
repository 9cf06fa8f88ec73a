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
};

/// All keys of stores begin so in the server.
inline constexpr char kRedisKeyPrefix[] = "cylon:";

/// Refuses servers that would drop keys to make room, replicas, clusters and users without the permissions that a
/// store needs. IsPassing where it may go well another time.
Co<void> LogIn(std::shared_ptr<RedisLink> link, RedisLogin login);

}  // namespace cylon
