/// For tests: ranks as threads whose messages go through a Redis server of their own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cylon/bootstrap/testing/redis_server.h"
#include "cylon/net/conformance.h"
#include "cylon/net/redis/redis_transport.h"

namespace cylon::testing {

/// A rank that closes without a goodbye says so, if it can; so long it takes where it cannot.
inline constexpr auto kRedisPeerTimeout = std::chrono::seconds(5);

class RedisConformanceWorld : public ThreadedConformanceWorld {
 public:
  explicit RedisConformanceWorld(int ranks, Duration peer_timeout = kRedisPeerTimeout)
      : ThreadedConformanceWorld(ranks), peer_timeout_(peer_timeout) {
    world_.job = "conformance";
    world_.epoch = "00000001";
    for (Rank rank = 0; rank < ranks; ++rank) {
      world_.cards.push_back({"localhost", 0, RedisCardAddress().ValueOrDie()});
    }
  }
  std::unique_ptr<Transport> MakeTransport(Rank rank) override {
    auto world = world_;
    world.rank = rank;
    auto address = RedisAddress::Parse(server.url(login)).ValueOrDie();
    address.server = via.value_or(address.server);
    return MakeRedisTransport(executor(rank), address, std::move(world), secret, peer_timeout_).ValueOrDie();
  }
  /// The keys that are in the server.
  int64_t Keys() const { return server.Run({"DBSIZE"}).number; }

  RedisServer server;
  std::optional<HostPort> via;  ///< a way to the server that is not the direct one
  std::string login;            ///< "user:password@"
  std::string secret = "a secret";

 private:
  World world_;
  Duration peer_timeout_;
};

/// Fewer messages, and smaller ones: everything is encrypted and goes through one thread of the server.
inline Subject RedisSubject() {
  const int64_t large = LongTests() && !kSanitized ? 256 << 20 : 8 << 20;
  return {"redis", [](int ranks, uint64_t) { return std::make_unique<RedisConformanceWorld>(ranks); }, 1, large,
          kSanitized ? 2000 : 20000};
}

/// None where no server is installed.
inline std::vector<Subject> RedisSubjects() {
  return RedisServer::IsInstalled() ? std::vector<Subject>{RedisSubject()} : std::vector<Subject>{};
}

}  // namespace cylon::testing
