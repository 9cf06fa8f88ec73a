/// Messages through a Redis server: for ranks that have no direct way to each other.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/base/options.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/redis_address.h"
#include "cylon/net/transport.h"

namespace cylon {

/// The server that `options` name for messages: `options.redis`, or else the store. Invalid where neither is a Redis
/// URL.
CYLON_EXPORT arrow::Result<RedisAddress> RedisServerOf(const Options& options);

/// What a rank that uses this transport has as its card's address: "redis:" and 128 random bits, by which its inbox and
/// its keys are those of no other run.
CYLON_EXPORT arrow::Result<std::string> RedisCardAddress();

/// The transport for `world`, all of whose cards are by RedisCardAddress. Every rank has a stream in the server as its
/// inbox, into which all others put sealed entries (see RedisMail); it needs a server of version 5 or later that
/// drops no keys, and trusts it with nothing: what it changes, invents or leaves out is found and is an error. A server
/// that is started anew, or a connection that is lost, costs time only.
///
/// A peer whose heartbeat stands still for `peer_timeout` is lost; a server that cannot be used, or is away for so
/// long, is IsolatedError for all peers. Keys are `cylon:{job}/epoch/inbox/…` and `…/beat/…`; Close removes them, and
/// what a crash has left goes after some minutes.
CYLON_EXPORT arrow::Result<std::unique_ptr<Transport>> MakeRedisTransport(AsioExecutor& executor,
                                                                          const RedisAddress& server, World world,
                                                                          const std::string& secret,
                                                                          Duration peer_timeout);

}  // namespace cylon
