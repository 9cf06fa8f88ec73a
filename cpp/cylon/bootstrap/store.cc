// Opening the store that the options name.
#include "cylon/bootstrap/store.h"

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/directory_store.h"
#include "cylon/bootstrap/redis_store.h"
#include "cylon/bootstrap/tcp_store.h"
#include "cylon/bootstrap/ticket.h"

namespace cylon {

Store::~Store() = default;

namespace {

bool NamesRedis(std::string_view store) { return store.starts_with("redis://") || store.starts_with("rediss://"); }

}  // namespace

std::string ReadableStore(const std::string& store) {
  if (!NamesRedis(store)) {
    return store;
  }
  const auto address = RedisAddress::Parse(store);
  return address.ok() ? address->ToString() : "a Redis server, by a URL that cannot be read";
}

arrow::Result<std::unique_ptr<Store>> OpenStore(const Options& options, Executor& executor, TimePoint deadline) {
  constexpr std::string_view kFile = "file://";
  const std::string_view name = options.store;
  if (name.empty()) {
    return arrow::Status::Invalid(
        "no store is named, in which the ranks could find each other; start the job by `cylon run`, or set CYLON_STORE "
        "to host:port of a cylon-rendezvous, to redis://host:port or to file:///a/shared/directory");
  }
  if (name.starts_with(kFile)) {
    const auto path = name.substr(kFile.size());
    if (!path.starts_with('/')) {
      return arrow::Status::Invalid("the store '", name, "' is not an absolute path; write file:///a/shared/directory");
    }
    return OpenDirectoryStore(std::string(path), executor);
  }
  auto* real = dynamic_cast<AsioExecutor*>(&executor);
  if (real == nullptr) {
    return arrow::Status::Invalid("the store '", ReadableStore(options.store),
                                  "' needs real time and sockets; a simulated rank uses a store in "
                                  "memory");
  }
  if (NamesRedis(name)) {
    ARROW_ASSIGN_OR_RAISE(const auto address, RedisAddress::Parse(name));
    return OpenRedisStore(address, options.job, *real, deadline);
  }
  auto address = HostPort::Parse(name);
  if (!address.ok()) {
    return address.status().WithMessage("CYLON_STORE is wrong: ", address.status().message(),
                                        ", redis://host:port or file:///a/shared/directory");
  }
  ARROW_ASSIGN_OR_RAISE(auto secret, ReadSecret(options));
  ARROW_ASSIGN_OR_RAISE(const Security security, SecurityAt(*address, options, std::move(secret)));
  return OpenTcpStore(*address, security, *real, deadline, kStorePatience, FromSeconds(options.keep_alive_s));
}

}  // namespace cylon
