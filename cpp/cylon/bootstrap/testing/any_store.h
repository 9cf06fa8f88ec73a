/// For tests: a store of each kind, which threads open for themselves.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/bootstrap/testing/redis_server.h"

namespace cylon::testing {

/// So long may a wait of a test take.
inline constexpr auto kPatience = std::chrono::seconds(60);

/// Of servers that are started anew on the port that they had: nobody connects from this address, so that no connection
/// of another program takes the port meanwhile.
inline const std::string kOwnHost = "127.0.0.7";

/// The secret of a test's job, as options hold it and as bytes.
inline const std::string kHexSecret(64, 'a');
inline const std::string kSecret(32, '\xaa');

inline Security SecuredBy(const std::string& secret) {
  Security security;
  security.secret = secret;
  return security;
}

/// One store of kind "memory", "directory", "tcp" or "redis", gone with this object.
class AnyStore {
 public:
  explicit AnyStore(const std::string& kind) : server_executor_("server") {
    if (kind == "memory") {
      data_ = MakeMemoryStoreData();
    } else if (kind == "directory") {
      directory_ = std::filesystem::temp_directory_path() / ("cylon-store-" + HexEncode(RandomBytes(8).ValueOrDie()));
      options_.store = "file://" + directory_;
    } else if (kind == "redis") {
      redis_ = std::make_unique<RedisServer>();
      options_.store = redis_->url();
    } else {
      server_ = StoreServer::Start(server_executor_, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
      options_.store = server_->address().ToString();
      options_.secret = kHexSecret;
    }
  }
  ~AnyStore() {
    if (!directory_.empty()) {
      std::filesystem::remove_all(directory_);
    }
  }
  AnyStore(const AnyStore&) = delete;
  AnyStore& operator=(const AnyStore&) = delete;

  std::unique_ptr<Store> Open(AsioExecutor& executor) {
    if (data_) {
      return OpenMemoryStore(data_, executor);
    }
    return OpenStore(options_, executor, executor.Now() + kPatience).ValueOrDie();
  }
  /// Of kind "directory".
  const std::string& directory() const { return directory_; }

 private:
  AsioExecutor server_executor_;
  std::shared_ptr<MemoryStoreData> data_;
  std::string directory_;
  Options options_;
  std::unique_ptr<StoreServer> server_;
  std::unique_ptr<RedisServer> redis_;
};

/// Tests that run on every kind of store.
class AnyStoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "redis" && !RedisServer::IsInstalled()) {
      GTEST_SKIP() << RedisServer::kMissing;
    }
    kind_ = std::make_unique<AnyStore>(GetParam());
  }

  std::unique_ptr<AnyStore> kind_;
};

inline auto EveryStore() { return ::testing::Values("memory", "directory", "tcp", "redis"); }
inline std::string StoreName(const ::testing::TestParamInfo<std::string>& info) { return info.param; }

}  // namespace cylon::testing
