// The face of a rank's end of a Redis server's world.
#include "cylon/net/redis/redis_transport.h"

#include <utility>

#include "cylon/base/random.h"
#include "cylon/bootstrap/store.h"
#include "cylon/net/mail/mail_transport.h"
#include "cylon/net/redis/redis_mail.h"

namespace cylon {

arrow::Result<RedisAddress> RedisServerOf(const Options& options) {
  if (!options.redis.empty()) {
    auto address = RedisAddress::Parse(options.redis);
    return address.ok() ? address : address.status().WithMessage("CYLON_REDIS is wrong: ", address.status().message());
  }
  if (!options.store.starts_with("redis://") && !options.store.starts_with("rediss://")) {
    return arrow::Status::Invalid("transport is 'redis', and no Redis server is named: the store is '",
                                  ReadableStore(options.store),
                                  "'; set CYLON_REDIS to redis://user:password@host:port, or CYLON_STORE");
  }
  return RedisAddress::Parse(options.store);
}

arrow::Result<std::string> RedisCardAddress() {
  ARROW_ASSIGN_OR_RAISE(const std::string random, RandomBytes(16));
  return "redis:" + HexEncode(random);
}

arrow::Result<std::unique_ptr<Transport>> MakeRedisTransport(AsioExecutor& executor, const RedisAddress& server,
                                                             World world, const std::string& secret,
                                                             Duration peer_timeout) {
  auto mail = std::make_shared<internal::RedisMail>(executor, std::move(world), peer_timeout);
  ARROW_RETURN_NOT_OK(mail->Prepare(server, secret));
  return std::make_unique<internal::MailTransport>(std::move(mail));
}

}  // namespace cylon
