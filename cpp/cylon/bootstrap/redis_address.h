/// Where a Redis server is and how to get in, as a URL says it.
#pragma once

#include <arrow/result.h>

#include <string>
#include <string_view>

#include "cylon/wire/stream.h"

namespace cylon {

struct RedisAddress {
  HostPort server;
  bool tls = false;
  std::string user;      ///< empty: the default user
  std::string password;  ///< empty: none
  int database = 0;
  std::string ca_file;  ///< PEM of those who are trusted to sign the server's certificate; empty: the system's

  /// "redis://[user[:password]@]host[:port][/database]", "rediss://…[?ca=file]" for TLS, ":password@" without a user;
  /// what a user, a password or a file cannot have as it is, is written as %40. The port is 6379 where none is given.
  /// Invalid says what is wrong without repeating the text, which may hold a password.
  static arrow::Result<RedisAddress> Parse(std::string_view url);

  /// "redis://user@host:port/1", never with the password. A user without a password is left out: it may be a password
  /// in the wrong place.
  std::string ToString() const;
};

}  // namespace cylon
