/// A store that a Redis server keeps.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/redis_address.h"
#include "cylon/bootstrap/redis_client.h"
#include "cylon/bootstrap/store.h"

namespace cylon {

/// For the keys of `job`. Connects, logs in and checks the server (see LogIn); tries again until `deadline` while
/// nobody answers or the server is loading. Later calls go on after a lost connection, for up to 10 s; an Add that may
/// have been carried out fails instead. Never call it from a task.
arrow::Result<std::unique_ptr<Store>> OpenRedisStore(const RedisAddress& address, const std::string& job,
                                                     AsioExecutor& executor, TimePoint deadline);

/// A client of the server at `address`, or of whichever of its cluster has the keys of `job`, not connected yet.
/// IOError where its CA file cannot be read. `stop` ends an attempt to connect that is under way; then close it.
arrow::Result<std::shared_ptr<RedisClient>> MakeRedisClient(const RedisAddress& address, AsioExecutor& executor,
                                                            const arrow::Future<>& stop, const std::string& job,
                                                            Duration patience = kRedisPatience);

/// What a connection to `address` is made by; `stop` ends an attempt under way.
RedisConnector MakeRedisConnector(const RedisAddress& address, AsioExecutor& executor, const arrow::Future<>& stop);

}  // namespace cylon
